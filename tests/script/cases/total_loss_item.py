import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader


class SquaresDataset(Dataset):
    def __init__(self, n):
        self.x = torch.linspace(-1, 1, n).unsqueeze(1)
        self.y = self.x ** 2

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


torch.manual_seed(99)
loader = DataLoader(SquaresDataset(12), batch_size=4, shuffle=True, drop_last=True)
net = nn.Sequential()
net.add_module("first", nn.Linear(1, 6))
net.add_module("act", nn.SiLU())
net.add_module("last", nn.Linear(6, 1))
criterion = nn.SmoothL1Loss()
opt = torch.optim.Adam([{"params": net.first.parameters()}, {"params": net.last.parameters(), "lr": 0.05}], lr=0.01)

for epoch in range(3):
    total_loss = 0.0
    for step, (x, y) in enumerate(loader):
        # Forward
        y_hat = net(x)
        loss = criterion(y_hat, y)
        # Backward
        loss.backward()
        opt.step()
        # Clear
        opt.zero_grad()
        total_loss += loss.item()
        if step % 2 == 0:
            print(f"  step {step} loss {loss.item():.5f}")
    print(f"epoch {epoch} mean loss {total_loss / len(loader):.5f}")

