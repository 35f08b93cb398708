r"""LaTeX source token by token: the known commands, and a writer that reads them.

Old and loose LaTeX (`\bf`, a typed `x²`, `\end{bmatrix}^T`) is rewritten before it is read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tutor.errors import FormulaError
from tutor.formula.glyphs import SUBSCRIPTS, SUPERSCRIPTS
from tutor.formula.nodes import Node, TextNode


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ONE_ARGUMENT = _names(
    "hat bar tilde vec dot ddot check breve acute grave mathring overline underline widehat "
    "widetilde widecheck overbrace underbrace overrightarrow overleftarrow overleftrightarrow "
    "sqrt phantom pmod xrightarrow xleftarrow mathbb mathbf mathcal mathfrak mathit mathrm "
    "mathscr mathsf mathtt mathnormal boldsymbol bm mathop mathrel mathbin mathord mathopen "
    "mathclose mathpunct substack cancel"
)
TWO_ARGUMENTS = _names("frac dfrac tfrac cfrac binom dbinom tbinom overset underset stackrel")
OTHER_STRUCTURE = _names(
    "over choose bmod displaystyle textstyle prime quad qquad enspace thinspace thickspace "
    "space limits nolimits"
)
FUNCTIONS = _names(
    "arccos arcsin arctan cos cosh cot coth csc deg dim exp hom ker ln lg log sec sin sinh tan "
    "tanh lim sup inf max min argmax argmin det gcd liminf limsup Pr"
)
SPELLED_FUNCTIONS = {"arg": "arg", "softmax": "softmax", "sign": "sign"}
"""Function names that the library does not know."""

ESCAPED = _names(r", : ; ! > { } | _ % # $ &")
DELIMITERS = _names("( ) [ ] | . < > /")
DELIMITER_COMMANDS = _names(
    "{ } | lbrace rbrace lbrack rbrack langle rangle lvert rvert lVert rVert vert Vert lfloor "
    "rfloor lceil rceil backslash"
)
BIG_DELIMITERS = frozenset(
    size + side for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "m", "r")
)

TEXT = _names("text textrm textbf textit textsf texttt textup textnormal mbox")
WORDS = _names("operatorname operatorname* mathrm mathsf mathtt mathit")
"""Commands whose argument, if it is only letters, is one word."""

DROPPED = _names(
    "notag nonumber small footnotesize scriptsize tiny normalsize large Large LARGE huge Huge "
    "scriptstyle scriptscriptstyle allowbreak nobreak noindent centering strut mathstrut "
    "displaylimits relax protect hline* null"
)
"""Commands that show nothing."""
DROPPED_WITH_ARGUMENT = _names("label vspace vspace* vphantom")
"""Commands that show nothing of their argument either."""
TRANSPARENT = _names("smash mathclap mathllap mathrlap ensuremath mathstrut hbox")
"""Commands that show their argument as it is."""
COLOURS = _names("color textcolor")
"""Commands whose first argument is a colour, which is not shown."""

ENVIRONMENTS = {
    name: read_as
    for read_as, names in {
        "matrix": "matrix",
        "pmatrix": "pmatrix",
        "bmatrix": "bmatrix",
        "Bmatrix": "Bmatrix",
        "vmatrix": "vmatrix",
        "Vmatrix": "Vmatrix",
        "smallmatrix": "smallmatrix subarray",
        "array": "array",
        "cases": "cases dcases",
        "split": "aligned align align* alignedat split eqnarray eqnarray* flalign flalign* alignat "
        "alignat*",
        "displaylines": "gather gather* gathered multline multline*",
    }.items()
    for name in names.split()
}
"""LaTeX's environment → the one that latex2mathml reads it as."""
PLAIN_ENVIRONMENTS = frozenset(["equation", "equation*", "displaymath", "math"])
"""Environments that only say "this is mathematics"."""
COLUMNS_ARGUMENT = frozenset(["array", "alignedat", "alignat", "alignat*", "subarray"])


MAX_DEPTH = 40
TOO_DEEP = f"the formula is nested more than {MAX_DEPTH} deep"
ENDS = ("}", "&", r"\\", r"\right", r"\end", r"\middle")
"""Tokens that are no argument: they end the group or cell around them."""
_TOKEN = re.compile(r"\\(?:(?:operatorname|tag|hspace|vspace)\*|[a-zA-Z]+|.|$)|\s+|.", re.DOTALL)


def argument_count(name: str) -> int:
    """How many arguments a command needs."""
    return 2 if name in TWO_ARGUMENTS else int(name in ONE_ARGUMENT)


def never_closed(opener: str) -> str:
    """The message for an opener without an end."""
    closer = {"{": "}", r"\left": r"\right", r"\begin": r"\end"}
    wanted = next((c for o, c in closer.items() if opener.startswith(o)), "}")
    return f"{opener} is never closed by {wanted}"


_FIRST_PIECE = 0xF0000

HLINE = TextNode("\x00line")
r"""Stands for an \hline until the table takes it out of its row."""
CANCEL = TextNode("\x00cancel")
r"""Stands over the argument of a \cancel until it becomes an accent."""


@dataclass(frozen=True, slots=True)
class PreparedSource:
    """LaTeX prepared for latex2mathml, with the node behind each placeholder."""

    latex: str
    pieces: Mapping[str, Node]
    leaves: Mapping[str, int]
    """How often each letter, digit and placeholder occurs: none may be lost later."""


@dataclass(slots=True)
class OpenGroup:
    """A group, environment or delimiter that is still open."""

    opener: str
    atom: bool = False
    """Whether, once closed, it is a factor that a blank may follow."""


