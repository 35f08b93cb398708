# stochastic gradient descent: the weights change after every single sample
import numpy as np

np.random.seed(0)
inputs = np.random.uniform(-1, 1, (8, 2))
outputs = inputs @ [2.0, -1.0] + 0.5

w = np.zeros(2)
b = 0.0
lr = 0.1

for epoch in range(1, 4):
    sse = 0
    for x, target in zip(inputs, outputs):
        y = np.dot(w, x) + b
        err = y - target
        sse += err ** 2
        w -= lr * 2 * err * x
        b -= lr * 2 * err
    print("Epoch", epoch, "SSE", sse)

print(w, b)
