"""How `tutor run` prints what it reads: for people, as csv, or as a line of JSON each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

import numpy as np

from tutor.training import series
from tutor.training.readings import Reading
from tutor.training.series import named

Array = np.ndarray[Any, Any]

MOST_SHOWN = 64
"""Elements of an array that are printed in text; of a larger one, a summary."""


class Report(Protocol):
    """Something that readings are written to, one after the other."""

    def write(self, reading: Reading) -> None:
        """Print one epoch."""


class TextReport:
    """One aligned line for each epoch."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, reading: Reading) -> None:
        """Print `epoch`, `loss`, each value and each gradient."""
        parts = [f"epoch {reading.epoch:>5}", f"loss {reading.loss:<12.8g}"]
        for name, value in reading.values.items():
            parts.append(f"{name} {_short(value)}")
            parts.append(f"gradient {_short(reading.gradients[name])}")
        print("  ".join(parts).rstrip(), file=self._out, flush=True)


class CsvReport:
    """A table: a header, then a row for each epoch."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._table = series.SeriesTable(out)

    def write(self, reading: Reading) -> None:
        """Print a row, at once."""
        self._table.write(reading)
        self._out.flush()


class JsonLinesReport:
    """One JSON object for each epoch: epoch, loss, values, gradients."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, reading: Reading) -> None:
        """Print an object; NaN and infinities are strings, arrays nested lists."""
        shown = {
            "epoch": reading.epoch,
            "loss": named(reading.loss),
            "values": {n: _json(v) for n, v in reading.values.items()},
            "gradients": {n: _json(v) for n, v in reading.gradients.items()},
        }
        print(json.dumps(shown, allow_nan=False, ensure_ascii=False), file=self._out, flush=True)


REPORTS: Mapping[str, Callable[[TextIO], Report]] = {
    "text": TextReport,
    "csv": CsvReport,
    "jsonl": JsonLinesReport,
}


def _json(array: Array | None) -> Any:
    if array is None:
        return None
    if not array.shape:
        return named(array.item())
    return [_json(row) for row in array]


def _short(array: Array | None) -> str:
    if array is None:
        return "None"
    return _summary(array) if array.size > MOST_SHOWN else _whole(array)


def _whole(array: Array) -> str:
    if not array.shape:
        return f"{array.item():.6g}"
    return "[" + ", ".join(map(_whole, array)) + "]"


def _summary(array: Array) -> str:
    """A large array's shape, mean, Euclidean norm, least and greatest number."""
    shape = "×".join(map(str, array.shape))
    figures = {
        "mean": array.mean(dtype=np.float64),
        "norm": np.linalg.norm(array.ravel().astype(np.float64)),
        "min": array.min(),
        "max": array.max(),
    }
    told = ", ".join(f"{name} {figure:.6g}" for name, figure in figures.items())
    return f"({shape}: {told})"
