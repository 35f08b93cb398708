import torch
from torch import nn


class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr)
        self.loss_fn = nn.MSELoss()
        self.history = []

    def fit(self, x, y, epochs):
        for epoch in range(epochs):
            self.optimizer.zero_grad()
            out = self.model(x)
            loss = self.loss_fn(out, y)
            loss.backward()
            self.optimizer.step()
            self.history.append(loss.item())
        return self

    def report(self):
        for i, value in enumerate(self.history):
            print(i, f"{value:.5f}")


torch.manual_seed(10)
x = torch.rand(12, 2)
y = x[:, :1] - x[:, 1:]
trainer = Trainer(nn.Linear(2, 1), lr=0.3)
trainer.fit(x, y, epochs=5).report()
