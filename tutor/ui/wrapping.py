"""Styled text wrapped into rows, also where it is written without blanks, as Chinese is.

Between two wide characters a row may end anywhere, except that none begins with a closing mark or
ends with an opening one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len
from textual.content import Content

_WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60"
    "\U00020000-\U0003fffd"
)
_OPENING = "（《「『【〈〔“‘"
_CLOSING = "，。、；：！？）》」』】〉〕”’…—·％"

_HAS_WIDE = re.compile(f"[{_WIDE}]")
_UNIT = re.compile(
    rf"(?:[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENING}]+)|.)[{_CLOSING}]*\s*", re.DOTALL
)
"""A unit that is never split: a wide character or a word, with its marks; then blanks."""


def wrap(content: Content, width: int) -> list[Content]:
    """Rows of at most `width` cells; a word that is wider than a row is folded."""
    if not _HAS_WIDE.search(content.plain):
        return content.wrap(width)
    rows = [content[start:end].rstrip() for start, end in _rows(content.plain, width)]
    return [folded for row in rows for folded in row.fold(width)]


def at_line_end(before: str, after: str) -> str:
    """The text for a line's end in the source: a space, but none between wide characters.

    `before` and `after` are the texts on both its sides.
    """
    return "" if _HAS_WIDE.match(before[-1:]) and _HAS_WIDE.match(after[:1]) else " "


def _rows(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Where each row starts and ends."""
    start = end = used = 0
    for unit in _UNIT.finditer(text):
        if used and used + cell_len(unit[0].rstrip()) > width:
            yield start, end
            start, used = unit.start(), 0
        used += cell_len(unit[0])
        end = unit.end()
    if end > start:
        yield start, end
