import torch

torch.manual_seed(0)
xs = torch.rand(16, 3)
ys = xs.sum(1, keepdim=True) ** 2

weights = [torch.randn(3, 4) * 0.3, torch.randn(4, 1) * 0.3]
biases = [torch.zeros(4), torch.zeros(1)]
params = weights + biases
for p in params:
    p.requires_grad_(True)

step_size = 0.05
for epoch in range(5):
    h = torch.tanh(xs @ weights[0] + biases[0])
    pred = h @ weights[1] + biases[1]
    loss = (pred - ys).square().mean()
    for p in params:
        p.grad = None
    loss.backward()
    for p in params:
        p.data -= step_size * p.grad
    print(f"{epoch}: {loss.item():.6f}")

