"""The functions and classes of Python, NumPy and PyTorch, to be had again as they were."""

from __future__ import annotations

import builtins
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

_LIBRARIES = frozenset(("torch", "numpy")) | sys.stdlib_module_names
_CLASSES = ("torch.nn.", "torch.optim.", "torch.utils.data.", "torch.autograd.", "torch.Tensor",
            "random.")  # fmt: skip
"""Where the classes are whose methods a lesson may well replace."""


@dataclass(frozen=True, slots=True)
class _Names:
    """Of a module or a class: what they all are, and what the functions' and classes' stand for."""

    owner: Any
    all: frozenset[str]
    values: dict[str, Any]

    @classmethod
    def of(cls, owner: Any) -> _Names:
        now = vars(owner)
        return cls(owner, frozenset(now), {n: v for n, v in now.items() if _is_callable(v)})

    def restore(self) -> None:
        now = vars(self.owner)
        for name in [n for n, value in self.values.items() if now.get(n) is not value]:
            if not _is_wrapped_by_torch(now.get(name), self.values[name]):
                setattr(self.owner, name, self.values[name])
        if self.owner is builtins or isinstance(self.owner, type):
            for name in [n for n in now if n not in self.all and self._is_in_the_way(n)]:
                delattr(self.owner, name)

    def _is_in_the_way(self, name: str) -> bool:
        """Whether a new name is found in place of an inherited one, or in every lesson."""
        if self.owner is builtins:
            return name != "_"  # what the displayhook has shown last
        inherited = any(name in vars(base) for base in self.owner.__mro__[1:])
        return inherited and not name.startswith("__anno")  # Python adds these when asked for


@dataclass(frozen=True, slots=True)
class OriginalNames:
    """The functions and classes of Python, NumPy and PyTorch, before any lesson ran."""

    owners: tuple[_Names, ...]

    @classmethod
    def now(cls) -> OriginalNames:
        """As they are, in all modules that are loaded."""
        modules = [
            module
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] in _LIBRARIES and isinstance(module, ModuleType)
        ]
        parts = [thing for module in modules for thing in vars(module).values()]
        # (To ask some of PyTorch's for their `__class__` prints a warning.)
        classes = {
            part: None
            for part in parts
            if issubclass(type(part), type)
            and f"{part.__module__}.{part.__qualname__}".startswith(_CLASSES)
        }
        return cls(tuple(_Names.of(owner) for owner in (*modules, *classes)))

    def restore(self) -> None:
        """Put back those that stand for something else now."""
        for names in self.owners:
            names.restore()


def _is_callable(value: Any) -> bool:
    return callable(value) or issubclass(type(value), property | staticmethod | classmethod)


def _is_wrapped_by_torch(now: Any, before: Any) -> bool:
    """PyTorch's compiler puts such a function in the place of some when it is loaded."""
    return getattr(now, "_torchdynamo_orig_callable", None) is before
