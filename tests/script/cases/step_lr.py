import torch
from torch.optim.lr_scheduler import StepLR

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.4)
scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
X = torch.randn(20, 2)
y = X @ torch.tensor([[1.0], [2.0]])

for epoch in range(6):
    for xb, yb in zip(X.chunk(2), y.chunk(2)):
        loss = ((model(xb) - yb) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: lr {optimizer.param_groups[0]['lr']:.3f} loss {loss:.5f}")
    scheduler.step()

