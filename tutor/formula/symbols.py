"""The signs that LaTeX commands write, from `symbols.txt`: a code point, then its commands.

The names are those of LaTeX, the AMS and unicode-math, as `unimathsymbols.txt` lists them.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def _lines() -> list[tuple[str, list[str]]]:
    text = Path(__file__).with_name("symbols.txt").read_text("ascii")
    entries = (line.split() for line in text.splitlines())
    return [(chr(int(code, 16)), names) for code, *names in entries]


@lru_cache(maxsize=1)
def _signs() -> dict[str, str]:
    return {name: sign for sign, names in _lines() for name in names}


@lru_cache(maxsize=1)
def command_names() -> dict[str, str]:
    """A sign → the name of the command that writes it, the shortest of two letters or more."""
    found = ((sign, next((n for n in names if len(n) > 1), "")) for sign, names in _lines())
    return {sign: name for sign, name in found if name}


def plain_sign(token: str) -> str:
    """The sign that a token writes, a command or the sign itself; "" if it is no plain sign."""
    sign = _signs().get(token[1:], "") if token.startswith("\\") else token
    return "" if sign and unicodedata.category(sign[0]).startswith("M") else sign
