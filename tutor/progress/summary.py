"""The summary of all events of an exercise, by a single SQL query."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

import msgspec

from tutor.progress.records import RANK, ExerciseSummary

_DEEDS = (*RANK, "unskipped")
_BEST = " ".join(f"WHEN '{deed}' THEN {i}" for i, deed in enumerate(RANK) if deed != "skipped")
_SKIPPED = """
    max(CASE deed WHEN 'skipped' THEN at END)
    > coalesce(max(CASE deed WHEN 'unskipped' THEN at END), '')
"""
"""Whether the last skip has not been taken back since."""

_QUESTION = f"""
    SELECT lesson, exercise,
        max(kind) AS kind,
        nullif(max(
            coalesce(max(CASE deed {_BEST} END), -1),
            CASE WHEN {_SKIPPED} THEN {RANK.index("skipped")} ELSE -1 END
        ), -1) AS state,
        sum(deed = 'tried') AS tries,
        sum(deed = 'hinted') AS hints,
        min(CASE deed WHEN 'done' THEN at END) AS first_done,
        min(CASE deed WHEN 'shown' THEN at END) AS first_shown,
        max(at) AS last
    FROM deeds
    WHERE deed IN ({", ".join(f"'{deed}'" for deed in _DEEDS)})
    GROUP BY lesson, exercise
    HAVING state IS NOT NULL
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
