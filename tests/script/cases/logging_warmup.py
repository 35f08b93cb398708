import logging
import sys
import time

import torch
from torch import nn

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout, force=True)
log = logging.getLogger("train")


def lr_lambda(step, warmup=3):
    return min(1.0, (step + 1) / warmup)


def train_epoch(model, optimizer, scheduler, batches, losses):
    for x, y in batches:
        out = model(x)
        loss = nn.functional.mse_loss(out, y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        scheduler.step()
        log.info("loss %.4f grad norm %.4f lr %.4f", loss.item(), grad_norm, scheduler.get_last_lr()[0])


def run(epochs: int = 2, seed: int = 5) -> list[float]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lr_lambda)
    data = torch.randn(9, 2)
    batches = list(zip(data.split(3), data.prod(1, keepdim=True).split(3)))
    losses: list[float] = []
    started = time.perf_counter()
    for epoch in range(epochs):
        train_epoch(model, optimizer, scheduler, batches, losses)
        elapsed = time.perf_counter() - started
        assert elapsed >= 0
    return losses


run()
