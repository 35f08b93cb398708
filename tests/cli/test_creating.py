"""`tutor new`: a lesson that works from the first, and no file lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tutor
from tutor.lesson import document, library, trust
from tutor.lesson.exercise import EXERCISE_KINDS, kind_of
from tutor.lesson.model import PHASES


@pytest.fixture(autouse=True)
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    return home


def test_a_new_lesson_passes_check_as_it_is_without_a_question(tutor: Tutor, here: Path) -> None:
    done = tutor("new", "my-first")
    assert done.returncode == 0
    for command in (
        "check my-first.md --trust",
        "check --watch --trust my-first.md",
        "my-first.md",
    ):
        assert f"  tutor {command} " in done.stdout
    proof = tutor("check", "my-first.md")
    assert proof.stderr == ""
    assert proof.stdout.startswith("ok  my-first  (manual, autograd; 5 exercises; ")
    assert trust.is_trusted(document.read(here / "my-first.md"))


def test_it_has_all_that_a_lesson_has(tutor: Tutor, here: Path) -> None:
    tutor("new", "my-first.md")
    lesson = document.read(here / "my-first.md")
    assert (lesson.slug, lesson.title) == ("my-first", "My first")
    assert {s.phase for s in lesson.sections if s.phase} == set(PHASES) - {"Report", "Synchronize"}
    assert lesson.sections[-1].heading == "What to remember"
    assert [kind_of(e) for e in lesson.exercises] == [*EXERCISE_KINDS]
    assert lesson.boxed()
    headline = library.headline(lesson.path)
    assert headline.exercises == tuple((e.id, kind_of(e)) for e in lesson.exercises)
    assert "my-first.md" in lesson.source
    assert "NAME" not in lesson.source
    assert max(map(len, lesson.source.splitlines())) <= 96


def test_a_file_is_replaced_only_on_demand(tutor: Tutor, here: Path) -> None:
    (here / "mine.md").write_text("years of work")
    refused = tutor("new", "mine")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "tutor: mine.md already exists and was not changed; give --force to replace it\n"
    )
    assert (here / "mine.md").read_text() == "years of work"
    assert tutor("new", "mine", "--force").returncode == 0
    assert document.read(here / "mine.md").title == "Mine"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("My lesson", "use small letters, digits and single -"),
        ("../x", "use small letters"),
        ("-", "use small letters"),
        ("a--b", "use small letters"),
        ("x" * 41, "40 at most"),
        ("\x1b[31m", "use small letters"),
        ("", "use small letters"),
        ("list", "`list` is a command"),
        ("readme", "is a command or a reserved name"),
        ("xor", "`xor` is a lesson of the tutor"),
    ],
)
def test_a_name_that_will_not_do_is_told_and_nothing_is_written(
    tutor: Tutor, here: Path, name: str, told: str
) -> None:
    done = tutor("new", name)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.strip().isprintable()
    assert not list(here.glob("**/*.md"))
