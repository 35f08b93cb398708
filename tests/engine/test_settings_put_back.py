"""Every setting of the process that a lesson can change is put back, whatever was made of it."""

from __future__ import annotations

import faulthandler
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tutor.engine.process_state import (
    UNREADABLE,
    CleanProcess,
    OriginalNames,
    ProcessState,
    stop_timers,
)
from tutor.protocol.frame import Remark

LEAKS = {
    "g = torch.no_grad(); g.__enter__()": "torch.is_grad_enabled()",
    "torch.set_default_dtype(torch.float64)": "torch.zeros(1).dtype",
    "torch.device('meta').__enter__()": "torch.zeros(1).device",
    "torch.autocast('cpu').__enter__()": "torch.is_autocast_enabled('cpu')",
    "torch.set_autocast_enabled('xpu', True)": "torch.is_autocast_enabled('xpu')",
    "torch.autocast('cpu', enabled=False).__enter__()": (
        "(torch.autocast_increment_nesting(), torch.autocast_decrement_nesting())[1]"
    ),
    "torch.autograd.set_detect_anomaly(True)": "torch.is_anomaly_enabled()",
    "torch.use_deterministic_algorithms(True)": "torch.are_deterministic_algorithms_enabled()",
    "torch.set_num_threads(3)": "torch.get_num_threads()",
    "torch.set_float32_matmul_precision('medium')": "torch.get_float32_matmul_precision()",
    "torch.set_printoptions(precision=1)": "torch.tensor(1.23456)",
    "np.seterr(all='raise')": "np.geterr()",
    "np.set_printoptions(precision=1)": "np.array(1.23456)[None]",
    "import warnings; warnings.simplefilter('error')": "__import__('warnings').filters[0][0]",
    "import warnings; warnings.showwarning = print": "__import__('warnings').showwarning.__name__",
    "sys.excepthook = print": "sys.excepthook.__name__",
    "sys.displayhook = repr": "sys.displayhook.__name__",
    "sys.path.clear()": "len(sys.path)",
    "os.chdir('/')": "os.getcwd()",
    "os.environ.pop('PATH')": "'PATH' in os.environ",
    "sys.setrecursionlimit(300)": "sys.getrecursionlimit()",
    "import gc; gc.disable()": "__import__('gc').isenabled()",
    "import signal; signal.signal(10, print)": "__import__('signal').getsignal(10)",
    "import locale; locale.setlocale(0, 'C')": "__import__('locale').setlocale(0)",
    "import decimal; decimal.getcontext().prec = 3": "__import__('decimal').getcontext().prec",
    "import resource; resource.setrlimit(7, (64, resource.getrlimit(7)[1]))": (
        "__import__('resource').getrlimit(7)[0]"
    ),
    "torch.relu = None": "torch.relu is None",
    "np.mean = None": "np.mean is None",
    # PyTorch's
    "torch.backends.cudnn.enabled = False": "torch.backends.cudnn.enabled",
    "torch.backends.cudnn.benchmark = True": "torch.backends.cudnn.benchmark",
    "torch.backends.cudnn.benchmark_limit = 3": "torch.backends.cudnn.benchmark_limit",
    "torch.backends.cudnn.deterministic = True": "torch.backends.cudnn.deterministic",
    "torch.backends.cudnn.allow_tf32 = False": "torch.backends.cudnn.allow_tf32",
    "torch.backends.cuda.matmul.allow_tf32 = True": "torch.backends.cuda.matmul.allow_tf32",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'": (
        "torch.backends.cuda.matmul.fp32_precision, torch.get_float32_matmul_precision()"
    ),
    "torch.backends.fp32_precision = 'ieee'": (
        "torch.backends.fp32_precision, torch.backends.cudnn.rnn.fp32_precision"
    ),
    "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'": (
        "torch.backends.mkldnn.matmul.fp32_precision"
    ),
    "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False": (
        "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction"
    ),
    "torch.backends.mkldnn.set_flags(False)": "torch.backends.mkldnn.enabled",
    "torch.backends.mkldnn.set_flags(True, True)": "torch.backends.mkldnn.deterministic",
    "torch.backends.nnpack.set_flags(False)": "torch._C._get_nnpack_enabled()",
    "torch.backends.quantized.engine = 'onednn'": "torch.backends.quantized.engine",
    "torch.backends.opt_einsum.enabled = False": "torch.backends.opt_einsum.enabled",
    "torch.backends.mha.set_fastpath_enabled(False)": "torch.backends.mha.get_fastpath_enabled()",
    "torch.backends.cuda.enable_flash_sdp(False)": "torch.backends.cuda.flash_sdp_enabled()",
    "torch.backends.cuda.enable_math_sdp(False)": "torch.backends.cuda.math_sdp_enabled()",
    "torch.utils.deterministic.fill_uninitialized_memory = False": (
        "torch.utils.deterministic.fill_uninitialized_memory"
    ),
    "torch.use_deterministic_algorithms(True, warn_only=True)": (
        "torch.is_deterministic_algorithms_warn_only_enabled()"
    ),
    "torch.set_flush_denormal(True)": "torch.tensor(2.3e-308, dtype=torch.float64) / 4",
    "torch.set_warn_always(True)": "torch.is_warn_always_enabled()",
    "torch.set_autocast_dtype('cpu', torch.float16)": "torch.get_autocast_dtype('cpu')",
    "torch.sparse.check_sparse_tensor_invariants.enable()": (
        "torch.sparse.check_sparse_tensor_invariants.is_enabled()"
    ),
    "torch.autograd.set_multithreading_enabled(False)": "torch._C._is_multithreading_enabled()",
    "torch.autograd.graph.save_on_cpu().__enter__()": (
        "torch._C._autograd._top_saved_tensors_default_hooks(True)"
    ),
    "torch.autograd.graph.disable_saved_tensors_hooks('no').__enter__()": (
        "torch._C._autograd._saved_tensors_hooks_is_enabled()"
    ),
    "torch.nn.modules.module.register_module_forward_hook(print)": (
        "torch.nn.modules.module._global_forward_hooks"
    ),
    "torch.nn.modules.module.register_module_full_backward_hook(print)": (
        "torch.nn.modules.module._global_backward_hooks, "
        "torch.nn.modules.module._global_is_full_backward_hook"
    ),
    "sys.modules['torch.optim.optimizer'].register_optimizer_step_post_hook(print)": (
        "sys.modules['torch.optim.optimizer']._global_optimizer_post_hooks"
    ),
    "torch._C.DisableTorchFunction().__enter__()": "torch._C._get_torch_function_state()",
    "from torch.utils.flop_counter import FlopCounterMode as F; F(display=False).__enter__()": (
        "torch.utils._python_dispatch._get_current_dispatch_mode_stack()"
    ),
    "from torch._subclasses import FakeTensorMode as F; F().__enter__()": "torch.zeros(1)",
    "import torch._dynamo; torch._dynamo.config.suppress_errors = True": (
        "__import__('torch._dynamo')._dynamo.config.suppress_errors"
    ),
    "torch.multiprocessing.set_sharing_strategy('file_system')": (
        "torch.multiprocessing.get_sharing_strategy()"
    ),
    "torch.multiprocessing.set_start_method('spawn', force=True)": (
        "torch.multiprocessing.get_start_method(allow_none=True)"
    ),
    # NumPy's
    "np.seterr(divide='raise')": "np.geterr()",
    "np.setbufsize(32)": "np.getbufsize()",
    "np.random.set_bit_generator(np.random.PCG64(1))": "np.random.get_bit_generator()",
    # Python's
    "import random; random.Random.random = None": "__import__('random').Random.random is None",
    "sys.meta_path.clear()": "len(sys.meta_path)",
    "sys.path_hooks.clear()": "len(sys.path_hooks)",
    "sys.argv = ['x']": "sys.argv",
    "import types; sys.modules['own'] = types.ModuleType('own')": "'own' in sys.modules",
    "sys.modules['json'] = None": "__import__('json').dumps([1])",
    "del sys.modules['json']": "id(sys.modules.get('json'))",
    "sys.breakpointhook = print": "sys.breakpointhook is print",
    "sys.setswitchinterval(1)": "sys.getswitchinterval()",
    "sys.set_coroutine_origin_tracking_depth(3)": "sys.get_coroutine_origin_tracking_depth()",
    "sys.set_int_max_str_digits(700)": "sys.get_int_max_str_digits()",
    "sys.tracebacklimit = 0": "getattr(sys, 'tracebacklimit', 1000)",
    "import threading; threading.excepthook = print": "__import__('threading').excepthook is print",
    "import threading; threading.setprofile(print)": "__import__('threading').getprofile()",
    "import threading; threading.stack_size(10**6)": "__import__('threading').stack_size()",
    "import gc; gc.set_threshold(0)": "__import__('gc').get_threshold()",
    "import gc; gc.callbacks.append(print)": "print in __import__('gc').callbacks",
    "import tracemalloc; tracemalloc.start()": "__import__('tracemalloc').is_tracing()",
    "import logging; logging.root.setLevel(1)": "__import__('logging').root.level",
    "import logging; logging.root.addHandler(logging.StreamHandler())": (
        "__import__('logging').root.handlers"
    ),
    "import logging; logging.getLogger('mine').addHandler(logging.StreamHandler())": (
        "__import__('logging').getLogger('mine').handlers"
    ),
    "import logging; logging.disable()": "__import__('logging').root.manager.disable",
    "import socket; socket.setdefaulttimeout(1)": "__import__('socket').getdefaulttimeout()",
    "sys.excepthook = np.ones(2)": "sys.excepthook",
    # The system's
    "import os, time; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()": "__import__('time').tzname",
    # Names
    "import pickle; pickle.dumps = None": "__import__('pickle').dumps is None",
    "import json; json.JSONEncoder = None": "__import__('json').JSONEncoder is None",
    "torch.nn.Linear.forward = None": "torch.nn.Linear.forward is None",
    "torch.optim.SGD.step = None": "torch.optim.SGD.step is None",
    "torch.nn.Module.__call__ = None": "torch.nn.Module.__call__ is None",
    "torch.Tensor.__add__ = None": "torch.Tensor.__add__ is None",
    "torch.nn.Linear.__call__ = print": "torch.nn.Linear.__call__ is print",
    "torch.linalg.norm = None": "torch.linalg.norm is None",
    "import sys; sys.modules['torch.optim.sgd'].sgd = None": (
        "sys.modules['torch.optim.sgd'].sgd is None"
    ),
    "np.linalg.norm = None": "np.linalg.norm is None",
    "import builtins; builtins.leaked = print": "'leaked' in dir(__import__('builtins'))",
}


