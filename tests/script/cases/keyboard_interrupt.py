import torch

torch.manual_seed(6)
x = torch.randn(10)
y = 3 * x

k = torch.zeros((), requires_grad=True)
opt = torch.optim.SGD([k], lr=0.1)

try:
    for epoch in range(5):
        y_ = k * x
        loss = (y - y_).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        print("epoch", epoch, "k", k.item())
except KeyboardInterrupt:
    print("stopped by hand")
finally:
    print("final k", k.item())
