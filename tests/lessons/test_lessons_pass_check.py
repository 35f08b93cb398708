"""Every shipped lesson, in every language, passes `tutor check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import shipped
from tutor.lesson.library import original_of
from tutor.lesson.related_lessons import diagnostics_beside_others
from tutor.validation.lesson_check import check
from tutor.wording.check_findings import check_line


@pytest.fixture(scope="module")
def cache_of_the_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _one_cache(cache_of_the_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lesson is compared with all others: their headlines are read once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_of_the_file))


@pytest.mark.parametrize("path", shipped.ORIGINALS, ids=lambda path: path.stem)
def test_a_shipped_lesson_passes_check(path: Path) -> None:
    lesson = shipped.read_once(path)
    found = [*lesson.remarks, *diagnostics_beside_others(lesson), *check(lesson)]
    assert [check_line(finding) for finding in found] == []


@pytest.mark.parametrize("path", shipped.TRANSLATIONS, ids=lambda path: path.stem)
def test_a_translation_runs_the_code_of_its_original_and_asks_the_same(path: Path) -> None:
    lesson = shipped.read_once(path)
    assert original_of(path) == shipped.FOLDER / path.name
    found = [*lesson.remarks, *diagnostics_beside_others(lesson)]
    assert [check_line(finding) for finding in found] == []
