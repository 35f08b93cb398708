"""Canned plots and curves: what the child would have computed, in plain arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tutor.protocol.frame import Change, Curve, Element, Position
from tutor.protocol.inspections import (
    ContourPlot,
    DataPlot,
    GradientNormPlot,
    PlanePlot,
    RunInfo,
    SlopePlot,
)


def spread(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(low + (high - low) * i / (count - 1) for i in range(count))


def curve(*losses: float, here: int | None = None) -> Curve:
    epochs = tuple(range(1, len(losses) + 1))
    return Curve(epochs, losses, losses, len(losses), here or len(losses))


def falling(epochs: int, rate: float, here: int | None = None, columns: int = 70) -> Curve:
    """A loss that falls by `rate` each epoch, thinned to so many columns."""
    starts = sorted({1 + i * epochs // columns for i in range(columns)} & set(range(1, epochs + 1)))
    ends = [*(s - 1 for s in starts[1:]), epochs]
    high = tuple(30.0 * math.exp(-rate * s) + 0.01 for s in starts)
    low = tuple(30.0 * math.exp(-rate * e) + 0.01 for e in ends)
    return Curve(tuple(starts), low, high, epochs, here or epochs)


def run(name: str, curve: Curve | None, **more: object) -> RunInfo:
    told: dict[str, object] = {
        "mode": "autograd",
        "device": "cpu",
        "learning_rate": 0.01,
        "seed": 0,
        "last_epoch": curve.last_epoch if curve else 0,
        "loss": curve.high[-1] if curve else math.nan,
        "curve": curve,
    }
    return RunInfo(name=name, **{"letter": name[:1].upper(), **told, **more})  # type: ignore[arg-type]


GHOSTS = (
    run("current", None, is_current=True),
    run("A", falling(160, 0.02), mode="manual"),
    run("high rate", falling(80, 0.1), learning_rate=0.05),
    run("low rate", falling(240, 0.008), learning_rate=0.002),
)

CHANGES = (
    Change(Position(20, 5), learning_rate=0.02),
    Change(Position(40, 5), mode="manual"),
    Change(Position(40, 5), learning_rate=0.03),
    Change(Position(60, 5), device="cuda"),
    Change(Position(64, 5), element=Element("w", (0, 1), 0.5)),
    Change(Position(90, 5), seed=7),
    Change(Position(110, 5), mode="optimizer"),
    Change(Position(150, 5), learning_rate=0.001),
)

XS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0)
NOISE = (0.8, -1.5, 1.2, 0.4, -2.0, 1.5, -0.5)


def gradient_norm(*norms: float, **more: object) -> GradientNormPlot:
    """The norms of epoch 1, 2 …; the run stands at the last."""
    count = len(norms)
    told: dict[str, object] = {"last_epoch": count, "here": count, "is_whole": True}
    epochs = tuple(range(1, count + 1))
    return GradientNormPlot(epochs=epochs, norms=norms, **told | more)  # type: ignore[arg-type]


def data(w: float = 1.2, b: float = 1.0) -> DataPlot:
    line_xs = spread(min(XS), max(XS), 60)
    return DataPlot(
        input="x",
        target="y",
        prediction="y_pred",
        xs=XS,
        targets=tuple(2 * x + n for x, n in zip(XS, NOISE, strict=True)),
        predictions=tuple(w * x + b for x in XS),
        line_xs=line_xs,
        line=tuple(w * x + b for x in line_xs),
    )


def bowl(w: float) -> float:
    return 7.5 * (w - 2) ** 2


def slope(w: float = 0.3, rate: float = 0.01, **more: object) -> SlopePlot:
    xs = spread(-1.0, 5.0, 121)
    gradient = 15.0 * (w - 2)
    after = w - rate * gradient
    told: dict[str, object] = {
        "axis": "w",
        "xs": xs,
        "losses": tuple(map(bowl, xs)),
        "at": w,
        "loss": bowl(w),
        "slope": gradient,
        "next_at": after,
        "next_loss": bowl(after),
        "is_done": False,
    }
    return SlopePlot(**{**told, **more})  # type: ignore[arg-type]


def _grid(
    z: Callable[[float, float], float], xs: Sequence[float], ys: Sequence[float]
) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(z(x, y) for x in xs) for y in ys)


def valley(w: float, b: float) -> float:
    return 12 * (w - 2) ** 2 + 8 * (w - 2) * (b + 1) + 2 * (b + 1) ** 2 + 0.02


def contour(steps: int = 12, rate: float = 0.03, **more: object) -> ContourPlot:
    xs, ys = spread(-1.0, 5.0, 41), spread(-6.0, 6.0, 31)
    path = [(0.0, 4.0)]
    for _ in range(steps):
        w, b = path[-1]
        dw, db = 24 * (w - 2) + 8 * (b + 1), 8 * (w - 2) + 4 * (b + 1)
        path.append((w - rate * dw, b - rate * db))
    told: dict[str, object] = {
        "axes": ("w", "b"),
        "xs": xs,
        "ys": ys,
        "losses": _grid(valley, xs, ys),
        "path": tuple(path[:-1]),
        "at": path[-2],
        "loss": valley(*path[-2]),
        "gradient": (1.0, 1.0),
        "next_at": path[-1],
        "is_done": False,
    }
    return ContourPlot(**{**told, **more})  # type: ignore[arg-type]


def plane(slope: float = 8.0) -> PlanePlot:
    xs = ys = spread(-0.25, 1.25, 31)

    def output(a: float, b: float) -> float:
        return 1 / (1 + math.exp(-slope * (abs(a - b) - 0.5)))

    points = ((0.0, 0.0, 0.0), (0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0))
    return PlanePlot(
        axes=("x[0]", "x[1]"),
        prediction="o2",
        xs=xs,
        ys=ys,
        outputs=_grid(output, xs, ys),
        points=points,
    )
