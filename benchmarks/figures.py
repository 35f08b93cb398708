"""Medians and ratios, and how they are printed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

Samples = Mapping[str, Sequence[float]]


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that so many percent of all do not exceed."""
    ordered = sorted(samples)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def ratio(samples: Samples, name: str, base: str) -> float:
    """The median of the ratios taken round by round, which drift does not disturb."""
    rounds = zip(samples[name], samples[base], strict=True)
    return statistics.median(a / b for a, b in rounds)


def print_table(title: str, unit: str, samples: Samples, base: str) -> None:
    """Median, least and greatest of each row, and its ratio to the row `base`."""
    print(f"{title} ({unit}; {len(samples[base])} rounds, in turn)")
    width = max(map(len, samples))
    for name, values in samples.items():
        middle = statistics.median(values)
        spread = f"{min(values):.4g} … {max(values):.4g}"
        print(
            f"  {name:<{width}}  {middle:>9.4g}  [{spread}]  ratio {ratio(samples, name, base):.3f}"
        )
    print()
