"""The state of this process before a lesson ran, and its restoration.

What a lesson changes in the process must not reach the next lesson, and an interrupt inside
`torch.no_grad()`, say, must not leave a setting half changed. That holds for settings, and for the
functions and classes of Python, NumPy and PyTorch.
"""

from __future__ import annotations

import builtins
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import msgspec
import torch

from tutor.engine import supervisor
from tutor.engine.process import PROCESS_VARIABLE
from tutor.engine.process_settings import SETTINGS, is_same_setting
from tutor.protocol.frame import Remark
from tutor.training.set_up import spare_compiler
from tutor.training.snapshot import LESSON_MODULE

_NAMED_LIBRARIES = frozenset(("torch", "numpy")) | sys.stdlib_module_names
_CLASSES = ("torch.nn.", "torch.optim.", "torch.utils.data.", "torch.autograd.", "random.")
"""The modules in whose classes a lesson may well replace methods, besides torch.Tensor."""


class _Names(msgspec.Struct, frozen=True):
    """All names of a module or a class, and what they stand for."""

    owner: Any
    values: dict[str, Any]

    def restore(self) -> None:
        now = vars(self.owner)
        for name in [n for n, value in self.values.items() if now.get(n) is not value]:
            value = self.values[name]
            if _is_callable(value) and not _is_wrapped_by_torch(now.get(name), value):
                setattr(self.owner, name, value)
        if self.owner is builtins or isinstance(self.owner, type):
            for name in [n for n in now if n not in self.values and self._is_in_the_way(n)]:
                delattr(self.owner, name)

    def _is_in_the_way(self, name: str) -> bool:
        """Whether a new name is found in place of an inherited one, or in every lesson."""
        if self.owner is builtins:
            return name != "_"  # the value that the displayhook has shown last
        inherited = any(name in vars(base) for base in self.owner.__mro__[1:])
        return inherited and not name.startswith("__anno")  # Python adds these when asked for


class OriginalNames(msgspec.Struct, frozen=True):
    """The functions and classes of Python, NumPy and PyTorch, before any lesson ran."""

    owners: tuple[_Names, ...]

    @classmethod
    def now(cls) -> OriginalNames:
        """The names as they are now, in all modules that are loaded.

        Among them is what spares PyTorch's optimizers its compiler: for every lesson, not the first
        alone.
        """
        spare_compiler()
        modules = {
            name: module
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] in _NAMED_LIBRARIES and isinstance(module, ModuleType)
        }
        own = [module for name, module in modules.items() if f"{name}.".startswith(_CLASSES)]
        parts = (part for module in own for part in vars(module).values())
        # (To ask some of PyTorch's for their `__class__` prints a warning.)
        classes = {id(part): part for part in parts if issubclass(type(part), type)}.values()
        replaceable = (c for c in classes if f"{c.__module__}.".startswith(_CLASSES))
        owners = (*modules.values(), *replaceable, torch.Tensor)
        return cls(tuple(_Names(owner, dict(vars(owner))) for owner in owners))

    def restore(self) -> None:
        """Restore the names that stand for something else now."""
        for names in self.owners:
            names.restore()


def _is_callable(value: Any) -> bool:
    return callable(value) or issubclass(type(value), property | staticmethod | classmethod)


def _is_wrapped_by_torch(now: Any, before: Any) -> bool:
    """PyTorch's compiler puts such a function in the place of some when it is loaded."""
    return getattr(now, "_torchdynamo_orig_callable", None) is before


_SPARED = (b"torch/_inductor/compile_worker", b"tutor.engine.follower")
_LIBRARY_PREFIXES = ("tutor.", "torch.", "concurrent.", "multiprocessing.")
"""Their threads wait for work, and do nothing by themselves."""
_THREAD_NAPS = 200
"""Naps of 5 ms in which a lesson's thread has to end. Naps, as a clock goes on where a busy machine
gives this process no time."""

UNREADABLE = object()
"""Stands for a setting that can't be read: PyTorch refuses to while it calls a state mixed."""


