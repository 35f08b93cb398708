"""Every lesson in tests/broken_lessons fails with exactly the lines beside it.

A line that ends in … stops where Python, YAML or the formula parser goes on in words of
its own, which differ between versions.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tutor.lesson.document import parse, read
from tutor.lesson.model import LessonDiagnostics

FOLDER = Path(__file__).parents[1] / "broken_lessons"
BROKEN = sorted(FOLDER.glob("*.md"))


def test_there_are_broken_lessons_and_each_has_its_expected_lines() -> None:
    assert len(BROKEN) > 40
    assert {p.stem for p in BROKEN} == {p.stem for p in FOLDER.glob("*.expected")}


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_lesson_is_refused_with_every_fault_and_its_line(path: Path) -> None:
    expected = path.with_suffix(".expected").read_text("utf-8").splitlines()
    with pytest.raises(LessonDiagnostics) as caught:
        read(path)
    told = str(caught.value).split("\n")
    assert len(told) == len(expected), "\n".join(told)
    for got, wanted in zip(told, expected, strict=True):
        start = wanted.removesuffix("…")
        name = got.removeprefix(f"{FOLDER}/")
        assert name.startswith(start) if wanted.endswith("…") else name == wanted


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_carriage_returns_do_not_shift_the_lines(path: Path) -> None:
    source = path.read_bytes().decode()
    with pytest.raises(LessonDiagnostics) as plain:
        parse(source, path)
    with pytest.raises(LessonDiagnostics) as windows:
        parse("\ufeff" + source.replace("\n", "\r\n"), path)
    assert windows.value.diagnostics == plain.value.diagnostics
