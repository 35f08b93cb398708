import numpy as np

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, 25)
y = 0.8 * x + rng.normal(0, 0.2, 25)

results = {}
for lr in [0.01, 0.1, 0.3]:
    m = 0.0
    for step in range(5):
        error = m * x - y
        loss = (error ** 2).mean()
        m -= lr * 2 * (error * x).mean()
    results[lr] = loss
    print(f"lr={lr}: m={m:.4f} loss={loss:.4f}")

best = min(results, key=results.get)
print("best learning rate:", best)
