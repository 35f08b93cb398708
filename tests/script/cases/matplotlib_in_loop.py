import matplotlib.pyplot as plt
import torch

torch.manual_seed(0)
x = torch.unsqueeze(torch.linspace(-1, 1, 30), dim=1)
y = x.pow(2) + 0.2 * torch.rand(x.size())
net = torch.nn.Sequential(torch.nn.Linear(1, 10), torch.nn.ReLU(), torch.nn.Linear(10, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
loss_func = torch.nn.MSELoss()

plt.ion()
for t in range(4):
    prediction = net(x)
    loss = loss_func(prediction, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if t % 2 == 0:
        plt.cla()
        plt.scatter(x.numpy(), y.numpy())
        plt.plot(x.numpy(), prediction.detach().numpy(), "r-")
        plt.text(0.5, 0, "Loss=%.4f" % loss.item())
        plt.pause(0.1)
        print("Loss=%.4f" % loss.item())
plt.ioff()
plt.show()
