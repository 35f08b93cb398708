"""First by hand, then with an optimizer."""
import torch

torch.manual_seed(0)
x = torch.randn(10)
y = 2 * x + 1

# --- 1. by hand
w = torch.zeros(1)
for epoch in range(4):
    pred = w * x
    loss = ((pred - y) ** 2).mean()
    grad = (2 * (pred - y) * x).mean()
    w = w - 0.1 * grad
print("by hand:", w.item(), loss.item())

# --- 2. torch.optim
w2 = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.SGD([w2], lr=0.1)
for epoch in range(5):
    pred2 = w2 * x
    loss2 = ((pred2 - y) ** 2).mean()
    loss2.backward()
    optimizer.step()
    optimizer.zero_grad()
print("with torch.optim:", w2.item(), loss2.item())
