"""What all deeds at an exercise come to. One question in SQL, whatever their number."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

import msgspec

from tutor.progress.records import RANK, ExerciseSummary

_BEST = " ".join(f"WHEN '{deed}' THEN {rank}" for rank, deed in enumerate(RANK))

_QUESTION = f"""
    SELECT lesson, exercise,
        max(kind) AS kind,
        max(CASE deed {_BEST} END) AS state,
        sum(deed = 'tried') AS tries,
        sum(deed = 'hinted') AS hints,
        min(CASE deed WHEN 'done' THEN at END) AS first_done,
        min(CASE deed WHEN 'shown' THEN at END) AS first_shown,
        max(at) AS last
    FROM deeds
    WHERE deed IN ({", ".join(f"'{deed}'" for deed in RANK)})
    GROUP BY lesson, exercise
    ORDER BY min(at)
"""


def exercises(connection: sqlite3.Connection) -> list[ExerciseSummary]:
    """Each exercise that anything has happened at, in the order in which they were begun."""
    found = []
    answer = connection.execute(_QUESTION)
    names = [column[0] for column in answer.description]
    for row in answer:
        with suppress(msgspec.ValidationError):  # written by nobody we know
            found.append(_summary(dict(zip(names, row, strict=True))))
    return found


def _summary(row: dict[str, Any]) -> ExerciseSummary:
    shown, done = row.pop("first_shown"), row["first_done"]
    was_shown_first = shown is not None and (done is None or shown < done)
    row.update(state=RANK[row["state"]], was_shown_first=was_shown_first)
    return msgspec.convert(row, ExerciseSummary)
