import numpy as np

rng = np.random.default_rng(1)
X = np.c_[np.ones(12), rng.normal(size=(12, 1))]
y = X @ np.array([1.0, 2.0]) + 0.1 * rng.normal(size=12)


def train(X, y, lr=0.2, epochs=4):
    w = np.zeros(X.shape[1])
    for e in range(epochs):
        loss = np.mean((X @ w - y) ** 2)
        w = w - lr * 2 * X.T @ (X @ w - y) / len(y)
    return w, loss


folds = np.array_split(np.arange(12), 3)
scores = []
for k, test in enumerate(folds):
    train_idx = np.setdiff1d(np.arange(12), test)
    w, loss = train(X[train_idx], y[train_idx])
    scores.append(np.mean((X[test] @ w - y[test]) ** 2))
    print(f"fold {k}: train {loss:.4f} test {scores[-1]:.4f}")
print("mean", np.mean(scores))
