"""The settings of this process that a lesson can change: how each is read, and set again.

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
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import overrides
from torch.backends import mha
from torch.utils import _python_dispatch as dispatch
from torch.utils._config_module import _UNSET_SENTINEL as _UNSET

_numpy: Any = np.random
_SIGNALS = tuple(signal.valid_signals() - {signal.SIGINT})
"""SIGINT has another handler while a lesson's code runs: the server sets that."""

_DEVICES = ("cpu", "cuda")
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE,
           resource.RLIMIT_STACK, resource.RLIMIT_CPU, resource.RLIMIT_NPROC)  # fmt: skip


def is_same(now: Any, before: Any) -> bool:
    """Whether they are one thing, or equal."""
    try:
        return now is before or bool(now == before)
    except Exception:  # noqa: BLE001 - a lesson's own object stands there, which may raise anything
        return False


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


def _most_memory() -> int:
    return resource.getrlimit(resource.RLIMIT_DATA)[1]


def _set_most_memory(value: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (resource.getrlimit(resource.RLIMIT_DATA)[0], value))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _attribute(owner: Any, name: str) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _of_torch(name: str, of: Callable[[Any], Any] | None = None) -> Setting:
    """A setting that PyTorch keeps in C++, by the last part of its functions' names."""
    get, put = getattr(torch._C, f"_get_{name}"), getattr(torch._C, f"_set_{name}")
    return get, of(put) if of else put


def _precisions() -> list[str]:
    return [torch._C._get_fp32_precision_getter(*place) for place in _PRECISIONS]


def _set_precisions(values: list[str]) -> None:
    for place, value in zip(_PRECISIONS, values, strict=True):
        torch._C._set_fp32_precision_setter(*place, value)


def _attention() -> list[bool]:
    return [getattr(torch._C, f"_get_{kind}_sdp_enabled")() for kind in _ATTENTIONS]


def _set_attention(values: list[bool]) -> None:
    for kind, value in zip(_ATTENTIONS, values, strict=True):
        getattr(torch._C, f"_set_sdp_use_{kind}")(value)


def _saved_tensors_hooks() -> Any:
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


def _set_saved_tensors_hooks(value: Any) -> None:
    while (top := _saved_tensors_hooks()) is not None and not is_same(top, value):
        torch._C._autograd._pop_saved_tensors_default_hooks()


def _set_saved_tensors_hooks_message(message: str | None) -> None:
    if message is None:
        torch._C._autograd._saved_tensors_hooks_enable()
    else:
        torch._C._autograd._saved_tensors_hooks_disable(message)


def _dispatch_modes() -> list[Any]:
    return list(dispatch._get_current_dispatch_mode_stack())


def _set_dispatch_modes(modes: list[Any]) -> None:
    for mode in reversed(_dispatch_modes()):
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
    for module in [m for name, m in list(sys.modules.items()) if name in _TORCH_CONFIGS]:
        for name, entry in vars(module).get("_config", {}).items():  # it may still be loading
            value = entry.user_override.get()
            if value is not _UNSET:
                found[module.__name__, name] = value
    return found


def _set_torch_configs(values: dict[tuple[str, str], Any]) -> None:
    for module, name in _torch_configs().keys() | values.keys():
        entry = sys.modules[module]._config[name]
        entry.user_override.set(values.get((module, name), _UNSET))


def _cuda_device() -> int:
    is_used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.cuda.current_device() if is_used else 0


def _is_denormal_flushed() -> bool:
    return _SMALLEST / 2 == 0.0


def _own_modules() -> dict[str, Any]:
    """The modules of a lesson's own, and None for each installed one that it has removed."""
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


def _cores() -> Any:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def _set_cores(cores: Any) -> None:
    os.sched_setaffinity(0, cores)


def _set_priority(value: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, value)


def _set_user(value: tuple[int, int]) -> None:
    os.seteuid(value[0])
    os.setegid(value[1])


