"""`tutor list` and `tutor devices`: what there is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import wcwidth

from tutor.lesson import library
from tutor.plain import one_line


def list_command(options: argparse.Namespace) -> int:
    """Print the lessons in order: slug, title and modes; one that is broken says so."""
    headlines = library.headlines()
    if options.json:
        shown = [
            {
                "slug": h.slug,
                "title": h.title,
                "summary": h.summary,
                "modes": list(h.modes),
                "path": str(h.path),
                **({"fault": h.fault} if h.fault else {}),
            }
            for h in headlines
        ]
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return 0
    rows = [(h.slug, h.title, h.fault or ", ".join(h.modes)) for h in headlines]
    _print_columns([tuple(map(one_line, row)) for row in rows])
    return 0


def devices_command(options: argparse.Namespace) -> int:
    """Print the devices of this machine and what they are."""
    from tutor.training import devices  # noqa: PLC0415 - loads torch, which takes seconds

    found = [(name, devices.describe(name)) for name in devices.available()]
    if options.json:
        print(json.dumps([{"name": n, "description": d} for n, d in found], indent=2))
    else:
        _print_columns(found)
    return 0


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    """Rows of texts, each column as wide as its widest text in terminal cells."""
    if not rows:
        return
    widths = [max(map(wcwidth.wcswidth, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [t + " " * (w - wcwidth.wcswidth(t)) for t, w in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
