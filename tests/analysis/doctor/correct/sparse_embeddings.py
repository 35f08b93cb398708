import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
emb = nn.Embedding(20, 5, sparse=True)
ctx = nn.Embedding(20, 5, sparse=True)
opt = torch.optim.SparseAdam(list(emb.parameters()) + list(ctx.parameters()), lr=0.01)
for step in range(10):
    c = torch.randint(0, 20, (16,))
    o = torch.randint(0, 20, (16,))
    neg = torch.randint(0, 20, (16, 4))
    v = emb(c)
    pos = (v * ctx(o)).sum(1)
    ng = torch.bmm(ctx(neg), v.unsqueeze(2)).squeeze(2)
    loss = -(F.logsigmoid(pos).mean() + F.logsigmoid(-ng).sum(1).mean())
    opt.zero_grad()
    loss.backward()
    opt.step()
