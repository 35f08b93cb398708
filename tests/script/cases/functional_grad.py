import torch
from torch.func import grad, grad_and_value

torch.manual_seed(19)
x = torch.randn(12, 2)
y = x @ torch.tensor([1.0, 4.0])


def loss_fn(params, x, y):
    pred = x @ params["w"] + params["b"]
    return ((pred - y) ** 2).mean()


params = {"w": torch.zeros(2), "b": torch.zeros(())}
for step in range(5):
    grads, loss = grad_and_value(loss_fn)(params, x, y)
    params = {k: p - 0.1 * grads[k] for k, p in params.items()}
    print(step, loss.item())

