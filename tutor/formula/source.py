r"""LaTeX source → LaTeX that latex2mathml reads without loss, and the pieces taken out of it.

latex2mathml drops or garbles some things silently (unknown commands and environments, nested
braces in \text, a missing brace). So the source is read here first: errors are raised, and live
values, words and unsupported commands are put aside, with a private-use character in their place.
"""

from __future__ import annotations

import re
import unicodedata

from tutor.errors import FormulaError
from tutor.formula import glyphs, latex_tokens
from tutor.formula.cells import REPLACEMENT, visible
from tutor.formula.latex_tokens import (
    CANCEL,
    ENDS,
    HLINE,
    PreparedSource,
    Writer,
    argument_count,
    modernised,
    never_closed,
)
from tutor.formula.nodes import (
    NodeKind,
    Soft,
    Space,
    Sym,
    TextNode,
    Unsupported,
    ValueNode,
)

MAX_LENGTH = 10_000
_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 -]|\\,)*\Z")
_DIMENSION = re.compile(r"\[\s*-?[\d.]+\s*[a-z]{2}\s*\]")
_LENGTH = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)?)\s*([a-z]{2}|\\[a-zA-Z]+)")
_KERN = re.compile(r"\s*([+-]?[\d.]+\s*[a-z]{2})")
_POINTS = {"pt": 1.0, "mm": 2.845, "cm": 28.45, "in": 72.27, "ex": 5.0, "em": 10.0, "mu": 0.556}
_POINTS |= {"bp": 1.004, "pc": 12.0, "dd": 1.07, "cc": 12.84, "sp": 0.0, "nd": 1.067, "nc": 12.8}
_POINTS |= {"px": 1.004}
"""LaTeX's units of length, em and ex those of a 10 point font."""
_MOST_CELLS = 40


def read(latex: str) -> PreparedSource:
    r"""Read a formula's source.

    Raises FormulaError: empty, unbalanced braces, \left without \right, an unknown or
    unclosed environment, a missing argument, & outside of an alignment, too long or too deep.
    """
    if len(latex) > MAX_LENGTH:
        raise FormulaError(f"the formula is longer than {MAX_LENGTH} characters")
    scanner = _Scanner(modernised(unicodedata.normalize("NFC", latex)))
    scanner.scan()
    if not any(not p.isspace() for p in scanner.out):
        raise FormulaError("the formula is empty")
    return PreparedSource("".join(scanner.out), scanner.pieces, scanner.leaves)


