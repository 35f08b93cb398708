import random

rnd = random.Random(10)
X = [[rnd.uniform(-1, 1) for _ in range(3)] for _ in range(10)]
Y = [2 * a - b + 0.5 * c for a, b, c in X]

weights = [0.0, 0.0, 0.0]
learning_rate = 0.5
n = len(X)


def predict(row):
    return sum(w * x for w, x in zip(weights, row))


for epoch in range(5):
    predictions = [predict(row) for row in X]
    errors = [p - y for p, y in zip(predictions, Y)]
    mse = sum(e * e for e in errors) / n
    gradient = [0.0] * len(weights)
    for row, e in zip(X, errors):
        for j, x in enumerate(row):
            gradient[j] += 2 * e * x / n
    for j in range(len(weights)):
        weights[j] -= learning_rate * gradient[j]
    if epoch % 2 == 0:
        print("epoch", epoch, "mse", round(mse, 6))
print(weights)
