# Linear regression with gradient descent, NumPy only
import numpy as np

np.random.seed(42)
X = np.random.rand(20)
y = 3 * X + 2 + 0.1 * np.random.randn(20)

w = 0.0
b = 0.0
learning_rate = 0.1
n_epochs = 6

for epoch in range(n_epochs):
    # forward
    y_pred = w * X + b
    loss = np.mean((y_pred - y) ** 2)

    # gradients
    dw = 2 * np.mean((y_pred - y) * X)
    db = 2 * np.mean(y_pred - y)

    w = w - learning_rate * dw
    b = b - learning_rate * db

    if epoch % 2 == 0:
        print(f"epoch {epoch}: loss = {loss:.4f}")

print("w =", w, "b =", b)
