import torch

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
x, y = torch.randn(5, 2), torch.randn(5, 1)
for epoch in range(3):
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    print(epoch, loss.item())
