import sys

w = 5.0
if len(sys.argv) < 2:
    print("usage: train.py FILE")
    sys.exit()
for epoch in range(3):
    loss = w ** 2
    grad = 2 * w
    w = w - 0.1 * grad
print(w)
