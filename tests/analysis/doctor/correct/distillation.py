import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
X = torch.randn(80, 5)
y = (X[:, 0] > 0).long()
teacher = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 2))
student = nn.Linear(5, 2)
ot = torch.optim.Adam(teacher.parameters(), lr=0.01)
for _ in range(5):
    l = F.cross_entropy(teacher(X), y)
    ot.zero_grad()
    l.backward()
    ot.step()
teacher.eval()
opt = torch.optim.SGD(student.parameters(), lr=0.1)
T = 2.0
for epoch in range(3):
    with torch.no_grad():
        tl = teacher(X)
    sl = student(X)
    loss = F.kl_div(
        F.log_softmax(sl / T, 1), F.softmax(tl / T, 1), reduction="batchmean"
    ) * T * T + F.cross_entropy(sl, y)
    opt.zero_grad()
    loss.backward()
    opt.step()
