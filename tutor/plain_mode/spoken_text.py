"""Lines to be read aloud, made of Markdown, formulas, expressions and signs; and their writer.

They are plain text without escape sequences, wrapped to the width of a terminal.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, TypeAlias

from tutor import formula
from tutor.errors import FormulaError
from tutor.formula.nodes import Formula
from tutor.formula.words_patterns import without_values
from tutor.lesson.markdown import MATH, parser
from tutor.plain import cell_width, plain
from tutor.wording.layout import is_wide, wrap

if TYPE_CHECKING:
    from markdown_it.token import Token


@dataclass(frozen=True, slots=True)
class SpokenCode:
    """Lines of code, told as they are written."""

    text: str
    numbered: bool = False
    """Whether each line has its number before it."""
    first: int = 1
    """The number of the first line."""
    place_of: Callable[[int], str] = "line {}".format
    """The words for the place of each line."""


Line: TypeAlias = str | SpokenCode

_SIGNS = {
    "−": "-",
    "–": "-",
    "—": ", ",
    "·": " times ",
    "…": "...",
    "×": " times ",
    "≈": " about ",
    "≤": " at most ",
    "≥": " at least ",
    "≠": " is not ",
    "→": " to ",
    "←": " from ",
    "↔": " to and from ",
    "∞": " infinity ",
    "“": '"',
    "”": '"',
    "’": "'",
    "‘": "'",
    "•": "",
}
"""Replacements for signs that a screen reader leaves out or spells oddly."""
_SIGN = re.compile(f" ?([{''.join(_SIGNS)}])( ?)")
_SEPARATOR = re.compile(r"(?<=[^\W\d]{2}) · | · (?=[^\W\d]{2})")
"""A dot beside a word of two letters or more: it multiplies nothing."""


def in_words(text: str) -> str:
    """A sentence with words for signs: `a → b` is `a to b`."""
    if text.isascii():
        return text
    return _SIGN.sub(_replacement, _SEPARATOR.sub(", ", text))


def _replacement(found: re.Match[str]) -> str:
    whole, sign = found[0], _SIGNS[found[1]]
    if sign.startswith(" "):
        return sign
    if found[1] == "—":
        return ", "
    return whole.replace(found[1], sign)


# ── Markdown, formulas and expressions ──────────────────────────────────────────────

_OPERATORS: Mapping[type[ast.AST], str] = {
    ast.Add: "plus",
    ast.Sub: "minus",
    ast.Mult: "times",
    ast.Div: "over",
    ast.MatMult: "times, as matrices,",
    ast.Pow: "to the power of",
    ast.Gt: "is greater than",
    ast.Lt: "is less than",
    ast.GtE: "is at least",
    ast.LtE: "is at most",
    ast.Eq: "equals",
    ast.NotEq: "is not",
}
_FUNCTIONS = {"mean": "the mean", "sum": "the sum", "abs": "the absolute value"}
_NEEDS_WORDS = ast.BinOp | ast.UnaryOp | ast.Subscript | ast.Compare
"""Expressions that are not told as they are written."""


def spoken_python(code: str) -> str:
    """The expression in words; as it is written if it needs no words or has none."""
    try:
        tree = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code
    if not any(isinstance(node, _NEEDS_WORDS) for node in ast.walk(tree)):
        return code
    return _in_words(tree) or code


def _in_words(node: ast.expr) -> str:
    """The words of an expression; empty if a part of it has none."""
    match node:
        case ast.Constant() | ast.Name() | ast.Attribute(value=ast.Name()):
            return ast.unparse(node)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _joined(["minus", _grouped(operand)])
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=2)):
            return _joined(["the square of", _grouped(left)])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _joined([_grouped(left), _OPERATORS[type(op)], _grouped(right)])
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _joined([_grouped(left), _OPERATORS[type(op)], _grouped(right)])
        case ast.Subscript(value=value, slice=ast.Constant(value=int(at))) if at >= 0:
            return _joined([f"number {at + 1} of", _grouped(value)])
        case ast.Subscript(
            value=value,
            slice=ast.Tuple(elts=[ast.Constant(value=int(row)), ast.Constant(value=int(column))]),
        ) if min(row, column) >= 0:
            return _joined([f"row {row + 1}, column {column + 1} of", _grouped(value)])
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))):
            return f"{name} of {key}"
        case ast.Call(func=ast.Name(id=name), args=[one], keywords=[]):
            return _joined([f"{_FUNCTIONS.get(name, name)} of", _grouped(one)])
        case ast.Call(func=ast.Name(id=name), args=[_, _, *_] as several, keywords=[]):
            inner = [_in_words(argument) for argument in several]
            return f"{name} of ({', '.join(inner)})" if all(inner) else ""
        case ast.Call(func=ast.Attribute(value=operand, attr=name), args=[], keywords=[]):
            return _joined([f"{_FUNCTIONS.get(name, name)} of", _grouped(operand)])
    return ""


def _grouped(node: ast.expr) -> str:
    """The words of an operand, in parentheses if its end can't be heard."""
    words = _in_words(node)
    is_open = isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp) and not words.startswith(
        "the square"
    )
    return f"({words})" if words and is_open else words


