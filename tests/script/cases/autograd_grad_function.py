"""Rosenbrock's valley, walked down with torch.autograd.grad."""
import torch


def rosenbrock(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def descend(start, rate=1e-3, n=7):
    p = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    path = []
    for _ in range(n):
        value = rosenbrock(p)
        (g,) = torch.autograd.grad(value, p)
        with torch.no_grad():
            p -= rate * g
        path.append(value.item())
    return p.detach(), path


if __name__ == "__main__":
    end, values = descend([-1.0, 1.5])
    for k, v in enumerate(values):
        print(f"{k:2d} {v:.6f}")
    print("end:", end.tolist())