NAMES = {"torch": torch, "np": np, "sys": sys, "os": os}


@pytest.fixture(scope="module")
def names() -> OriginalNames:
    return OriginalNames.now()


def found(expression: str) -> str:
    return repr(eval(expression, dict(NAMES)))


@pytest.mark.parametrize("leak", LEAKS)
def test_it_is_as_it_was_before(names: OriginalNames, leak: str) -> None:
    state, before = ProcessState.now(), found(LEAKS[leak])
    try:
        exec(leak, dict(NAMES))
        ProcessState.now()  # as the next command does: it fails at nothing
    finally:
        names.restore()
        cannot = state.restore()
    assert (cannot, found(LEAKS[leak])) == ((), before)


def test_every_setting_can_be_read() -> None:
    assert [n for n, value in ProcessState.now().values.items() if value is UNREADABLE] == []


def test_a_timer_of_faulthandler_is_stopped(tmp_path: Path) -> None:
    with (tmp_path / "dump").open("w+") as file:
        in_time = False
        while not in_time:  # a machine that is busy may take longer, and then it has gone off
            file.truncate(0)
            due = time.monotonic() + 0.1
            faulthandler.dump_traceback_later(0.1, file=file)
            stop_timers()
            in_time = time.monotonic() < due
        time.sleep(0.15)
        assert not file.read()


