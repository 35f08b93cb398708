import numpy as np

rng = np.random.default_rng(0)
A = rng.normal(size=(15, 3))
t = A @ np.array([1.0, -2.0, 0.5])

def mse(w):
    r = A @ w - t
    return (r @ r) / len(t)

def gradient(w):
    return 2 * A.T @ (A @ w - t) / len(t)

w = np.zeros(3)
iteration = 0
g = gradient(w)
while np.linalg.norm(g) > 0.5 and iteration < 50:
    w -= 0.2 * g
    loss = mse(w)
    g = gradient(w)
    iteration += 1
    print(iteration, round(loss, 5))

print(w)
