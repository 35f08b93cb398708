import copy
import torch
from torch import nn

torch.manual_seed(30)
x_tr, x_va = torch.randn(12, 3), torch.randn(8, 3)
y_tr, y_va = torch.randn(12, 1), torch.randn(8, 1)

model = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
criterion = nn.MSELoss()

best_loss, best_state = float("inf"), None
patience, bad_epochs = 2, 0
max_epochs = 40

for epoch in range(max_epochs):
    model.train()
    optimizer.zero_grad()
    loss = criterion(model(x_tr), y_tr)
    loss.backward()
    optimizer.step()

    model.eval()
    with torch.no_grad():
        val = criterion(model(x_va), y_va).item()
    if val < best_loss:
        best_loss = val
        best_state = copy.deepcopy(model.state_dict())
        bad_epochs = 0
    else:
        bad_epochs += 1
        if bad_epochs > patience:
            print("Early stopping at epoch", epoch)
            break
else:
    print("never stopped early")

model.load_state_dict(best_state)
print("best validation loss", best_loss)
