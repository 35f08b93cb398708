"""The state of a script that waits: handlers around its loop, object hashes, thread settings."""

from __future__ import annotations

import ast
import weakref
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from types import CodeType, FrameType
from typing import Any, TypeVar

import torch

from tutor.protocol.frame import DEVICE_KINDS
from tutor.python_syntax import called_name, first_line, last_line, last_name
from tutor.training.devices import (
    autocast_depth,
    default_device,
    function_modes,
    set_autocast_depth,
    set_default_device,
    set_function_modes,
)

_REPEATABLE_CONTEXTS = frozenset(
    {"open", "no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "autocast", "suppress"}
) | {"errstate", "tqdm", "trange"}
"""Contexts that a script can be in again: their files and settings are put back."""
_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Guard:
    """Lines of a function that a handler guards."""

    first_line: int
    """The first line of the function; 0 of the module."""
    lines: range
    catches: tuple[CodeType | None, ...]
    """The handlers' classes of exceptions, compiled; None of `except:`."""
    closes: bool = False
    """Whether its end closes or deletes things that no copy of the script's objects brings back."""


@dataclass(frozen=True, slots=True)
class GuardedPlace:
    """A place of a waiting stack, and the handlers around it."""

    catches: tuple[CodeType | None, ...]
    names: Mapping[str, Any]
    closes: bool = False

    def catches_it(self, error: BaseException) -> bool:
        """Whether one of them catches the error."""
        return any(_matches(error, code, self.names) for code in self.catches)


class ExceptionHandlers:
    """The handlers of exceptions in a script's file.

    A script may leave its training loop by an exception and catch it: `except StopTraining:`. The
    stack that waits at the loop must not be disturbed to find that out: an error that nothing
    catches leaves the run at its last good frame. So the handlers around it are looked up in the
    code.
    """

    def __init__(self, source: str, filename: str) -> None:
        self._filename = filename
        tree = ast.parse(source)
        classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        self._guards = tuple(_guards(tree, 0, _REPEATABLE_CONTEXTS | classes))

    def around(self, frames: Sequence[FrameType]) -> tuple[GuardedPlace, ...]:
        """The handlers around the places where these frames stand."""
        return tuple(
            GuardedPlace(guard.catches, ChainMap(frame.f_locals, frame.f_globals), guard.closes)
            for frame in frames
            if frame.f_code.co_filename == self._filename
            for guard in self._guards
            if guard.first_line == _first_line(frame) and frame.f_lineno in guard.lines
        )


def _first_line(frame: FrameType) -> int:
    code = frame.f_code
    return 0 if code.co_name == "<module>" else code.co_firstlineno


def _guards(node: ast.AST, begin: int, harmless: Collection[str]) -> Iterator[Guard]:
    if isinstance(node, _Scope):
        begin = first_line(node) if isinstance(node, ast.stmt) else node.lineno
    if isinstance(node, ast.Try):
        catches = tuple(_compiled(handler.type) for handler in node.handlers)
        yield Guard(begin, _line_range(node.body), catches)
    if isinstance(node, ast.With):
        suppressed = tuple(_compiled(cls) for item in node.items for cls in _suppressed(item))
        closes = any(_context_name(item) not in harmless for item in node.items)
        yield Guard(begin, _line_range(node.body), suppressed, closes)
    for child in ast.iter_child_nodes(node):
        yield from _guards(child, begin, harmless)


def _context_name(item: ast.withitem) -> str:
    """`no_grad` of `with torch.no_grad():`, and of `with no_grad:` too."""
    return called_name(item.context_expr) or last_name(item.context_expr)


def _line_range(body: list[ast.stmt]) -> range:
    return range(body[0].lineno, last_line(body[-1]) + 1)


def _suppressed(item: ast.withitem) -> Sequence[ast.expr]:
    """The exceptions of `with suppress(KeyError):`."""
    match item.context_expr:
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=classes):
            return classes
    return ()


def _compiled(classes: ast.expr | None) -> CodeType | None:
    if classes is None:
        return None
    return compile(ast.Expression(classes), "<handler>", "eval", dont_inherit=True)


def _matches(error: BaseException, code: CodeType | None, names: Mapping[str, Any]) -> bool:
    if code is None:
        return True
    try:
        return isinstance(error, eval(code, {}, names))
    except Exception:  # noqa: BLE001 - no class of exceptions, or a name that is not bound
        return False


# ── Hashes of objects that do not follow their addresses ──────────────────────────────

T = TypeVar("T")


