"""The settings of this process that a lesson can change: how each is read and restored.

Python's, NumPy's and PyTorch's own, and the system's for this process. (Random numbers are not
among them: each run begins with its seed.)
"""

from __future__ import annotations

import decimal
import gc
import importlib
import locale
import logging
import multiprocessing.context
import os
import resource
import signal
import socket
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from copy import copy
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.backends import mha, opt_einsum
from torch.utils import _python_dispatch as dispatch
from torch.utils._config_module import _UNSET_SENTINEL as _UNSET

from tutor.protocol.frame import DEVICE_KINDS
from tutor.training.devices import (
    ACCELERATORS,
    autocast_depth,
    current_device,
    default_device,
    function_modes,
    set_autocast_depth,
    set_current_device,
    set_default_device,
    set_function_modes,
)


def is_same_setting(now: Any, before: Any) -> bool:
    """Whether they are one thing, or equal."""
    try:
        return now is before or bool(now == before)
    except Exception:  # noqa: BLE001 - a lesson's own object stands there, which may raise anything
        return False


def _enter_inference_mode(is_on: bool) -> None:
    torch.inference_mode(is_on).__enter__()  # never left: this is how it is from here on


def _set_autocast(device: str, is_on: bool) -> None:
    torch.set_autocast_enabled(device, is_on)
    if not is_on:
        torch.clear_autocast_cache()


def _set_warning_filters(filters: list[Any]) -> None:
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


def _set_signal_handler(number: int, handler: Any) -> None:
    if handler is not None:  # one that Python has not set, and can't set again
        signal.signal(number, handler)


def _set_soft_limit(limit: int, value: tuple[int, int]) -> None:
    resource.setrlimit(limit, (value[0], resource.getrlimit(limit)[1]))


def _set_most_memory(value: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (resource.getrlimit(resource.RLIMIT_DATA)[0], value))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _saved_tensors_hooks() -> Any:
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


def _set_saved_tensors_hooks(value: Any) -> None:
    while (top := _saved_tensors_hooks()) is not None and not is_same_setting(top, value):
        torch._C._autograd._pop_saved_tensors_default_hooks()


def _set_saved_tensors_hooks_message(message: str | None) -> None:
    if message is None:
        torch._C._autograd._saved_tensors_hooks_enable()
    else:
        torch._C._autograd._saved_tensors_hooks_disable(message)


def _set_dispatch_modes(modes: list[Any]) -> None:
    for mode in reversed(dispatch._get_current_dispatch_mode_stack()):
        dispatch._pop_mode(getattr(mode, "_mode_key", None))
    for mode in modes:
        dispatch._push_mode(mode)


def _global_hooks() -> dict[str, Any]:
    """The global hooks of modules and optimizers."""
    found = {}
    for owner in _OWNERS_OF_HOOKS:
        for name, thing in vars(owner).items():
            if name.startswith("_global_"):
                found[name] = dict(thing) if isinstance(thing, dict) else thing
    return found


def _set_global_hooks(values: dict[str, Any]) -> None:
    for owner in _OWNERS_OF_HOOKS:
        for name in [name for name in vars(owner) if name in values]:
            if isinstance(values[name], dict):
                hooks = getattr(owner, name)
                hooks.clear()
                hooks.update(values[name])
            else:
                setattr(owner, name, values[name])


def _torch_configs() -> dict[tuple[str, str], Any]:
    """The changed settings of `torch._dynamo.config` and its siblings, where they are loaded."""
    found = {}
    for module in [sys.modules[name] for name in _TORCH_CONFIGS if name in sys.modules]:
        for name, entry in vars(module).get("_config", {}).items():  # it may still be loading
            value = _override_of(entry)
            if value is not _UNSET:
                found[module.__name__, name] = value
    return found


def _set_torch_configs(values: dict[tuple[str, str], Any]) -> None:
    for module, name in _torch_configs().keys() | values.keys():
        entry, value = sys.modules[module]._config[name], values.get((module, name), _UNSET)
        if isinstance(entry.user_override, ContextVar):
            entry.user_override.set(value)
        else:
            entry.user_override = value


