import sys
import torch


def main() -> int:
    w: torch.Tensor = torch.tensor(4.0, requires_grad=True)
    opt = torch.optim.SGD([w], lr=0.2)

    def objective():
        return (w - 1) ** 2

    n: int = 0
    while (loss := objective()) > 0.5:
        opt.zero_grad()
        loss.backward()
        opt.step()
        n += 1
        value: float = loss.item()
        print(n, value)
    return 0 if n else 1


if __name__ == "__main__":
    if main() != 0:
        sys.exit(1)
