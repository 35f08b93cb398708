"""Numbers over a plane: sampled at the dots of a canvas, and where they cross a level."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tutor.ui.plots.canvas import Canvas, Dot, Pen, Scale


@dataclass(frozen=True, slots=True)
class ScalarField:
    """A number at each crossing of `xs` and `ys` (both ascending): a row for each of `ys`."""

    xs: Sequence[float]
    ys: Sequence[float]
    rows: Sequence[Sequence[float]]

    def sampled(self, xs: Sequence[float], ys: Sequence[float]) -> list[list[float]]:
        """The numbers at other places, bilinearly between the four around each.

        A row for each of `ys`. NaN where one of the four is no finite number.
        """
        across, down = _between(self.xs, xs), _between(self.ys, ys)
        found = []
        for i, v in down:
            low, high = self.rows[i], self.rows[min(i + 1, len(self.ys) - 1)]
            # Each weight first: the difference of two huge numbers must not overflow.
            mixed = [a if a == b else a * (1 - v) + b * v for a, b in zip(low, high, strict=True)]
            last = len(mixed) - 1
            found.append([mixed[j] * (1 - u) + mixed[min(j + 1, last)] * u for j, u in across])
        return found


def _between(known: Sequence[float], wanted: Sequence[float]) -> list[tuple[int, float]]:
    """The known place before each wanted one, and the part of the way on to the next."""
    found = []
    for at in wanted:
        i = min(max(bisect_right(known, at) - 1, 0), max(len(known) - 2, 0))
        gap = known[min(i + 1, len(known) - 1)] - known[i]
        found.append((i, min(max((at - known[i]) / gap, 0.0), 1.0) if gap else 0.0))
    return found


def on_dots(field: ScalarField, canvas: Canvas, xs: Scale, ys: Scale) -> list[list[float]]:
    """The field at every dot of the canvas, the top row first."""
    across, down = canvas.dot_places()
    return field.sampled([xs.at(x) for x in across], [ys.at(y) for y in down])


def on_cells(field: ScalarField, canvas: Canvas, xs: Scale, ys: Scale) -> list[list[float]]:
    """The field in the middle of every cell of the canvas, the top row first."""
    across, down = canvas.cell_places()
    return field.sampled([xs.at(x) for x in across], [ys.at(y) for y in down])


def bands(numbers: Sequence[Sequence[float]], levels: Sequence[float]) -> list[list[int]]:
    """The number of levels (ascending) that each number has reached; -1 where it is no number."""
    return [[bisect_right(levels, x) if math.isfinite(x) else -1 for x in row] for row in numbers]


def borders(bands: Sequence[Sequence[int]]) -> list[tuple[Dot, int]]:
    """The dots at which one band ends, and the level that is crossed there (from 0)."""
    found = []
    for y, row in enumerate(bands):
        below = bands[y + 1] if y + 1 < len(bands) else row
        for x, band in enumerate(row):
            right = row[x + 1] if x + 1 < len(row) else band
            for other in (right, below[x]):
                if other != band and min(other, band) >= 0:
                    found.append(((x, y), max(other, band) - 1))
                    break
    return found


def draw_borders(canvas: Canvas, found: Sequence[tuple[Dot, int]], pen: Pen) -> None:
    """Those dots; a cell that showed a shade shows the line now."""
    for dot, _ in found:
        canvas.dot(dot, pen)
