"""Text wrapped into rows by the cells it takes, also where it is written without blanks.

Between two characters of which one is wide, as in Chinese, a row may end; but none begins with a
closing mark or ends with an opening one.
"""

from __future__ import annotations

from collections.abc import Iterator

from wcwidth import wcswidth, wcwidth

_OPENING = "([{（《「『【〈〔“‘\"'"
_CLOSING = ")]}，。、；：！？）》」』】〉〕”’…—·％,.;:!?%\"'"
"""A straight quote is in both: which of the two it is can't be seen."""


def cells(text: str) -> int:
    """Columns that it takes; what can't be measured counts one for each character."""
    width = wcswidth(text)
    return len(text) if width < 0 else width


def wrap(text: str, width: int) -> list[str]:
    """Rows of at most `width` cells; a word that is wider than a row is folded."""
    rows: list[str] = []
    row = ""
    for unit in _units(text):
        if row.strip() and cells(row + unit.rstrip()) > width:
            rows.append(row.rstrip())
            row = ""
        row += unit
        while cells(row.rstrip()) > width:
            start = _fitting(row, width)
            rows.append(start)
            row = row[len(start) :]
    return [*rows, row.rstrip()] if row.strip() else rows


def is_wide(character: str) -> bool:
    """Whether it takes two cells; an empty text does not."""
    return bool(character) and wcwidth(character) == 2


def _units(text: str) -> Iterator[str]:
    """Units that are not broken: a wide character or a word, with its marks; then spaces."""
    start = 0
    for at in range(1, len(text)):
        if _may_part(text[at - 1], text[at]):
            yield text[start:at]
            start = at
    yield text[start:]


def _may_part(before: str, after: str) -> bool:
    if after.isspace() or before.isspace():
        return before.isspace() and not after.isspace()
    if before in _OPENING or after in _CLOSING or wcwidth(after) == 0:
        return False
    return is_wide(before) or is_wide(after)


def _fitting(text: str, width: int) -> str:
    """As many of its first characters as fit; at least one."""
    end = 1
    while end < len(text) and cells(text[: end + 1]) <= width:
        end += 1
    return text[:end]
