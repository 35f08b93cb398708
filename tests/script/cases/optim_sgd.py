import torch
import torch.optim as optim

torch.manual_seed(3)
X = torch.randn(40, 2)
true_w = torch.tensor([[1.5], [-0.5]])
Y = X @ true_w + 0.3

W = torch.zeros(2, 1, requires_grad=True)
bias = torch.zeros(1, requires_grad=True)
optimizer = optim.SGD([W, bias], lr=0.1, momentum=0.9)
loss_history = []

for i in range(6):
    optimizer.zero_grad()
    output = X @ W + bias
    loss = torch.nn.functional.mse_loss(output, Y)
    loss.backward()
    optimizer.step()
    loss_history.append(loss.item())

print("first", loss_history[0], "last", loss_history[-1])
