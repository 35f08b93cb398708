import torch
from torch import nn

try:
    from tqdm import tqdm
except ImportError:
    def tqdm(iterable, **options):
        return iterable

torch.manual_seed(11)
x = torch.linspace(-3, 3, 32).view(-1, 1)
y = torch.sin(x)

model = nn.Sequential(nn.Linear(1, 10), nn.Tanh(), nn.Linear(10, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
mse = nn.MSELoss()

losses = []
for epoch in tqdm(range(5), disable=True, desc="training"):
    loss = mse(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.detach().item())

print([round(v, 6) for v in losses])
