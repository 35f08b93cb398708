"""The lesson that README shows is one that the tutor accepts."""

from __future__ import annotations

import re
from pathlib import Path

from tutor.lesson.document import parse
from tutor.ui.commands import LESSON_COMMANDS
from tutor.validation.lesson_check import check

README = Path(__file__).parents[2] / "README.md"


def test_the_lesson_in_the_readme_is_proved_like_any_other() -> None:
    found = re.search(r"^````markdown\n(.*?)^````$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found
    lesson = parse(found[1], Path("readme.md"))
    assert check(lesson) == ()


def test_the_keys_in_the_readme_are_those_of_the_app() -> None:
    table = README.read_text().split("## Keys")[1].split("\n## ")[0]
    shown = {key.lower() for key in re.findall(r"`([^`]+)`", table)}
    missing = {c.key_label for c in LESSON_COMMANDS if c.key_label.lower() not in shown}
    assert not missing
