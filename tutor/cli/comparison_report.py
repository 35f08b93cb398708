"""The output of `tutor run --compare`: for people, as CSV, or as lines of JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from tutor.plain import json_number
from tutor.protocol.frame import NONE, Value
from tutor.protocol.inspections import FINITE_DIFFERENCE, ModeComparison, ParameterComparison
from tutor.wording.inspections import diagnosis, remarks_text

MOST_SHOWN = 16
"""Elements of a gradient that are printed in text: more can't be compared by eye."""

_COLUMNS = ("epoch", "parameter", "element", "mode", "gradient", "ratio", "verdict")


def comparison_writer(
    form: str, write: Callable[[str], object]
) -> Callable[[ModeComparison], object]:
    """Return a function that writes the comparison of one epoch as text, csv or jsonl."""
    if form == "jsonl":
        return lambda found: write(
            "".join(_json(found.epoch, row) + "\n" for row in found.agreements)
        )
    if form == "csv":
        write(_csv([_COLUMNS]))
        return lambda found: write(_csv(_rows(found)))
    note = ""

    def write_text(found: ModeComparison) -> None:
        nonlocal note
        before, note = note, remarks_text(found.notes)
        lines = [f"({note})"] if note not in ("", before) else []
        write("".join(line + "\n" for line in [*lines, *_text(found)]))

    return write_text


def _text(found: ModeComparison) -> Iterator[str]:
    """The diagnosis of each parameter, then a line for each mode's gradient."""
    for row in found.agreements:
        yield f"epoch {found.epoch}, {row.parameter}: {diagnosis(row)}"
        names = {mode: mode.replace("_", " ") for mode in row.gradients}
        width = max(map(len, names.values()))
        for mode, gradient in row.gradients.items():
            yield f"    {names[mode]:<{width}}  {_first(gradient)}"


def _first(gradient: Value) -> str:
    """The first elements of a large gradient, all of a small one."""
    if gradient == NONE:
        return "None"
    if gradient.size <= MOST_SHOWN:
        return _digits(_nested(gradient.data, gradient.shape))
    first = ", ".join(map(_digits, gradient.data[: MOST_SHOWN // 2]))
    return f"[{first}, ... {gradient.size} elements]"


def _digits(numbers: Any) -> str:
    if isinstance(numbers, list):
        return f"[{', '.join(map(_digits, numbers))}]"
    return f"{numbers:.6g}"


def _rows(found: ModeComparison) -> Iterator[tuple[object, ...]]:
    """In long form: a row for each parameter, mode and element.

    Nothing stands where there is no gradient, or finite differences did not check it.
    """
    for row in found.agreements:
        for mode, gradient in row.gradients.items():
            ratio = row.ratio.get(mode, "")
            for flat, number in enumerate((math.nan,) if gradient == NONE else gradient.data):
                element = ",".join(map(str, _place(flat, gradient.shape)))
                is_empty = gradient == NONE or _is_gap(number, row, mode)
                shown = "" if is_empty else str(json_number(number))
                yield found.epoch, row.parameter, element, mode, shown, ratio, diagnosis(row)


def _place(flat: int, shape: tuple[int, ...]) -> list[int]:
    places: list[int] = []
    for length in reversed(shape):
        flat, place = divmod(flat, length)
        places.insert(0, place)
    return places


def _json(epoch: int, row: ParameterComparison) -> str:
    """An object; null stands where there is no gradient, or it was not checked."""
    gradients = {
        mode: None
        if gradient == NONE
        else _nested(
            [None if _is_gap(x, row, mode) else json_number(x) for x in gradient.data],
            gradient.shape,
        )
        for mode, gradient in row.gradients.items()
    }
    shown = {
        "epoch": epoch,
        "parameter": row.parameter,
        "gradients": gradients,
        "ratio": row.ratio,
        "verdict": diagnosis(row),
    }
    return json.dumps(shown, allow_nan=False, ensure_ascii=False)


def _is_gap(number: float, row: ParameterComparison, mode: str) -> bool:
    """Whether it is a NaN where finite differences did not check an element."""
    is_sampled = any(remark.code == "sampled" for remark in row.remarks)
    return mode == FINITE_DIFFERENCE and is_sampled and math.isnan(number)


def _nested(numbers: Any, shape: tuple[int, ...]) -> Any:
    """The numbers, row by row, as nested lists; the number itself where there is no axis."""
    if not shape:
        return numbers[0]
    size = math.prod(shape[1:])
    return [
        _nested(numbers[start : start + size], shape[1:])
        for start in range(0, size * shape[0], size or 1)
    ]


def _csv(rows: Any) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
