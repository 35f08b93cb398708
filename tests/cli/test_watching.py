"""`tutor check --watch`: checked again at each change, whatever the author does to the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.conftest import Tutor
from tests.training.conftest import FRONT, lesson_text
from tutor.cli import checking
from tutor.cli.checking import LOOK_SECONDS, changed_files
from tutor.lesson import document, trust
from tutor.validation import lesson_check

Deed = Callable[[], object]


def looking(files: list[Path], deeds: list[Deed]) -> list[tuple[Path, ...]]:
    """What is seen if one thing is done in each pause; the last is followed by a pause more."""
    left: Iterator[Deed] = iter([*deeds, lambda: None])
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if seconds == LOOK_SECONDS:
            deed = next(left, None)
            if deed is None:
                raise KeyboardInterrupt
            deed()

    seen = []
    with suppress(KeyboardInterrupt):
        for changed in changed_files(lambda: files, sleep):
            seen.append(changed)
    return seen


def test_every_file_is_seen_at_first_and_then_those_that_change(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("1")
    seen = looking([a, b], [lambda: None, lambda: a.write_text("12"), lambda: None])
    assert seen == [(a, b), (a,)]


def test_a_file_is_seen_when_it_goes_and_when_it_is_back(tmp_path: Path) -> None:
    a = tmp_path / "a"
    assert looking([a], [lambda: a.write_text("1"), a.unlink, lambda: None]) == [(a,)] * 3


def test_another_file_of_the_same_time_and_size_in_its_place_is_a_change(tmp_path: Path) -> None:
    a, other = tmp_path / "a", tmp_path / "other"
    for path, text in ((a, "1"), (other, "2")):
        path.write_text(text)
        os.utime(path, (1, 1))
    assert looking([a], [lambda: other.replace(a)]) == [(a,), (a,)]


def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    a = tmp_path / "a"
    a.write_text("")
    goes = iter(["1", "12", "123"])
    read: list[str] = []

    def sleep(seconds: float) -> None:
        if seconds == LOOK_SECONDS:
            raise KeyboardInterrupt
        if text := next(goes, ""):
            a.write_text(text)

    with suppress(KeyboardInterrupt):
        for _ in changed_files(lambda: [a], sleep):
            read.append(a.read_text())
    assert read == ["123"]


# ── The command ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def do(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has these things done, one after the other, while it is watched; then Ctrl+C."""
    monkeypatch.setattr(lesson_check, "findings", lambda *_: ())

    def plan(*deeds: Deed) -> None:
        left = iter(deeds)

        def sleep(seconds: float) -> None:
            if seconds == LOOK_SECONDS:
                deed = next(left, None)
                if deed is None:
                    raise KeyboardInterrupt
                deed()

        monkeypatch.setattr(checking, "changed_files", lambda files: changed_files(files, sleep))

    return plan


def test_no_fault_ends_it_but_ctrl_c_does(
    tutor: Tutor, home: Path, do: Callable[..., None]
) -> None:
    mine = home / "mine.md"
    good = lesson_text()
    mine.write_text(good)
    do(
        lambda: mine.write_text(good.replace("w * x", "w * = x")),
        mine.unlink,
        lambda: mine.write_bytes(b"\xff"),
        lambda: mine.write_text(good),
    )
    done = tutor("check", "--watch", "--trust", str(mine))
    assert done.returncode == 130
    told = [line.split("  (")[0] for line in done.stdout.splitlines() if line]
    wrong = "1 of 1 with faults; waiting for changes (Ctrl+C ends)"
    right = "all is well; waiting for changes (Ctrl+C ends)"
    assert [line for line in told if not line.startswith("----")] == [
        "ok  mine", right, wrong, wrong, wrong, "ok  mine", right]  # fmt: skip
    heads = [line for line in told if line.startswith("----")]
    assert len(heads) == 5
    assert all(head.endswith(f" {mine} ----") for head in heads)
    syntax, more, gone, binary = done.stderr.splitlines()
    assert "this is not Python" in syntax
    assert "once that is fixed, the code and the exercises are checked, too" in more
    assert "no such file" in gone
    assert "not UTF-8" in binary


def test_what_is_saved_while_it_is_watched_is_trusted(
    tutor: Tutor, home: Path, do: Callable[..., None]
) -> None:
    mine = home / "mine.md"
    mine.write_text(lesson_text())
    do(lambda: mine.write_text(lesson_text(Predict="y_pred = (x * w)")))
    refused = tutor("check", "--watch", str(mine))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "runs whenever you save it: give --trust" in refused.stderr
    assert not trust.is_trusted(document.read(mine))
    assert tutor("check", "--watch", "--trust", str(mine)).stdout.count("ok  mine") == 2
    assert trust.is_trusted(document.read(mine))


def test_a_translation_is_watched_too_also_one_that_is_new(
    tutor: Tutor, home: Path, do: Callable[..., None]
) -> None:
    mine, chinese = home / "mine.md", home / "zh" / "mine.md"
    mine.write_text(lesson_text())
    chinese.parent.mkdir()
    do(
        lambda: chinese.write_text(lesson_text(FRONT.replace("A test", "测试"))),
        lambda: mine.write_text(lesson_text(Predict="y_pred = (x * w)")),
    )
    done = tutor("check", "--watch", "--trust", str(mine))
    assert [line.split("  (")[0] for line in done.stdout.splitlines() if line[:2] == "ok"] == [
        "ok  mine", "ok  mine", "ok  zh/mine", "ok  mine"]  # fmt: skip
    assert "is not as in" in done.stderr


def test_what_is_not_there_from_the_first_is_told_at_once(
    tutor: Tutor, home: Path, do: Callable[..., None]
) -> None:
    do()
    done = tutor("check", "--watch", "--trust", str(home / "none.md"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no file" in done.stderr
