"""Notices that files change, by looking twice a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

PAUSE = 0.5
"""Seconds from one look to the next."""

SETTLED = 0.1
"""Seconds that a file has to stay as it is: an editor may write it in several goes."""

Stamp: TypeAlias = tuple[int, int, int] | None
"""When it was written, its size and which file it is; None where there is none."""


def changes(
    files: Callable[[], Iterable[Path]], sleep: Callable[[float], None] = time.sleep
) -> Iterator[tuple[Path, ...]]:
    """The files that changed since the last look, forever; first all that there are.

    `files` is asked at every look, so one that is new is noticed. One that is gone has
    changed, and so has one that is back.
    """
    known: Mapping[Path, Stamp] = {}
    while True:
        now = _stamps(files())
        changed = _changed(known, now)
        while changed:
            sleep(SETTLED)
            later = _stamps(files())
            if later == now:
                break
            now, changed = later, _changed(known, later)
        if changed:
            yield changed
        known = now
        sleep(PAUSE)


def _changed(known: Mapping[Path, Stamp], now: Mapping[Path, Stamp]) -> tuple[Path, ...]:
    return tuple(path for path, stamp in now.items() if known.get(path, ()) != stamp)


def _stamps(files: Iterable[Path]) -> Mapping[Path, Stamp]:
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except (OSError, ValueError):  # gone for the moment; whoever reads it tells why
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
