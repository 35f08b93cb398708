"""The calls of a lesson's or a script's code that seed random number generators."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tutor.lesson.code_checks import parsed
from tutor.python_syntax import FUNCTIONS, called_name, dotted_name, imported_by

_LIBRARIES = ("torch", "numpy", "random")
_SEEDING = {
    "torch.manual_seed": "torch",
    "torch.random.manual_seed": "torch",
    "numpy.random.seed": "numpy",
    "random.seed": "random",
}
"""The functions that seed a library's own generator."""
_MAKERS = {
    "numpy.random.default_rng": "numpy",
    "numpy.random.RandomState": "numpy",
    "random.Random": "random",
}
"""The functions that make another generator, which is given its seed."""
_HELPERS = frozenset({"seed_everything", "set_seed", "seed_all"})
"""Functions of further libraries that seed all three."""


class Seeding(NamedTuple):
    """One generator that a call seeds."""

    library: str
    """torch, numpy or random, which is Python's own."""
    line: int
    is_library_wide: bool
    """Whether it is the library's own generator; else one that the code has made."""


def seedings(nodes: Iterable[ast.AST]) -> Iterator[Seeding]:
    """The generators that code seeds. A call without arguments gives no seed.

    A helper that the code defines itself seeds what its own calls seed.
    """
    nodes = [*nodes]
    imports = {"np": "numpy", **dict(pair for node in nodes for pair in imported_by(node))}
    defined = {node.name for node in nodes if isinstance(node, FUNCTIONS)}
    for call in nodes:
        if not isinstance(call, ast.Call) or not (call.args or call.keywords):
            continue
        name, last = dotted_name(call.func, imports), called_name(call)
        if library := _SEEDING.get(name):
            yield Seeding(library, call.lineno, is_library_wide=True)
        elif library := _MAKERS.get(name):
            yield Seeding(library, call.lineno, is_library_wide=False)
        elif last in ("manual_seed", "manual_seed_all"):  # of a generator, or of all GPUs
            yield Seeding("torch", call.lineno, is_library_wide=False)
        elif last in _HELPERS - defined:
            for each in _LIBRARIES:
                yield Seeding(each, call.lineno, is_library_wide=True)


def sets_a_seed(codes: Iterable[str]) -> bool:
    """Whether some of the code seeds a random number generator. The code must compile."""
    return any(True for code in codes for _ in seedings(ast.walk(parsed(code))))


def own_seed_line(source: str) -> int:
    """The line on which a whole script seeds the generators that it draws from; 0 if not all.

    PyTorch's always; NumPy's and Python's where the script names them.
    """
    nodes = [*ast.walk(parsed(source))]
    lines: dict[str, int] = {}
    for one in seedings(nodes):
        if one.is_library_wide or one.library != "torch":
            lines.setdefault(one.library, one.line)
    used = {"torch"}
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name("np" | "numpy"), attr="random"):
                used.add("numpy")
            case ast.Import(names=names) if any(name.name == "random" for name in names):
                used.add("random")
            case ast.ImportFrom(module="random" | "numpy.random" as module):
                used.add(module.partition(".")[0])
    return lines["torch"] if used <= {*lines} else 0
