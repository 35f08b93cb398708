import torch

torch.manual_seed(0)

x = torch.linspace(-1, 1, 30)
y = 2.0 * x - 0.7 + 0.05 * torch.randn(30)

w = torch.randn(1, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
lr = 0.2

for epoch in range(5):
    y_hat = w * x + b
    loss = ((y_hat - y) ** 2).mean()
    loss.backward()

    with torch.no_grad():
        w -= lr * w.grad
        b -= lr * b.grad
        w.grad.zero_()
        b.grad.zero_()
    print(epoch, loss.item())

print(w.item(), b.item())
