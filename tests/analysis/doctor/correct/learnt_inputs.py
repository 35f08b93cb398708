import torch

torch.manual_seed(0)
y = torch.randn(20, 3)
z = torch.zeros(20, 2, requires_grad=True)
W = torch.randn(2, 3, requires_grad=True)
for epoch in range(30):
    loss = ((z @ W - y) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        z -= 1.0 * z.grad
        W -= 0.1 * W.grad
        z.grad.zero_()
        W.grad.zero_()
