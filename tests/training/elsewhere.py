"""A tensor that says it lives on a device which this machine has not got."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import torch


class Elsewhere(torch.Tensor):
    """One number, on a device that counts how often it is read."""

    readings: ClassVar[int] = 0

    @staticmethod
    def __new__(cls, number: float) -> Elsewhere:
        return torch.Tensor._make_subclass(cls, torch.tensor(number))

    def __init__(self, number: float) -> None:
        super().__init__()

    @property
    def device(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(type="elsewhere")

    def cpu(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        Elsewhere.readings += 1
        return super().cpu(*args, **kwargs).as_subclass(torch.Tensor)
