import numpy as np


def softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(p, t):
    return -np.log(p[np.arange(len(t)), t]).mean()


def main():
    rng = np.random.default_rng(0)
    centers = np.array([[0, 2], [2, -1], [-2, -1]])
    t = rng.integers(0, 3, size=45)
    X = centers[t] + rng.normal(scale=0.7, size=(45, 2))
    onehot = np.eye(3)[t]

    W = np.zeros((2, 3))
    b = np.zeros(3)
    eta = 0.5
    batch_size = 15
    for epoch in range(3):
        perm = rng.permutation(len(X))
        for start in range(0, len(X), batch_size):
            idx = perm[start:start + batch_size]
            xb, tb = X[idx], t[idx]
            probs = softmax(xb @ W + b)
            loss = cross_entropy(probs, tb)
            delta = (probs - onehot[idx]) / len(idx)
            grad_W = xb.T @ delta
            grad_b = delta.sum(axis=0)
            W -= eta * grad_W
            b -= eta * grad_b
        acc = np.mean(softmax(X @ W + b).argmax(axis=1) == t)
        print(f"epoch {epoch} loss {loss:.4f} acc {acc:.3f}")
    print(W)


if __name__ == "__main__":
    main()
