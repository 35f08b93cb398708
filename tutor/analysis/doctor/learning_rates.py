"""The place in the code where a learning rate is written."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tutor.analysis.doctor.source_code import SourceCode, called_name

_RATE_NAMES = ("lr", "learning_rate", "rate", "eta", "alpha", "step_size")
_OPTIMIZERS = ("SGD", "ASGD")
"""Optimizers whose second argument is the rate, of those without a scale for each element."""
_CLOSE = 1e-4
"""A rate that was measured from a step in float32 is known so well."""


@dataclass(frozen=True, slots=True)
class RatePlace:
    """The place of a learning rate in the code."""

    line: int
    name: str
    """As the code calls it; the number itself where it has no name."""
    rate: float
    """Exactly."""
    constant: ast.Constant | None = None
    """Its number in the code."""


def place_of_rate(source: SourceCode, namespace: Mapping[str, Any], rate: float) -> RatePlace:
    """The place of this rate: where it is set, else where it is used; line 0 if it is neither."""
    set_there = sorted(_places(source, rate), key=lambda place: place[0])
    if set_there:
        return set_there[0][1]
    names = {n for n, thing in namespace.items() if _is_close(thing, rate)}
    used = [n for n in source.nodes() if isinstance(n, ast.Name) and n.id in names]
    if used:
        first = min(used, key=lambda n: (n.id not in _RATE_NAMES, n.lineno))
        return RatePlace(first.lineno, first.id, float(namespace[first.id]))
    return RatePlace(0, "", rate)


def _places(source: SourceCode, rate: float) -> Iterator[tuple[int, RatePlace]]:
    """The places where the number is written, the likelier ones with a smaller rank."""
    used = _names_of_updates(source)
    for node in source.nodes():
        match node:
            case ast.keyword(arg=str(name), value=constant) if name in _RATE_NAMES:
                yield from _found(0, constant, name, rate)
            case ast.Assign(targets=[target], value=constant):
                name = ast.unparse(target)
                is_rate = name.rpartition(".")[2].lower() in _RATE_NAMES
                yield from _found(1 if is_rate else 2 if name in used else 6, constant, name, rate)
            case ast.Call(args=[ast.Constant(value=str(name)), *_], keywords=keywords) if (
                name.strip("-").replace("-", "_") in _RATE_NAMES  # of an ArgumentParser
            ):
                for default in (k.value for k in keywords if k.arg == "default"):
                    yield from _found(1, default, name, rate)
            case ast.arguments():
                yield from _defaults(node, rate)
            case ast.Call(args=[_, constant, *_]) if called_name(node) in _OPTIMIZERS:
                yield from _found(3, constant, "lr", rate)
            case ast.BinOp(op=ast.Mult(), left=left, right=right):
                rank = 4 if source.phase_of(node.lineno) == "Update" else 5
                for one in (left, right):
                    yield from _found(rank, one, ast.unparse(one), rate)


def _names_of_updates(source: SourceCode) -> set[str]:
    """The names in updates by hand, and in what makes an optimizer."""
    nodes = list(source.nodes("Update"))
    for name in _OPTIMIZERS:
        nodes += [inner for call in source.calls(name) for inner in ast.walk(call)]
    return {ast.unparse(n) for n in nodes if isinstance(n, ast.Name | ast.Attribute)}


def _found(rank: int, node: ast.expr, name: str, rate: float) -> Iterator[tuple[int, RatePlace]]:
    """The place, if this is the number."""
    if isinstance(node, ast.Constant) and _is_close(node.value, rate):
        yield rank, RatePlace(node.lineno, name, float(str(node.value)), node)


def _defaults(arguments: ast.arguments, rate: float) -> Iterator[tuple[int, RatePlace]]:
    """The place among a function's default values."""
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    defaults = arguments.defaults
    pairs = [
        *zip(names[len(names) - len(defaults) :], defaults, strict=True),
        *zip((a.arg for a in arguments.kwonlyargs), arguments.kw_defaults, strict=True),
    ]
    for name, default in pairs:
        if default is not None:
            yield from _found(1 if name in _RATE_NAMES else 6, default, name, rate)


def _is_close(number: object, rate: float) -> bool:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and math.isclose(float(number), rate, rel_tol=_CLOSE)  # type: ignore[arg-type]