def _joined(words: Sequence[str]) -> str:
    return " ".join(words) if all(words) else ""


def spoken_prose(
    markdown: str, *, in_symbols: bool = False, spoken_code: Callable[[str], str] = str
) -> list[Line]:
    """A line for each paragraph, item of a list and row of a table.

    `spoken_code` makes the words for code in a sentence.
    """

    def inline(token: Token) -> str:
        return _inline(token, in_symbols, spoken_code)

    lines: list[Line] = []
    cells: list[str] | None = None
    numbers: list[int | None] = []
    mark = ""
    for token in parser().parse(plain(markdown)):
        match token.type:
            case "ordered_list_open":
                numbers.append(int(token.attrGet("start") or 1))
            case "bullet_list_open":
                numbers.append(None)
            case "ordered_list_close" | "bullet_list_close":
                numbers.pop()
            case "list_item_open":
                number = numbers[-1]
                mark = "" if number is None else f"{number}. "
                numbers[-1] = None if number is None else number + 1
            case "tr_open":
                cells = []
            case "tr_close" if cells is not None:
                lines.append("; ".join(cells))
                cells = None
            case "inline" if cells is not None:
                cells.append(inline(token))
            case "inline":
                lines += (mark + inline(token)).split("\n")
                mark = ""
            case "fence" | "code_block":
                lines.append(SpokenCode(token.content))
            case "math_block":
                lines.append(spoken_formula(token.content, in_symbols=in_symbols))
            case "html_block":
                lines.append(token.content.strip())
    return lines


def spoken_line(markdown: str, *, in_symbols: bool = False) -> str:
    """Short Markdown as one line."""
    lines = spoken_prose(markdown, in_symbols=in_symbols)
    said = (line.text if isinstance(line, SpokenCode) else line for line in lines)
    return " ".join(" ".join(said).split())


def _inline(token: Token, in_symbols: bool, spoken_code: Callable[[str], str]) -> str:
    said: list[str] = []
    for child in token.children or []:
        match child.type:
            case "softbreak":
                is_open = not said or not is_wide(said[-1][-1:])
                said.append(" " if is_open else "")
            case "hardbreak":
                said.append("\n")
            case kind if kind in MATH:
                words = spoken_formula(child.content, is_inline=True, in_symbols=in_symbols)
                before = "".join(said).split()[-1:]
                said.append(_as_noun(words) if {*before} & _PREPOSITIONS else words)
            case "text":
                said.append(child.content if in_symbols else in_words(child.content))
            case "code_inline":
                said.append(spoken_code(child.content))
            case _ if child.nesting == 0:
                said.append(child.content)
    return "".join(said)


_PREPOSITIONS = frozenset(
    ["after", "at", "before", "by", "for", "from", "in", "of", "on", "than", "to", "until", "with"]
)


def _as_noun(formula: str) -> str:
    """A formula after a preposition: `for z equal to 0`, not `for z equals 0`."""
    return formula.replace(" equals ", " equal to ", 1).replace(" is about ", " about ", 1)


