import torch


def solve(x, limit):
    w = torch.zeros((), requires_grad=True)
    opt = torch.optim.SGD([w], lr=0.05)
    try:
        with torch.enable_grad():
            for epoch in range(50):
                opt.zero_grad()
                loss = (w * x - 1) ** 2
                loss.backward()
                opt.step()
                if loss < limit:
                    return "early", epoch, loss.item()
    finally:
        print("left at", w.item())
    return "late", epoch, loss.item()


print(solve(torch.tensor(1.5), limit=0.3))
