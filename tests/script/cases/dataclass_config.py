from dataclasses import dataclass

import numpy as np


@dataclass
class Config:
    lr: float = 0.2
    l2: float = 0.1
    epochs: int = 5
    seed: int = 0


def ridge(cfg: Config) -> np.ndarray:
    rng = np.random.default_rng(cfg.seed)
    X = rng.normal(size=(20, 4))
    y = X @ rng.normal(size=4)
    beta = np.zeros(4)
    for epoch in range(cfg.epochs):
        fitted = X @ beta
        penalty = cfg.l2 * (beta ** 2).sum()
        loss = np.mean((fitted - y) ** 2) + penalty
        gradient = 2 * X.T @ (fitted - y) / len(y) + 2 * cfg.l2 * beta
        beta = beta - cfg.lr * gradient
        print(f"{epoch=} {loss=:.6f}")
    return beta


print(ridge(Config(epochs=4)))
