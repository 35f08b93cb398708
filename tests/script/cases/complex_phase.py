import torch

torch.manual_seed(0)
target = torch.tensor(0.6 + 0.8j)
z = torch.tensor(1.0 + 0.0j, requires_grad=True)
alpha = 0.1

for k in range(6):
    loss = (z - target).abs() ** 2
    loss.backward()
    with torch.no_grad():
        z -= alpha * z.grad
    z.grad = None
    print(k, z.real.item(), z.imag.item(), loss.item())

