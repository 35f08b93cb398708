import torch
from tqdm import trange

torch.manual_seed(0)
a = torch.randn(2, requires_grad=True)
optimizer = torch.optim.SGD([a], lr=0.05)

with trange(6, disable=True) as bar:
    for it in bar:
        optimizer.zero_grad(set_to_none=True)
        objective = (a ** 4).sum() - 3 * a.prod()
        objective.backward()
        optimizer.step()
        bar.set_postfix(objective=objective.item())

print(f"minimum near ({a[0].item():.5f}, {a[1].item():.5f})")
