"""How `tutor run` prints what it reads: for people, as csv, or as a line of JSON each.

Knows readings and a stream; nothing of running.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

import numpy as np

from tutor.training.look import Reading

Array = np.ndarray[Any, Any]


class Report(Protocol):
    """Something that readings are written to, one after the other."""

    def write(self, reading: Reading) -> None:
        """Print one epoch."""


class Text:
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


class Csv:
    """A header, then a row for each epoch; an array has a column for each element."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._writer = csv.writer(out, lineterminator="\n")
        self._started = False

    def write(self, reading: Reading) -> None:
        """Print a row; `w1[0,1]` and `gradient of w1[0,1]` are columns."""
        values = _flat(reading.values, "")
        gradients = _flat(_like(reading.gradients, reading.values), "gradient of ")
        if not self._started:
            self._writer.writerow(["epoch", "loss", *values, *gradients])
            self._started = True
        numbers = [reading.loss, *values.values(), *gradients.values()]
        self._writer.writerow([reading.epoch, *map(_csv_number, numbers)])
        self._out.flush()


class JsonLines:
    """One JSON object for each epoch: epoch, loss, values, gradients."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, reading: Reading) -> None:
        """Print an object; NaN and infinities are strings, arrays nested lists."""
        shown = {
            "epoch": reading.epoch,
            "loss": _json_number(reading.loss),
            "values": {n: _json(v) for n, v in reading.values.items()},
            "gradients": {n: _json(v) for n, v in reading.gradients.items()},
        }
        print(json.dumps(shown, allow_nan=False, ensure_ascii=False), file=self._out, flush=True)


REPORTS: Mapping[str, Callable[[TextIO], Report]] = {
    "text": Text,
    "csv": Csv,
    "jsonl": JsonLines,
}


def _json(array: Array | None) -> Any:
    if array is None:
        return None
    if not array.shape:
        return _json_number(array.item())
    return [_json(row) for row in array]


def _json_number(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _short(array: Array | None) -> str:
    if array is None:
        return "None"
    if not array.shape:
        return f"{array.item():.6g}"
    return "[" + ", ".join(_short(row) for row in array) + "]"


def _like(gradients: Mapping[str, Array | None], values: Mapping[str, Array]) -> dict[str, Array]:
    """The gradients, NaN where there is none: a csv has the same columns in every row."""
    return {
        n: np.full(v.shape, np.nan) if (g := gradients[n]) is None else g for n, v in values.items()
    }


def _flat(arrays: Mapping[str, Array], prefix: str) -> dict[str, float]:
    """A column for each element, named by its index."""
    columns: dict[str, float] = {}
    for name, array in arrays.items():
        for index in np.ndindex(array.shape):
            place = f"[{','.join(map(str, index))}]" if index else ""
            columns[f"{prefix}{name}{place}"] = array[index].item()
    return columns


def _csv_number(number: float) -> str:
    return str(_json_number(number))
