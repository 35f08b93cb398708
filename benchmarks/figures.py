"""Medians and ratios, and how they are printed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

Samples = Mapping[str, Sequence[float]]


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that so many percent of all do not exceed."""
    ordered = sorted(samples)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def ratio(samples: Samples, name: str, base: str) -> float:
    """The median of the ratios taken round by round, which drift does not disturb."""
    rounds = zip(samples[name], samples[base], strict=True)
    return statistics.median(a / b for a, b in rounds)


def best_ratio(samples: Samples, name: str, base: str, best: Callable[..., float]) -> float:
    """The ratio of the best rounds: on a machine with busy neighbours the least disturbed."""
    return best(samples[name]) / best(samples[base])


def print_table(
    title: str, unit: str, samples: Samples, base: str, best: Callable[..., float]
) -> None:
    """Median, least and greatest of each row, and its ratios to the row `base`.

    `best` is max where more is better, and min where less is.
    """
    print(f"{title} ({unit}; {len(samples[base])} rounds, in turn)")
    width = max(map(len, samples))
    for name, values in samples.items():
        middle = f"{statistics.median(values):>9.4g}"
        spread = f"[{min(values):.4g} … {max(values):.4g}]"
        least = best_ratio(samples, name, base, best)
        ratios = f"{ratio(samples, name, base):.3f}, of the best {least:.3f}"
        print(f"  {name:<{width}}  {middle}  {spread:<20}  ratio: median {ratios}")
    print()
