"""The loss by epoch as lines of text, drawn by plotext.

Knows a curve and the changes of a run; nothing of Textual. What goes to plotext is scaled
to 0 … 1 first and finite, because its core ends the whole process on an infinity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tutor.training.frame import Change, Curve
from tutor.ui.digits import number

LOG_FROM = 20.0
"""Greatest over least loss from which the scale is logarithmic."""

MIN_WIDTH, MIN_HEIGHT = 20, 4
ALIKE = 1e-12
"""A relative spread below which a curve is a flat line."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of a curve and the words that explain it."""

    rows: tuple[str, ...]
    scale: str
    """`log scale`, `linear scale` or "" if there is nothing to draw."""
    gaps: int
    """Columns that can't be drawn: their loss is NaN or infinite."""


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    log: bool

    def of(self, loss: float) -> float:
        """The loss as a height from 0 to 1."""
        if self.high == self.low:
            return 0.5
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, loss))
        # Halved first: the difference of two huge numbers must not overflow.
        return (at / 2 - low / 2) / (high / 2 - low / 2)

    def ticks(self, rows: int) -> Iterator[tuple[float, str]]:
        """Heights and what is written beside them: bottom, middle (if there is room) and top."""
        if self.high == self.low:
            yield 0.5, number(self.low, 4)
            return
        for at in (0.0, 0.5, 1.0) if rows >= 5 else (0.0, 1.0):
            if self.log:
                exponents = math.log10(self.low), math.log10(self.high)
                value = 10 ** (exponents[0] * (1 - at) + exponents[1] * at)
            else:
                value = self.low * (1 - at) + self.high * at
            yield at, number(value, 3)


def draw(
    curve: Curve, changes: Sequence[Change], width: int, height: int, ascii_only: bool
) -> Chart:
    """The curve in so many cells, with a line where something was changed and a point at `here`."""
    points = [
        (epoch, low, high)
        for epoch, low, high in zip(curve.epochs, curve.low, curve.high, strict=True)
        if math.isfinite(low) and math.isfinite(high)
    ]
    gaps = len(curve.epochs) - len(points)
    if not points or width < MIN_WIDTH or height < MIN_HEIGHT:
        return Chart((), "", gaps)
    low, high = min(p[1] for p in points), max(p[2] for p in points)
    if high - low <= ALIKE * max(abs(low), abs(high)):
        high = low
    scale = _Scale(low, high, low > 0 and high / low >= LOG_FROM)
    rows = _plotted(curve, points, changes, scale, (width, height), ascii_only)
    return Chart(rows, "log scale" if scale.log else "linear scale", gaps)


def _plotted(
    curve: Curve,
    points: Sequence[tuple[int, float, float]],
    changes: Sequence[Change],
    scale: _Scale,
    size: tuple[int, int],
    ascii_only: bool,
) -> tuple[str, ...]:
    # Lazy: plotext takes a quarter of a second to load, and the first paint comes before.
    import plotext  # noqa: PLC0415

    first, last = curve.epochs[0], max(curve.last_epoch, curve.epochs[0] + 1)
    figure = plotext.figure
    plotext.terminal.limit(False, False)
    figure.clear.all()
    figure.plot_size(*size)
    figure.canvas("default")
    figure.axes(False, axis=(0, 1), side=1)
    ticks = list(scale.ticks(size[1] - 2))
    figure.ruler("y").lim(0, 1).ticks([t[0] for t in ticks], labels=[t[1] for t in ticks])
    epochs = sorted({first, (first + last) // 2, last})
    figure.ruler("x").lim(first, last).ticks(epochs, labels=[str(e) for e in epochs])
    for epoch in sorted({c.at.epoch for c in changes}):
        if first < epoch < last:
            figure.line(epoch, orientation=1)
    xs, ys = _zigzag(points, scale)
    figure.draw(figure.signal(xs, ys, marker="*" if ascii_only else "braille").lines(True))
    here = next((p for p in reversed(points) if p[0] <= curve.here), None)
    column = max((e for e in curve.epochs if e <= curve.here), default=None)
    if here is not None and here[0] == column:
        mark = "O" if ascii_only else "●"
        at = [min(max(curve.here, first), last)], [scale.of(here[1])]
        figure.draw(figure.signal(*at, marker=mark))
    return tuple(figure.build().string(colorless=True).rstrip("\n").split("\n"))


def _zigzag(
    points: Sequence[tuple[int, float, float]], scale: _Scale
) -> tuple[list[int], list[float]]:
    """Least and greatest of each column as one line that loses no spike."""
    xs: list[int] = []
    ys: list[float] = []
    for epoch, low, high in points:
        for loss in (low,) if low == high else (high, low):
            xs.append(epoch)
            ys.append(scale.of(loss))
    return xs, ys
