"""The files of a script: it writes them to a temporary folder, and finds them there again.

Nothing of the learner's is changed: a file that the script changes is copied first, and one that it
deletes or renames has to be its own; what the learner has at the same place is hidden from it then.
Other programs could change anything: it may not start them.
"""

from __future__ import annotations

import _posixsubprocess
import builtins
import errno
import io
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

_WRITING = frozenset("wax+")
_OPEN, _LSTAT, _MAKEDIRS = io.open, os.lstat, os.makedirs
_LISTDIR, _SCANDIR = os.listdir, os.scandir
"""Python's own functions, before others take their places."""

_PREFIX = "tutor-script-"
"""The beginning of a temporary folder's name; the number of the process follows."""

_CACHES = (".cache", ".config", ".matplotlib", ".triton")
"""Folders of the home directory whose files libraries may delete at any time."""

Patches: TypeAlias = dict[ModuleType | type, dict[str, Any]]
"""A module or a class, and a name in it → the function that stands there while a script runs."""


class RedirectedFiles:
    """A temporary folder that stands before the learner's own folders."""

    def __init__(
        self,
        own: Sequence[Path],
        folder: Path | None = None,
        is_script: Callable[[Mapping[str, Any]], bool] = lambda _: False,
    ) -> None:
        """`own`: folders of the learner's; there is no exception for what lies in these.

        `folder`: a temporary folder that is shared with others. `is_script`: whether these are
        the global names of the script's code, which may not start programs as libraries may.
        """
        self.is_script = is_script
        self._before: Patches = {}
        self.folder: Path | None = None
        """The temporary folder; None before anything has been written."""
        if folder is not None:
            self._keep(folder)
        self._hidden: set[str] = set()
        """The learner's files that the script has deleted after it had written its own there."""
        self._own = tuple(str(path) for path in own)
        home = os.path.expanduser("~")
        caches = (os.path.join(home, name) for name in _CACHES)
        self._free = ("/dev", "/proc", tempfile.gettempdir(), *caches)
        """Folders that anybody may write to."""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, all functions that take a path lead to these files."""
        _in_use.append(self)
        before = self._before = put({**_PYTHON, **_of_libraries()})
        try:
            yield
        finally:
            put(before)
            _in_use.remove(self)

    @property
    def has_written(self) -> bool:
        """Whether there is anything in the temporary folder."""
        return self.folder is not None and bool(_LISTDIR(self.folder))

    def delete(self) -> None:
        """Delete the temporary folder."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def take_library(self, module: str) -> None:
        """Redirect the functions of a library that the script has just loaded."""
        self._before.update(put(_of_libraries(module)))

    # ── Places of files ─────────────────────────────────────────────────────────────

    def seen(self, path: Any) -> Any:
        """The path of the script's own version of the file, if it has one; else the path."""
        if self.folder is None or not isinstance(path, str | bytes | os.PathLike):
            return path
        there = self._path_aside(path)
        return there if there is not None and (_exists(there) or self._hides(path)) else path

    def written(self, path: Any, *, keeps: bool = False, is_new: bool = False) -> Any:
        """The path to write to.

        `keeps`: with what the learner's file there holds. Raises FileExistsError if it `is_new`
        and something is there.
        """
        there = self._path_aside(path)
        if there is None:
            return path
        if is_new and (self._has_own(path) or _exists(there)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
        own = _whole(path)
        if os.path.isdir(own) and not keeps:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if os.path.isdir(os.path.dirname(own)):
            _MAKEDIRS(os.path.dirname(there), exist_ok=True)
        if keeps and not _exists(there):
            if os.path.isdir(own):
                _MAKEDIRS(there, exist_ok=True)
            elif os.path.isfile(own):
                # Another rank may have just written it: then there is none to copy.
                is_there = suppress(FileNotFoundError, FileExistsError)
                with is_there, _OPEN(own, "rb") as old, _OPEN(there, "xb") as new:
                    shutil.copyfileobj(old, new)
        return there

    def deleted(self, path: Any) -> Any:
        """The path to delete.

        Raises PermissionError if the learner has something there, and the script has not written
        its own in its place. Else the learner's stays, and the script does not see it any more.
        """
        there = self._path_aside(path)
        if there is None:
            return path
        if self._has_own(path):
            own = _whole(path)
            if not self._is_covered(own, there):
                why = "this run did not make it, so the script may delete it only with --here"
                raise PermissionError(errno.EPERM, why, os.fspath(path))
            self._hidden.add(own)
        return there

    def _is_covered(self, own: str, there: str) -> bool:
        """Whether the script has its own version of all that the learner has at a path."""
        if os.path.islink(own) or not os.path.isdir(own):
            return _exists(there) or own in self._hidden
        each = ((os.path.join(own, name), os.path.join(there, name)) for name in _LISTDIR(own))
        return os.path.isdir(there) and all(self._is_covered(*pair) for pair in each)

    def _has_own(self, path: Any) -> bool:
        """Whether the learner has something at a path that the script has not deleted."""
        return _exists(path) and not self._hides(path)

    def _hides(self, path: Any) -> bool:
        """Whether the script has deleted what the learner has at a path, or the folder around."""
        return bool(self._hidden) and _is_inside(_whole(path), self._hidden)

    def listed(self, path: Any) -> tuple[str, str] | None:
        """The learner's folder and the one before it; None where there is only one of them."""
        if not isinstance(path, str | os.PathLike):
            return None
        there = self.seen(path)
        is_both = there != path and os.path.isdir(there) and self._has_own(path)
        return (os.fspath(path), there) if is_both else None

    def is_seen(self, folder: str, name: Any) -> bool:
        """Whether the script has not deleted an entry of a folder of the learner's."""
        return not self._hides(os.path.join(folder, name))

    def _path_aside(self, path: Any) -> str | None:
        """The path in the temporary folder for a path; None where it may be written itself."""
        whole = _whole(path)
        if self.folder is not None and _is_inside(whole, (str(self.folder),)):
            return None
        if _is_inside(whole, self._free) and not _is_inside(whole, self._own):
            return None
        if self.folder is None:
            self._keep(new_folder())
        assert self.folder is not None
        return os.path.join(self.folder, os.path.splitdrive(whole)[1].lstrip(os.sep))

    def _keep(self, folder: Path) -> None:
        self.folder = folder
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def new_folder() -> Path:
    """A new temporary folder. Those of processes that were killed are deleted."""
    held, _in_use[:] = list(_in_use), []
    try:
        for old in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
            if not _is_alive(old.name.removeprefix(_PREFIX).partition("-")[0]):
                shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    finally:
        _in_use[:] = held


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:  # it is another user's
        return True
    return True


def _whole(path: Any) -> str:
    return os.path.abspath(os.fsdecode(os.fspath(path)))


def _is_inside(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _exists(path: Any) -> bool:
    try:
        _LSTAT(path)
    except OSError:
        return False
    return True


# ── In place of functions of Python ─────────────────────────────────────────────────────

_in_use: list[RedirectedFiles] = []
"""The files that are in use. A library that is loaded meanwhile may keep one of these functions for
good: outside they do what those do whose places they take."""

_Redirect: TypeAlias = Callable[[RedirectedFiles, list[Any], dict[str, Any]], None]
"""Changes the arguments of a call."""
_Change: TypeAlias = Callable[[RedirectedFiles, Any], Any]
"""Another path for a path."""


def _redirected(original: Callable[..., Any], redirect: _Redirect) -> Callable[..., Any]:
    """A function that leads to the files in use, if any are."""

    @wraps(original)
    def function(*arguments: Any, **named: Any) -> Any:
        if not _in_use or any(key.endswith("dir_fd") and named[key] is not None for key in named):
            return original(*arguments, **named)
        given = list(arguments)
        redirect(_in_use[-1], given, named)
        return original(*given, **named)

    return function


def _argument(index: int, name: str, change: _Change) -> _Redirect:
    """Changes one argument, if it is a path."""

    def redirect(files: RedirectedFiles, given: list[Any], named: dict[str, Any]) -> None:
        path = given[index] if index < len(given) else named.get(name)
        if isinstance(path, str | bytes | os.PathLike):
            if index < len(given):
                given[index] = change(files, path)
            else:
                named[name] = change(files, path)

    return redirect


def _both(*redirects: _Redirect) -> _Redirect:
    def redirect(files: RedirectedFiles, given: list[Any], named: dict[str, Any]) -> None:
        for each in redirects:
            each(files, given, named)

    return redirect


def _opening(files: RedirectedFiles, given: list[Any], named: dict[str, Any]) -> None:
    mode = given[1] if len(given) > 1 else named.get("mode", "r")
    change: _Change = RedirectedFiles.seen
    if isinstance(mode, str) and not _WRITING.isdisjoint(mode):
        keeps = not {"w", "x"} & set(mode)
        change = partial(RedirectedFiles.written, keeps=keeps, is_new="x" in mode)
    _argument(0, "file", change)(files, given, named)


def _opening_number(files: RedirectedFiles, given: list[Any], named: dict[str, Any]) -> None:
    flags = given[1] if len(given) > 1 else named.get("flags", 0)
    change: _Change = RedirectedFiles.seen
    if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        keeps = flags & (os.O_TRUNC | os.O_CREAT) != os.O_TRUNC | os.O_CREAT
        is_new = bool(flags & os.O_EXCL)
        change = partial(RedirectedFiles.written, keeps=keeps, is_new=is_new)
    _argument(0, "path", change)(files, given, named)


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that starts a program, unless the script's own code asks for that."""

    @wraps(original)
    def function(*arguments: Any, **named: Any) -> Any:
        if _in_use and _in_use[-1].is_script(_names_of_caller()):
            why = "a script may start other programs only with --here: they may change your files"
            raise PermissionError(errno.EPERM, why)
        return original(*arguments, **named)

    return function


_STARTERS = ("subprocess", "os", "multiprocessing", "concurrent.futures", "torch.multiprocessing")
"""Modules that start programs for others."""
_TRACKER = "multiprocessing.resource_tracker"
"""The module that starts a helper of Python's own."""


def _names_of_caller() -> Mapping[str, Any]:
    """The global names of the code that wants to start a program."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = str(frame.f_globals.get("__name__"))
        is_starter = any(name == each or name.startswith(f"{each}.") for each in _STARTERS)
        if name == _TRACKER or not (is_starter or name == __name__):
            break
        frame = frame.f_back
    return frame.f_globals


def _opening_hdf5(files: RedirectedFiles, given: list[Any], named: dict[str, Any]) -> None:
    mode = given[1] if len(given) > 1 else named.get("mode", "r")
    change: _Change = partial(RedirectedFiles.written, keeps=mode != "w")
    change = RedirectedFiles.seen if mode == "r" else change
    _argument(0, "name", lambda files, path: os.fsencode(change(files, path)))(files, given, named)


_made: _Change = partial(RedirectedFiles.written, is_new=True)
_changed: _Change = partial(RedirectedFiles.written, keeps=True)


def _listdir(path: Any = ".") -> list[Any]:
    two = _in_use[-1].listed(path) if _in_use else None
    if two is None:
        return _LISTDIR(_in_use[-1].seen(path) if _in_use else path)
    own = (name for name in _LISTDIR(two[0]) if _in_use[-1].is_seen(two[0], name))
    return list(dict.fromkeys([*own, *_LISTDIR(two[1])]))


class _Entries:
    """The entries of two folders, as `os.scandir` gives the entries of one."""

    def __init__(self, own: str, before: str) -> None:
        seen = (entry for entry in _SCANDIR(own) if _in_use[-1].is_seen(own, entry.name))
        found = {entry.name: entry for entry in (*seen, *_SCANDIR(before))}
        self._entries = iter(found.values())

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration: there are no more entries."""
        self._entries = iter(())


def _scandir(path: Any = ".") -> Any:
    two = _in_use[-1].listed(path) if _in_use else None
    if two is None:
        return _SCANDIR(_in_use[-1].seen(path) if _in_use else path)
    return _Entries(*two)


_SEEN, _WRITTEN, _DELETED = RedirectedFiles.seen, RedirectedFiles.written, RedirectedFiles.deleted
_opened = _redirected(io.open, _opening)
_OF_OS: dict[str, _Redirect] = {
    "open": _opening_number,
    **{name: _argument(0, "path", _SEEN) for name in ("stat", "lstat", "access", "readlink")},
    "chdir": _argument(0, "path", _SEEN),
    **{name: _argument(0, "path", _made) for name in ("mkdir", "mkfifo")},
    **{name: _argument(0, "path", _changed) for name in ("chmod", "utime", "truncate")},
    **{name: _argument(0, "path", _DELETED) for name in ("remove", "unlink", "rmdir")},
    **{name: _argument(1, "dst", _made) for name in ("link", "symlink")},
    **{
        name: _both(_argument(0, "src", _DELETED), _argument(1, "dst", _WRITTEN))
        for name in ("rename", "replace")
    },
}
_OF_OS_STARTING = ("system", "posix_spawn", "posix_spawnp", "execv", "execve")
_PYTHON: Patches = {
    builtins: {"open": _opened},
    io: {"open": _opened},
    os: {
        "listdir": _listdir,
        "scandir": _scandir,
        **{name: _redirected(getattr(os, name), change) for name, change in _OF_OS.items()},
        **{name: _starting(getattr(os, name)) for name in _OF_OS_STARTING if hasattr(os, name)},
    },
    subprocess: {"_fork_exec": _starting(subprocess._fork_exec)},  # type: ignore[attr-defined]
    _posixsubprocess: {"fork_exec": _starting(_posixsubprocess.fork_exec)},
    shutil: {"rmtree": _redirected(shutil.rmtree, _argument(0, "path", _DELETED))},
}
_BY_NAME = {
    ("torch", "save"): _argument(1, "f", _WRITTEN),
    ("torch", "load"): _argument(0, "f", _SEEN),
    ("torch.jit", "save"): _argument(1, "f", _WRITTEN),
    ("torch.jit", "load"): _argument(0, "f", _SEEN),
    ("torch.jit", "RecursiveScriptModule.save"): _argument(1, "f", _WRITTEN),
    ("torch.export", "save"): _argument(1, "f", _WRITTEN),
    ("torch.export", "load"): _argument(0, "f", _SEEN),
    ("numpy", "savetxt"): _argument(0, "fname", _WRITTEN),
    ("numpy", "loadtxt"): _argument(0, "fname", _SEEN),
    ("numpy", "genfromtxt"): _argument(0, "fname", _SEEN),
    ("cv2", "imwrite"): _argument(0, "filename", _WRITTEN),
    ("safetensors.torch", "save_file"): _argument(1, "filename", _WRITTEN),
    ("safetensors.torch", "load_file"): _argument(0, "filename", _SEEN),
    ("safetensors.numpy", "save_file"): _argument(1, "filename", _WRITTEN),
    ("safetensors.numpy", "load_file"): _argument(0, "filename", _SEEN),
    ("pyarrow.parquet", "write_table"): _argument(1, "where", _WRITTEN),
    ("pyarrow.parquet", "read_table"): _argument(0, "source", _SEEN),
    ("h5py._hl.files", "make_fid"): _opening_hdf5,
    ("sqlite3", "connect"): _argument(0, "database", _changed),
}
"""Functions of libraries that open a file by its name without Python's `open`."""
_KEPT_OPEN = {("tarfile", "bltn_open"), ("bz2", "_builtin_open")}
"""Names by which modules have kept Python's `open` for themselves."""

_LIBRARIES = {
    module: tuple(name for m, name in (*_BY_NAME, *_KEPT_OPEN) if m == module)
    for module, _ in (*_BY_NAME, *_KEPT_OPEN)
}
LIBRARIES = _LIBRARIES.keys()
"""The modules that are changed once they are loaded."""


def _of_libraries(only: str = "") -> Patches:
    """The patches of the libraries that are loaded, or of one of them."""
    found: Patches = {}
    for module in (only,) if only else LIBRARIES:
        for name in _LIBRARIES.get(module, ()) if module in sys.modules else ():
            of_class, _, last = name.rpartition(".")
            owner = getattr(sys.modules[module], of_class) if of_class else sys.modules[module]
            if hasattr(owner, last):
                found.setdefault(owner, {})[last] = _call(getattr(owner, last), module, name)
    return found


def _call(own: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    if (module, name) in _KEPT_OPEN:
        return _opened
    if own not in _calls:
        _calls[own] = _redirected(own, _BY_NAME[module, name])
    return _calls[own]


_calls: dict[Callable[..., Any], Callable[..., Any]] = {}
"""A function of a library → the one in its place."""


@contextmanager
def in_places(patches: Patches) -> Iterator[None]:
    """A span in which functions stand in their places."""
    before = put(patches)
    try:
        yield
    finally:
        put(before)


def put(patches: Patches) -> Patches:
    """Put functions in their places; returns those that stood there."""
    before: Patches = {}
    for owner, new in patches.items():
        before[owner] = {name: vars(owner)[name] for name in new}
        for name, function in new.items():
            setattr(owner, name, function)
    return before
