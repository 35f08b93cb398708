import torch


def make_trainer(x, y, lr):
    """Returns a function that trains for some epochs and remembers its weight."""
    w = torch.zeros(2, requires_grad=True)
    seen = 0

    def train(epochs):
        nonlocal seen
        for _ in range(epochs):
            seen += 1
            pred = x @ w
            loss = (pred - y).abs().mean()
            grad, = torch.autograd.grad(loss, [w])
            with torch.no_grad():
                w.sub_(lr * grad)
        return seen, loss.item(), w.tolist()

    return train


torch.manual_seed(15)
x = torch.randn(10, 2)
train = make_trainer(x, x @ torch.tensor([1.0, -1.0]), lr=0.1)
print(train(3))
print(train(2))
