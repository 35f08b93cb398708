import torch

use_cuda = torch.cuda.is_available()
torch.backends.cudnn.benchmark = True
torch.manual_seed(5)
dtype = torch.cuda.FloatTensor if use_cuda else torch.FloatTensor

x = torch.rand(10, 2).type(dtype)
t = (2 * x[:, :1] - x[:, 1:]).type(dtype)
w = torch.zeros(2, 1).type(dtype).requires_grad_()
if use_cuda:
    x, t = x.cuda(), t.cuda()

step_size = 0.3
for it in range(4):
    y = x.mm(w)
    err = (y - t).pow(2).mean()
    err.backward()
    with torch.no_grad():
        w -= step_size * w.grad
        w.grad.zero_()
    print(it, err.cpu().item())
    if use_cuda:
        torch.cuda.empty_cache()
