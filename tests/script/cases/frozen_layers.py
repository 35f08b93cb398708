import torch
from torch import nn

torch.manual_seed(8)
backbone = nn.Linear(4, 3)
head = nn.Linear(3, 1)
model = nn.Sequential(backbone, nn.ReLU(), head)

# only the head is trained
for param in backbone.parameters():
    param.requires_grad = False

before = backbone.weight.clone()
optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1)
inputs, targets = torch.randn(10, 4), torch.randn(10, 1)

for epoch in range(5):
    optimizer.zero_grad()
    outputs = model(inputs)
    loss = nn.functional.mse_loss(outputs, targets)
    loss.backward()
    optimizer.step()

print("loss", loss.item())
print("backbone unchanged:", torch.equal(before, backbone.weight))
