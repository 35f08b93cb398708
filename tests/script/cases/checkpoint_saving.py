import os
import torch
from torch import nn

torch.manual_seed(3)
CHECKPOINT = "checkpoint.pt"
model = nn.Linear(2, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
X = torch.randn(9, 2)
Y = X.sum(1, keepdim=True)

start_epoch = 0
if os.path.exists(CHECKPOINT):
    state = torch.load(CHECKPOINT)
    model.load_state_dict(state["model"])
    start_epoch = state["epoch"] + 1

best = float("inf")
for epoch in range(start_epoch, 4):
    pred = model(X)
    loss = ((pred - Y) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if loss.item() < best:
        best = loss.item()
        torch.save({"epoch": epoch, "model": model.state_dict()}, CHECKPOINT)
        print("saved at epoch", epoch)
    with open("log.txt", "a") as log:
        log.write(f"{epoch} {loss.item():.4f}\n")

restored = nn.Linear(2, 1)
restored.load_state_dict(torch.load(CHECKPOINT)["model"])
print("restored:", restored.weight.tolist())
print(open("log.txt").read())
