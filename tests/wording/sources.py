"""The codes that the sources of a package give, with their parameters."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter

import tutor


def calls(package: str, names: re.Pattern[str]) -> Iterator[tuple[str, set[str]]]:
    """The code and the parameters' names of each call that has both written out."""
    for name, node in _calls_in(package):
        if names.search(name):
            strings = [a.value for a in node.args if isinstance(a, ast.Constant)]
            keys = [key for arg in node.args if isinstance(arg, ast.Dict) for key in arg.keys]
            given = {k.arg for k in node.keywords} | {getattr(k, "value", None) for k in keys}
            is_elsewhere = None in given or isinstance(node.args[-1], ast.Name)
            if strings and isinstance(strings[-1], str) and not is_elsewhere:
                yield strings[-1], {str(name) for name in given}


@cache
def _calls_in(package: str) -> list[tuple[str, ast.Call]]:
    nodes = ast.walk(ast.parse(source_of(package)))
    return [(ast.unparse(n.func), n) for n in nodes if isinstance(n, ast.Call)]


def source_of(package: str) -> str:
    """The text of all modules of a package, without those of its folders."""
    files = (Path(tutor.__file__).parent / package).glob("*.py")
    return "\n".join(file.read_text("utf-8") for file in files)


def fields(template: str) -> set[str]:
    """The parameters that a sentence needs."""
    return {field for _, field, _, _ in Formatter().parse(template) if field}


def words_named(template: str) -> set[str]:
    """The words that a sentence names after colons, and not Python's own formats."""
    return {how for _, _, how, _ in Formatter().parse(template) if how and how.isidentifier()}
