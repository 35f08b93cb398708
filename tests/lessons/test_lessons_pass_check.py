"""Every shipped lesson, in every language, passes `tutor check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import shipped
from tutor.lesson.library import original_of
from tutor.lesson.related_lessons import diagnostics_beside_others
from tutor.validation.lesson_check import check
from tutor.wording.check_findings import check_line


@pytest.fixture(autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all these tests: each lesson is compared with all others, read once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "headlines"))


@pytest.mark.parametrize("path", shipped.ORIGINALS, ids=lambda path: path.stem)
def test_a_shipped_lesson_passes_check(path: Path) -> None:
    lesson = shipped.read_once(path)
    found = [*lesson.warnings, *diagnostics_beside_others(lesson), *check(lesson)]
    assert [check_line(finding) for finding in found] == []


@pytest.mark.parametrize("path", shipped.TRANSLATIONS, ids=lambda path: path.stem)
def test_a_translation_runs_the_code_of_its_original_and_asks_the_same(path: Path) -> None:
    lesson = shipped.read_once(path)
    assert original_of(path) == shipped.FOLDER / path.name
    found = [*lesson.warnings, *diagnostics_beside_others(lesson)]
    assert [check_line(finding) for finding in found] == []
