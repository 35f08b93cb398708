import numpy as np

rng = np.random.default_rng(42)


class Linear:
    def __init__(self, n_in, n_out):
        self.W = rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out))
        self.b = np.zeros(n_out)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, grad_out):
        self.dW = self.x.T @ grad_out
        self.db = grad_out.sum(axis=0)
        return grad_out @ self.W.T

    def update(self, lr):
        self.W -= lr * self.dW
        self.b -= lr * self.db


class ReLU:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, grad_out):
        return grad_out * self.mask

    def update(self, lr):
        pass


layers = [Linear(2, 5), ReLU(), Linear(5, 1)]
X = rng.normal(size=(12, 2))
Y = (X[:, :1] * X[:, 1:])

for epoch in range(5):
    a = X
    for layer in layers:
        a = layer.forward(a)
    loss = np.mean((a - Y) ** 2)

    grad = 2 * (a - Y) / Y.size
    for layer in reversed(layers):
        grad = layer.backward(grad)
    for layer in layers:
        layer.update(lr=0.1)
    print(f"epoch {epoch}: {loss:.6f}")

