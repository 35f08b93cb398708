# find the minimum of f(x) = x^4 - 3x^3 + 2
x = 6.0
gamma = 0.01
precision = 0.5


def df(x):
    return 4 * x ** 3 - 9 * x ** 2


previous_step = 1.0
iters = 0
while previous_step > precision and iters < 100:
    prev_x = x
    x = x - gamma * df(prev_x)
    previous_step = abs(x - prev_x)
    iters += 1
    print("Iteration", iters, "x =", x)

