"""The script's own handlers of exceptions: whether one around the waiting loop catches an error.

A script may leave its training loop by an exception and catch it: `except StopTraining:`. The
stack that waits at the loop must not be disturbed to find that out: an error that nothing catches
leaves the run at its last good frame. So the handlers around it are looked up in the code.
"""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from tutor.python_syntax import called_name, first_line, last_line, last_name

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
    """The handlers of a script's file."""

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
