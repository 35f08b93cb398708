import torch
import torch.nn as nn

torch.manual_seed(0)
X = torch.randn(64, 5)
y = (X[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
crit = nn.CrossEntropyLoss()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    x = X.clone().requires_grad_(True)
    loss = crit(model(x), y)
    loss.backward()
    adv = (x + 0.05 * x.grad.sign()).detach()
    opt.zero_grad()
    loss = crit(model(adv), y)
    loss.backward()
    opt.step()
    print(loss.item())
