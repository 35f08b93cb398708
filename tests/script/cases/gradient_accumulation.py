import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(17)
X = torch.randn(16, 5)
Y = X[:, :1] * X[:, 1:2]
loader = DataLoader(TensorDataset(X, Y), batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(2))

model = nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
accumulation_steps = 4

for epoch in range(3):
    optimizer.zero_grad()
    for step, (inputs, labels) in enumerate(loader, start=1):
        predictions = model(inputs)
        loss = nn.functional.mse_loss(predictions, labels)
        loss = loss / accumulation_steps
        loss.backward()
        if step % accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
    print(f"{epoch} {loss.item() * accumulation_steps:.6f}")