def test_a_setting_that_can_not_be_put_back_is_named() -> None:
    state = ProcessState.now()
    folder = os.getcwd()
    gone = ProcessState({**state.values, "folder": "/there/is/no/such/folder"})
    assert CleanProcess(state=gone).restore() == Remark("setting_left", {"name": "folder"})
    assert os.getcwd() == folder


def test_a_limit_that_may_not_be_so_high_any_more_is_named() -> None:
    """As after a lesson that has lowered the hard limit, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("no limit is too high here")
    state = ProcessState.now()
    higher = ProcessState({**state.values, "limit NOFILE": (hard + 1, hard + 1)})
    assert higher.restore() == ("limit NOFILE",)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_the_next_lesson_finds_its_own_module_of_the_same_name(tmp_path: Path) -> None:
    state = ProcessState.now()
    for word in ("one", "two"):
        (tmp_path / word).mkdir()
        (tmp_path / word / "helper_of_both.py").write_text(f"word = {word!r}")
        seen: dict[str, Any] = {"sys": sys, "folder": str(tmp_path / word)}
        exec("sys.path.insert(0, folder); from helper_of_both import word", seen)
        assert seen["word"] == word
        state.restore()


def test_installed_modules_stay_loaded() -> None:
    state = ProcessState.now()
    sys.modules.pop("colorsys", None)
    import colorsys

    state.restore()
    assert sys.modules["colorsys"] is colorsys
