import math
import torch
import torch.nn as nn

torch.manual_seed(4)
seq = torch.tensor([math.sin(0.4 * i) for i in range(24)])
x = seq[:-1].view(1, -1, 1)
y = seq[1:].view(1, -1, 1)


class Recurrent(nn.Module):
    def __init__(self, hidden=4):
        super().__init__()
        self.rnn = nn.RNN(1, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, x, h=None):
        states, h = self.rnn(x, h)
        return self.readout(states), h


model = Recurrent()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
hidden = None
for epoch in range(4):
    prediction, hidden = model(x, hidden)
    hidden = hidden.detach()
    loss = nn.functional.mse_loss(prediction, y)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    print("epoch", epoch, "loss", round(loss.item(), 5))

