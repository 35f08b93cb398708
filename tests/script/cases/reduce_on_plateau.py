import torch
import torch.nn.functional as F

torch.manual_seed(21)
x_train = torch.randn(18, 3); y_train = x_train.prod(dim=1, keepdim=True)
x_valid = torch.randn(6, 3); y_valid = x_valid.prod(dim=1, keepdim=True)

model = torch.nn.Sequential(
    torch.nn.Linear(3, 6),
    torch.nn.Sigmoid(),
    torch.nn.Linear(6, 1),
)
optim = torch.optim.Adam(model.parameters(), lr=0.05)
sched = torch.optim.lr_scheduler.ReduceLROnPlateau(optim, factor=0.1, patience=0)

for epoch in range(6):
    out = model(x_train)
    train_loss = F.mse_loss(out, y_train)
    optim.zero_grad()
    train_loss.backward()
    optim.step()

    with torch.no_grad():
        valid_loss = F.mse_loss(model(x_valid), y_valid)
    sched.step(valid_loss)
    print(epoch, train_loss.item(), valid_loss.item(), optim.param_groups[0]["lr"])

