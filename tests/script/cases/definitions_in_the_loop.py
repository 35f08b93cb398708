import torch


def fit():
    w = torch.ones(2, requires_grad=True)
    later = []
    for epoch in range(3):
        def forward(x, scale=epoch + 1):
            return (x * w).sum() * scale

        class Mark:
            number = epoch

        import math
        loss = forward(torch.ones(2)) ** 2
        loss.backward()
        with torch.no_grad():
            w -= 0.01 * w.grad
        w.grad = None
        later.append(lambda: (epoch, Mark.number, round(math.sqrt(loss.item()), 4)))
        [first, *rest] = [epoch for epoch in range(3)]
        print(epoch, first, rest)
    del forward
    return [call() for call in later]


print(fit())
