"""The output of `tutor run`: for people, as CSV, or as lines of JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import numpy as np

from tutor.analysis.mode_comparison import GradientRow, GradientTable
from tutor.protocol.inspections import FINITE_DIFFERENCE
from tutor.training.readings import Reading
from tutor.training.series import SeriesTable, named

Array = np.ndarray[Any, Any]

MOST_SHOWN = 64
"""Elements of an array that are printed in text; of a larger one, a summary."""

MOST_COMPARED = 16
"""Elements of a gradient that a comparison prints in text: more can't be compared by eye."""

_COMPARISON_COLUMNS = ("epoch", "parameter", "element", "mode", "gradient", "ratio", "verdict")


def figures_writer(form: str, out: TextIO) -> Callable[[Reading], None]:
    """Return a function that writes the figures of one epoch as text, csv or jsonl, at once."""
    if form == "csv":
        table = SeriesTable(out)

        def write_row(reading: Reading) -> None:
            table.write(reading)
            out.flush()

        return write_row
    line_of = _figures_text if form == "text" else _figures_json
    return lambda reading: print(line_of(reading), file=out, flush=True)


def comparison_writer(form: str, out: TextIO) -> Callable[[GradientTable], None]:
    """Return a function that writes the comparison of one epoch as text, csv or jsonl."""
    if form == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COMPARISON_COLUMNS)
    note = ""

    def write(found: GradientTable) -> None:
        nonlocal note
        if form == "csv":
            writer.writerows(_comparison_rows(found))
        elif form == "jsonl":
            for row in found.rows:
                print(_comparison_json(found.epoch, row), file=out)
        else:
            if found.note not in ("", note):
                print(f"({found.note})", file=out)
            note = found.note
            for line in _comparison_text(found):
                print(line, file=out)
        out.flush()

    return write


# ── The figures of an epoch ─────────────────────────────────────────────────────────


def _figures_text(reading: Reading) -> str:
    """One aligned line: `epoch`, `loss`, each value and each gradient."""
    parts = [f"epoch {reading.epoch:>5}", f"loss {reading.loss:<12.8g}"]
    for name, value in reading.values.items():
        parts.append(f"{name} {_short(value)}")
        parts.append(f"gradient {_short(reading.gradients[name])}")
    return "  ".join(parts).rstrip()


def _figures_json(reading: Reading) -> str:
    """An object; NaN and infinities are strings, arrays nested lists."""
    return _json_line(
        {
            "epoch": reading.epoch,
            "loss": named(reading.loss),
            "values": {name: _nested(value) for name, value in reading.values.items()},
            "gradients": {name: _nested(value) for name, value in reading.gradients.items()},
        }
    )


def _short(array: Array | None) -> str:
    if array is None or array.size <= MOST_SHOWN:
        return _digits(array)
    shape = "×".join(map(str, array.shape))
    figures = {
        "mean": array.mean(dtype=np.float64),
        "norm": np.linalg.norm(array.ravel().astype(np.float64)),
        "min": array.min(),
        "max": array.max(),
    }
    return f"({shape}: {', '.join(f'{name} {figure:.6g}' for name, figure in figures.items())})"


# ── The gradients of all modes ──────────────────────────────────────────────────────


def _comparison_text(found: GradientTable) -> Iterator[str]:
    """For each parameter the verdict, then a line for each mode's gradient."""
    for row in found.rows:
        yield f"epoch {found.epoch}, {row.parameter}: {row.diagnosis.verdict}"
        names = {mode: mode.replace("_", " ") for mode in row.gradients}
        width = max(map(len, names.values()))
        for mode, gradient in row.gradients.items():
            yield f"    {names[mode]:<{width}}  {_first(gradient)}"


def _comparison_rows(found: GradientTable) -> Iterator[tuple[object, ...]]:
    """In long form: a row for each parameter, mode and element.

    Nothing stands where there is no gradient, or finite differences did not check it.
    """
    for row in found.rows:
        for mode, gradient in row.gradients.items():
            ratio = row.diagnosis.ratio.get(mode, "")
            for element, number in _elements(gradient, _has_gaps(row, mode)):
                yield (found.epoch, row.parameter, element, mode, number, ratio,
                       row.diagnosis.verdict)  # fmt: skip


def _comparison_json(epoch: int, row: GradientRow) -> str:
    """An object; null stands where there is no gradient, or it was not checked."""
    gradients = {mode: _nested(g, _has_gaps(row, mode)) for mode, g in row.gradients.items()}
    return _json_line(
        {
            "epoch": epoch,
            "parameter": row.parameter,
            "gradients": gradients,
            "ratio": row.diagnosis.ratio,
            "verdict": row.diagnosis.verdict,
        }
    )


def _has_gaps(row: GradientRow, mode: str) -> bool:
    """Whether a NaN in this gradient means that finite differences did not check it."""
    checked, size = row.checked
    return mode == FINITE_DIFFERENCE and checked < size


def _elements(gradient: Array | None, has_gaps: bool) -> Iterator[tuple[str, object]]:
    if gradient is None:
        yield "", ""
        return
    for index in np.ndindex(gradient.shape):
        number = _nested(gradient[index], has_gaps)
        yield ",".join(map(str, index)), "" if number is None else str(number)


def _first(gradient: Array | None) -> str:
    """The first elements of a large gradient, all of a small one."""
    if gradient is None or gradient.size <= MOST_COMPARED:
        return _digits(gradient)
    first = _digits(gradient.ravel()[: MOST_COMPARED // 2]).rstrip("]")
    return f"{first}, ... {gradient.size} elements]"


# ── Numbers ─────────────────────────────────────────────────────────────────────────


def _digits(array: Array | None) -> str:
    if array is None:
        return "None"
    if array.shape:
        return "[" + ", ".join(map(_digits, array)) + "]"
    return f"{array.item():.6g}"


def _nested(array: Array | None, has_gaps: bool = False) -> Any:
    """Nested lists of numbers, as JSON has them; None for NaN where it `has_gaps`."""
    if array is None:
        return None
    if array.shape:
        return [_nested(part, has_gaps) for part in array]
    number = array.item()
    return None if has_gaps and np.isnan(number) else named(number)


def _json_line(shown: dict[str, Any]) -> str:
    return json.dumps(shown, allow_nan=False, ensure_ascii=False)
