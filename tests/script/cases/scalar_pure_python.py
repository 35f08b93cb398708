xs = [1.0, 2.0, 3.0, 4.0]
ys = [2.1, 3.9, 6.2, 7.8]

theta = 0.5
lr = 0.01
step = 0
prev = float("inf")

# keep going until the cost stops moving
while True:
    cost = 0.0
    grad = 0.0
    for x, y in zip(xs, ys):
        diff = theta * x - y
        cost += diff * diff / len(xs)
        grad += 2 * diff * x / len(xs)
    theta -= lr * grad
    step += 1
    if abs(prev - cost) < 1e-3:
        break
    prev = cost

print("stopped after", step, "steps, theta =", round(theta, 4))
