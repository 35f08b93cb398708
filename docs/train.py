import torch
from torch import nn

torch.manual_seed(0)
x = torch.rand(40, 1)
y = 3 * x + 1 + 0.1 * torch.randn(40, 1)

model = nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)

for epoch in range(100):
    y_pred = model(x)
    loss = ((y_pred - y) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.4f}")
