r"""LaTeX that is rewritten before it is read: old fonts, a typed `x²`, `\end{bmatrix}^T`."""

from __future__ import annotations

import re

from tutor.formula import commands
from tutor.formula.glyphs import SUBSCRIPTS, SUPERSCRIPTS

_TOKEN = re.compile(r"\\(?:[a-zA-Z]+|.|$)|.", re.DOTALL)
_FONTS = {"bf": "mathbf", "rm": "mathrm", "it": "mathit", "cal": "mathcal", "sf": "mathsf"}
_FONTS |= {"tt": "mathtt", "frak": "mathfrak", "bfseries": "mathbf"}
"""A switch that holds to the end of its group → the command with an argument."""
_SAME = {"pmb": "boldsymbol", "bold": "mathbf", "Bbb": "mathbb", "mathds": "mathbb"}
_SAME |= {"mathbbm": "mathbb", "hphantom": "phantom", "hskip": "kern", "mkern": "kern"}
_SAME |= {"mskip": "kern", "bcancel": "cancel", "xcancel": "cancel", "sout": "cancel"}
_SAME |= {"overbracket": "overbrace", "underbracket": "underbrace", "dotsc": "ldots"}
_SAME |= {"dotsb": "cdots", "dotsm": "cdots", "dotsi": "cdots", "dots": "ldots", "T": "top"}
_SAME |= {"operatornamewithlimits": "operatorname*", "fbox": "text", "framebox": "text"}
"""A command → one that means the same here."""
_RAISED = {sign: plain for plain, sign in SUPERSCRIPTS.items() if plain in "0123456789+-=()ni"}
_LOWERED = {sign: plain for plain, sign in SUBSCRIPTS.items() if plain in "0123456789+-=()nijkt"}
_TYPED = dict.fromkeys(_RAISED, ("^", _RAISED)) | dict.fromkeys(_LOWERED, ("_", _LOWERED))
"""Script characters that an author typed → their sign, and what they mean."""
_ENDS = (r"\\", r"\right", r"\end", r"\middle", "&", "}")


def modernised(latex: str) -> str:
    r"""The source with old fonts as commands, and environments with a script in braces.

    The Python in a \boxed{…} is left alone.
    """
    return "".join(_rewritten(_TOKEN.findall(latex)))


def _rewritten(tokens: list[str], depth: int = 0) -> list[str]:
    done: list[str] = []
    begins: list[int] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        name = token[1:] if token.startswith("\\") else ""
        at += 1
        if name == "boxed" or name in commands.TEXT:
            end = _group_end(tokens, at)
            done += [token, *tokens[at:end]]
            at = end
        elif name in _FONTS and depth < 40:
            end = _scope_end(tokens, at)
            body = _rewritten(tokens[at:end], depth + 1)
            done += ["\\", _FONTS[name], "{", *body, "}"] if "".join(body).strip() else []
            at = end
        elif token in _TYPED:
            sign, table = _TYPED[token]
            end = at
            while end < len(tokens) and tokens[end] in table:
                end += 1
            is_free = "".join(tokens[end : end + 1]) != sign
            raised = "".join(table[t] for t in tokens[at - 1 : end])
            done += [sign, "{", raised, "}"] if is_free else tokens[at - 1 : end]
            at = end
        elif name == "begin":
            begins.append(len(done))
            done.append(token)
        elif name == "end" and begins:
            end = _group_end(tokens, at)
            done += [token, *tokens[at:end]]
            at, start = end, begins.pop()
            if "".join(tokens[at : at + 8]).lstrip()[:1] in ("_", "^", "'"):
                done[start:start] = ["{"]
                done.append("}")
        else:
            done.append("\\" + _SAME[name] if name in _SAME else token)
    return done


def _group_end(tokens: list[str], at: int) -> int:
    """The index behind the braces that begin at `at`; `at` itself without any."""
    depth = 0
    start = at
    while at < len(tokens):
        depth += {"{": 1, "}": -1}.get(tokens[at], 0)
        at += 1
        if depth == 0 and not tokens[at - 1].isspace():
            return at if tokens[at - 1] == "}" else start
    return start


def _scope_end(tokens: list[str], at: int) -> int:
    """Where the group, the cell or the line ends that `at` stands in."""
    depth = 0
    while at < len(tokens):
        token = tokens[at]
        if depth == 0 and token in _ENDS:
            return at
        depth += {"{": 1, r"\begin": 1, r"\left": 1}.get(token, 0)
        depth -= {"}": 1, r"\end": 1, r"\right": 1}.get(token, 0)
        at += 1
    return at
