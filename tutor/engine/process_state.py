"""The settings of this process that a lesson can change, to be had again as they were.

Python's, NumPy's and PyTorch's own, and the system's for this process. What a lesson leaves of
them must not reach the next lesson, and an interrupt inside `torch.no_grad()`, say, must not leave
them half changed.
"""

from __future__ import annotations

import builtins
import decimal
import gc
import locale
import math
import os
import random
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional
from torch import overrides

from tutor.engine import supervisor
from tutor.engine.process import MARK

_PATCHED = (builtins, math, os, random, time, np, np.random, torch, torch.nn, torch.nn.functional,
            torch.autograd, torch.Tensor)  # fmt: skip
"""The modules and the class whose names are put back if a lesson has replaced them."""

_SIGNALS = tuple(signal.valid_signals() - {signal.SIGINT})
"""SIGINT has another handler while a lesson's code runs: the server sets that."""

_COMPILER = b"torch/_inductor/compile_worker"
_DEVICES = ("cpu", "cuda")
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_STACK)


@dataclass(frozen=True, slots=True)
class ProcessState:
    """All settings at one moment."""

    values: dict[str, Any]

    @classmethod
    def now(cls) -> ProcessState:
        """As they are."""
        return cls({name: read() for name, (read, _) in _SETTINGS.items()})

    def restore(self) -> None:
        """Set again whatever is another now."""
        for name, (read, write) in _SETTINGS.items():
            if read() != self.values[name]:
                with suppress(OSError):  # the folder is gone, or a limit can't be raised again
                    write(self.values[name])


@dataclass(frozen=True, slots=True)
class OriginalNames:
    """What the names of builtins, torch, numpy … stood for before any lesson ran."""

    values: tuple[tuple[Any, dict[str, Any]], ...]

    @classmethod
    def now(cls) -> OriginalNames:
        """As they are."""
        return cls(tuple((owner, dict(vars(owner))) for owner in _PATCHED))

    def restore(self) -> None:
        """Put back those that stand for something else now."""
        for owner, names in self.values:
            now = vars(owner)
            for name in [n for n, value in names.items() if now.get(n, owner) is not value]:
                if not name.startswith("__"):
                    setattr(owner, name, names[name])
            if isinstance(owner, type):
                for name in [n for n in now if n not in names]:
                    if any(name in vars(base) for base in owner.__mro__[1:]):
                        delattr(owner, name)  # it stands before an inherited one


def clear_standard_input() -> None:
    """A lesson that reads gets no answer. (Python's exit() closes what was here before.)"""
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing != 0:  # else a lesson has closed it, and this is it
        os.dup2(nothing, 0)
        os.close(nothing)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115


def stop_timers() -> None:
    """No signal that a lesson has ordered for later comes in the next one."""
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


def end_other_processes() -> None:
    """Kill all that a lesson has started and left, but PyTorch's compilers, which it keeps."""
    if MARK not in os.environ:  # no supervisor stands above: these could be anybody's
        return
    for pid in supervisor.descendants(os.getppid()):
        with suppress(OSError):
            if pid != os.getpid() and _COMPILER not in _command(pid):
                os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes() if supervisor.IS_LINUX else b""


# ── Reading and writing, where it is more than one call ─────────────────────────────


def _inference(is_on: bool) -> None:
    torch.inference_mode(is_on).__enter__()  # never left: this is how it is from here on


def _autocast() -> list[tuple[bool, Any]]:
    return [(torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in _DEVICES]


def _set_autocast(values: list[tuple[bool, Any]]) -> None:
    for device, (is_on, dtype) in zip(_DEVICES, values, strict=True):
        torch.set_autocast_enabled(device, is_on)
        torch.set_autocast_dtype(device, dtype)
    if not any(is_on for is_on, _ in values):
        torch.clear_autocast_cache()


def _function_modes() -> list[Any]:
    """The default device is one of them."""
    return list(overrides._get_current_function_mode_stack())  # type: ignore[no-untyped-call]


def _set_function_modes(modes: list[Any]) -> None:
    for _ in _function_modes():
        overrides._pop_mode()  # type: ignore[no-untyped-call]
    for mode in modes:
        overrides._push_mode(mode)  # type: ignore[no-untyped-call]


def _default_device() -> Any:
    return getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)


def _set_default_device(context: Any) -> None:
    torch._GLOBAL_DEVICE_CONTEXT.device_context = context


def _deterministic() -> tuple[bool, bool]:
    is_on = torch.are_deterministic_algorithms_enabled()
    return is_on, torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _set_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _signal_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _set_signal_handlers(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        # None is one that Python has not set, and can't set again.
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(limit) for limit in _LIMITS]


def _set_limits(values: list[tuple[int, int]]) -> None:
    for limit, (soft, _) in zip(_LIMITS, values, strict=True):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (soft, hard))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _attribute(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


_Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
_SETTINGS: dict[str, _Setting] = {
    # PyTorch's. The function modes first: they change what the other calls do.
    "function modes": (_function_modes, _set_function_modes),
    "default device": (_default_device, _set_default_device),
    "inference mode": (torch.is_inference_mode_enabled, _inference),
    "grad mode": (torch.is_grad_enabled, torch._C._set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "autocast": (_autocast, _set_autocast),
    "autocast cache": (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "anomaly mode": (_anomaly, lambda value: torch.set_anomaly_enabled(*value)),
    "deterministic": (_deterministic, _set_deterministic),
    "matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "cudnn benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "cudnn deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "tensor print options": (
        lambda: copy(torch._tensor_str.PRINT_OPTS),
        lambda value: vars(torch._tensor_str.PRINT_OPTS).update(vars(value)),
    ),
    # NumPy's.
    "numpy errors": (np.geterr, lambda value: np.seterr(**value)),
    "numpy error call": (np.geterrcall, np.seterrcall),
    "numpy print options": (np.get_printoptions, lambda value: np.set_printoptions(**value)),
    # Python's.
    "warnings": (lambda: list(warnings.filters), _set_filters),
    "warning function": _attribute(warnings, "showwarning"),
    "excepthook": _attribute(sys, "excepthook"),
    "displayhook": _attribute(sys, "displayhook"),
    "unraisablehook": _attribute(sys, "unraisablehook"),
    "thread excepthook": _attribute(threading, "excepthook"),
    "path": (lambda: list(sys.path), lambda value: sys.path.__setitem__(slice(None), value)),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "switch interval": (sys.getswitchinterval, sys.setswitchinterval),
    "trace": (sys.gettrace, sys.settrace),
    "profile": (sys.getprofile, sys.setprofile),
    "garbage collection": (gc.isenabled, lambda is_on: gc.enable() if is_on else gc.disable()),
    "decimal": (
        lambda: repr(decimal.getcontext()),
        lambda _: decimal.setcontext(decimal.DefaultContext.copy()),
    ),
    "locale": (
        lambda: locale.setlocale(locale.LC_ALL),
        lambda value: locale.setlocale(locale.LC_ALL, value),
    ),
    # The system's.
    "environment": (lambda: dict(os.environ), _set_environment),
    "folder": (_folder, os.chdir),
    "signal handlers": (_signal_handlers, _set_signal_handlers),
    "limits": (_limits, _set_limits),
    "umask": (_umask, os.umask),
}