class ProcessState(msgspec.Struct, frozen=True):
    """The values of all settings at one moment."""

    values: dict[str, Any]

    @classmethod
    def now(cls) -> ProcessState:
        """The settings as they are now."""
        return cls({name: _read(read) for name, (read, _) in SETTINGS.items()})

    def restore(self) -> tuple[str, ...]:
        """Restore the settings that differ now; returns the names of settings that can't be."""
        return tuple(name for name in SETTINGS if not self._is_restored(name))

    def _is_restored(self, name: str) -> bool:
        (read, write), value = SETTINGS[name], self.values[name]
        if value is UNREADABLE or is_same_setting(_read(read), value):
            return True
        try:
            write(value)
        except Exception:  # noqa: BLE001 - whatever it is, the other settings are to be set
            return False
        return is_same_setting(_read(read), value)


class CleanProcess(msgspec.Struct, frozen=True):
    """The process as it was before the first lesson; every lesson begins with it."""

    names: OriginalNames = msgspec.field(default_factory=OriginalNames.now)
    state: ProcessState = msgspec.field(default_factory=ProcessState.now)

    def restore(self) -> Remark | None:
        """Undo what the lesson before has done to the process.

        Returns what can't be undone; then only a new process is clean.
        """
        stop_timers()
        self.names.restore()
        threads, cannot = end_threads(), self.state.restore()
        clear_standard_input()
        if threads:
            return Remark("thread_left", {"name": threads[0]})
        return Remark("setting_left", {"name": cannot[0]}) if cannot else None


def _read(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception:  # noqa: BLE001 - a lesson may have spoiled it, and writing it may repair it
        return UNREADABLE


def clear_standard_input() -> None:
    """Connect standard input to the null device. (Python's exit() closes it.)"""
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing != 0:  # else a lesson has closed standard input, and this descriptor has become it
        os.dup2(nothing, 0)
        os.close(nothing)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115


def stop_timers() -> None:
    """Stop the timers whose signals would come in the next lesson."""
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)
    faulthandler.cancel_dump_traceback_later()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


def end_other_processes() -> None:
    """Kill the processes that a lesson has left running.

    Except PyTorch's compilers and the other ranks, which load PyTorch for seconds.
    """
    if PROCESS_VARIABLE not in os.environ:  # no supervisor stands above: these could be anybody's
        return
    for pid in supervisor.descendants(os.getppid()):
        with suppress(OSError):
            if pid != os.getpid() and not any(name in _command(pid) for name in _SPARED):
                os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes() if supervisor.IS_LINUX else b""


# ── Threads ─────────────────────────────────────────────────────────────────────────


def end_threads() -> list[str]:
    """End the threads that lessons have started; returns the names of threads that do not end."""
    for number in _lesson_threads():
        # Python raises it in the thread, at its next instruction.
        exit_ = ctypes.py_object(SystemExit)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(number), exit_)
    for _ in range(_THREAD_NAPS):
        if not _lesson_threads():
            return []
        time.sleep(0.005)
    return list(_lesson_threads().values())


def _lesson_threads() -> dict[int, str]:
    """The names, by number, of the threads that run a lesson's code, or have it to run."""
    known = {thread.ident: thread for thread in threading.enumerate()}
    found = {}
    for number, frame in sys._current_frames().items():
        thread = known.get(number)
        if thread is not threading.main_thread() and (_is_lessons(frame) or _has_work(thread)):
            found[number] = thread.name if thread is not None else f"thread {number}"
    return found


def _is_lessons(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_globals.get("__name__") != LESSON_MODULE:
        frame = frame.f_back
    return frame is not None


def _has_work(thread: threading.Thread | None) -> bool:
    """Whether a lesson made the thread by `Thread(target=…)`, and not a library."""
    target = getattr(thread, "_target", None)
    module = getattr(target, "__module__", None) or type(getattr(target, "__self__", "")).__module__
    return target is not None and not f"{module}.".startswith(_LIBRARY_PREFIXES)
