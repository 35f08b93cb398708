"""Text as terminal cells: how wide it is, and how to make it harmless."""

from __future__ import annotations

import unicodedata

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINING = frozenset(
    [*range(0x1F3FB, 0x1F400), *range(0x1F1E6, 0x1F200), *range(0xFE00, 0xFE10), 0x20E3]
)
"""Emoji modifiers, flags, variation selectors: their width depends on their neighbours."""

REPLACEMENT = "\ufffd"


def width(text: str) -> int:
    """Terminal cells that `text` takes: wide CJK 2, combining marks 0."""
    if text.isascii():
        return len(text)
    # Deferred: its tables take some 40 ms to import, and an import of this package must be cheap.
    from wcwidth import wcswidth  # noqa: PLC0415

    return max(wcswidth(text), 0)


def visible(text: str) -> str:
    """`text` with every control character turned into visible, harmless text.

    An escape becomes `^[`; what steers the direction of writing or joins its neighbours
    becomes the replacement character. Composed to NFC, so that ŷ is one character.
    """
    text = unicodedata.normalize("NFC", text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible_character(c) for c in text)


def _visible_character(character: str) -> str:
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    if unicodedata.category(character) in _UNSAFE_CATEGORIES or code in _JOINING:
        return REPLACEMENT
    return " " if character.isspace() else character


def struck(text: str) -> str:
    """`text` with a stroke through each of its characters."""
    return "".join(c if c.isspace() or not width(c) else c + "\u0338" for c in text)
