"""The languages that lessons are written in, and which of them the learner reads.

A folder of lessons holds the originals; a folder in it that is named by a language's code
holds the same lessons in that language: `xor.md` and `zh/xor.md`. Reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ORIGINAL = "en"
"""The language of what stands in a folder of lessons itself."""

LANGUAGES: Mapping[str, str] = {ORIGINAL: "English", "zh": "中文"}
"""Code → what the language calls itself."""

TRANSLATED = tuple(code for code in LANGUAGES if code != ORIGINAL)
"""The codes that name folders of translations."""


def language_of(path: Path) -> str:
    """The language of a lesson file, which its folder's name tells."""
    folder = path.absolute().parent.name
    return folder if folder in TRANSLATED else ORIGINAL


def sibling(path: Path, language: str) -> Path:
    """Where the lesson in `path` would stand in another language, whether it does or not."""
    if language == language_of(path):
        return path
    home = path.absolute().parents[1] if language_of(path) in TRANSLATED else path.parent
    return home / path.name if language == ORIGINAL else home / language / path.name


def language_of_locale(environment: Mapping[str, str]) -> str:
    """The language that LC_ALL, LC_MESSAGES or LANG ask for; ORIGINAL if there is none such.

    The first of them that says anything counts, as POSIX has it: `zh_CN.UTF-8` is `zh`.
    """
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    said = next((said for name in names if (said := environment.get(name))), "")
    code = said.replace(".", "_").replace("@", "_").replace("-", "_").split("_", 1)[0].lower()
    return code if code in LANGUAGES else ORIGINAL
