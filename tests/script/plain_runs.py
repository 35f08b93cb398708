"""Scripts run as Python runs them, many in one process, to compare stepped runs with."""

from __future__ import annotations

import ast
import io
import os
import random
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from tests.script.case_files import Case

Values: TypeAlias = dict[str, tuple[str, tuple[int, ...], bytes]]
"""By name: the type, shape and bits of a parameter."""

_EPOCH, _START, _END = "plain_epoch__", "plain_start__", "plain_end__"


@dataclass
class LoopRecord:
    """One training loop's executions."""

    parameters: tuple[str, ...]
    epochs: list[int] = field(default_factory=list)
    finals: list[Values] = field(default_factory=list)
    """The bits of its parameters after each execution."""


@dataclass(frozen=True)
class PlainRun:
    """What a script printed, and what its training loops did."""

    output: str
    loops: tuple[LoopRecord, ...]


def run_plainly(case: Case, folder: Path) -> PlainRun:
    """The script's run as `__main__`, standing in a folder, with its own arguments."""
    records = tuple(LoopRecord(loop.parameters) for loop in case.loops)
    tree = _Recording({loop.line: n for n, loop in enumerate(case.loops)}).visit(
        ast.parse(case.python())
    )
    module = types.ModuleType("__main__")
    module.__dict__.update(
        {
            "__file__": str(case.path),
            _START: lambda n: records[n].epochs.append(0),
            _EPOCH: lambda n: _count(records[n]),
            _END: lambda n, names: _record(records[n], names, module.__dict__),
        }
    )
    output = io.StringIO()
    with as_before(), in_folder(folder), redirect_stdout(output):
        sys.argv = [str(case.path), *case.arguments]
        sys.modules["__main__"] = module
        code = compile(ast.fix_missing_locations(tree), str(case.path), "exec", dont_inherit=True)
        exec(code, module.__dict__)
    return PlainRun(output.getvalue(), records)


class _Recording(ast.NodeTransformer):
    """Counts the passes of the training loops, and reads their parameters after them."""

    def __init__(self, lines: Mapping[int, int]) -> None:
        self._lines = lines

    def _visit_loop(self, node: ast.For | ast.While) -> list[ast.stmt]:
        self.generic_visit(node)
        number = self._lines.get(node.lineno)
        if number is None:
            return [node]
        node.body[:0] = ast.parse(f"{_EPOCH}({number})").body
        end = ast.parse(f"{_END}({number}, locals())").body
        return [*ast.parse(f"{_START}({number})").body, ast.Try([node], [], [], end)]

    visit_For = visit_While = _visit_loop


def _count(record: LoopRecord) -> None:
    record.epochs[-1] += 1


def _record(record: LoopRecord, names: Mapping[str, Any], module: Mapping[str, Any]) -> None:
    scope = {**module, **names}
    record.finals.append({p: bits(eval(p, scope)) for p in record.parameters})


def bits(thing: Any) -> tuple[str, tuple[int, ...], bytes]:
    """The type, shape and bits of a parameter."""
    if isinstance(thing, torch.Tensor):
        thing = thing.detach().cpu().numpy()
    elif not isinstance(thing, np.ndarray | np.generic | float | int | complex):
        return bits(thing.data)  # of an own class: as micrograd's
    array = np.asarray(thing)
    return str(array.dtype), array.shape, array.tobytes()


@contextmanager
def as_before() -> Iterator[None]:
    """Puts back what scripts set for the whole process: generators, dtype, arguments."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    arguments, main, dtype = sys.argv, sys.modules["__main__"], torch.get_default_dtype()
    numpy_print = np.get_printoptions()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        sys.argv, sys.modules["__main__"] = arguments, main
        torch.set_default_dtype(dtype)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        np.set_printoptions(**numpy_print)


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Works in a folder for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
