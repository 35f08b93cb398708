import argparse

import torch
from torch import nn


def get_device(no_cuda):
    if not no_cuda and torch.cuda.is_available():
        return torch.device("cuda:0")
    return torch.device("cpu")


def train(args, device):
    net = nn.Linear(3, 1).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
    scaler = torch.cuda.amp.GradScaler(enabled=device.type == "cuda")
    x = torch.randn(16, 3).to(device)
    y = x.sum(dim=1, keepdim=True)
    for epoch in range(1, args.epochs + 1):
        optimizer.zero_grad()
        with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=args.amp):
            pred = net(x)
            loss = nn.functional.mse_loss(pred.float(), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if device.type == "cuda":
            torch.cuda.synchronize()
        print(f"{epoch} {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--no-cuda", action="store_true")
    parser.add_argument("--amp", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(3)
    train(args, get_device(args.no_cuda))
