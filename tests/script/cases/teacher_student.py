import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(14)
x = torch.randn(20, 4)

teacher = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3))
student = nn.Linear(4, 3)
teacher.eval()
T = 2.0

optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
for epoch in range(4):
    with torch.no_grad():
        soft_targets = F.softmax(teacher(x) / T, dim=1)
    student_logits = student(x)
    kd_loss = F.kl_div(F.log_softmax(student_logits / T, dim=1), soft_targets, reduction="batchmean") * T * T
    optimizer.zero_grad()
    kd_loss.backward()
    optimizer.step()
    print("distillation loss at", epoch, "is", kd_loss.item())

