import math
import random


class Value:
    """A scalar that remembers how it was made."""

    def __init__(self, data, parents=(), op=""):
        self.data = data
        self.grad = 0.0
        self._parents = parents
        self._op = op
        self._backward = lambda: None

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other), "+")

        def _backward():
            self.grad += out.grad
            other.grad += out.grad

        out._backward = _backward
        return out

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other), "*")

        def _backward():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = _backward
        return out

    def tanh(self):
        t = math.tanh(self.data)
        out = Value(t, (self,), "tanh")

        def _backward():
            self.grad += (1 - t * t) * out.grad

        out._backward = _backward
        return out

    def __sub__(self, other):
        return self + (other if isinstance(other, Value) else Value(other)) * -1

    __radd__ = __add__
    __rmul__ = __mul__

    def backward(self):
        order, seen = [], set()

        def visit(v):
            if v not in seen:
                seen.add(v)
                for p in v._parents:
                    visit(p)
                order.append(v)

        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            v._backward()


random.seed(1337)
w1, w2, b = (Value(random.uniform(-1, 1)) for _ in range(3))
data = [((2.0, 3.0), 1.0), ((-1.0, -1.5), -1.0), ((0.5, 1.0), 1.0), ((1.0, -2.0), -1.0)]

for k in range(6):
    ypred = [(w1 * x[0] + w2 * x[1] + b).tanh() for x, _ in data]
    loss = sum((yout - y) * (yout - y) for yout, (_, y) in zip(ypred, data))

    for p in (w1, w2, b):
        p.grad = 0.0
    loss.backward()

    for p in (w1, w2, b):
        p.data += -0.1 * p.grad

    print(k, round(loss.data, 10))

