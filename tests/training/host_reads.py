"""Reads of a tensor's numbers by the CPU: on a GPU each of them waits until all is computed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.overrides import TorchFunctionMode

import tutor

TUTOR = Path(tutor.__file__).parent

# fmt: off
_READING = frozenset([
    "item", "tolist", "numpy", "cpu", "equal", "allclose", "nonzero",
    "__bool__", "__float__", "__int__", "__index__", "__array__", "__repr__", "__format__",
])
# fmt: on
"""The functions and methods that do. `.to("cpu")` is looked at by itself."""


class HostReads(TorchFunctionMode, list[str]):
    """The calls, in order, by which the tutor's own code would have the CPU wait for a GPU."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _READING or (
            name == "to" and "cpu" in map(str, (*args[1:], *(kwargs or {}).values()))
        ):
            caller = Path(sys._getframe(1).f_code.co_filename)
            if TUTOR in caller.parents and caller.suffix == ".py":
                self.append(name)
        return func(*args, **(kwargs or {}))
