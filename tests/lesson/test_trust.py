"""A lesson from elsewhere runs only after that exact content has been allowed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from tutor.lesson import trust as trust_module
from tutor.lesson.document import read
from tutor.lesson.model import Lesson
from tutor.lesson.trust import default_store, is_trusted, trust


@pytest.fixture
def mine(tmp_path: Path, shelf: Path, minimal: str) -> Lesson:
    """A lesson of the learner's own."""
    (tmp_path / "mine.md").write_text(minimal)
    return read(tmp_path / "mine.md")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "some" / "folder" / "trusted"


def test_a_shipped_lesson_is_trusted(shelf: Path, store: Path, minimal: str) -> None:
    (shelf / "a.md").write_text(minimal)
    assert is_trusted(read(shelf / "a.md"), store)
    assert not store.exists()


def test_another_is_not_until_the_learner_says_so(mine: Lesson, store: Path) -> None:
    assert not is_trusted(mine, store)
    trust(mine, store)
    assert is_trusted(mine, store)
    assert store.read_text() == f"{mine.digest}  {mine.path}\n"


def test_trust_goes_to_the_content_not_to_the_place(mine: Lesson, store: Path) -> None:
    trust(mine, store)
    assert is_trusted(replace(mine, path=Path("moved.md")), store)
    mine.path.write_text(mine.source + "\nOne word more.\n")
    assert not is_trusted(read(mine.path), store)


def test_without_a_store_the_learners_data_folder_is_used(mine: Lesson) -> None:
    trust(mine)
    assert default_store().is_file()
    assert is_trusted(mine)


@pytest.mark.parametrize("damage", [b"\xff\x00 \n\n  \n", b"0123", b"x" * 10_000, b"\n \n"])
def test_a_damaged_file_trusts_nothing_and_can_still_be_added_to(
    mine: Lesson, store: Path, damage: bytes
) -> None:
    store.parent.mkdir(parents=True)
    store.write_bytes(damage)
    assert not is_trusted(mine, store)
    trust(mine, store)
    assert is_trusted(mine, store)
    assert store.read_bytes().startswith(damage)


def test_a_path_with_a_newline_can_not_smuggle_in_a_digest(mine: Lesson, store: Path) -> None:
    trust(replace(mine, path=Path(f"a\n{'0' * 64}  b.md")), store)
    assert not is_trusted(replace(mine, digest="0" * 64), store)
    assert len(store.read_text().splitlines()) == 1


def test_where_nothing_can_be_written_it_holds_for_this_session_and_the_cause_is_told(
    mine: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    trouble = trust(mine, tmp_path / "file" / "trusted")
    assert trouble is not None
    assert (trouble.code, trouble.values["name"]) == ("not_remembered", "mine.md")
    assert is_trusted(mine, tmp_path / "file" / "trusted")
    assert not is_trusted(replace(mine, digest="0" * 64), tmp_path / "file" / "trusted")
    monkeypatch.setattr(trust_module, "_agreed", set())  # the next session
    assert not is_trusted(mine, tmp_path / "file" / "trusted")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_a_full_disk_is_told_as_such(mine: Lesson) -> None:
    trouble = trust(mine, Path("/dev/full"))
    assert trouble is not None
    assert trouble.values["words"] == os.strerror(errno.ENOSPC)
    assert is_trusted(mine, Path("/dev/full"))


def test_the_place_of_a_shipped_lesson_makes_no_other_content_trusted(
    shelf: Path, store: Path, minimal: str, tmp_path: Path
) -> None:
    """A link that leads to a shipped lesson now may have led elsewhere when it was read."""
    (shelf / "a.md").write_text(minimal)
    (tmp_path / "evil.md").write_text(minimal + "\nOther words.\n")
    link = tmp_path / "a.md"
    link.symlink_to(tmp_path / "evil.md")
    evil = read(link)
    link.unlink()
    link.symlink_to(shelf / "a.md")
    assert not is_trusted(evil, store)
    assert is_trusted(read(link), store)


def test_two_tutors_at_once_lose_nothing(mine: Lesson, store: Path) -> None:
    many = [replace(mine, digest=f"{number:064x}") for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda lesson: trust(lesson, store), many))
    lines = store.read_text().splitlines()
    assert sorted(lines) == [f"{lesson.digest}  {lesson.path}" for lesson in many]


def test_only_the_learner_may_read_the_store(mine: Lesson, store: Path) -> None:
    trust(mine, store)
    assert store.stat().st_mode & 0o077 == 0


def test_asking_whether_a_lesson_is_trusted_loads_no_parser() -> None:
    program = "import sys, tutor.lesson.trust; print('markdown_it' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
