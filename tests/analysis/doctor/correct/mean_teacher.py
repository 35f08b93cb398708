import copy

import torch
import torch.nn as nn

torch.manual_seed(0)
X = torch.randn(64, 5)
y = (X[:, 0] > 0).long()
student = nn.Sequential(
    nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2)
)
teacher = copy.deepcopy(student)
for p in teacher.parameters():
    p.requires_grad_(False)
opt = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
ce, mse = nn.CrossEntropyLoss(), nn.MSELoss()
for epoch in range(3):
    s = student(X)
    with torch.no_grad():
        t = teacher(X)
    loss = ce(s[:16], y[:16]) + mse(s, t)
    opt.zero_grad()
    loss.backward()
    opt.step()
    with torch.no_grad():
        for tp, sp in zip(teacher.parameters(), student.parameters()):
            tp.mul_(0.99).add_(sp, alpha=0.01)
    print(epoch, loss.item())
