import torch

g = torch.Generator().manual_seed(0)
A = torch.randn(12, 20, generator=g)      # fewer equations than unknowns
b = torch.randn(12, generator=g)

x = torch.zeros(20, requires_grad=True)
velocity = torch.zeros(20)
lr, beta, lam = 0.01, 0.9, 0.01

for i in range(6):
    r = A @ x - b
    loss = r.dot(r)
    loss.backward()
    with torch.no_grad():
        velocity.mul_(beta).add_(x.grad)
        x.mul_(1 - lr * lam)
        x.sub_(lr * velocity)
        x.grad.zero_()
    if i % 3 == 2:
        print(f"step {i + 1}: residual {loss.item():.6f}, norm {x.norm().item():.6f}")

