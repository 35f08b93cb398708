import torch
from torch.autograd import Variable

torch.manual_seed(1)
dtype = torch.float

N, D_in, H, D_out = 8, 6, 5, 2
x = torch.randn(N, D_in, dtype=dtype)
y = torch.randn(N, D_out, dtype=dtype)
w1 = Variable(torch.randn(D_in, H, dtype=dtype), requires_grad=True)
w2 = Variable(torch.randn(H, D_out, dtype=dtype), requires_grad=True)

learning_rate = 1e-3
for t in range(6):
    y_pred = x.mm(w1).clamp(min=0).mm(w2)
    loss = (y_pred - y).pow(2).sum()
    if t % 2 == 1:
        print(t, loss.item())

    loss.backward()

    w1.data -= learning_rate * w1.grad.data
    w2.data -= learning_rate * w2.grad.data

    w1.grad.data.zero_()
    w2.grad.data.zero_()

