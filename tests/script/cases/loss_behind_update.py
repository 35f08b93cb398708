import numpy as np

np.random.seed(0)
X = 2 * np.random.rand(50, 1)
y = 4 + 3 * X + np.random.randn(50, 1)

X_b = np.c_[np.ones((50, 1)), X]
eta = 0.1
n_iterations = 6
m = len(X_b)
theta = np.random.randn(2, 1)
cost_history = []

for iteration in range(n_iterations):
    gradients = 2 / m * X_b.T.dot(X_b.dot(theta) - y)
    theta = theta - eta * gradients
    cost = np.mean((X_b.dot(theta) - y) ** 2)
    cost_history.append(cost)
    if iteration % 2 == 0:
        print(iteration, cost)

print("theta:", theta.ravel())
