"""Where a lesson is named, --lang or the locale says in which language it is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tutor
from tests.training.conftest import FRONT, lesson_text


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shipped: `a` in English, and in Chinese with a fault that tells which file was read."""
    folder = tmp_path / "lessons"
    (folder / "zh").mkdir(parents=True)
    (folder / "a.md").write_text(lesson_text())
    (folder / "b.md").write_text(lesson_text())
    (folder / "zh" / "a.md").write_text(lesson_text(FRONT.replace("epochs", "epocks")))
    monkeypatch.setattr("tutor.lesson.library.shipped_folder", lambda: folder)
    return folder


@pytest.mark.parametrize("command", [["run", "--epochs", "1"], ["export"]])
def test_a_lesson_is_read_in_the_language_asked_for(
    tutor: Tutor, shelf: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    diagnostic = f"tutor: {shelf}/zh/a.md:6: unknown key `epocks`; did you mean `epochs`?\n"
    assert tutor(*command, "a").returncode == 0
    assert tutor(*command, "a", "--lang", "zh").stderr == diagnostic
    assert tutor(*command, "zh/a").stderr == diagnostic
    assert "no file zh/b" in tutor(*command, "zh/b").stderr
    assert tutor(*command, "b", "--lang", "zh").returncode == 0  # there is only the original
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert tutor(*command, "a").stderr == diagnostic
    assert tutor(*command, "a", "--lang", "en").returncode == 0
    assert tutor(*command, str(shelf / "a.md")).returncode == 0  # a path is that very file


@pytest.mark.parametrize(("options", "folder"), [([], "."), (["--lang", "zh"], "zh")])
def test_the_app_opens_it_in_that_language_and_lists_the_others_in_it(
    tutor: Tutor, shelf: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], folder: str
) -> None:
    opened = {}

    class App:
        return_code = 0

        def __init__(self, engine: object, headlines: object, *args: object, **kwargs: object):
            opened.update(kwargs, headlines=headlines)

        def run(self, **options: object) -> None:
            pass

    class Engine:
        def __init__(self, terminal: str, host: str):
            assert terminal == host == "", "what these tests write to is no terminal"

        def close(self) -> None:
            pass

    monkeypatch.setattr("tutor.cli.opening.EngineClient", Engine)
    monkeypatch.setattr("tutor.ui.app.TutorApp", App)
    monkeypatch.setattr("sys.stdin", type("Keyboard", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert tutor("a", *options).returncode == 0
    assert opened["first"] == shelf / folder / "a.md"
    assert shelf / folder / "a.md" in [h.path for h in opened["headlines"]()]
