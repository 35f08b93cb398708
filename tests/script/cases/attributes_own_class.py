import numpy as np


class LogisticRegression:
    """Binary classifier trained by batch gradient descent."""

    def __init__(self, lr=0.5, n_iters=6):
        self.lr = lr
        self.n_iters = n_iters
        self.weights = None
        self.bias = None

    def fit(self, X, y):
        n_samples, n_features = X.shape
        self.weights = np.zeros(n_features)
        self.bias = 0.0
        self.losses = []
        for _ in range(self.n_iters):
            linear = np.dot(X, self.weights) + self.bias
            y_predicted = self._sigmoid(linear)
            self.loss = self._log_loss(y, y_predicted)
            dw = (1 / n_samples) * np.dot(X.T, (y_predicted - y))
            db = (1 / n_samples) * np.sum(y_predicted - y)
            self.weights -= self.lr * dw
            self.bias -= self.lr * db
            self.losses.append(self.loss)

    def predict(self, X):
        return (self._sigmoid(X @ self.weights + self.bias) > 0.5).astype(int)

    def _sigmoid(self, x):
        return 1 / (1 + np.exp(-x))

    def _log_loss(self, y, p):
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


if __name__ == "__main__":
    rng = np.random.RandomState(5)
    X = np.vstack([rng.normal(-1, 1, (15, 2)), rng.normal(1, 1, (15, 2))])
    y = np.array([0] * 15 + [1] * 15)
    clf = LogisticRegression()
    clf.fit(X, y)
    print("losses:", np.round(clf.losses, 4))
    print("accuracy:", np.mean(clf.predict(X) == y))
