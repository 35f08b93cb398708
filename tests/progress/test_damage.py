"""A file that can't be used: told in one line, set aside if it is damaged, never in the way."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.progress.conftest import Open, deed
from tutor.errors import ProgressError
from tutor.progress import database
from tutor.progress.store import SetAside, Store

PAGE = 4096


def overwrite(file: Path, start: int, length: int) -> None:
    with file.open("r+b") as raw:
        raw.seek(start)
        raw.write(b"\xa5" * length)


def execute(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
        connection.commit()


def not_a_database(file: Path) -> None:
    file.write_bytes(b"My holidays by the sea\n" * 100)


def no_header(file: Path) -> None:
    overwrite(file, 0, 100)


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 3 * PAGE)


def corrupt_pages(file: Path) -> None:
    overwrite(file, 3 * PAGE, 2 * PAGE)


def no_tables(file: Path) -> None:
    execute(file, "DROP TABLE places")


def no_column(file: Path) -> None:
    execute(file, "ALTER TABLE drafts DROP COLUMN code")


DAMAGE = [not_a_database, no_header, truncated, corrupt_pages, no_tables, no_column]


def reason_of(store: Store) -> object:
    """Why nothing is kept now."""
    assert store.trouble is not None
    return store.trouble.values["reason"]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_told_and_set_aside_and_a_new_one_begun(
    whole: Path, opened: Open, damage: Callable[[Path], None]
) -> None:
    damage(whole)
    was = whole.read_bytes()
    store = opened()
    (aside,) = [path for path in whole.parent.iterdir() if ".damaged-" in path.name]
    assert aside.read_bytes() == was
    assert store.set_aside is not None
    assert store.set_aside.name == aside.name
    assert store.trouble is None
    store.add([deed(exercise="new")])
    store.close()
    again = opened()
    assert "new" in {summary.exercise for summary in again.exercises()}
    assert again.set_aside is None


@pytest.mark.parametrize(
    ("damage", "least"), [(corrupt_pages, 50), (truncated, 100), (no_tables, 201), (no_column, 201)]
)
def test_what_can_still_be_read_is_saved(
    whole: Path, opened: Open, damage: Callable[[Path], None], least: int
) -> None:
    damage(whole)
    store = opened()
    records = store.records()
    assert least <= len(records) <= 202
    assert store.set_aside is not None
    assert store.set_aside.saved == len(records)


def test_what_can_not_be_saved_lies_where_it_was_set_aside(
    whole: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    no_tables(whole)
    with monkeypatch.context() as patch:
        patch.setattr(database, "add", full)
        store = opened()
    assert store.set_aside is not None
    assert store.set_aside.saved == 0
    store.add([deed()])
    assert len(store.records()) == 1


def test_damage_that_is_found_in_mid_session_costs_nothing_new(whole: Path, opened: Open) -> None:
    store = opened()
    overwrite(whole, PAGE, whole.stat().st_size - PAGE)
    execute(whole, "PRAGMA user_version = 1")  # the open store is to look at the file again
    store.add([deed(exercise="new")])
    assert store.set_aside is not None
    assert "new" in {summary.exercise for summary in store.exercises()}


def test_two_tutors_that_find_the_same_damage_set_it_aside_once(whole: Path) -> None:
    not_a_database(whole)

    def write(_: int) -> SetAside | None:
        with closing(Store(whole, patience=10)) as store:
            store.add([deed()])
            return store.set_aside

    with ThreadPoolExecutor(4) as pool:
        notices = list(pool.map(write, range(4)))
    assert sum(1 for notice in notices if notice) == 1
    assert len([path for path in whole.parent.iterdir() if ".damaged-" in path.name]) == 1
    with closing(Store(whole)) as store:
        assert sum(summary.tries for summary in store.exercises()) == 4


def test_a_newer_tutors_file_is_read_and_left_as_it_is(whole: Path, opened: Open) -> None:
    execute(whole, "PRAGMA user_version = 99")
    was = whole.read_bytes()
    store = opened()
    assert reason_of(store) == "newer"
    assert len(store.exercises()) == 200
    with pytest.raises(ProgressError, match="newer"):
        store.add([deed()])
    assert whole.read_bytes() == was


def test_another_programs_database_is_left_as_it_is(file: Path, opened: Open) -> None:
    file.parent.mkdir()
    execute(file, "CREATE TABLE photos (name)")
    was = file.read_bytes()
    store = opened()
    assert reason_of(store) == "foreign"
    with pytest.raises(ProgressError, match="foreign"):
        store.add([deed()])
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == was


def folder_in_its_place(file: Path) -> None:
    file.mkdir(parents=True)


def pipe_in_its_place(file: Path) -> None:
    file.parent.mkdir()
    os.mkfifo(file)


def file_in_place_of_its_folder(file: Path) -> None:
    file.parent.touch()


def link_to_nowhere(file: Path) -> None:
    file.parent.mkdir()
    file.symlink_to(file.parent / "gone" / "gone")


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (folder_in_its_place, "is_folder"),
        (pipe_in_its_place, "not_ordinary"),
        (file_in_place_of_its_folder, "file_for_folder"),
        (link_to_nowhere, "read_only"),
    ],
)
def test_a_place_where_no_file_can_be_is_told(
    file: Path, opened: Open, what: Callable[[Path], None], why: str
) -> None:
    what(file)
    store = opened()
    assert reason_of(store) == why
    with pytest.raises(ProgressError, match="not_kept"):
        store.add([deed()])
    with pytest.raises(ProgressError, match="not_kept"):
        store.exercises()


def test_a_file_that_may_only_be_read_is_read(
    whole: Path, opened: Open, as_nobody: Callable[[], None]
) -> None:
    whole.chmod(0o444)
    whole.parent.chmod(0o555)
    as_nobody()
    store = opened()
    assert reason_of(store) == "read_only"
    assert len(store.exercises()) == 200
    assert store.trouble
    with pytest.raises(ProgressError, match="read_only"):
        store.add([deed()])


def test_a_folder_that_may_not_be_written_is_told(
    file: Path, opened: Open, as_nobody: Callable[[], None]
) -> None:
    file.parent.parent.chmod(0o555)
    as_nobody()
    assert reason_of(opened()) == "system"


def test_a_damaged_file_that_can_not_be_set_aside_is_told(
    whole: Path, opened: Open, as_nobody: Callable[[], None]
) -> None:
    not_a_database(whole)
    whole.chmod(0o444)
    whole.parent.chmod(0o555)
    as_nobody()
    assert reason_of(opened()) == "not_set_aside"


def test_a_full_disk_is_told_and_written_to_when_there_is_room(opened: Open) -> None:
    store = opened()
    store.add([deed()])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    lot = [deed(exercise=f"e{n}") for n in range(500)]
    with pytest.raises(ProgressError, match="disk_full"):
        store.add(lot)
    assert reason_of(store) == "disk_full"
    assert len(store.exercises()) == 1
    store._connection.execute("PRAGMA max_page_count = 10000")
    assert store.add(lot).deeds == 500
    assert store.trouble is None