class _Scanner(Writer):
    """One pass over the source, from left to right."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.index_edges: dict[int, str] = {}
        """Offsets of the brackets of roots' indices → the brackets that the library needs."""

    def scan(self, end: int | None = None) -> None:
        """Read up to `end`, or to the end of the source, where all must be closed."""
        stop = len(self.source) if end is None else end
        while self.at < stop:
            token = self.take()
            if token.isspace():
                self._blank(token)
            elif token == "%":
                newline = self.source.find("\n", self.at)
                self.at = stop if newline < 0 else newline
            elif token.startswith("\\"):
                self._command(token)
                self.previous = token
            else:
                self._character(token)
                self.previous = token
        if end is None and self.open:
            raise FormulaError(never_closed(self.open[-1].opener))

    def _blank(self, token: str) -> None:
        """Keep a blank only between two factors."""
        following = self.match(self.at)
        starts_factor = following.isalnum() or following == "(" or following.startswith("\\")
        if self.atom and starts_factor and (following not in ENDS):
            after_name = self.previous.startswith("\\") and len(self.previous) > 2
            if not (following == "(" and after_name):
                self.put_aside(Soft(), atom=False)
        self.out.append(" ")

    # --- characters -----------------------------------------------------------------------

    def _character(self, token: str) -> None:
        if token == "{":
            before = self.previous[1:] if self.previous.startswith("\\") else ""
            self.push("{", atom=not before or before in latex_tokens.ONE_ARGUMENT)
            self.emit(token)
        elif token == "}":
            self._close_brace()
        elif token == "&":
            self.require_table("&")
            self.emit(token)
        elif token in "_^":
            self.argument_end(self.at, token)
            self.emit(token)
        elif self.at - 1 in self.index_edges:
            self.emit(self.index_edges[self.at - 1])
        else:
            self._leaf(token)

    def _leaf(self, character: str) -> None:
        shown = visible(character)
        if len(shown) > 1:
            self.put_aside(TextNode(shown))
            return
        if shown == REPLACEMENT or not unicodedata.combining(shown):
            self.leaves[shown] += shown.isalnum()
        self.emit(shown, atom=shown.isalnum() or shown in ")'")

    def _close_brace(self) -> None:
        if self.open and self.open[-1].opener == r"\substack{":
            self.open.pop()
            self.emit(r"\end{smallmatrix}}")
            return
        closed = self.pop("{", "}")
        self.out.append("}")
        self.atom = closed.atom

    # --- commands -------------------------------------------------------------------------

    def _command(self, token: str) -> None:
        name = token[1:]
        if not name:
            raise FormulaError("the formula ends in a lone backslash")
        if name in _SPECIAL:
            _SPECIAL[name](self, token)
        elif name in latex_tokens.TEXT:
            self._text(token)
        elif name in latex_tokens.WORDS and self._word(token):
            return
        elif name in latex_tokens.BIG_DELIMITERS:
            self._sized(name)
        elif name in latex_tokens.DROPPED_WITH_ARGUMENT:
            self.take_group(token)
            self.out.append(" ")
        elif name in latex_tokens.TRANSPARENT:
            self.argument_end(self.at, token)
        elif name in latex_tokens.COLOURS:
            self.take_group(token)
        elif name in latex_tokens.SPELLED_FUNCTIONS:
            self.put_aside(_function(latex_tokens.SPELLED_FUNCTIONS[name]), atom=False)
        elif name in latex_tokens.DROPPED:
            self.out.append(" ")
        else:
            self._structure_or_symbol(token)

    def _structure_or_symbol(self, token: str) -> None:
        name = token[1:]
        count = argument_count(name)
        if count:
            end = self._index_end() if name == "sqrt" else self.at
            for _ in range(count):
                end = self.argument_end(end, token)
            self.emit(token)
        elif name in latex_tokens.ESCAPED or name in latex_tokens.OTHER_STRUCTURE:
            self.emit(token)
        elif name == " " or name.isspace():
            self.emit(r"\ ")
        elif name in latex_tokens.FUNCTIONS or _symbol(token):
            is_script = self.previous in ("_", "^")
            self.emit(token, atom=is_script or (len(name) > 1 and _symbol(token).isalpha()))
        else:
            self._unsupported(token)

    def _index_end(self) -> int:
        """The offset behind a root's index, which will be put in braces for the library."""
        start, end = self.skip_blanks(self.at), self.skip_index(self.at)
        if end > start:
            self.index_edges |= {start: "[{", end - 1: "}]"}
        return end

    def _unsupported(self, token: str) -> None:
        """Put an unknown command aside, with the arguments written right behind it."""
        start = self.at - len(token)
        while self.source[self.at : self.at + 1] in ("{", "["):
            if self.source[self.at] == "{":
                self.at = self.group_end(self.at, token) + 1
            else:
                end = self.bracket_end(self.at)
                if end < 0:
                    break
                self.at = end + 1
        source = self.source[start : self.at]
        self.put_aside(Unsupported(" ".join(source.split())))

    def _boxed(self, token: str) -> None:
        expression = self.take_group(token, raw=True).strip()
        if not expression:
            raise FormulaError(r"\boxed{} is empty: write a Python expression into it")
        self.put_aside(ValueNode(expression))

    def _text(self, token: str) -> None:
        """Words; the parts between dollars are mathematics again."""
        start = self.at
        content = self.take_group(token)
        parts = _parts_between_dollars(content)
        if len(parts) % 2 == 0:
            raise FormulaError(f"a $ in {token}{{…}} is never closed; a dollar sign is \\$")
        words = [_plain_text(p) for p in parts[::2]]
        if any("\\" in w for w in words):
            source = token + self.source[start : self.at]
            self.put_aside(Unsupported(" ".join(source.split())))
            return
        self._mixed(self.at, content, parts)

    def _mixed(self, end: int, content: str, parts: list[str]) -> None:
        """Emit the parts of a text: words and mathematics by turns."""
        at = end - 1 - len(content)
        if len(parts) > 1:
            self.out.append("{")
        for index, part in enumerate(parts):
            if index % 2:
                self.at = at
                self.scan(at + len(part))
            elif part or len(parts) == 1:
                self.put_aside(TextNode(visible(_plain_text(part))))
            at += len(part) + 1
        if len(parts) > 1:
            self.out.append("}")
        self.at = end

    def _word(self, token: str) -> bool:
        r"""Take `\mathrm{relu}` as one word; False if the argument is not plain letters."""
        start = self.skip_blanks(self.at)
        if self.source[start : start + 1] != "{":
            return False
        content = self.source[start + 1 : self.group_end(start, token)].strip()
        operator = token.startswith(r"\operatorname")
        if not _WORD.match(content) or (len(content) == 1 and not operator):
            return operator
        self.take_group(token)
        word = " ".join(content.replace(r"\,", " ").split())
        self.put_aside(_function(word, limits=token.endswith("*")), atom=not operator)
        return True

    def _tag(self, token: str) -> None:
        content = self.take_group(token)
        self.put_aside(Space(6), atom=False)
        self.put_aside(TextNode(visible(content if token.endswith("*") else f"({content})")))

    def _hspace(self, token: str) -> None:
        content = self.take_group(token).strip()
        cells = _cells_of(content)
        if cells is None:
            raise FormulaError(f"{token}{{{content}}} is no width; write {token}{{1em}}")
        self.put_aside(Space(cells), atom=False)

    def _kern(self, token: str) -> None:
        found = _KERN.match(self.source, self.at)
        if found is None:
            raise FormulaError(f"{token} needs a width behind it: {token} 1em")
        self.at = found.end()
        self.put_aside(Space(_cells_of(found[1]) or 0), atom=False)

    def _rule(self, token: str) -> None:
        r"""A line to write on. A rule without width is a strut, which shows nothing."""
        raised = _DIMENSION.match(self.source, self.skip_blanks(self.at))
        if raised:
            self.at = raised.end()
        cells = _cells_of(self.take_group(token).strip()) or 0
        self.take_group(token)
        if cells > 0:
            self.put_aside(TextNode("_" * cells))

    def _cancel(self, token: str) -> None:
        self.argument_end(self.at, token)
        self.emit(r"\overset")
        self.put_aside(CANCEL)

    def _sized(self, name: str) -> None:
        r"""\big and its kin: parentheses grow by themselves, a bar becomes a delimiter."""
        following = self.match(self.skip_blanks(self.at))
        bars = {"|": "|", r"\|": "‖", r"\vert": "|", r"\Vert": "‖", r"\mid": "∣"}
        if following not in bars:
            self.out.append(" ")
            return
        self.at = self.skip_blanks(self.at) + len(following)
        self.put_aside(Sym(bars[following], NodeKind.MIDDLE))

    def _not(self, token: str) -> None:
        self.at = self.skip_blanks(self.at)
        following = self.take()
        symbol = _symbol(following) if following.startswith("\\") else following
        if len(symbol) == 1 and symbol not in "{}_^&$%":
            struck = unicodedata.normalize("NFC", symbol + "\u0338")
            self.put_aside(Sym(struck, glyphs.kind_of(symbol)), atom=False)
        else:
            self.at -= len(following)
            self._unsupported(token)

    def _substack(self, token: str) -> None:
        self.at = self.skip_blanks(self.at)
        if self.take() != "{":
            raise FormulaError(r"\substack needs its argument in braces: \substack{…}")
        self.push(r"\substack{")
        self.emit(r"{\begin{smallmatrix}")

    def _limits(self, token: str) -> None:
        if self.source[self.skip_blanks(self.at) :][:1] not in ("_", "^"):
            raise FormulaError(f"{token} must be followed by _ or ^")
        self.emit(token)

    # --- delimiters and environments -------------------------------------------------------

    def _delimiter(self, command: str) -> str:
        r"""The delimiter that must follow \left, \middle or \right, as the library reads it."""
        self.at = self.skip_blanks(self.at)
        token = self.take()
        known = token in latex_tokens.DELIMITERS or (
            token.startswith("\\") and token[1:] in latex_tokens.DELIMITER_COMMANDS
        )
        if not known:
            raise FormulaError(f"{command} needs a delimiter such as ( [ \\{{ | or . behind it")
        return {"<": r"\langle", ">": r"\rangle"}.get(token, token)

    def _left(self, token: str) -> None:
        delimiter = self._delimiter(token)
        self.push(rf"\left{delimiter}")
        self.emit(rf"\left{delimiter} ")

    def _middle(self, token: str) -> None:
        if not (self.open and self.open[-1].opener.startswith(r"\left")):
            raise FormulaError(r"\middle without \left")
        self.emit(rf"\middle{self._delimiter(token)} ")

    def _right(self, token: str) -> None:
        self.pop(r"\left", r"\right")
        self.emit(rf"\right{self._delimiter(token)} ", atom=True)

    def _begin(self, token: str) -> None:
        name = self.take_group(token).strip()
        if name in latex_tokens.PLAIN_ENVIRONMENTS:
            self.push(rf"\begin{{{name}}}")
            return
        if name not in latex_tokens.ENVIRONMENTS:
            known = "aligned, cases, matrix, pmatrix, bmatrix, array"
            raise FormulaError(f"unknown environment {name!r}; there are {known} and their kin")
        self.push(rf"\begin{{{name}}}")
        self.emit(rf"\begin{{{latex_tokens.ENVIRONMENTS[name]}}} ")
        self._environment_options(name)

    def _environment_options(self, name: str) -> None:
        """Skip `[t]`; hand an array's columns on."""
        found = re.compile(r"\s*\[[tcb]\]").match(self.source, self.at)
        if found:
            self.at = found.end()
        if name in latex_tokens.COLUMNS_ARGUMENT:
            columns = self.take_group(rf"\begin{{{name}}}")
            if name == "array":
                self.out.append("{" + "".join(c for c in columns if c in "lcr|") + "} ")
                return
        # An empty list of columns: else latex2mathml takes a first cell `[a]` or `{c}` for one.
        self.out.append("{} ")

    def _end(self, token: str) -> None:
        name = self.take_group(token).strip()
        self.pop(rf"\begin{{{name}}}", rf"\end{{{name}}}")
        if name not in latex_tokens.PLAIN_ENVIRONMENTS:
            self.emit(rf"\end{{{latex_tokens.ENVIRONMENTS[name]}}} ", atom=True)

    def _new_line(self, token: str) -> None:
        if self.source[self.at : self.at + 1] == "*":
            self.at += 1
        spacing = _DIMENSION.match(self.source, self.skip_blanks(self.at))
        if spacing:
            self.at = spacing.end()
        plain = {rf"\begin{{{n}}}" for n in latex_tokens.PLAIN_ENVIRONMENTS}
        if self.open and self.open[-1].opener not in plain:
            self.require_table(token)
        self.emit(r"\\ ")

    def _line(self, token: str) -> None:
        self.require_table(token)
        if self.previous not in (r"\begin", r"\\", r"\hline"):
            raise FormulaError(r"\hline must stand at the beginning of a row, behind \\")
        self.put_aside(HLINE, atom=False)