class CreationHashes:
    """The hashes of one run's objects.

    Python computes the hash of an object from its address, and a set's order follows the hashes:
    what adds numbers up in such an order differs in its last digit from run to run, as micrograd's
    gradients do. Here the hash of an object of the script's own classes is the count of such
    objects when the script first asked for it. So a run comes out the same each time, and after
    going back.
    """

    def __init__(self) -> None:
        self.counter = [0]
        """The number of hashes given in the script; a list, which a MemoryImage can put back."""
        self._given: dict[int, tuple[int, Any]] = {}
        """An object's id → its hash, and what takes it out when the object is gone."""
        self._given_outside: dict[int, tuple[int, Any]] = {}
        """The same for hashes that the tutor asks for: looking at a run does not count."""
        self._is_inside = False

    @contextmanager
    def counting(self) -> Iterator[None]:
        """A span in which the script itself runs."""
        self._is_inside = True
        try:
            yield
        finally:
            self._is_inside = False

    def in_class(self, made: T) -> T:
        """Give a class these hashes, if it has Python's own; other things stay as they are."""
        names = ("__hash__", "__eq__")
        is_plain = all(getattr(made, name, None) is getattr(object, name) for name in names)
        if isinstance(made, type) and is_plain and made.__weakrefoffset__:
            with suppress(AttributeError, TypeError):  # its metaclass allows none
                made.__hash__ = self._method()  # type: ignore[assignment, method-assign]
        return made

    def forget_later(self) -> None:
        """Forget the hashes that were given after the moment of the counter, which is put back."""
        later = [key for key, (number, _) in self._given.items() if number > self.counter[0]]
        for key in later:
            del self._given[key]

    def _method(self) -> Callable[[Any], int]:
        def hash_of(thing: Any) -> int:
            given, key = self._given, id(thing)
            if not self._is_inside:
                given = given if key in given else self._given_outside
            if key not in given:
                number = -2 - len(given)
                if self._is_inside:
                    number = self.counter[0] = self.counter[0] + 1
                given[key] = number, weakref.ref(thing, lambda _: given.pop(key, None))
            return given[key][0]

        return hash_of


# ── The settings of a thread that a script and the tutor each have for themselves ─────────


@dataclass(frozen=True, slots=True)
class ThreadSettings:
    """Torch's settings of this thread, as they were at one moment."""

    grad: bool
    dtype: torch.dtype
    autocast: tuple[tuple[bool, torch.dtype], ...]
    autocast_depth: int
    modes: Sequence[Any]
    device: Any
    """The default device, as PyTorch keeps it beside the mode that is made of it."""

    @classmethod
    def now(cls) -> ThreadSettings:
        """The settings at this moment."""
        is_on, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
        autocast = tuple((is_on(kind), dtype(kind)) for kind in DEVICE_KINDS)
        grad, float_type = torch.is_grad_enabled(), torch.get_default_dtype()
        depth = autocast_depth()
        return cls(grad, float_type, autocast, depth, function_modes(), default_device())

    def apply(self, instead_of: ThreadSettings) -> None:
        """Set these in the thread, where they differ from the present ones, `instead_of`."""
        if self == instead_of:
            return
        torch.set_grad_enabled(self.grad)
        torch.set_default_dtype(self.dtype)
        for device, (is_on, dtype) in zip(DEVICE_KINDS, self.autocast, strict=True):
            torch.set_autocast_enabled(device, is_on)
            torch.set_autocast_dtype(device, dtype)
        set_autocast_depth(self.autocast_depth)
        if self.modes != instead_of.modes:
            set_function_modes(self.modes)
        set_default_device(self.device)


@dataclass(frozen=True, slots=True)
class SavedThreadSettings:
    """A script's settings of its thread, and its context variables, at one moment."""

    settings: ThreadSettings | None
    context: Context


class ScriptThreadSettings:
    """A script's own settings of the thread, which hold while it runs.

    A script that waits in `with torch.no_grad():` has switched gradients off for the whole thread.
    So each time that the script begins to wait, the tutor's settings are restored, and before it
    goes on, the script's. NumPy's error state is a context variable, which each greenlet has for
    itself.
    """

    def __init__(self) -> None:
        self._own: ThreadSettings | None = None
        """None before it has run at all."""
        self.context = copy_context()
        """The context variables of all its stacks, NumPy's error state among them."""

    @contextmanager
    def on(self) -> Iterator[None]:
        """A span in which the thread has the script's settings."""
        ours = ThreadSettings.now()
        if self._own is not None:  # its default device has to be the lowest of all modes
            replace(self._own, modes=[*self._own.modes, *ours.modes]).apply(ours)
        try:
            yield
        finally:
            now = ThreadSettings.now()
            ours.apply(now)
            self._own = replace(now, modes=[m for m in now.modes if m not in ours.modes])

    def saved(self) -> SavedThreadSettings:
        """The settings as they are while the script waits."""
        return SavedThreadSettings(self._own, self.context.copy())

    def restore(self, saved: SavedThreadSettings) -> None:
        """Restore saved settings. The context object stays: a `with` block may rely on it."""
        self._own = saved.settings
        for variable, value in saved.context.items():
            if self.context.get(variable) is not value:
                self.context.run(variable.set, value)
