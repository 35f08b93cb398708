import torch
from torch import nn


class Poly(nn.Module):
    """y = sum_k c_k x^k"""

    def __init__(self, degree):
        super().__init__()
        self.coefficients = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in range(degree + 1))
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        return self.scale * sum(c * x ** k for k, c in enumerate(self.coefficients))


torch.manual_seed(0)
xs = torch.linspace(-1, 1, 16)
ys = 1 - xs + 0.5 * xs ** 2
poly = Poly(2)
optimizer = torch.optim.NAdam(poly.parameters(), lr=0.1)
epoch, loss = 0, torch.tensor(float("inf"))
while loss > 0.5 and epoch < 20:
    fit = poly(xs)
    loss = (fit - ys).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    epoch += 1
print(epoch, loss.item(), poly.calls.item())
print([round(c.item(), 5) for c in poly.coefficients])
