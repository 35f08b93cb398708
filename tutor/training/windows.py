"""The range of an axis: it holds all that matters, and moves seldom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

Window: TypeAlias = tuple[float, float]

_MARGIN = 0.15
"""Of the breadth of what matters, on either side of it."""
_EDGE = 0.02
"""Of a window: nearer to its edge nothing is well inside."""
_TOO_WIDE = 50
"""A window so many times as wide as what matters is given up."""
_NARROWEST = 0.2
"""The least breadth, as a part of the number in its middle."""
_DOUBLINGS = 10


def window(points: Iterable[float], least: float | None = None) -> Window | None:
    """A window with all of these points in it that are finite, and a margin.

    `least` is its least breadth; unless given, a part of the number in its middle. None if
    no point is finite, or the breadth is not.
    """
    known = [p for p in points if math.isfinite(p)]
    if not known:
        return None
    low, high = min(known), max(known)
    middle = low / 2 + high / 2
    least = _NARROWEST * max(abs(middle), 0.1) if least is None else least
    half = max(high - low, least) * (0.5 + _MARGIN)
    found = (middle - half, middle + half)
    return found if all(map(math.isfinite, found)) and found[0] < found[1] else None


def still_good(before: Iterable[Sequence[float]], wanted: Iterable[Window]) -> bool:
    """Whether what was shown before (the places on each axis, ascending) will do for these.

    All that matters has to be well inside, and at least on one axis fill more than a speck.
    """
    pairs = [((old[0], old[-1]), new) for old, new in zip(before, wanted, strict=True)]
    return all(_is_well_inside(*pair) for pair in pairs) and any(
        (old[1] - old[0]) <= _TOO_WIDE * (new[1] - new[0]) for old, new in pairs
    )


def _is_well_inside(before: Window, wanted: Window) -> bool:
    """Whether what matters (a window without its margins) is."""
    edge = _EDGE * (before[1] - before[0])
    margin = _MARGIN * (wanted[1] - wanted[0]) / (1 + 2 * _MARGIN)
    inside = before[0] + edge <= wanted[0] + margin
    return inside and wanted[1] - margin <= before[1] - edge


def lowest(loss: Callable[[float], float], at: float, reach: float) -> float | None:
    """About where the loss is least, downhill from `at`; None if that is far, or nowhere.

    Goes downhill in steps that double, from `reach` on, until the loss rises, and takes the
    vertex of the parabola through the last three places: exact where the loss is quadratic.
    """
    here, left, right = loss(at), loss(at - reach), loss(at + reach)
    if left >= here <= right:
        return _vertex((at - reach, left), (at, here), (at + reach, right))
    reach = reach if right < left else -reach
    places = [(at, here), (at + reach, min(left, right))]
    for _ in range(_DOUBLINGS):
        reach *= 2
        places.append((at + reach, loss(at + reach)))
        if places[-1][1] >= places[-2][1]:
            return _vertex(*places[-3:])
        if not math.isfinite(places[-1][1]):
            return None
    return None


def _vertex(*places: tuple[float, float]) -> float | None:
    """The vertex of the parabola through three places, the middle one lowest."""
    (a, fa), (b, fb), (c, fc) = places
    near, far = (b - a) * (fb - fc), (b - c) * (fb - fa)
    if not math.isfinite(near - far):
        return None
    if near == far:  # level ground
        return b
    return b - ((b - a) * near - (b - c) * far) / (near - far) / 2