def _override_of(entry: Any) -> Any:
    """The changed value of a setting, which older versions of PyTorch keep without a ContextVar."""
    override = entry.user_override
    return override.get() if isinstance(override, ContextVar) else override


def _own_modules() -> dict[str, Any]:
    """The lesson's own modules, and None for each installed module that it has removed."""
    found: dict[str, Any] = dict.fromkeys(_installed.keys() - sys.modules.keys())
    for name, module in list(sys.modules.items()):
        if _installed.get(name) is not module:
            if _is_installed(name, module):
                _installed[name] = module
            else:
                found[name] = module
    return found


def _set_own_modules(modules: dict[str, Any]) -> None:
    """Forget the others: the next lesson may have a module of the same name."""
    for name in _own_modules():
        sys.modules.pop(name, None)
        if name in _installed:
            sys.modules[name] = _installed[name]
    sys.modules.update(modules)
    importlib.invalidate_caches()


def _is_installed(name: str, module: Any) -> bool:
    """Whether it is where every lesson's `import` finds it."""
    spec = getattr(module, "__spec__", None)
    if spec is None:
        return name.startswith("torch.")  # some are made on the way
    if spec.has_location and spec.origin:
        place = Path(spec.origin)
        above = name.count(".") + (place.stem == "__init__")
        return len(place.parents) > above and str(place.parents[above]) in _PATH
    places = spec.submodule_search_locations
    return not places or any(str(Path(p).parents[name.count(".")]) in _PATH for p in places)


def _loggers() -> dict[str, tuple[Any, ...]]:
    """Each logger but a library's, unless it is as if it were new."""
    found: dict[str, tuple[Any, ...]] = {"": _logger_state(logging.root)}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] not in _installed:
            state = _logger_state(logger)
            if state != _NEW_LOGGER:
                found[name] = state
    return found


def _logger_state(logger: logging.Logger) -> tuple[Any, ...]:
    flags = logger.level, logger.propagate, logger.disabled
    return (*flags, list(logger.handlers), list(logger.filters))


def _set_loggers(values: dict[str, tuple[Any, ...]]) -> None:
    for name in _loggers().keys() | values.keys():
        logger = logging.getLogger(name)
        level, logger.propagate, logger.disabled, handlers, filters = values.get(name, _NEW_LOGGER)
        logger.setLevel(level)
        logger.handlers[:], logger.filters[:] = handlers, filters


_NEW_LOGGER: tuple[Any, ...] = (logging.NOTSET, True, False, [], [])
_installed = dict(sys.modules)
"""The modules that every lesson finds, by name; more are added as they are loaded."""
_PATH = frozenset(str(Path(entry)) for entry in sys.path if entry)


_SMALLEST = sys.float_info.min
_TORCH_CONFIGS = ("torch._dynamo.config", "torch._functorch.config", "torch._inductor.config",
                  "torch.compiler.config", "torch.fx.experimental._config")  # fmt: skip
# (`torch.optim.optimizer` is no attribute of `torch.optim`.)
_OWNERS_OF_HOOKS = (torch.nn.modules.module, sys.modules["torch.optim.optimizer"])

# ── The table ───────────────────────────────────────────────────────────────────────

ProcessSetting: TypeAlias = tuple[Callable[[], Any], Callable[[Any], Any]]
"""Reads a setting, and sets it."""


def _attributes(owner: Any, *names: str) -> dict[str, ProcessSetting]:
    return {n: (partial(getattr, owner, n), partial(setattr, owner, n)) for n in names}


def _lists(owner: Any, *names: str) -> dict[str, ProcessSetting]:
    """The contents of lists that are attributes."""

    def setting(name: str) -> ProcessSetting:
        return (
            lambda: list(getattr(owner, name)),
            lambda value: getattr(owner, name).__setitem__(slice(None), value),
        )

    return {name: setting(name) for name in names}


