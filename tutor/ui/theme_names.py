"""The names of the themes, for the command line."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

ThemeName: TypeAlias = Literal["terminal", "dark", "light", "contrast"]
"""The terminal's own colours; light on dark; dark on light; white on black, nothing else."""

THEMES: tuple[ThemeName, ...] = get_args(ThemeName)
"""All themes, in the order of the key that changes them."""
