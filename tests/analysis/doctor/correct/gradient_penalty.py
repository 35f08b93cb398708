import torch
import torch.nn as nn

torch.manual_seed(0)
G = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
D = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
optG = torch.optim.Adam(G.parameters(), lr=1e-3)
optD = torch.optim.Adam(D.parameters(), lr=1e-3)


def gradient_penalty(real, fake):
    a = torch.rand(real.size(0), 1)
    inter = (a * real + (1 - a) * fake).requires_grad_(True)
    out = D(inter)
    grad = torch.autograd.grad(
        outputs=out,
        inputs=inter,
        grad_outputs=torch.ones_like(out),
        create_graph=True,
        retain_graph=True,
    )[0]
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


for step in range(3):
    for _ in range(2):
        real = torch.randn(16, 2) + 1
        fake = G(torch.randn(16, 4)).detach()
        lossD = D(fake).mean() - D(real).mean() + 10 * gradient_penalty(real, fake)
        optD.zero_grad()
        lossD.backward()
        optD.step()
    lossG = -D(G(torch.randn(16, 4))).mean()
    optG.zero_grad()
    lossG.backward()
    optG.step()
