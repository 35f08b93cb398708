"""Names that an expression reads and that nobody binds: most likely slips of the pen.

Looks at the code; runs none of it.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches

from tutor.lesson import code_checks
from tutor.lesson.model import Fence, Lesson

GIVEN = ("np", "torch", "device", "learning_rate", "batch", "gradient", "gradient_now")
"""What a lesson's code, or its formulas, have without binding it."""

_BY_PARAMETER = ("gradient", "gradient_now", "was")
"""What is asked for a parameter by its name, in quotes."""


def names_in(lesson: Lesson, modes: Iterable[str], more: Iterable[str] = ()) -> frozenset[str]:
    """The names that code of some of these modes, or `more` code, binds, and those that are given.

    Empty if that can't be known.
    """
    fences = (b for s in lesson.sections for b in s.blocks if isinstance(b, Fence))
    wanted = set(modes)
    codes = [f.code for f in fences if not f.modes or wanted & {*f.modes}]
    bound = code_checks.bound_names([*codes, *more])
    return frozenset() if bound is None else bound.union(GIVEN)


def slips(expression: str, known: Collection[str], parameters: Collection[str]) -> Iterator[str]:
    """Diagnostics of the names in an expression that compiles; none if `known` is empty."""
    tree = ast.parse(expression.strip(), mode="eval")
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(ast.Name(of), ast.Constant(str(name))) if of in _BY_PARAMETER:
                if name not in parameters:
                    near = _near(name, parameters, f'{of}["{{}}"]')
                    yield f"there is no parameter `{name}`{near}"
    if known:
        for name in sorted(code_checks.free_names(expression)):
            if name not in known and not hasattr(builtins, name):
                yield f"nothing is called `{name}`{_near(name, known)}"


def _near(name: str, known: Collection[str], form: str = "{}") -> str:
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean `{form.format(near[0])}`?" if near else "; correct it"