def _pairs(owner: ModuleType, get: str = "get", put: str = "set") -> dict[str, ProcessSetting]:
    """All settings that a module has a function to read, without arguments, and one to set.

    That is found out by calling them: this module is loaded before any lesson has run.
    """
    found: dict[str, ProcessSetting] = {}
    for name in dir(owner):
        what = name.removeprefix(get)
        if what != name and hasattr(owner, put + what):
            read = getattr(owner, name)
            with suppress(Exception):  # another kind of function, whose name is like these
                read()
                found[f"{what.strip('_')} of {owner.__name__}"] = (
                    read,
                    _unpacking(getattr(owner, put + what)),
                )
    return found


def _unpacking(put: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function that sets a setting; a tuple or a mapping is its several arguments."""

    def put_all(value: Any) -> Any:
        if isinstance(value, tuple):
            return put(*value)
        return put(**value) if isinstance(value, dict) else put(value)

    return put_all


_IN_C = _pairs(torch._C, "_get_", "_set_") | _pairs(torch._C, "_is_", "_set_")
"""What PyTorch keeps in C++; older versions lack some."""
_PRECISIONS = (
    ("generic", "all"),
    *((backend, op) for backend in ("cuda", "mkldnn") for op in ("all", "matmul", "conv", "rnn")),
)
_LIMITS = {f"limit {name}": getattr(resource, f"RLIMIT_{name}")
           for name in ("AS", "NOFILE", "FSIZE", "STACK", "CPU", "NPROC")}  # fmt: skip
_SIGNALS = signal.valid_signals() - {signal.SIGINT}
"""SIGINT has another handler while a lesson's code runs: the server sets that."""

_TORCH: dict[str, ProcessSetting] = {
    # The modes first: they change what the other calls do.
    "dispatch modes": (
        lambda: list(dispatch._get_current_dispatch_mode_stack()), _set_dispatch_modes),
    "function state": _IN_C.pop("torch_function_state of torch._C"),
    "function modes": (function_modes, set_function_modes),
    "default device": (default_device, set_default_device),
    "inference mode": (torch.is_inference_mode_enabled, _enter_inference_mode),
    "grad mode": (torch.is_grad_enabled, torch._C._set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    **{
        f"autocast on {device}": (
            partial(torch.is_autocast_enabled, device), partial(_set_autocast, device))
        for device in DEVICE_KINDS
    },
    **{
        f"autocast's dtype on {device}": (
            partial(torch.get_autocast_dtype, device), partial(torch.set_autocast_dtype, device))
        for device in DEVICE_KINDS
    },
    "autocast depth": (autocast_depth, set_autocast_depth),
    "autocast cache": (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "anomaly mode": (
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        _unpacking(torch.set_anomaly_enabled),
    ),
    **({"saved tensors hooks": (_saved_tensors_hooks, _set_saved_tensors_hooks)}
       if hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks") else {}),
    "saved tensors hooks' message": (
        torch._C._autograd._saved_tensors_hooks_get_disabled_error_message,
        _set_saved_tensors_hooks_message,
    ),
    "global hooks": (_global_hooks, _set_global_hooks),
    "deterministic": _IN_C.pop("deterministic_algorithms of torch._C"),
    "deterministic warning": (
        torch.is_deterministic_algorithms_warn_only_enabled,
        lambda is_on: torch.use_deterministic_algorithms(
            torch.are_deterministic_algorithms_enabled(), warn_only=is_on
        ),
    ),
    # Some of the later ones can't be read before the precisions are put right.
    **{
        " ".join(place): (
            partial(torch._C._get_fp32_precision_getter, *place),
            partial(torch._C._set_fp32_precision_setter, *place),
        )
        for place in (_PRECISIONS if hasattr(torch._C, "_get_fp32_precision_getter") else ())
    },
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "denormal numbers": (lambda: _SMALLEST / 2 == 0.0, torch.set_flush_denormal),
    "sparse invariants": (
        torch._C._check_sparse_tensor_invariants, torch._C._set_check_sparse_tensor_invariants),
    **{
        f"{kind} attention": (
            getattr(torch._C, f"_get_{kind}_sdp_enabled"),
            getattr(torch._C, f"_set_sdp_use_{kind}"),
        )
        for kind in ("flash", "mem_efficient", "math", "cudnn")
    },
    "attention's fast path": (mha.get_fastpath_enabled, mha.set_fastpath_enabled),
    **_attributes(torch.backends.cudnn, "benchmark_limit"),
    **_attributes(opt_einsum, "enabled", "strategy"),
    **_IN_C,
    "torch configs": (_torch_configs, _set_torch_configs),
    **{
        f"current {kind}": (partial(current_device, kind), partial(set_current_device, kind))
        for kind, accelerator in ACCELERATORS.items() if accelerator.is_numbered
    },
    "sharing strategy": (
        torch.multiprocessing.get_sharing_strategy, torch.multiprocessing.set_sharing_strategy),
    "tensor print options": (
        lambda: copy(torch._tensor_str.PRINT_OPTS),
        lambda value: vars(torch._tensor_str.PRINT_OPTS).update(vars(value)),
    ),
}  # fmt: skip
_NUMPY: dict[str, ProcessSetting] = {
    **_pairs(np),
    # Its numbers depend on the seed that each run begins with.
    "numpy random generator": (
        np.random.get_bit_generator, np.random.set_bit_generator),  # type: ignore[attr-defined, unused-ignore]
}  # fmt: skip
_PYTHON: dict[str, ProcessSetting] = {
    **_lists(sys, "path", "meta_path", "path_hooks", "argv"),
    "modules": (_own_modules, _set_own_modules),
    "warnings": (lambda: list(warnings.filters), _set_warning_filters),
    **_attributes(warnings, "showwarning"),
    **_attributes(sys, "excepthook", "displayhook", "unraisablehook", "breakpointhook"),
    "thread excepthook": _attributes(threading, "excepthook")["excepthook"],
    **_pairs(threading),
    "stack size": (threading.stack_size, threading.stack_size),
    **_attributes(multiprocessing.context._default_context, "_actual_context"),
    **_pairs(sys),
    "traceback limit": (
        lambda: getattr(sys, "tracebacklimit", 1000), partial(setattr, sys, "tracebacklimit")),
    "garbage collection": (gc.isenabled, lambda is_on: gc.enable() if is_on else gc.disable()),
    **_lists(gc, "callbacks"),
    **_pairs(gc),
    "traced memory": (tracemalloc.is_tracing, lambda _: tracemalloc.stop()),
    "logging": (_loggers, _set_loggers),
    "logging threshold": (lambda: logging.root.manager.disable, logging.disable),
    **_pairs(socket),
    "decimal": (
        lambda: repr(decimal.getcontext()),
        lambda _: decimal.setcontext(decimal.DefaultContext.copy()),
    ),
    "locale": (
        partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
}  # fmt: skip
_SYSTEM: dict[str, ProcessSetting] = {
    "environment": (lambda: dict(os.environ), _set_environment),
    "time zone": (lambda: (time.tzname, time.timezone), lambda _: time.tzset()),
    "folder": (_folder, os.chdir),
    **{
        f"handler of signal {number}": (
            partial(signal.getsignal, number), partial(_set_signal_handler, number))
        for number in _SIGNALS
    },
    **{
        name: (partial(resource.getrlimit, limit), partial(_set_soft_limit, limit))
        for name, limit in _LIMITS.items()
    },
    # (How much of it is allowed is set as each lesson is opened.)
    "memory limit": (lambda: resource.getrlimit(resource.RLIMIT_DATA)[1], _set_most_memory),
    "umask": (_umask, os.umask),
    **({"cores": (partial(os.sched_getaffinity, 0), partial(os.sched_setaffinity, 0))}
       if hasattr(os, "sched_getaffinity") else {}),
    "priority": (
        partial(os.getpriority, os.PRIO_PROCESS, 0), partial(os.setpriority, os.PRIO_PROCESS, 0)),
    "user": (os.geteuid, os.seteuid),
    "group": (os.getegid, os.setegid),
}  # fmt: skip
SETTINGS: dict[str, ProcessSetting] = {**_TORCH, **_NUMPY, **_PYTHON, **_SYSTEM}
"""All settings by name, in the order in which they are set again."""