_SPECIAL = {
    "boxed": _Scanner._boxed,
    "tag": _Scanner._tag,
    "tag*": _Scanner._tag,
    "hspace": _Scanner._hspace,
    "hspace*": _Scanner._hspace,
    "kern": _Scanner._kern,
    "rule": _Scanner._rule,
    "cancel": _Scanner._cancel,
    "not": _Scanner._not,
    "substack": _Scanner._substack,
    "limits": _Scanner._limits,
    "nolimits": _Scanner._limits,
    "left": _Scanner._left,
    "middle": _Scanner._middle,
    "right": _Scanner._right,
    "begin": _Scanner._begin,
    "end": _Scanner._end,
    "\\": _Scanner._new_line,
    "hline": _Scanner._line,
}


def _function(name: str, *, limits: bool = False) -> Sym:
    return Sym(name, NodeKind.FUNC, limits=limits or name in glyphs.LIMIT_FUNCTIONS)


def _symbol(command: str) -> str:
    """The character that a command stands for, or "" if it is no plain symbol."""
    # Deferred: reading its table of symbols takes some 50 ms.
    from latex2mathml.symbols_parser import convert_symbol  # noqa: PLC0415

    code = convert_symbol(command)
    symbol = chr(int(code, 16)) if code else ""
    return "" if not symbol or unicodedata.category(symbol).startswith("M") else symbol


def _parts_between_dollars(text: str) -> list[str]:
    """Words and mathematics by turns; a dollar inside of braces is of another text."""
    parts, depth = [""], 0
    for token in re.findall(r"\\.|.", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if token == "$" and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _plain_text(text: str) -> str:
    """A text's words, with its escapes undone and its grouping braces taken away."""
    text = re.sub(r"(?<!\\)[{}]", "", text).replace("~", " ")
    return re.sub(r"\\([%_$&#{} ])", r"\1", text)


def _cells_of(length: str) -> int | None:
    r"""A length in cells, two to an em; None if it is none. Lengths such as \textwidth count 6."""
    found = _LENGTH.fullmatch(length)
    if found is None:
        return None
    if found[2].startswith("\\"):
        return 6
    if found[2] not in _POINTS or not found[1].strip("+-"):
        return None
    return max(-1, min(_MOST_CELLS, round(float(found[1]) * _POINTS[found[2]] / 5)))
