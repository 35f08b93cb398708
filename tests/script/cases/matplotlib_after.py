import numpy as np
import matplotlib.pyplot as plt

np.random.seed(2)
x = np.linspace(0, 5, 20)
y = 1.5 * x + np.random.randn(20)

m, c = 0.0, 0.0
L = 0.01
losses = []
for i in range(6):
    Y_pred = m * x + c
    loss = np.mean((y - Y_pred) ** 2)
    losses.append(loss)
    D_m = (-2 / len(x)) * sum(x * (y - Y_pred))
    D_c = (-2 / len(x)) * sum(y - Y_pred)
    m = m - L * D_m
    c = c - L * D_c
    print("Iteration", i, "m =", m, "c =", c)

plt.figure(figsize=(6, 3))
plt.plot(losses, label="loss")
plt.legend()
plt.show()
print("plotted", len(losses), "losses")
