import numpy as np

rng = np.random.default_rng(12)
points = rng.normal(size=(10, 2))
values = points @ np.array([1.0, 1.0])
values[3] = np.nan  # a broken measurement

coef = np.zeros(2)
for epoch in range(3):
    skipped = 0
    for p, v in zip(points, values):
        if np.isnan(v):
            skipped += 1
            continue
        e = p @ coef - v
        loss = e * e / 2
        coef -= 0.3 * e * p
    else:
        print("pass", epoch, "done, skipped", skipped)
else:
    print("all epochs done")
print(coef, loss)
