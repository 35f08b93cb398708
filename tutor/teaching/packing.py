"""Where a lesson is left, as the progress keeps it: words for a person, and all the rest packed."""

from __future__ import annotations

from datetime import datetime

import msgspec

from tutor.progress.records import PlaceRecord
from tutor.teaching.journal import Left

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Left).decode


def packed(left: Left, at: datetime) -> PlaceRecord:
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


def unpacked(data: bytes) -> Left | None:
    """What was packed; None if another version packed it in a way that we can't read."""
    try:
        return _unpack(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