class Writer:
    """Reads the source token by token, and writes it anew."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.out: list[str] = []
        self.pieces: dict[str, Node] = {}
        self.leaves: Counter[str] = Counter()
        self.open: list[OpenGroup] = []
        self.previous = ""
        """The token that was read before this one."""
        self.atom = False
        """Whether what was written last is a factor."""

    def match(self, at: int) -> str:
        """The token that begins at `at`; "" at the end."""
        found = _TOKEN.match(self.source, at)
        return found.group() if found else ""

    def take(self) -> str:
        """Read the next token."""
        token = self.match(self.at)
        self.at += len(token)
        return token

    def skip_blanks(self, at: int) -> int:
        """The first offset from `at` on that holds no blank."""
        while at < len(self.source) and self.source[at].isspace():
            at += 1
        return at

    def group_end(self, at: int, opener: str, *, raw: bool = False) -> int:
        r"""The offset of the `}` that closes the `{` at `at`; `raw` knows no \{."""
        depth = 0
        step = at
        while step < len(self.source):
            token = self.source[step] if raw else self.match(step)
            depth += {"{": 1, "}": -1}.get(token, 0)
            if depth == 0:
                return step
            step += len(token)
        raise FormulaError(never_closed(f"{opener}{{"))

    def take_group(self, command: str, *, raw: bool = False) -> str:
        """Read the braces that must come next; returns their content."""
        start = self.skip_blanks(self.at)
        if self.source[start : start + 1] != "{":
            raise FormulaError(f"{command} needs its argument in braces: {command}{{…}}")
        end = self.group_end(start, command, raw=raw)
        self.at = end + 1
        return self.source[start + 1 : end]

    def argument_end(self, at: int, command: str, depth: int = 0) -> int:
        """The offset behind the argument that begins at `at`; raises if there is none."""
        if depth > MAX_DEPTH:
            raise FormulaError(TOO_DEEP)
        at = self.skip_blanks(at)
        token = self.match(at)
        if not token or token in ENDS:
            raise FormulaError(f"{command} lacks an argument")
        if token == "{":
            return self.group_end(at, command) + 1
        end = at + len(token)
        for _ in range(argument_count(token[1:]) if token.startswith("\\") else 0):
            end = self.argument_end(end, token, depth + 1)
        return end

    def skip_index(self, at: int) -> int:
        """The offset behind the `[…]` of a root, if there is one at `at`."""
        at = self.skip_blanks(at)
        if self.source[at : at + 1] != "[":
            return at
        end = self.bracket_end(at)
        if end < 0:
            raise FormulaError(r"\sqrt[ is never closed by ]")
        return end + 1

    def bracket_end(self, at: int) -> int:
        """The offset of the `]` that closes the `[` at `at`, braces apart; -1 without one."""
        depth = 0
        while at < len(self.source):
            token = self.match(at)
            depth += {"{": 1, "}": -1}.get(token, 0)
            if depth < 0 or (token == "]" and depth == 0):
                return at if depth == 0 else -1
            at += len(token)
        return -1

    # --- Writing --------------------------------------------------------------------------

    def emit(self, text: str, *, atom: bool = False) -> None:
        """Write `text`; say whether it is a factor that a blank may follow."""
        self.out.append(text)
        self.atom = atom and self.previous[1:] not in TWO_ARGUMENTS

    def put_aside(self, node: Node, *, atom: bool = True) -> None:
        """Put a node aside, and write a private-use character in its place."""
        character = chr(_FIRST_PIECE + len(self.pieces))
        self.pieces[character] = node
        self.leaves[character] += 1
        self.emit(character, atom=atom)

    def push(self, opener: str, *, atom: bool = False) -> None:
        """Open a group; raises FormulaError if it is nested too deep."""
        if len(self.open) >= MAX_DEPTH:
            raise FormulaError(TOO_DEEP)
        self.open.append(OpenGroup(opener, atom))

    def pop(self, wanted: str, closer: str) -> OpenGroup:
        """Close the last group; raises FormulaError if it does not begin with `wanted`."""
        if not self.open:
            raise FormulaError(f"{closer} without {wanted}")
        if not self.open[-1].opener.startswith(wanted):
            raise FormulaError(f"{closer} comes before the end of {self.open[-1].opener}")
        return self.open.pop()

    def require_table(self, token: str) -> None:
        """Raise FormulaError unless a table is open: `token` has no meaning elsewhere."""
        opener = self.open[-1].opener if self.open else ""
        name = opener.removeprefix(r"\begin{").removesuffix("}")
        if name not in ENVIRONMENTS and opener != r"\substack{":
            where = f"inside {opener}" if opener else "outside of an environment"
            raise FormulaError(rf"{token} {where}; put it into \begin{{aligned}}…\end{{aligned}}")


_OLD_TOKEN = re.compile(r"\\(?:[a-zA-Z]+|.|$)|.", re.DOTALL)
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


def modernised(latex: str) -> str:
    r"""The source with old fonts as commands, and environments with a script in braces.

    The Python in a \boxed{…} is left alone.
    """
    return "".join(_rewritten(_OLD_TOKEN.findall(latex)))


def _rewritten(tokens: list[str], depth: int = 0) -> list[str]:
    done: list[str] = []
    begins: list[int] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        name = token[1:] if token.startswith("\\") else ""
        at += 1
        if name == "boxed" or name in TEXT:
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
    """The index of the end of the group, cell or line around `at`."""
    depth = 0
    while at < len(tokens):
        token = tokens[at]
        if depth == 0 and token in ENDS:
            return at
        depth += {"{": 1, r"\begin": 1, r"\left": 1}.get(token, 0)
        depth -= {"}": 1, r"\end": 1, r"\right": 1}.get(token, 0)
        at += 1
    return at
