# The cost has a half in it, and so the gradient no 2.

import numpy as np
rng = np.random.default_rng(0)
X = rng.normal(size=(30, 3))
y = X @ np.array([1.0, -2.0, 3.0])
w, b, alpha, costs = np.zeros(3), 0.0, 0.1, []
for i in range(20):
    error = X.dot(w) + b - y
    cost = (1 / (2 * len(y))) * np.sum(error ** 2)
    costs.append(cost)
    w = w - alpha * (1 / len(y)) * X.T.dot(error)
    b = b - alpha * (1 / len(y)) * np.sum(error)
