"""Where a lesson is left, as the progress keeps it: words for a person, and all the rest packed."""

from __future__ import annotations

from datetime import datetime

import msgspec

from tutor.progress.records import PlaceRecord
from tutor.session.journal import Bookmark

_LONGEST = 200
"""Characters of a name: of a lesson, a mode, a device or a run."""

_MOST = 10**12
"""More than any count that a run comes to in a lifetime."""

_MOST_STEPS = 2**62
"""The step of the end of an epoch, whatever its number of steps (END of a run)."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Bookmark).decode


def packed(left: Bookmark, at: datetime) -> PlaceRecord:
    """The place that the lesson stands at, with what has been changed on the way there."""
    record = left.record
    mode, device, learning_rate = record.mode, record.device, record.learning_rate
    for change in record.changes:
        if change.at <= left.at:
            mode = change.mode or mode
            device = change.device or device
            learning_rate = change.learning_rate or learning_rate
    forks = [run.name for run in left.runs if run.is_current and len(left.runs) > 1]
    return PlaceRecord(
        lesson=left.slug,
        at=at,
        mode=mode,
        device=device,
        learning_rate=learning_rate,
        epoch=left.at.epoch,
        step=left.at.step,
        fork=forks[0] if forks else "",
        exercise=left.exercise,
        data=_pack(left),
    )


def unpacked(data: bytes) -> Bookmark | None:
    """The packed bookmark; None if it can't be read or is not plausible.

    Another version may have packed it in another way, and a file from elsewhere may say anything.
    """
    try:
        left = _unpack(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return left if _makes_sense(left) else None


def _makes_sense(left: Bookmark) -> bool:
    """Whether names are names, and counts are such as a run can come to."""
    records = [left.record, *(run.record for run in left.runs if run.record)]
    changes = [c for record in records for c in record.changes]
    changes += [c for run in left.runs for c in run.changes]
    names = [left.slug, *(run.name for run in left.runs)]
    names += [text for record in records for text in (record.mode, record.device)]
    names += [text for run in left.runs for text in (run.mode, run.device)]
    names += [text for change in changes for text in (change.mode, change.device) if text]
    places = [left.at, left.before, *(change.at for change in changes)]
    places += [place for run in left.runs for place in (run.forked_at, run.reached)]
    counts = [place.epoch for place in places if place]
    steps = [place.step for place in places if place]
    counts += [left.goal, left.round, left.step, left.tries, left.hints]
    counts += [run.furthest for run in left.runs]
    counts += [count for half in left.halfway for count in (half.round, half.step)]
    counts += [count for half in left.halfway for count in (half.tries, half.hints)]
    seeds = [record.seed for record in records] + [run.seed for run in left.runs]
    seeds += [change.seed for change in changes if change.seed is not None]
    return (
        all(name.isprintable() and len(name) <= _LONGEST for name in names)
        and all(0 <= count <= _MOST for count in counts)
        and all(0 <= step <= _MOST_STEPS for step in steps)
        and all(0 <= seed < 2**64 for seed in seeds)
    )
