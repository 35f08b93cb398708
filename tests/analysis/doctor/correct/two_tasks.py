import torch
import torch.nn as nn

torch.manual_seed(0)
X = torch.randn(40, 5)
t1 = X.sum(1, keepdim=True)
t2 = (X[:, 0] > 0).long()
body = nn.Sequential(nn.Linear(5, 16), nn.ReLU())
h1 = nn.Linear(16, 1)
h2 = nn.Linear(16, 2)
opt = torch.optim.SGD([*body.parameters(), *h1.parameters(), *h2.parameters()], lr=0.05)
for epoch in range(2):
    for i in range(0, 40, 20):
        f = body(X[i : i + 20])
        losses = [
            nn.functional.mse_loss(h1(f), t1[i : i + 20]),
            nn.functional.cross_entropy(h2(f), t2[i : i + 20]),
        ]
        opt.zero_grad()
        for l in losses:
            l.backward(retain_graph=True)
        opt.step()
