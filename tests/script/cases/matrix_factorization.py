import random
import numpy as np

random.seed(4)
np.random.seed(4)
ratings = [(u, i, (u * i) % 5 + 1) for u in range(4) for i in range(3)]
K = 2
P = np.random.rand(4, K)
Q = np.random.rand(3, K)
gamma, lam = 0.05, 0.02

for epoch in range(3):
    random.shuffle(ratings)
    total = 0.0
    for u, i, r in ratings:
        r_hat = P[u] @ Q[i]
        err = r - r_hat
        loss = err ** 2
        total += loss
        pu = P[u].copy()
        P[u] += gamma * (err * Q[i] - lam * P[u])
        Q[i] += gamma * (err * pu - lam * Q[i])
    print("epoch", epoch, "rmse", np.sqrt(total / len(ratings)))

