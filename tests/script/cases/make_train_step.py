import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

np.random.seed(13)
x_train = np.random.rand(32, 1).astype(np.float32)
y_train = 1 + 2 * x_train + 0.1 * np.random.randn(32, 1).astype(np.float32)
x_tensor = torch.from_numpy(x_train)
y_tensor = torch.from_numpy(y_train)


def make_train_step(model, loss_fn, optimizer):
    # Builds the function that does one step
    def train_step(x, y):
        model.train()
        yhat = model(x)
        loss = loss_fn(yhat, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return train_step


torch.manual_seed(42)
model = nn.Sequential(nn.Linear(1, 1))
optimizer = optim.SGD(model.parameters(), lr=1e-1)
train_step = make_train_step(model, nn.MSELoss(), optimizer)

losses = []
for epoch in range(5):
    loss = train_step(x_tensor, y_tensor)
    losses.append(loss)

print(model.state_dict())
print(losses)
