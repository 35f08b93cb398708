# All pairs are meant, and so is the loss of a matrix's rows and columns.

import torch
from torch import nn
torch.manual_seed(0)
a, b = torch.randn(8, 5), torch.randn(8, 6)
fa, fb, scale = nn.Linear(5, 4), nn.Linear(6, 4), nn.Parameter(torch.tensor(1.0))
optimizer = torch.optim.Adam([*fa.parameters(), *fb.parameters(), scale], lr=0.01)
for step in range(5):
    logits = scale.exp() * nn.functional.normalize(fa(a)) @ nn.functional.normalize(fb(b)).T
    target = torch.arange(8)
    loss = nn.functional.cross_entropy(logits, target)
    loss = loss + nn.functional.cross_entropy(logits.T, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
