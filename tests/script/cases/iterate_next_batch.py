import itertools
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(50)
ds = TensorDataset(torch.randn(10, 2), torch.randn(10, 1))
batches = itertools.cycle(DataLoader(ds, batch_size=5, shuffle=True))
model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
lr_schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)

for iteration in range(6):
    xb, yb = next(batches)
    out = model(xb)
    loss = nn.functional.huber_loss(out, yb)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_value_(model.parameters(), 0.5)
    optimizer.step()
    lr_schedule.step()
    print(iteration, f"{loss.item():.4f}", f"{lr_schedule.get_last_lr()[0]:.4f}")

