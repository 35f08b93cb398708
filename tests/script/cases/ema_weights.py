import copy
import torch
from torch import nn

torch.manual_seed(77)


def update_ema(ema_model, model, decay=0.8):
    with torch.no_grad():
        for e, p in zip(ema_model.parameters(), model.parameters()):
            e.mul_(decay).add_(p, alpha=1 - decay)


model = nn.Linear(3, 2)
ema = copy.deepcopy(model).requires_grad_(False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
data, labels = torch.randn(16, 3), torch.randint(2, (16,))

for epoch in range(4):
    for xb, yb in zip(data.split(8), labels.split(8)):
        out = model(xb)
        loss = loss_fn(out, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        update_ema(ema, model)
    print(f"{epoch}: {loss_fn(model(data), labels).item():.5f} / ema {loss_fn(ema(data), labels).item():.5f}")

