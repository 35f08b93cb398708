"""The names of a script in LaTeX: `w1` is w₁, `y_pred` has a subscript, `alpha` is a letter.

No two names of a file look alike: where they would, both are written as in the code.
"""

from __future__ import annotations

import ast
import re
from collections import Counter

from tutor.script.latex_terms import Term

_LETTERS = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "mu",
    "nu", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma",
    "Delta", "Theta", "Lambda", "Pi", "Sigma", "Phi", "Psi", "Omega",
]  # fmt: skip
_GREEK = {letter: rf"\{letter}" for letter in _LETTERS}
_GREEK |= {"eps": r"\epsilon"} | dict.fromkeys(("lam", "lamda", "lambda_", "lmbda"), r"\lambda")
_ITEM = re.compile(r"([XYxywzt])([ij])")
"""`xi` is one x of many in a learner's code, and no Greek letter."""
_STEM = re.compile(r"([A-Za-z]+?)(\d*)")


class Names:
    """The LaTeX of a file's names, and of members such as `self.w` or `params["w"]`."""

    def __init__(self, tree: ast.AST) -> None:
        nodes = list(ast.walk(tree))
        known = {node.id for node in nodes if isinstance(node, ast.Name)}
        known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        members = {found for node in nodes if (found := member_of(node))}
        self._known = frozenset(known)
        self._count = Counter(map(_latex, known))
        self._members = Counter(_latex(name) for _, name in members)

    def term(self, name: str) -> Term:
        """A name of the file."""
        latex = _latex(name)
        others = self._count[latex] - (name in self._known)
        return as_written(name) if others else Term(latex)

    def is_free(self, latex: str) -> bool:
        """Whether nothing in the file is written so: then it can stand for something else."""
        return not self._count[latex] and not self._members[latex]

    def member(self, node: ast.expr) -> Term | None:
        """`self.w` or `params["w"]`; w, if nothing else in the file has this name."""
        if (found := member_of(node)) is None:
            return None
        latex = _latex(found[1])
        is_alone = self._members[latex] == 1 and not self._count[latex]
        return Term(latex) if is_alone else as_written(ast.unparse(node).replace("'", '"'))


def member_of(node: ast.AST) -> tuple[str, str] | None:
    """The owner and the name of a member."""
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return "self", name
        case ast.Subscript(value=owner, slice=ast.Constant(value=str() as name)):
            return ast.unparse(owner), name
    return None


def as_written(name: str) -> Term:
    """A name as it stands in the code."""
    return Term(_text(name))


def _latex(name: str) -> str:
    if item := _ITEM.fullmatch(name):
        return f"{item[1]}_{{{item[2]}}}"
    if name in _GREEK:
        return _GREEK[name]
    if name.endswith("_hat") and len(name) == len("y_hat") and name[0].isascii():
        return rf"\hat{{{name[0]}}}"
    first, *rest = name.split("_")
    stem = _STEM.fullmatch(first)
    if stem is None or not all(part.isascii() and part.isalnum() for part in rest):
        return _text(name)
    letter, digits = stem.groups()
    if len(letter) > 1 and letter not in _GREEK and not all(map(str.isdigit, rest)):
        return _text(name)
    base = _GREEK.get(letter) or (letter if len(letter) == 1 else rf"\text{{{letter}}}")
    below = [part if part.isdigit() or len(part) == 1 else rf"\text{{{part}}}" for part in rest]
    below = [digits, *below] if digits else below
    return f"{base}_{{{','.join(below)}}}" if below else base


def _text(name: str) -> str:
    escaped = re.sub(r"([_&%$#{}])", r"\\\1", name)
    return rf"\text{{{escaped}}}"
