"""Every lesson in tests/broken_lessons fails with exactly the lines beside it.

A line that ends in … stops where Python, YAML or the formula parser goes on in words of
its own, which differ between versions.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tutor.lesson.document import parse
from tutor.lesson.model import LessonDiagnostics
from tutor.wording.notices import error_text

FOLDER = Path(__file__).parents[1] / "broken_lessons"
BROKEN = sorted(FOLDER.glob("*.md"))


def test_there_are_broken_lessons_and_each_has_its_expected_lines() -> None:
    assert len(BROKEN) > 40
    assert {p.stem for p in BROKEN} == {p.stem for p in FOLDER.glob("*.expected")}


def diagnostics(source: str, path: Path) -> LessonDiagnostics:
    with pytest.raises(LessonDiagnostics) as caught:
        parse(source, path)
    return caught.value


def is_expected(line: str, expected: str) -> bool:
    start = expected.removesuffix("…")
    return line.startswith(start) if expected.endswith("…") else line == expected


def test_a_broken_lesson_is_refused_with_every_fault_and_its_line() -> None:
    """Windows' line ends and a byte order mark do not shift the lines."""
    for path in BROKEN:
        source = path.read_bytes().decode()
        found = diagnostics(source, path)
        lines = [line.removeprefix(f"{FOLDER}/") for line in error_text(found).split("\n")]
        expected = path.with_suffix(".expected").read_text("utf-8").splitlines()
        assert len(lines) == len(expected), "\n".join(lines)
        assert [pair for pair in zip(lines, expected, strict=True) if not is_expected(*pair)] == []
        windows = diagnostics("\ufeff" + source.replace("\n", "\r\n"), path)
        assert windows.diagnostics == found.diagnostics, path.name
