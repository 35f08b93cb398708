"""A lesson as a script or a notebook that runs without the tutor, made without running it.

Files for the learner are written whole or not at all, and over another one only if asked. The
figures of a run as a table are written by `tutor.training.series`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TextIO

from tutor.errors import FileThere, Refused


def write(text: str, path: Path, force: bool = False) -> Path:
    """Write `text` as UTF-8 into a new file; returns its path. Raises as `new_file` does."""
    with new_file(path, force) as file:
        file.write(text)
    return path


@contextmanager
def new_file(path: Path, force: bool = False) -> Iterator[TextIO]:
    """A new text file, which is deleted again if the body raises.

    With `force` it replaces an older file in one step, after all is written. Raises FileThere if
    there is an older file and no `force`, Refused if the file can't be written.
    """
    try:
        with _replacing(Path(os.path.realpath(path))) if force else _creating(path) as file:
            yield file
    except FileExistsError:
        raise FileThere("file_there", path=str(path)) from None
    except FileNotFoundError as error:
        raise Refused("no_folder", path=str(path), folder=str(path.parent)) from error
    except IsADirectoryError as error:
        raise Refused("path_is_folder", path=str(path)) from error
    except OSError as error:
        words = error.strerror or str(error)
        raise Refused("unwritable", path=str(path), words=words) from error


@contextmanager
def _creating(path: Path) -> Iterator[TextIO]:
    file = path.open("x", encoding="utf-8", newline="\n")
    try:
        with file:
            yield file
    except BaseException:  # Ctrl+C too: half a file would pass for a whole one
        path.unlink()
        raise


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """Write beside the old file, then replace it in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with _creating(beside) as file:
        yield file
    try:
        with suppress(FileNotFoundError):
            shutil.copymode(path, beside)
        beside.replace(path)
    except OSError:
        beside.unlink()
        raise


def free_path(folder: Path, slug: str, mode: str, suffix: str) -> Path:
    """An unused name in `folder`: xor-manual.py, then xor-manual-2.py …"""
    stem = re.sub(r"[^\w.]+", "-", f"{slug}-{mode}").strip("-.") or "lesson"
    names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
    paths = (folder / f"{name}{suffix}" for name in names)
    return next(path for path in paths if not os.path.lexists(path))
