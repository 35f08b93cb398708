"""The sentences on lessons' files that can't be used, as lists of lessons show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutor.plain import one_line

_LESSON_FAULTS: Mapping[str, str] = {
    "no_file": "{path}: there is no such file",
    "not_permitted": "{path}: you may not read it; change its permissions",
    "unreadable": "{path}: it can't be read ({words})",
    "is_empty": "{path}: the file is empty; begin it with front matter between --- lines",
    "not_utf8": (
        "{path}:{line}: byte 0x{byte:02x} at offset {offset} is not UTF-8; save the file as UTF-8"
    ),
    "is_folder": "{path}: this is a directory; name a .md file in it",
    "not_plain_file": "{path}: this is not a plain file; name a .md file",
    "too_large": "{path}: the file is larger than 256 KB; a lesson is a few pages of text",
    "name_taken": "{path}: another lesson is already named `{slug}`; rename this one",
    "no_path": "there is no file {name}{hint}",
    "no_lesson": "no lesson is named `{name}`{hint}",
    "not_remembered": (
        "{file} can't be written ({words}): you will be asked about {name} again the next time"
    ),
}
_MISSING = ("no_file", "no_path", "no_lesson")
"""Codes of lessons that are not there."""


def lesson_fault_text(code: str, values: Mapping[str, Any], *, with_command: bool = False) -> str:
    """What is wrong with a lesson's file, as one line.

    `with_command`: of a lesson that is not there also the command that lists them.
    """
    if code not in _LESSON_FAULTS:
        from tutor.wording.diagnostics import diagnostic_message  # noqa: PLC0415 - seldom needed

        place = f"{values['path']}:{values['line']}: " if "line" in values else ""
        return one_line(place + diagnostic_message(code, values))
    text = _LESSON_FAULTS[code].format(**values, hint=hint_of(values.get("near", ())))
    if with_command and code in _MISSING:
        text += f"{'' if text.endswith('?') else ';'} `tutor list` shows the lessons"
    return one_line(text)


def hint_of(near: Sequence[str]) -> str:
    """The end of a sentence about an unknown name; empty if no name is near."""
    return f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
