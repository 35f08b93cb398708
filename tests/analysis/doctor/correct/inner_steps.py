import torch

torch.manual_seed(0)
w = torch.zeros(2, requires_grad=True)
opt = torch.optim.SGD([w], lr=0.01)
for it in range(6):
    opt.zero_grad()
    for task in range(2):
        x = torch.randn(10, 2)
        y = x @ torch.tensor([1.0, float(task)])
        inner = ((x @ w - y) ** 2).mean()
        (g,) = torch.autograd.grad(inner, w, create_graph=True)
        fast = w - 0.05 * g
        outer = ((x @ fast - y) ** 2).mean() / 2
        outer.backward()
    opt.step()