def _unpacking(put: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda values: put(*values)


_SMALLEST = sys.float_info.min
_TORCH_CONFIGS = ("torch._dynamo.config", "torch._functorch.config", "torch._inductor.config",
                  "torch.compiler.config", "torch.fx.experimental._config")  # fmt: skip
# (`torch.optim.optimizer` is no attribute of `torch.optim`.)
_OWNERS_OF_HOOKS = (torch.nn.modules.module, sys.modules["torch.optim.optimizer"])
_ATTENTIONS = ("flash", "mem_efficient", "math", "cudnn")
_PRECISIONS = (
    ("generic", "all"),
    *(("cuda", op) for op in ("all", "matmul", "conv", "rnn")),
    *(("mkldnn", op) for op in ("all", "matmul", "conv", "rnn")),
)
_FLAGS = ("cudnn_enabled", "cudnn_benchmark", "cudnn_deterministic", "cudnn_allow_tf32",
          "cublas_allow_tf32", "cublas_allow_fp16_accumulation", "mkldnn_enabled",
          "mkldnn_deterministic", "onednn_allow_tf32", "nnpack_enabled", "qengine",
          "cpu_allow_fp16_reduced_precision_reduction", "math_sdp_allow_fp16_bf16_reduction",
          "sdp_priority_order", "blas_preferred_backend", "linalg_preferred_backend",
          "autograd_fallback_mode", "backcompat_broadcast_warn",
          "backcompat_keepdim_warn")  # fmt: skip
_FLAGS_OF_TWO = ("cublas_allow_fp16_reduced_precision_reduction",
                 "cublas_allow_bf16_reduced_precision_reduction")  # fmt: skip


Setting: TypeAlias = tuple[Callable[[], Any], Callable[[Any], Any]]
SETTINGS: dict[str, Setting] = {
    # PyTorch's. The modes first: they change what the other calls do. Some of the later ones
    # can't be read before the precisions are put right.
    "dispatch modes": (_dispatch_modes, _set_dispatch_modes),
    "torch function state": _of_torch("torch_function_state"),
    "function modes": (_function_modes, _set_function_modes),
    "default device": (_default_device, _set_default_device),
    "inference mode": (torch.is_inference_mode_enabled, _inference),
    "grad mode": (torch.is_grad_enabled, torch._C._set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "autocast": (_autocast, _set_autocast),
    "autocast cache": (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "anomaly mode": (_anomaly, lambda value: torch.set_anomaly_enabled(*value)),
    "forward mode": (torch._C._is_fwd_grad_enabled, torch._C._set_fwd_grad_enabled),
    "multithreading": (torch._C._is_multithreading_enabled, torch._C._set_multithreading_enabled),
    "view replay": (torch._C._is_view_replay_enabled, torch._C._set_view_replay_enabled),
    "saved tensors hooks": (_saved_tensors_hooks, _set_saved_tensors_hooks),
    "saved tensors hooks' message": (
        torch._C._autograd._saved_tensors_hooks_get_disabled_error_message,
        _set_saved_tensors_hooks_message,
    ),
    "global hooks": (_global_hooks, _set_global_hooks),
    "deterministic": (_deterministic, _set_deterministic),
    "deterministic fill": _of_torch("deterministic_fill_uninitialized_memory"),
    "precisions": (_precisions, _set_precisions),
    "matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "denormal numbers": (_is_denormal_flushed, torch.set_flush_denormal),
    "warn always": (torch.is_warn_always_enabled, torch.set_warn_always),
    "sparse invariants": (
        torch._C._check_sparse_tensor_invariants,
        torch._C._set_check_sparse_tensor_invariants,
    ),
    "attention": (_attention, _set_attention),
    "attention's fast path": (mha.get_fastpath_enabled, mha.set_fastpath_enabled),
    "cudnn benchmark limit": _attribute(torch.backends.cudnn, "benchmark_limit"),
    "opt_einsum": _attribute(torch.backends.opt_einsum, "enabled"),
    "opt_einsum strategy": _attribute(torch.backends.opt_einsum, "strategy"),
    **{name: _of_torch(name) for name in _FLAGS},
    **{name: _of_torch(name, _unpacking) for name in _FLAGS_OF_TWO},
    "torch configs": (_torch_configs, _set_torch_configs),
    "cuda device": (_cuda_device, torch.cuda.set_device),
    "sharing strategy": (
        torch.multiprocessing.get_sharing_strategy,
        torch.multiprocessing.set_sharing_strategy,
    ),
    "tensor print options": (
        lambda: copy(torch._tensor_str.PRINT_OPTS),
        lambda value: vars(torch._tensor_str.PRINT_OPTS).update(vars(value)),
    ),
    # NumPy's.
    "numpy errors": (np.geterr, lambda value: np.seterr(**value)),
    "numpy error call": (np.geterrcall, np.seterrcall),
    "numpy print options": (np.get_printoptions, lambda value: np.set_printoptions(**value)),
    "numpy buffer": (np.getbufsize, np.setbufsize),
    # What it draws is set by the seed that each run begins with.
    "numpy random generator": (_numpy.get_bit_generator, _numpy.set_bit_generator),
    # Python's.
    "path": (lambda: list(sys.path), lambda value: sys.path.__setitem__(slice(None), value)),
    "finders": (
        lambda: list(sys.meta_path),
        lambda value: sys.meta_path.__setitem__(slice(None), value),
    ),
    "path hooks": (
        lambda: list(sys.path_hooks),
        lambda value: sys.path_hooks.__setitem__(slice(None), value),
    ),
    "modules": (_own_modules, _set_own_modules),
    "arguments": (lambda: list(sys.argv), lambda value: setattr(sys, "argv", value)),
    "warnings": (lambda: list(warnings.filters), _set_filters),
    "warning function": _attribute(warnings, "showwarning"),
    "excepthook": _attribute(sys, "excepthook"),
    "displayhook": _attribute(sys, "displayhook"),
    "unraisablehook": _attribute(sys, "unraisablehook"),
    "breakpointhook": _attribute(sys, "breakpointhook"),
    "thread excepthook": _attribute(threading, "excepthook"),
    "thread trace": (threading.gettrace, threading.settrace),
    "thread profile": (threading.getprofile, threading.setprofile),
    "stack size": (threading.stack_size, threading.stack_size),
    "start method": _attribute(multiprocessing.context._default_context, "_actual_context"),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "switch interval": (sys.getswitchinterval, sys.setswitchinterval),
    "digits of an int": (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    "traceback limit": (
        lambda: getattr(sys, "tracebacklimit", 1000),
        partial(setattr, sys, "tracebacklimit"),
    ),
    "trace": (sys.gettrace, sys.settrace),
    "profile": (sys.getprofile, sys.setprofile),
    "garbage collection": (gc.isenabled, lambda is_on: gc.enable() if is_on else gc.disable()),
    "garbage thresholds": (gc.get_threshold, lambda value: gc.set_threshold(*value)),
    "garbage callbacks": (
        lambda: list(gc.callbacks),
        partial(gc.callbacks.__setitem__, slice(None)),
    ),
    "garbage debugging": (gc.get_debug, gc.set_debug),
    "traced memory": (tracemalloc.is_tracing, lambda _: tracemalloc.stop()),
    "logging": (_loggers, _set_loggers),
    "logging threshold": (lambda: logging.root.manager.disable, logging.disable),
    "socket timeout": (socket.getdefaulttimeout, socket.setdefaulttimeout),
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
    "time zone": (lambda: (time.tzname, time.timezone), lambda _: time.tzset()),
    "folder": (_folder, os.chdir),
    "signal handlers": (_signal_handlers, _set_signal_handlers),
    "limits": (_limits, _set_limits),
    # (How much of it is allowed is set as each lesson is opened.)
    "memory limit": (_most_memory, _set_most_memory),
    "umask": (_umask, os.umask),
    "cores": (_cores, _set_cores),
    "priority": (lambda: os.getpriority(os.PRIO_PROCESS, 0), _set_priority),
    "user": (lambda: (os.geteuid(), os.getegid()), _set_user),
}
