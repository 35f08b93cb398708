"""The output of `tutor run`: for people, as CSV, or as lines of JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

import numpy as np

from tutor.analysis.mode_comparison import GradientRow, GradientTable
from tutor.protocol.inspections import REFEREE
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


MOST_COMPARED = 16
"""Elements of a gradient that the table shows: more can't be compared by eye."""


class ComparisonReport(Protocol):
    """Something that comparisons are written to, one after the other."""

    def write(self, found: GradientTable) -> None:
        """Print one epoch."""


class ComparisonText:
    """For each epoch and parameter the verdict, then a line for each mode's gradient."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._note = ""

    def write(self, found: GradientTable) -> None:
        """Print the rows; the note only where it is another than before."""
        if found.note and found.note != self._note:
            print(f"({found.note})", file=self._out)
        self._note = found.note
        for row in found.rows:
            print(f"epoch {found.epoch}, {row.parameter}: {row.judgement.verdict}", file=self._out)
            names = {mode: mode.replace("_", " ") for mode in row.gradients}
            width = max(map(len, names.values()))
            for mode, gradient in row.gradients.items():
                print(f"    {names[mode]:<{width}}  {_short(gradient)}", file=self._out)
        self._out.flush()


class ComparisonCsv:
    """In long form: a row for each epoch, parameter, element and mode."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._writer = csv.writer(out, lineterminator="\n")
        columns = ["epoch", "parameter", "element", "mode", "gradient", "ratio", "verdict"]
        self._writer.writerow(columns)

    def write(self, found: GradientTable) -> None:
        """Print the rows; nothing stands where there is no gradient, or was not looked."""
        for row in found.rows:
            for mode, gradient in row.gradients.items():
                ratio = row.judgement.ratio.get(mode, "")
                for element, number in _elements(gradient, row, mode):
                    self._writer.writerow([found.epoch, row.parameter, element, mode, number,
                                           ratio, row.judgement.verdict])  # fmt: skip
        self._out.flush()


class ComparisonJsonLines:
    """One JSON object for each epoch and parameter."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, found: GradientTable) -> None:
        """Print the objects; NaN and infinities are strings, arrays nested lists.

        null stands where there is no gradient, or where the referee did not look.
        """
        for row in found.rows:
            gradients = {
                mode: None if gradient is None else _gradient_json(gradient, _blanks(row, mode))
                for mode, gradient in row.gradients.items()
            }
            shown = {
                "epoch": found.epoch,
                "parameter": row.parameter,
                "gradients": gradients,
                "ratio": row.judgement.ratio,
                "verdict": row.judgement.verdict,
            }
            print(json.dumps(shown, allow_nan=False, ensure_ascii=False), file=self._out)
        self._out.flush()


COMPARISONS: Mapping[str, Callable[[TextIO], ComparisonReport]] = {
    "text": ComparisonText,
    "csv": ComparisonCsv,
    "jsonl": ComparisonJsonLines,
}


def _blanks(row: GradientRow, mode: str) -> bool:
    """Whether a NaN in this gradient only means that nobody has looked."""
    looked, size = row.checked
    return mode == REFEREE and looked < size


def _gradient_json(array: Array, blanks: bool) -> Any:
    if array.shape:
        return [_gradient_json(part, blanks) for part in array]
    number = array.item()
    return None if blanks and np.isnan(number) else named(number)


def _elements(gradient: Array | None, row: GradientRow, mode: str) -> list[tuple[str, str]]:
    if gradient is None:
        return [("", "")]
    found = []
    for index in np.ndindex(gradient.shape):
        number = _gradient_json(gradient[index], _blanks(row, mode))
        found.append((",".join(map(str, index)), "" if number is None else str(number)))
    return found


def _short_gradient(gradient: Array | None) -> str:
    if gradient is None:
        return "None"
    if gradient.size <= MOST_COMPARED:
        return _digits(gradient)
    first = _digits(gradient.ravel()[: MOST_COMPARED // 2]).rstrip("]")
    return f"{first}, ... {gradient.size} elements]"


def _digits(array: Array) -> str:
    if array.shape:
        return "[" + ", ".join(map(_digits, array)) + "]"
    return f"{array.item():.6g}"
