"""The progress file: what is written there is there, however many tutors write it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace

from tests.progress.conftest import MONDAY, Open, deed, draft, place
from tutor.errors import ProgressError
from tutor.progress import RANK, Counts, ExerciseResult, database, progress_file
from tutor.progress.store import Store

KILLED = """
import sys
from pathlib import Path
from uuid import uuid4
from tutor.progress import ExerciseRecord, PlaceRecord, now
from tutor.progress.store import Store
store = Store(Path(sys.argv[1]))
for n in range(100_000):
    deed = ExerciseRecord(
        id=uuid4(), lesson="xor", exercise="e", kind="predict", deed="tried", at=now()
    )
    store.add([deed, PlaceRecord(lesson="xor", at=now(), epoch=n)])
    print(n, flush=True)
"""


def test_what_is_written_is_there_after_closing(opened: Open, file: Path) -> None:
    records = [deed(), deed("done"), place(), draft()]
    file.parent.mkdir()
    file.touch()  # an empty file is a new one
    store = opened()
    assert store.add(records) == Counts(deeds=2, places=1, drafts=1)
    store.close()
    again = opened()
    assert again.records() == records
    assert (again.trouble, again.set_aside) == (None, None)


def test_of_a_place_and_a_draft_the_latest_is_kept_and_of_deeds_all(opened: Open) -> None:
    store = opened()
    store.add([deed(), place(epoch=1, minutes=60), draft("a")])
    store.add([deed(), place(epoch=2), draft("b")])  # later, whatever the clock says
    assert [place.epoch for place in store.places()] == [2]
    assert [draft.code for draft in store.drafts()] == ["b"]
    assert [summary.tries for summary in store.exercises()] == [2]
    store.add([place("a", minutes=1), place("b", minutes=63), place("c", minutes=62)])
    assert [place.lesson for place in store.places()][:2] == ["b", "c"], "the last comes first"


def test_a_summary_says_what_was_done_when_and_with_what_help(opened: Open) -> None:
    store = opened()
    names: tuple[ExerciseResult, ...] = ("tried", "hinted", "shown", "done")
    store.add([deed(name, minutes=minute) for minute, name in enumerate(names, 1)])
    store.add([
        deed("done", minutes=9),
        deed("done", "second", minutes=5),
        deed("shown", "second", minutes=6),
        deed("skipped", "third", minutes=7),
        deed("tried", "third", minutes=8),
    ])  # fmt: skip
    first, second, third = store.exercises()
    assert (first.state, first.tries, first.hints) == ("done", 1, 1)
    assert first.was_shown_first
    assert first.first_done is not None
    assert (first.first_done - MONDAY).seconds == 4 * 60
    assert (first.last - MONDAY).seconds == 9 * 60
    assert (second.state, second.was_shown_first) == ("done", False)
    assert (third.state, third.first_done) == ("skipped", None)


def test_a_merge_adds_what_is_new_and_takes_what_is_later(opened: Open) -> None:
    store = opened()
    old = [deed(), place(epoch=1, minutes=5), draft("here", minutes=5)]
    store.add(old)
    came = [old[0], deed(), place(epoch=2, minutes=4), draft("there", minutes=6)]
    assert store.merge(came) == Counts(deeds=1, places=0, drafts=1)
    assert store.places()[0].epoch == 1
    assert store.drafts()[0].code == "there"
    assert store.merge(came).all == 0


def test_what_is_forgotten_is_handed_over_first(opened: Open) -> None:
    store = opened()
    store.add([deed(), place(), deed(lesson="other")])

    def refuse(_: object) -> None:
        raise ProgressError("no_backup")

    with pytest.raises(ProgressError, match="no_backup"):
        store.forget(None, refuse)
    assert len(store.records()) == 3, "nothing, if it can't be handed over"
    handed: list[object] = []
    store.forget("xor", handed.extend)
    assert len(handed) == 2
    assert [record.lesson for record in store.records()] == ["other"]


def test_text_that_is_none_is_kept_as_well_as_it_can_be(opened: Open) -> None:
    store = opened()
    store.add([draft("half of a pair: \ud800; NUL: \0")])
    assert store.drafts()[0].code == "half of a pair: ?; NUL: \0"


def test_many_writers_at_once_lose_nothing(file: Path) -> None:
    def write(writer: int) -> None:
        with closing(Store(file, patience=60)) as store:
            for n in range(25):
                store.add([deed(exercise=f"{writer}-{n}"), place(epoch=n)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with closing(Store(file)) as store:
        assert len(store.exercises()) == 100
        assert (store.trouble, store.set_aside) == (None, None)


def test_a_file_that_another_tutor_begins_meanwhile_is_no_other_programs(file: Path) -> None:
    def begin(statement: str) -> None:
        if "sqlite_master" in statement:
            Store(file, patience=0).close()

    with closing(database.connect_to_write(file, 0)) as connection:
        connection.set_trace_callback(begin)
        assert database.state_of(connection) == "empty"


def test_a_kill_in_mid_write_loses_nothing_that_was_written(file: Path, opened: Open) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as writer:
        assert writer.stdout
        told = [next(writer.stdout) for _ in range(30)]
        writer.kill()
        told += writer.stdout
    store = opened()
    assert sum(summary.tries for summary in store.exercises()) >= len(told) >= 30
    assert store.places()[0].epoch >= int(told[-1])
    assert (store.trouble, store.set_aside) == (None, None)
    assert store.add([deed()]).deeds == 1


def test_a_file_that_was_deleted_meanwhile_is_begun_anew(file: Path, opened: Open) -> None:
    store = opened()
    store.add([deed("tried")])
    for path in file.parent.iterdir():
        path.unlink()
    store.add([deed("done")])
    assert [summary.state for summary in opened().exercises()] == ["done"]


def test_a_file_that_another_program_is_writing_is_told_and_written_later(
    file: Path, opened: Open
) -> None:
    store = opened()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ProgressError, match="file_busy"):
            store.add([deed()])
        assert store.trouble is not None
        beside = opened()
        assert (beside.records(), beside.trouble) == ([], None)
        other.execute("ROLLBACK")
    store.add([deed()])
    assert store.trouble is None


def test_a_file_system_that_shares_no_memory_gets_a_journal_that_needs_none(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = database.connect
    with closing(Store(file)) as store:
        store.add([deed()])
    monkeypatch.setattr(database, "connect", lambda *a, **q: real(*a, **q, vfs="unix-dotfile"))
    with closing(Store(file)) as store:
        store.add([deed()])
        assert store.trouble is None
        assert not Path(f"{file}-wal").exists()
        assert store.exercises()[0].tries == 2


def test_the_file_is_the_learners_own(opened: Open, file: Path) -> None:
    opened().add([deed()])
    assert {path.stat().st_mode & 0o077 for path in file.parent.iterdir()} == {0}


def test_an_older_file_is_brought_up_to_date(
    file: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    store.add([deed()])
    store.close()
    more = ("ALTER TABLE drafts ADD COLUMN colour TEXT",)
    monkeypatch.setattr(database, "_MIGRATIONS", (*database._MIGRATIONS, more))
    monkeypatch.setattr(database, "VERSION", database.VERSION + 1)
    assert len(opened().records()) == 1
    with closing(sqlite3.connect(file)) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (database.VERSION,)
        assert "colour" in [row[1] for row in plain.execute("PRAGMA table_info(drafts)")]


def before_seals(file: Path) -> None:
    """Make a file of the first version, with a draft."""
    with closing(sqlite3.connect(file)) as plain:
        for statement in database._MIGRATIONS[0]:
            plain.execute(statement)
        plain.execute("INSERT INTO drafts VALUES ('xor', 'fix', 'w = 1', '2026-03-02T09:00:00Z')")
        plain.execute("PRAGMA user_version = 1")
        plain.commit()


def test_a_draft_of_the_first_version_is_kept_without_a_seal(file: Path, opened: Open) -> None:
    file.parent.mkdir()
    before_seals(file)
    (kept,) = opened().drafts()
    assert (kept.code, kept.seal) == ("w = 1", "")


def test_a_draft_of_the_first_version_is_read_where_nothing_can_be_written(
    file: Path, opened: Open, as_nobody: Callable[[], None]
) -> None:
    file.parent.mkdir()
    before_seals(file)
    file.chmod(0o444)
    file.parent.chmod(0o555)
    as_nobody()
    assert [kept.code for kept in opened().drafts()] == ["w = 1"]


def test_what_is_merged_has_no_seal_but_for_the_very_code_that_had_one(opened: Open) -> None:
    store = opened()
    store.add([replace(draft("w = 1"), seal="ours")])
    store.merge([draft("w = 1", minutes=1)])
    assert [kept.seal for kept in store.drafts()] == ["ours"]
    store.merge([draft("import os", minutes=2)])
    assert [(kept.code, kept.seal) for kept in store.drafts()] == [("import os", "")]


def test_a_skip_counts_until_it_is_taken_back(opened: Open) -> None:
    store = opened()
    store.add([
        deed("tried", "first", minutes=1),
        deed("skipped", "first", minutes=2),
        deed("skipped", "second", minutes=3),
        deed("unskipped", "second", minutes=4),
        deed("skipped", "third", minutes=5),
        deed("unskipped", "third", minutes=6),
        deed("skipped", "third", minutes=7),
        deed("done", "fourth", minutes=8),
        deed("unskipped", "fourth", minutes=9),
    ])  # fmt: skip
    states = {known.exercise: known.state for known in store.exercises()}
    assert states == {"first": "skipped", "third": "skipped", "fourth": "done"}
    store.add([deed("unskipped", "first", minutes=10)])
    assert store.exercises()[0].state == "tried"


def test_the_file_is_found_in_the_data_folder_or_where_one_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TUTOR_PROGRESS", raising=False)
    assert progress_file().name == "progress.sqlite3"
    assert progress_file().is_relative_to(tmp_path)
    monkeypatch.setenv("TUTOR_PROGRESS", "~/mine")
    assert progress_file() == tmp_path / "mine"


def test_every_event_but_unskipped_has_a_rank() -> None:
    assert {*get_args(ExerciseResult)} == {*RANK, "unskipped"}
