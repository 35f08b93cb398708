import torch
import torch.nn as nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X = torch.randn(40, 5)
y = torch.randint(0, 3, (40,))
loader = DataLoader(TensorDataset(X, y), batch_size=20)
model = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
swa = AveragedModel(model)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
sched = SWALR(opt, swa_lr=0.05)
for epoch in range(2):
    for xb, yb in loader:
        opt.zero_grad()
        nn.functional.cross_entropy(model(xb), yb).backward()
        opt.step()
    swa.update_parameters(model)
    sched.step()
update_bn(loader, swa)
swa.eval()
with torch.no_grad():
    print(nn.functional.cross_entropy(swa(X), y))
