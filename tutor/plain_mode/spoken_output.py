"""A lesson's output in words: a warning as its message; lines of symbols are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_WARNING = re.compile(r".*?:\d+: (?P<kind>\w*Warning): (?P<message>.*)")
"""`path:line: UserWarning: message`. A row with the source of that line follows, indented; the
line counts within the piece of code that ran, so that neither says where it is."""
_INTERNAL = re.compile(r" \(Triggered internally at [^)]*\)")


def spoken_printed(lines: Sequence[str]) -> Iterator[str]:
    """The lines that are fit to be said."""
    is_after_warning = False
    for line in lines:
        if warning := _WARNING.fullmatch(line):
            message = _INTERNAL.sub("", warning["message"])
            yield f"A warning, {warning['kind']}: {message.rstrip('. ')}."
        elif any(c.isalnum() for c in line) and not (is_after_warning and line.startswith("  ")):
            yield f"Printed: {line}"
        is_after_warning = warning is not None
