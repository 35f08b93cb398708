"""A home of a benchmark's own: it neither reads nor writes the user's progress and settings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

PLACES = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
OTHERS = ("TUTOR_PROGRESS", "TUTOR_LESSONS", "TUTOR_MEMORY_MB")


@contextmanager
def own_home() -> Iterator[None]:
    """For this process and its children, until the end: an empty home, and nothing named beside."""
    before = {name: os.environ.get(name) for name in (*PLACES, *OTHERS)}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        for name in OTHERS:
            os.environ.pop(name, None)
        os.environ.update(dict.fromkeys(PLACES, home))
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
