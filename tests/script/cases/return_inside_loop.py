import numpy as np


def newton_like(f, df, start, lr=0.1, tol=1e-2, max_iter=100):
    x = start
    for it in range(max_iter):
        cost = f(x)
        slope = df(x)
        if abs(slope) < tol:
            return x, it
        x = x - lr * slope
    return x, max_iter


x_min, n = newton_like(lambda x: (x - 3) ** 2, lambda x: 2 * (x - 3), start=np.float64(3.05))
print(f"found {x_min:.6f} after {n} iterations")
