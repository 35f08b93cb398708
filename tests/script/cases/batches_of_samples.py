"""Epochs over batches over samples, in plain Python."""
import random

random.seed(8)
dataset = [(random.random(), None) for _ in range(12)]
dataset = [(x, 4 * x - 1) for x, _ in dataset]

slope, intercept = 0.0, 0.0
rate = 0.3
BATCH = 4

for epoch in range(3):
    random.shuffle(dataset)
    epoch_error = 0.0
    for start in range(0, len(dataset), BATCH):
        batch = dataset[start:start + BATCH]
        grad_slope = 0.0
        grad_intercept = 0.0
        for x, y in batch:
            guess = slope * x + intercept
            error = guess - y
            epoch_error += error ** 2
            grad_slope += 2 * error * x / len(batch)
            grad_intercept += 2 * error / len(batch)
        slope = slope - rate * grad_slope
        intercept = intercept - rate * grad_intercept
    print("epoch", epoch, "mean squared error", epoch_error / len(dataset))

