import numpy as np


def minibatches(X, Y, size, rng):
    """Yield shuffled mini-batches."""
    order = rng.permutation(len(X))
    for i in range(0, len(X), size):
        pick = order[i : i + size]
        yield X[pick], Y[pick]


rng = np.random.default_rng(3)
X = rng.normal(size=(20, 3))
Y = X @ np.array([[1.0], [0.0], [-1.0]]) + 0.01 * rng.normal(size=(20, 1))

theta = np.zeros((3, 1))
for epoch in range(3):
    for xb, yb in minibatches(X, Y, 5, rng):
        residual = xb @ theta - yb
        loss = float((residual ** 2).mean())
        grad = 2 / len(xb) * xb.T @ residual
        theta -= 0.1 * grad
    print("epoch %d  loss %.6f" % (epoch, loss))

