import torch


def train(lr, steps=4):
    w = torch.tensor(5.0, requires_grad=True)
    losses = []
    for _ in range(steps):
        loss = (w - 2) ** 2 + 1
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
        w.grad = None
        losses.append(loss.item())
    return w.item(), losses


for_big, history_big = train(lr=0.1)
print("lr=0.1 ", for_big, history_big)
for_small, history_small = train(lr=0.01)
print("lr=0.01", for_small, history_small)
