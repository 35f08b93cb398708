"""The files that a script has written, put back to what they were at the end of an epoch."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tutor.script.redirected_files import RedirectedFiles

MOST_BYTES = 64 * 2**20
"""Bytes of files that are kept for one image, besides what others hold."""
_LARGE = 2**20
"""Bytes from which a file is not read again while its times and size stay the same."""
_ENTRY = 200
"""Estimated bytes of a file besides its content."""

_Stamp: TypeAlias = tuple[int, int, int]


class TooManyBytes(Exception):
    """More content than may be kept."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedFile:
    """The content of one file."""

    content: bytes
    stamp: _Stamp

    def is_at(self, path: Path) -> bool:
        """Whether a file still has this content."""
        stamp = _stamp_of(path)
        if stamp[0] >= _LARGE and stamp == self.stamp:
            return True
        return stamp[0] == len(self.content) and path.read_bytes() == self.content

    def put_back(self, path: Path) -> None:
        """Give a file this content again, in place: the script may hold it open."""
        if path.exists():
            if self.is_at(path):
                return
            mode = "r+b"
        else:
            mode = "wb"
        with open(path, mode) as file:
            file.write(self.content)
            file.truncate()
        os.utime(path, ns=(self.stamp[1], self.stamp[1]))


@dataclass(frozen=True, slots=True, eq=False)
class SavedFiles:
    """All that a script has written to its temporary folder, by path; None for a folder."""

    owner: RedirectedFiles
    files: Mapping[Path, SavedFile | None]

    def put_back(self) -> None:
        """Make the folder what it was. Raises OSError."""
        for path in reversed([p for p in _entries(self.owner) if p not in self.files]):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        for path, saved in self.files.items():
            if saved is None:
                path.mkdir(exist_ok=True)
            else:
                saved.put_back(path)

    def parts(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part; another image may share some."""
        for saved in self.files.values():
            if saved is not None:
                yield id(saved), _ENTRY + len(saved.content)


def saved_files(
    owner: RedirectedFiles, before: SavedFiles | None, most: int = MOST_BYTES
) -> SavedFiles:
    """The files that a script has written; those that are as `before` are shared with it.

    Raises TooManyBytes if `most` bytes or more would be new, or if something is neither a file
    nor a folder; OSError.
    """
    found: dict[Path, SavedFile | None] = {}
    old = before.files if before is not None and before.owner is owner else {}
    for path in _entries(owner):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            found[path] = None
            continue
        saved = old.get(path)
        if saved is None or not saved.is_at(path):
            most -= path.lstat().st_size
            if most <= 0 or not stat.S_ISREG(mode):
                raise TooManyBytes(path)
            saved = SavedFile(path.read_bytes(), _stamp_of(path))
        found[path] = saved
    return SavedFiles(owner, found)


def _entries(owner: RedirectedFiles) -> list[Path]:
    """All that is in the temporary folder, each folder before what is in it."""
    return sorted(owner.folder.rglob("*")) if owner.folder is not None else []


def _stamp_of(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
