"""The environment of a script while its code runs: arguments, modules, pictures and files.

They are those of `python train.py`, but that nothing of the learner's is changed: what the script
writes goes to a temporary folder, where it also finds it again; pictures are drawn to nowhere.
"""

from __future__ import annotations

import atexit
import builtins
import errno
import io
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

_WRITING = frozenset("wax+")
_OPEN, _OPEN_NUMBER, _STAT = io.open, os.open, os.stat
_MKDIR, _MAKEDIRS, _REMOVE_TREE = os.mkdir, os.makedirs, shutil.rmtree
"""Python's own functions, before a script's take their places."""

_CACHES = (".cache", ".config", ".matplotlib", ".triton")
"""Folders of the home directory where libraries keep what they may delete at any time."""


_NOTHING = nullcontext()


class ScriptEnvironment:
    """The environment of one script, entered while its code runs and left again."""

    def __init__(
        self, path: Path, module: ModuleType, arguments: Sequence[str], *, is_here: bool
    ) -> None:
        """`module` is the script's `__main__`; `arguments` are its `sys.argv`.

        `is_here`: it writes files where it wants.
        """
        self._arguments = list(arguments)
        self._folder = str(path.parent)
        self._path: list[str] | None = None
        self._module = module
        self._is_entered = False
        # `plt.show()` returns at once; that there is no window is no news to the learner.
        warnings.filterwarnings("ignore", message=".*non-interactive, and thus cannot be shown")
        self.files = None if is_here else RedirectedFiles([path.parent, Path.cwd()])

    def entered(self) -> AbstractContextManager[None]:
        """Let the script's code find its environment inside. May be entered within itself."""
        return _NOTHING if self._is_entered else self._changed()

    @contextmanager
    def _changed(self) -> Iterator[None]:
        argv, path, main = sys.argv, sys.path, sys.modules.get("__main__")
        backend = os.environ.get("MPLBACKEND")
        sys.argv = self._arguments
        self._path = sys.path = self._path or [self._folder, *path]
        sys.modules["__main__"] = self._module
        os.environ["MPLBACKEND"] = "Agg"
        patches = self.files.patches if self.files else ()
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
        for owner, name, new in patches:
            setattr(owner, name, new)
        self._is_entered = True
        try:
            yield
        finally:
            self._is_entered = False
            for owner, name, old in before:
                setattr(owner, name, old)
            sys.argv, sys.path = argv, path
            if main is not None:
                sys.modules["__main__"] = main
            if backend is None:
                os.environ.pop("MPLBACKEND", None)
            else:
                os.environ["MPLBACKEND"] = backend


class RedirectedFiles:
    """Files that a script writes, in a temporary folder in place of where it wants them."""

    def __init__(self, own: Sequence[Path]) -> None:
        """`own`: folders of the learner's; there is no exception for what lies in these."""
        self.folder: Path | None = None
        """The temporary folder; None before anything has been written."""
        self._own = tuple(str(path) for path in own)
        home = os.path.expanduser("~")
        caches = (os.path.join(home, name) for name in _CACHES)
        self._free = ("/dev", "/proc", tempfile.gettempdir(), *caches)
        """Folders that anybody may write to."""
        self.patches = tuple(self._made())
        """The functions that are replaced while the script runs: see `_made`."""

    def _made(self) -> Iterator[tuple[Any, str, Any]]:
        """Each function that is replaced: its module, its name, and the one in its place."""
        yield builtins, "open", self._open
        yield io, "open", self._open
        yield os, "open", self._open_number
        yield os, "stat", self._stat
        yield os, "mkdir", self._mkdir
        yield shutil, "rmtree", self._remove_tree
        yield torch, "save", self._saving(torch.save)
        for name in ("remove", "unlink", "rename", "replace", "rmdir"):
            yield os, name, self._changing(getattr(os, name))

    def _saving(self, save: Callable[..., Any]) -> Callable[..., Any]:
        """`torch.save`, which opens a file by its name itself."""

        def redirected(obj: Any, f: Any, *more: Any, **options: Any) -> Any:
            if isinstance(f, str | os.PathLike):
                f = self._for_writing(f)
            return save(obj, f, *more, **options)

        return redirected

    # ── In place of functions of Python ─────────────────────────────────────────────

    def _open(self, file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        if isinstance(file, str | bytes | os.PathLike):
            is_writing = not _WRITING.isdisjoint(mode)
            keeps = "w" not in mode and "x" not in mode
            file = self._for_writing(file, keeps=keeps) if is_writing else self._for_reading(file)
        return _OPEN(file, mode, *more, **options)

    def _open_number(self, path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        if options.get("dir_fd") is None:
            is_writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            keeps = not flags & os.O_TRUNC
            path = self._for_writing(path, keeps=keeps) if is_writing else self._for_reading(path)
        return _OPEN_NUMBER(path, flags, mode, **options)

    def _stat(self, path: Any, **options: Any) -> Any:
        if isinstance(path, str | bytes | os.PathLike) and options.get("dir_fd") is None:
            path = self._for_reading(path)
        return _STAT(path, **options)

    def _mkdir(self, path: Any, mode: int = 0o777, **options: Any) -> None:
        there = path if options.get("dir_fd") is not None else self._for_writing(path)
        if there != path and _exists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
        _MKDIR(there, mode, **options)

    def _remove_tree(self, path: Any, *more: Any, **options: Any) -> None:
        there = self._place(path)
        _REMOVE_TREE(path if there is None else there, *more, **options)

    def _changing(self, change: Callable[..., Any]) -> Callable[..., Any]:
        """A function that deletes or renames, on what the script itself has written."""

        def redirected(*paths: Any, **options: Any) -> Any:
            if any(name.endswith("dir_fd") for name in options):  # of a folder that is open
                return change(*paths, **options)
            there = [self._for_writing(path, keeps=True) for path in paths]
            return change(*there, **options)

        return redirected

    # ── Where files are ─────────────────────────────────────────────────────────────

    def _for_reading(self, path: Any) -> Any:
        """The path of what the script has written there, if it has; else the path."""
        if self.folder is None:
            return path
        there = self._place(path)
        return there if there is not None and _exists(there) else path

    def _for_writing(self, path: Any, *, keeps: bool = False) -> Any:
        """The path to write to; `keeps`: with what the learner's file there holds."""
        there = self._place(path)
        if there is None:
            return os.fspath(path)
        parent, own = os.path.dirname(there), os.fsdecode(os.fspath(path))
        if os.path.isdir(os.path.dirname(os.path.abspath(own))):
            _MAKEDIRS(parent, exist_ok=True)
        if keeps and not _exists(there) and os.path.isfile(own):
            _MAKEDIRS(parent, exist_ok=True)
            with _OPEN(own, "rb") as old, _OPEN(there, "wb") as new:
                shutil.copyfileobj(old, new)
        return there

    def _place(self, path: Any) -> str | None:
        """The path in the temporary folder for a path; None where it may be written itself."""
        whole = os.path.abspath(os.fsdecode(os.fspath(path)))
        if _is_inside(whole, self._free) and not _is_inside(whole, self._own):
            return None
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="tutor-script-"))
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        return os.path.join(self.folder, os.path.splitdrive(whole)[1].lstrip(os.sep))


def _is_inside(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _exists(path: Any) -> bool:
    try:
        _STAT(path)
    except OSError:
        return False
    return True
