"""The languages of lessons, and the one that the learner reads.

A folder of lessons holds the originals; a folder in it that is named by a language's code
holds the same lessons in that language: `xor.md` and `zh/xor.md`. The command line's parser
needs this before anything else: it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ORIGINAL = "en"
"""The language of the lessons that stand directly in a folder of lessons."""

LANGUAGES: Mapping[str, str] = {ORIGINAL: "English", "zh": "中文"}
"""Code → the language's own name."""

TRANSLATED = tuple(code for code in LANGUAGES if code != ORIGINAL)
"""The codes that name folders of translations."""


def language_of(path: Path) -> str:
    """The language of a lesson file, from its folder's name."""
    folder = path.absolute().parent.name
    return folder if folder in TRANSLATED else ORIGINAL


def sibling(path: Path, language: str) -> Path:
    """The path of the lesson in another language, whether there is one or not."""
    if language == language_of(path):
        return path
    home = path.absolute().parents[1] if language_of(path) in TRANSLATED else path.parent
    return home / path.name if language == ORIGINAL else home / language / path.name


def language_of_locale(environment: Mapping[str, str]) -> str:
    """The language that LC_ALL, LC_MESSAGES or LANG ask for; ORIGINAL if there is none such.

    The first of them that is set counts, as POSIX has it: `zh_CN.UTF-8` is `zh`.
    """
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((found for name in names if (found := environment.get(name))), "")
    code = locale.replace(".", "_").replace("@", "_").replace("-", "_").split("_", 1)[0].lower()
    return code if code in LANGUAGES else ORIGINAL
