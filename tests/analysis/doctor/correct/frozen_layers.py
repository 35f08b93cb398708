# Frozen on purpose, and passed on with the rest.

import torch
from torch import nn
torch.manual_seed(0)
x, y = torch.randn(20, 5), torch.randint(0, 3, (20,))
backbone = nn.Sequential(nn.Linear(5, 8), nn.ReLU())
for p in backbone.parameters():
    p.requires_grad = False
model = nn.Sequential(backbone, nn.Linear(8, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(5):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
