from collections import defaultdict
from typing import NamedTuple

import torch
from torch import nn


class Batch(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


class Experiment:
    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.ModuleDict({"body": nn.Linear(2, 4), "head": nn.Linear(4, 1)})
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)
        x = torch.randn(12, 2)
        self.batches = [Batch(a, a.sum(1, keepdim=True)) for a in x.split(4)]
        self.metrics = defaultdict(list)

    def forward(self, x):
        return self.model["head"](torch.tanh(self.model["body"](x)))

    def _step(self, batch):
        prediction = self.forward(batch.x)
        loss = nn.functional.mse_loss(prediction, batch.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _run_epoch(self):
        self.model.train()
        losses = [self._step(batch) for batch in self.batches]
        return sum(losses) / len(losses)

    def run(self, epochs):
        for epoch in range(epochs):
            mean = self._run_epoch()
            self.metrics["loss"].append(mean)
            print(f"epoch {epoch:>2} loss {mean:.6f}")


Experiment(seed=3).run(3)
