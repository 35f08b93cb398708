import torch
import torch.nn as nn
import torch.nn.functional as F

SEED = 9
torch.manual_seed(SEED)

# bars: class 0 is vertical, class 1 horizontal
images = torch.zeros(16, 1, 6, 6)
kinds = torch.arange(16) % 2
for n in range(16):
    k = n % 6
    if kinds[n] == 0:
        images[n, 0, :, k] = 1.0
    else:
        images[n, 0, k, :] = 1.0
images += 0.1 * torch.randn_like(images)


class ConvNet(nn.Module):
    def __init__(self):
        super(ConvNet, self).__init__()
        self.conv1 = nn.Conv2d(1, 3, kernel_size=3)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(3 * 2 * 2, 2)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = torch.flatten(x, 1)
        return F.log_softmax(self.fc(x), dim=1)


net = ConvNet()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.5, nesterov=True)

epoch = 0
while epoch < 3:
    for i, batch in enumerate(torch.split(torch.randperm(16), 8)):
        optimizer.zero_grad()
        log_probs = net(images[batch])
        loss = F.nll_loss(log_probs, kinds[batch])
        loss.backward()
        optimizer.step()
        if i == 0:
            print("Train Epoch: {} Loss: {:.6f}".format(epoch, loss.item()))
    epoch += 1

