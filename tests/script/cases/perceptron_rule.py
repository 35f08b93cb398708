import numpy as np

rng = np.random.default_rng(6)
X = np.vstack([rng.normal(2, 1, (8, 2)), rng.normal(-2, 1, (8, 2))])
labels = np.array([1] * 8 + [-1] * 8)

w = np.zeros(2)
b = 0.0
errors = 1
n = 0
while errors > 0 and n < 10:
    errors = 0
    for xi, yi in zip(X, labels):
        margin = yi * (w @ xi + b)
        hinge = max(0.0, -margin)
        if margin <= 0:
            w = w + 0.1 * yi * xi
            b = b + 0.1 * yi
            errors += 1
    n += 1
    print("pass", n, "errors", errors)

