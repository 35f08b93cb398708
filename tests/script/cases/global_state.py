import numpy as np

w = np.zeros(2)
b = 0.0
history = []


def load():
    rng = np.random.default_rng(33)
    X = rng.normal(size=(16, 2))
    return X, (X[:, 0] + X[:, 1] > 0).astype(float)


def train(epochs, lr):
    global w, b
    X, y = load()
    for epoch in range(epochs):
        z = X @ w + b
        y_hat = 1 / (1 + np.exp(-z))
        loss = -np.mean(y * np.log(y_hat) + (1 - y) * np.log(1 - y_hat))
        dz = (y_hat - y) / len(y)
        w -= lr * X.T @ dz
        b -= lr * dz.sum()
        history.append(loss)


if __name__ == "__main__":
    train(epochs=4, lr=1.0)
    print(w, b)
    print(history)
