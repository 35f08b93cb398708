import torch


def training(w, lr, epochs):
    for epoch in range(epochs):
        loss = (w - 1) ** 2
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
            w.grad.zero_()
        yield epoch, loss.item()


w = torch.tensor(4.0, requires_grad=True)
for epoch, loss in training(w, 0.1, 3):
    print(epoch, loss)
