import argparse

import torch
import torch.nn as nn


def get_args():
    parser = argparse.ArgumentParser(description="Tiny regression")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true")
    return parser.parse_args()


def main():
    args = get_args()
    torch.manual_seed(args.seed)
    x = torch.rand(10, 1) * 2 - 1
    y = x ** 3
    model = nn.Sequential(nn.Linear(1, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        optimizer.zero_grad()
        output = model(x)
        loss = nn.functional.l1_loss(output, y)
        loss.backward()
        optimizer.step()
        if not args.quiet:
            print("epoch", epoch, "of", args.epochs, "loss", loss.item())


if __name__ == "__main__":
    main()
