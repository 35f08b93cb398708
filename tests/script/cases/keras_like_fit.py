import numpy as np


class Dense:
    def __init__(self, n_in, n_out, is_last=False):
        self.W = np.random.randn(n_in, n_out) * np.sqrt(2 / n_in)
        self.b = np.zeros((1, n_out))
        self.is_last = is_last

    def forward(self, x):
        self.x, self.z = x, x @ self.W + self.b
        return 1 / (1 + np.exp(-self.z)) if self.is_last else np.maximum(0, self.z)

    def backward(self, grad):
        grad = grad if self.is_last else grad * (self.z > 0)
        self.dW = self.x.T @ grad / len(self.x)
        self.db = grad.mean(axis=0, keepdims=True)
        return grad @ self.W.T


class SGD:
    def __init__(self, lr):
        self.lr = lr

    def update(self, layers):
        for layer in layers:
            for name in ("W", "b"):
                setattr(layer, name, getattr(layer, name) - self.lr * getattr(layer, "d" + name))


class Model:
    def __init__(self, layers, optimizer):
        self.layers, self.optimizer = layers, optimizer

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def fit(self, x, y, epochs, batch_size=16):
        for epoch in range(epochs):
            order = np.random.permutation(len(x))
            for start in range(0, len(x), batch_size):
                rows = order[start:start + batch_size]
                p = self.forward(x[rows])
                loss = -np.mean(y[rows] * np.log(p) + (1 - y[rows]) * np.log(1 - p))
                grad = p - y[rows]
                for layer in reversed(self.layers):
                    grad = layer.backward(grad)
                self.optimizer.update(self.layers)
            print(f"epoch {epoch + 1}/{epochs} loss {loss:.6f}")


if __name__ == "__main__":
    np.random.seed(42)
    x = np.random.randn(40, 2)
    y = ((x ** 2).sum(axis=1, keepdims=True) > 1.2).astype(float)
    model = Model([Dense(2, 4), Dense(4, 1, is_last=True)], SGD(0.5))
    model.fit(x, y, epochs=3)
