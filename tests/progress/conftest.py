"""A progress file in a folder of its own, and records to put into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

import pytest

from tutor.progress import DraftRecord, ExerciseRecord, ExerciseResult, PlaceRecord
from tutor.progress.store import Store

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NOBODY = 65534


def deed(
    name: ExerciseResult = "tried", exercise: str = "first", lesson: str = "xor", minutes: float = 0
) -> ExerciseRecord:
    return ExerciseRecord(
        id=uuid4(),
        lesson=lesson,
        exercise=exercise,
        kind="predict",
        deed=name,
        at=MONDAY + timedelta(minutes=minutes),
    )


def place(lesson: str = "xor", epoch: int = 1, minutes: float = 0) -> PlaceRecord:
    return PlaceRecord(
        lesson=lesson,
        at=MONDAY + timedelta(minutes=minutes),
        mode="manual",
        device="cpu",
        learning_rate=0.1,
        epoch=epoch,
        data=b"\xff\x00",
    )


def draft(code: str = "w = 1", minutes: float = 0) -> DraftRecord:
    return DraftRecord(
        lesson="xor", exercise="fix", code=code, at=MONDAY + timedelta(minutes=minutes)
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "progress.sqlite3"


Open = Callable[[], Store]


@pytest.fixture
def opened(file: Path) -> Iterator[Open]:
    """Opens the file, once more each time; all are closed at the end."""
    stores: list[Store] = []

    def opened() -> Store:
        stores.append(Store(file, patience=0.2))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def whole(file: Path) -> Path:
    """A file of several pages, closed: 200 deeds, a place and a draft."""
    with closing(Store(file)) as store:
        store.add([*(deed(exercise=f"e{n}") for n in range(200)), place(), draft()])
    return file


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Gives up the rights of root, whom no mode of a file stops, from when it is called."""
    was = os.geteuid()

    def become() -> None:
        if was == 0:
            above = takewhile(lambda f: f != Path(gettempdir()), tmp_path.parents)
            for folder in (tmp_path, *above):  # one more of them where tests run in parallel
                folder.chmod(0o755)
            os.seteuid(NOBODY)

    yield become
    os.seteuid(was)
