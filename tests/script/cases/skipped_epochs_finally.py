import torch

w = torch.ones(2, requires_grad=True)
for epoch in range(4):
    try:
        loss = (w ** 2).sum()
        if epoch == 1:
            raise ValueError("a bad batch")
        loss.backward()
    except ValueError as e:
        print("skipped:", e)
        continue
    finally:
        print("epoch", epoch)
    with torch.no_grad():
        w -= 0.1 * w.grad
        w.grad.zero_()

print(w.tolist())
