import torch

w = torch.zeros(1, requires_grad=True)
for epoch in range(3)
    loss = (w - 1) ** 2
    loss.backward()