def spoken_formula(
    latex: str,
    values: Mapping[str, str] | None = None,
    *,
    is_inline: bool = False,
    in_symbols: bool = False,
) -> str:
    """A formula in words, with `values` for its boxes; a sentence unless it `is_inline`."""
    try:
        parsed = formula.parse(latex)
        said = _symbols(parsed, values) if in_symbols else formula.say(parsed, values)
    except FormulaError:  # the lesson's check reports it
        return latex
    return said if is_inline else sentence(said)


def spoken_definition(latex: str, *, in_symbols: bool = False) -> str:
    """A formula in words without its boxes; empty if nothing is left."""
    try:
        parsed: Formula = formula.parse(latex)
    except FormulaError:
        return latex
    if in_symbols:
        return sentence(_symbols(without_values(parsed)))
    return sentence(formula.define(parsed))


def _symbols(parsed: Formula, values: Mapping[str, str] | None = None) -> str:
    """A formula on one line; wide gaps in it become semicolons."""
    return _APART.sub("; ", formula.draw_inline(parsed, values).strip())


_APART = re.compile(r"[ ,;]*(?: {3,}|; )[ ;]*")


def following(*sentences: str) -> str:
    """Sentences in a row, without a blank after a wide character."""
    said = ""
    for one in filter(None, sentences):
        said += one if not said or is_wide(said[-1]) else f" {one}"
    return said


_BEGINNERS = frozenset(
    ["the", "there", "this", "as", "by", "in", "it", "no", "nothing", "left", "seed"]
)
"""First words that get a capital: they are no names of the lesson."""

_ENDED = re.compile(r"(?:[.?!:]|[。？！：…][”’」』）》\"']*)\Z")
"""The end of a sentence; in Chinese a closing mark may follow it."""


def sentence(text: str) -> str:
    """A text with a full stop, unless it ends like a sentence, and a capital."""
    first = text.partition(" ")[0]
    text = text[0].upper() + text[1:] if first in _BEGINNERS else text
    if not text or _ENDED.search(text):
        return text
    return f"{text}。" if is_wide(text[-1]) else f"{text}."


# ── Output ──────────────────────────────────────────────────────────────────────────


class LineWriter:
    """Writes one line after the other."""

    def __init__(self, out: TextIO, width: int | None = None) -> None:
        """`width`: the columns of the terminal; None: no terminal, nothing is wrapped."""
        self._out = out
        self._width = width
        self._is_apart = True
        self.rows = 0
        """The number of written rows that are not empty."""

    def say(self, *lines: Line) -> None:
        """Write these lines; the line ends in a text are kept, an empty text is left out."""
        for line in lines:
            if isinstance(line, SpokenCode):
                self._code(line)
            elif line:
                self._text(line)

    def apart(self, lines: Iterable[Line]) -> None:
        """Write these lines after an empty one; nothing if there are none."""
        said = [line for line in lines if line]
        if said:
            self.gap()
            self.say(*said)

    def gap(self) -> None:
        """Write an empty line, unless there is one already."""
        if not self._is_apart:
            self._write("")
        self._is_apart = True

    def prompt(self) -> None:
        """Write the prompt; the cursor stays after it."""
        self._out.write("> ")
        self._out.flush()
        self._is_apart = False

    def answered(self) -> None:
        """Note that the learner has ended the line with the prompt."""
        self._is_apart = False

    def _text(self, text: str) -> None:
        for row in plain(text).split("\n"):
            for piece in self._wrapped(row):
                self._write(piece)

    def _wrapped(self, row: str) -> list[str]:
        if self._width is None or cell_width(row) <= self._width:
            return [row]
        return wrap(row, max(20, self._width))

    def _code(self, code: SpokenCode) -> None:
        rows = plain(code.text).rstrip("\n").split("\n")
        if code.numbered:
            rows = [
                f"{code.place_of(number).capitalize()}: {row}"
                for number, row in enumerate(rows, code.first)
            ]
        if len(rows) == 1:
            self._write(f"Code: {rows[0]}")
            return
        for row in ("Code:", *rows, "End of code."):
            self._write(row)

    def _write(self, row: str) -> None:
        print(row, file=self._out, flush=True)
        self._is_apart = not row
        self.rows += bool(row)
