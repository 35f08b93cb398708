"""What the learner does is kept as it comes, and the screen never waits for it."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from tests.waiting import PATIENCE, wait_until
from tutor import progress
from tutor.progress import Record
from tutor.progress.store import Store, read_lines
from tutor.protocol.frame import EPOCH_END, Change, Position
from tutor.protocol.frame import RunRecipe as Recipe
from tutor.protocol.inspections import RunInfo
from tutor.session import progress_writer as module
from tutor.session.bookmark import Bookmark, UnfinishedAttempt, packed, unpacked
from tutor.session.journal import Draft
from tutor.session.progress_writer import (
    BURST_SECONDS,
    RETRY,
    WRITE_SECONDS,
    PendingWrite,
    PendingWrites,
    ProgressWriter,
)
from tutor.wording.notices import notice_text

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

STEPPING = """
import sys
from pathlib import Path
from tests.session.test_progress_writer import Draft, left
from tutor.session.progress_writer import ProgressWriter
writer = ProgressWriter(Path(sys.argv[1]))
writer.results_of("xor")
writer.record_result("xor", "first", "predict", "done")
writer.save_draft("xor", "fix", Draft("w = 1"))
writer.save_bookmark(left(epoch=41))
print("stepped", flush=True)
sys.stdin.read()
"""


def left(slug: str = "xor", epoch: int = 1, exercise: str = "") -> Bookmark:
    return Bookmark(
        slug=slug,
        path=f"{slug}.md",
        fingerprint="f",
        language="en",
        recipe=Recipe("manual", "cpu", 0.1, 0),
        at=Position(epoch, 2),
        exercise=exercise,
    )


RUN = RunInfo(
    name="B", mode="manual", device="cpu", learning_rate=0.1, seed=0, last_epoch=3, loss=1.0
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "progress.sqlite3"


Open = Callable[[], ProgressWriter]


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another program is writing the file."""
    with closing(sqlite3.connect(file, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        yield
        another.execute("ROLLBACK")


class PatientWriter(ProgressWriter):
    """A ProgressWriter on a machine that may be slow: all is written, however long that takes."""

    def flush(self, timeout: float = PATIENCE) -> bool:
        return super().flush(timeout)

    def close(self, timeout: float = PATIENCE) -> None:
        super().close(timeout)


@pytest.fixture
def opened(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setattr(module, "FILE_SECONDS", PATIENCE)
    writers: list[ProgressWriter] = []

    def opened() -> ProgressWriter:
        writers.append(PatientWriter(file))
        return writers[-1]

    yield opened
    for writer in writers:
        writer.close()


def test_a_skip_that_is_taken_back_leaves_what_was_done_before(opened: Open) -> None:
    writer = opened()
    writer.record_result("xor", "first", "predict", "tried")
    writer.record_result("xor", "first", "predict", "skipped")
    writer.close()
    writer = opened()  # who has read it knows what stands behind the skip
    assert writer.results_of("xor") == {"first": "skipped"}
    writer.record_result("xor", "first", "predict", "unskipped")
    writer.record_result("xor", "second", "predict", "skipped")
    writer.record_result("xor", "second", "predict", "unskipped")
    for _ in range(2):
        assert writer.results_of("xor") == {"first": "tried"}
        writer.close()
        writer = opened()


def test_what_was_done_and_left_is_known_at_once_and_after_a_restart(opened: Open) -> None:
    writer = opened()
    assert writer.last_bookmark() is None
    writer.record_result("xor", "first", "predict", "done")
    writer.record_result("xor", "first", "predict", "tried")
    writer.record_result("xor", "second", "choose", "skipped")
    writer.save_draft("xor", "fix", Draft("w = 1"))
    writer.save_draft("xor", "fix", Draft("w = 2"))
    writer.save_bookmark(left("xor", 7, "fix"))
    writer.save_bookmark(left("one-weight", 3))
    for _ in range(2):
        assert writer.results_of("xor") == {"first": "done", "second": "skipped"}
        assert writer.results_of("one-weight") == {}
        assert writer.draft_of("xor", "fix") == Draft("w = 2")
        assert writer.draft_of("xor", "first") is None
        assert writer.last_bookmark() == left("one-weight", 3)
        assert writer.bookmark_of("xor") == left("xor", 7, "fix")
        visit = writer.last_visit("xor")
        assert visit is not None
        assert abs((datetime.now(UTC) - visit).total_seconds()) < 60
        writer.close()
        writer = opened()


def test_all_that_a_run_needs_is_kept_be_it_not_a_number_or_the_end_of_an_epoch() -> None:
    kept = replace(left(), runs=(replace(RUN, loss=math.nan, furthest=Position(3, EPOCH_END)),))
    again = unpacked(packed(kept, NOON).data)
    assert again is not None
    assert math.isnan(again.runs[0].loss)
    assert (again.runs[0].furthest, again.recipe) == (Position(3, EPOCH_END), kept.recipe)


def test_a_place_says_in_words_what_holds_there() -> None:
    changes = (
        Change(Position(1, 0), mode="autograd"),
        Change(Position(2, 0), learning_rate=0.5),
        Change(Position(9, 0), device="cuda"),
    )
    recipe = Recipe("manual", "cpu", 0.1, 0, changes)
    runs = (replace(RUN, name="a"), replace(RUN, name="b", is_current=True))
    one = replace(left(exercise="fix"), recipe=recipe, runs=runs, at=Position(2, 3))
    place = packed(one, NOON)
    assert (place.lesson, place.mode, place.device) == ("xor", "autograd", "cpu")
    assert place.learning_rate == 0.5
    assert (place.epoch, place.step, place.fork, place.exercise) == (2, 3, "b", "fix")


def test_a_place_that_nobody_can_read_is_none(file: Path, opened: Open) -> None:
    place = packed(left(), NOON)
    with closing(Store(file)) as store:
        store.add([type(place)(lesson="xor", at=NOON, data=b"\x93 from another version")])
    assert opened().last_bookmark() is None


def test_with_a_clock_that_was_never_set_all_is_kept(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "time", SimpleNamespace(time=lambda: -3600.0))  # in 1969
    writer = opened()
    writer.record_result("xor", "first", "predict", "done")
    writer.save_bookmark(left(epoch=3))
    writer.save_draft("xor", "fix", Draft("w = 1"))
    writer.close()
    assert opened().results_of("xor") == {"first": "done"}
    assert opened().last_bookmark() == left(epoch=3)


def trouble_of(writer: ProgressWriter) -> str:
    return notice_text(writer.trouble, {})


def test_what_a_locked_file_does_not_take_is_put_beside_it_and_can_be_brought_back(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY", 0.05)
    writer = opened()
    assert writer.results_of("xor") == {}
    with locked(file):
        writer.record_result("xor", "first", "predict", "done")
        writer.save_bookmark(left(epoch=7))
        writer.close(timeout=0.3)
    wait_until(lambda: ".unsaved-" in trouble_of(writer), "what is put beside the file")
    (beside,) = file.parent.glob("*.unsaved-*.jsonl")
    assert str(beside) in trouble_of(writer)
    assert beside.stat().st_mode & 0o077 == 0
    with closing(Store(file)) as store:
        store.merge(read_lines(beside.read_bytes().splitlines(), "file"))
    assert opened().results_of("xor") == {"first": "done"}
    assert opened().last_bookmark() == left(epoch=7)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": Recipe("manual", "\x1b]0;gone\x07", 0.1, 0)},
        {"recipe": Recipe("m" * 1000, "cpu", 0.1, 0)},
        {"recipe": Recipe("manual", "cpu", 0.1, -1)},
        {"recipe": Recipe("manual", "cpu", 0.1, 0, (Change(Position(-1, 0), mode="manual"),))},
        {"at": Position(-1, 0)},
        {"at": Position(10**15, 0)},
        {"runs": (replace(RUN, name="\x1b[2J"),)},
        {"at": Position(0, 2**63 - 1)},
        {"runs": (replace(RUN, furthest=Position(1, -1)),)},
        {"unfinished": (UnfinishedAttempt(exercise="fix", hints=-1),)},
        {"target_epoch": 10**15},
    ],
)
def test_a_place_that_makes_no_sense_is_none(change: dict[str, Any]) -> None:
    assert unpacked(packed(replace(left(), runs=(RUN,)), NOON).data) is not None
    assert unpacked(packed(replace(left(), **change), NOON).data) is None


def test_a_step_is_written_at_once_and_survives_a_kill(file: Path, opened: Open) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STEPPING, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"stepped\n"
        wait_until(lambda: epoch_kept(file) == 41, "the step to be written")
        process.kill()
    writer = opened()
    assert writer.last_bookmark() == left(epoch=41)
    assert writer.results_of("xor") == {"first": "done"}
    assert writer.draft_of("xor", "fix") == Draft("w = 1")
    assert not writer.trouble.code


def epoch_kept(file: Path) -> int:
    """That of the one place in the progress file; 0 while there is none."""
    with closing(Store(file)) as store:
        return next((place.epoch for place in store.places()), 0)


def test_what_another_tutor_does_is_known_at_the_next_look(opened: Open) -> None:
    writer, other = opened(), opened()
    writer.record_result("xor", "first", "predict", "tried")
    writer.save_bookmark(left(epoch=2))
    writer.save_draft("xor", "fix", Draft("w = 1"))
    assert writer.flush()
    other.record_result("xor", "first", "predict", "done")
    other.save_bookmark(left(epoch=9))
    other.save_draft("xor", "fix", Draft("w = 2"))
    assert other.flush()
    assert writer.results_of("xor") == {"first": "tried"}
    writer.refresh()
    assert writer.results_of("xor") == {"first": "done"}
    assert writer.last_bookmark() == left(epoch=9)
    assert writer.draft_of("xor", "fix") == Draft("w = 2")
    writer.save_bookmark(left(epoch=3))
    writer.refresh()
    assert writer.last_bookmark() == left(epoch=3)


def test_what_is_yet_to_be_written_goes_before_what_another_tutor_has_written(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY", 0.01)
    writer = opened()
    writer.results_of("xor")
    with closing(Store(file)) as store:
        store.add([packed(left(epoch=9), NOON), packed(left("line", 9), NOON)])
    with locked(file):
        writer.save_bookmark(left(epoch=3))
        writer.record_result("xor", "first", "predict", "done")
        writer.save_draft("xor", "fix", Draft("w = 1"))
        writer.refresh()
        assert writer.bookmark_of("line") == left("line", 9)
        assert writer.bookmark_of("xor") == left(epoch=3)
        assert writer.results_of("xor") == {"first": "done"}
        assert writer.draft_of("xor", "fix") == Draft("w = 1")


def test_a_look_at_a_file_that_nobody_else_has_written_reads_nothing(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = opened()
    writer.record_result("xor", "first", "predict", "done")
    assert writer.flush()
    monkeypatch.setattr(Store, "exercises", None)
    writer.refresh()
    assert writer.results_of("xor") == {"first": "done"}
    assert not writer.trouble.code


def test_a_look_at_a_file_that_can_not_be_read_ends(opened: Open, file: Path) -> None:
    file.mkdir()
    writer = opened()
    writer.refresh()
    assert writer.results_of("xor") == {}
    writer.close()
    assert not writer._thread.is_alive()
    writer.refresh()
    assert writer.results_of("xor") == {}


def test_of_many_places_in_a_run_few_are_written_and_the_last_one_is(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = Store.add

    def add(self: Store, records: list[Record]) -> object:
        written.append(len(records))
        return real(self, records)

    monkeypatch.setattr(Store, "add", add)
    writer = opened()
    writer.results_of("xor")
    began = time.monotonic()
    for epoch in range(200):
        writer.save_bookmark(left(epoch=epoch))
        time.sleep(0.001)
    seconds = time.monotonic() - began
    writer.close()
    # One that comes BURST_SECONDS after the one before is written at once, on a slow machine.
    assert 1 <= len(written) <= 3 + seconds / BURST_SECONDS
    with closing(Store(file)) as store:
        assert store.places()[0].epoch == 199


def test_a_full_second_is_enough_to_close(opened: Open) -> None:
    fastest = math.inf
    for trial in range(10):
        writer = opened()
        for n in range(300):
            writer.record_result(f"lesson {trial}", f"e{n}", "predict", "done")
        began = time.process_time()  # a machine that is busy with other things takes longer
        writer.close()
        fastest = min(fastest, time.process_time() - began)
        assert len(opened().results_of(f"lesson {trial}")) == 300
        if fastest < 1:
            break
    assert fastest < 1


@pytest.mark.parametrize("slow", ["__init__", "add"])
def test_a_file_that_is_only_slow_is_written_to_the_end(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    real = getattr(Store, slow)
    writers: list[ProgressWriter] = []

    def is_closing() -> bool:
        return any(w._closes_at and time.monotonic() > w._closes_at for w in writers)

    def late(self: Store, *arguments: object, **named: object) -> object:
        wait_until(is_closing, "the end")
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Store, slow, late)
        writers.append(writer := opened())
        writer.record_result("xor", "first", "predict", "done")
        writer.close(timeout=0.01)
    assert not writer.trouble.code
    assert not list(file.parent.glob("*.unsaved-*"))
    assert opened().results_of("xor") == {"first": "done"}


def test_a_file_that_hangs_holds_nobody_up(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    real = Store.__init__

    def hang(self: Store, *arguments: object, **named: object) -> None:
        gate.wait()
        real(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "__init__", hang)
    monkeypatch.setattr(module, "FILE_SECONDS", 0.1)
    monkeypatch.setattr(module, "STUCK", 0.05)
    writer = ProgressWriter(file)
    began = time.monotonic()
    for n in range(1000):
        writer.record_result("xor", f"e{n}", "predict", "done")
        assert len(writer.results_of("xor")) == n + 1
    writer.close(timeout=0.05)
    assert time.monotonic() - began < 50, "not a tenth of a second each time"
    assert trouble_of(writer).startswith(f"progress is not saved: waiting for {file}")
    gate.set()
    writer._thread.join(PATIENCE)
    assert not writer._thread.is_alive()


def test_a_place_that_can_not_be_written_is_told_and_the_lesson_goes_on(
    opened: Open, file: Path
) -> None:
    file.mkdir()
    writer = opened()
    assert writer.results_of("xor") == {}
    assert trouble_of(writer) == f"progress is not saved: it is a folder ({file})"
    writer.record_result("xor", "first", "predict", "done")
    writer.save_bookmark(left())
    assert writer.results_of("xor") == {"first": "done"}
    assert writer.last_bookmark() == left()
    file.rmdir()
    writer.close()
    assert opened().results_of("xor") == {"first": "done"}


def test_what_could_not_be_written_is_written_later_with_what_was_there_before(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Store(file)):
        pass
    monkeypatch.setattr(module, "BUSY", 0.05)
    writer = opened()
    writer.results_of("xor")
    with locked(file):
        writer.record_result("xor", "first", "predict", "done")
        assert not writer.flush(timeout=0.3)
        wait_until(lambda: "another program is writing it" in trouble_of(writer), "the reason")
    assert writer.flush()
    assert not writer.trouble.code
    assert opened().results_of("xor") == {"first": "done"}


def test_a_damaged_file_is_told_all_session_long(opened: Open, file: Path) -> None:
    file.write_text("no database\n" * 100)
    writer = opened()
    writer.record_result("xor", "first", "predict", "done")
    assert writer.flush()
    assert trouble_of(writer).startswith("the progress file was damaged: ")
    assert "\n" not in trouble_of(writer)


def test_whatever_goes_wrong_is_told_and_never_raised(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("never\nthought of")

    monkeypatch.setattr(Store, "exercises", fail)
    writer = opened()
    assert writer.results_of("xor") == {}
    writer.record_result("xor", "first", "predict", "done")
    assert writer.results_of("xor") == {"first": "done"}
    writer.close()
    told = f"progress is not saved: RuntimeError: never thought of ({file})"
    assert trouble_of(writer).startswith(told)


def test_no_sqlite_is_loaded_before_it_is_needed() -> None:
    code = "import sys, tutor.session.progress_writer; sys.exit('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ── When it is written ──────────────────────────────────────────────────────────────


def test_what_was_typed_on_another_machine_is_not_own_here(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = opened()
    theirs.save_draft("xor", "fix", Draft("import os"))
    theirs.save_draft("xor", "other", Draft("w = 1", is_own=False))
    theirs.close()
    again = opened()
    assert again.draft_of("xor", "fix") == Draft("import os", is_own=True)
    assert again.draft_of("xor", "other") == Draft("w = 1", is_own=False)
    again.close()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another machine"))
    writer = opened()  # the very file, copied there
    assert writer.draft_of("xor", "fix") == Draft("import os", is_own=False)
    writer.save_draft("xor", "fix", Draft("import os"))  # agreed to
    writer.close()
    assert opened().draft_of("xor", "fix") == Draft("import os", is_own=True)


def add(backlog: PendingWrites, bookmark: Bookmark, clock: float) -> None:
    backlog.add(("bookmark", bookmark.slug), PendingWrite(NOON, bookmark), clock)


def test_a_step_by_hand_is_due_at_once_and_what_comes_fast_waits() -> None:
    backlog = PendingWrites()
    for clock in (10.0, 10.3, 10.6):
        add(backlog, left(), clock)
        assert backlog.due == clock
        backlog.written(backlog.batch(), clock)
        assert not backlog
    for epoch, clock in ((2, 10.65), (3, 10.7)):
        add(backlog, left(epoch=epoch), clock)
        assert backlog.due == 10.6 + WRITE_SECONDS
    batch = backlog.batch()
    assert list(batch.values()) == [(NOON, left(epoch=3))]
    add(backlog, left(epoch=4), 10.71)
    backlog.written(batch, 10.72)
    assert list(backlog.batch().values()) == [(NOON, left(epoch=4))], "it came meanwhile"


def test_after_a_failure_it_is_tried_again_later_and_not_at_once() -> None:
    backlog = PendingWrites()
    add(backlog, left(), 10.0)
    backlog.failed(10.0)
    assert backlog
    add(backlog, left(epoch=2), 11.0)
    assert backlog.due == 10.0 + RETRY
