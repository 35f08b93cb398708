import torch

torch.manual_seed(0)
Wx = torch.randn(3, 8, requires_grad=True)
Wh = (torch.randn(8, 8) * 0.3).requires_grad_()
Wo = torch.randn(8, 1, requires_grad=True)
params = [Wx, Wh, Wo]
X = torch.randn(16, 12, 3)
y = X.sum((1, 2))
for step in range(10):
    h = torch.zeros(16, 8)
    for t in range(12):
        h = torch.tanh(X[:, t] @ Wx + h @ Wh)
    loss = ((h @ Wo).squeeze(1) - y).pow(2).mean()
    loss.backward()
    with torch.no_grad():
        for p in params:
            p -= 0.001 * p.grad
            p.grad.zero_()
