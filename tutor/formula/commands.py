"""The LaTeX commands, each with the nodes that it adds to a row, and the reading of a formula."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TypeAlias

from tutor.errors import FormulaError
from tutor.formula import glyphs
from tutor.formula.box import visible
from tutor.formula.cursor import MAX_DEPTH
from tutor.formula.glyphs import plain_sign
from tutor.formula.nodes import (
    Accent,
    Brace,
    Formula,
    Frac,
    Node,
    NodeKind,
    Phantom,
    Root,
    RowNode,
    Space,
    Stack,
    Sym,
    TextNode,
    ValueNode,
)
from tutor.formula.reader import CommandTable, Reader
from tutor.formula.rows import HLINE, in_parentheses, styled

MAX_LENGTH = 10_000

_Command: TypeAlias = Callable[[Reader, str], object]
"""Reads a command's arguments and adds its nodes; the command comes with its backslash."""

# --- fonts, accents, fractions ----------------------------------------------------------------

_LETTER_FONTS = dict.fromkeys(["mathbb", "Bbb", "mathds", "mathbbm"], "DOUBLE-STRUCK")
_LETTER_FONTS |= {"mathbf": "BOLD", "bold": "BOLD", "mathcal": "SCRIPT", "mathfrak": "FRAKTUR"}
_FONTS = _LETTER_FONTS | dict.fromkeys(["boldsymbol", "bm", "pmb"], "BOLD") | {"mathscr": "SCRIPT"}
_FONTS |= dict.fromkeys(["mathit", "mathrm", "mathsf", "mathtt", "mathnormal"], "")
"""A command → the Unicode style of its argument's letters; "" is the plain one."""
_LETTER_FONTS |= {"mathsf": "SANS-SERIF", "mathtt": "MONOSPACE", "mathit": "ITALIC", "mathrm": ""}
"""The style of an argument that is one letter in braces."""
_LETTER = re.compile(r"\{([a-zA-Z])\}")
_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 -]|\\,)*\Z")


def _font(reader: Reader, token: str) -> None:
    letter = _LETTER.match(reader.source, reader.at)
    outer, reader.font = reader.font, _FONTS[token[1:]]
    node = reader.argument(token)
    reader.font = outer
    if letter and token[1:] in _LETTER_FONTS:
        node = Sym(glyphs.in_style(letter[1], _LETTER_FONTS[token[1:]]))
    reader.add(node, token)


def _word(reader: Reader, token: str) -> None:
    r"""Take `\mathrm{relu}` as one word; an argument that is not plain letters as mathematics."""
    is_operator = token.startswith(r"\operatorname")
    content = ""
    if reader.following() == "{":
        content = reader.source[reader.at + 1 : reader.group_end(reader.at, token)].strip()
    if _WORD.match(content) and (len(content) > 1 or is_operator):
        reader.take_group(token)
        word = " ".join(content.replace(r"\,", " ").split())
        limits = token.endswith(("*", "limits"))
        reader.add(_function(word, limits=limits), is_factor=not is_operator)
    elif not is_operator:
        _font(reader, token)
    elif reader.following() != "{":
        reader.unsupported_command(token)


def _function(name: str, *, limits: bool = False) -> Sym:
    return Sym(name, NodeKind.FUNC, limits=limits or name in glyphs.LIMIT_FUNCTIONS)


_ACCENTS = {
    "hat": "hat", "widehat": "hat", "bar": "bar", "overline": "bar", "underline": "underline",
    "tilde": "tilde", "widetilde": "tilde", "check": "check", "widecheck": "check", "dot": "dot",
    "ddot": "ddot", "breve": "breve", "acute": "acute", "grave": "grave", "mathring": "ring",
    "vec": "vec", "overrightarrow": "vec", "overleftarrow": "back", "overleftrightarrow": "both",
} | dict.fromkeys(["cancel", "bcancel", "xcancel", "sout"], "cancel")  # fmt: skip
"""A command → the accent that it puts on its argument."""
_ARROWS = {"xrightarrow": "→", "xleftarrow": "←"}


_BRACES = {"overbrace": True, "overbracket": True, "underbrace": False, "underbracket": False}
"""A command → whether its brace is over its argument."""
_AROUND: dict[str, Callable[[Node], Node]] = {
    "overparen": lambda body: Stack(body, over=Sym("⏜")),
    "underparen": lambda body: Stack(body, under=Sym("⏝")),
    "phantom": lambda body: Phantom(RowNode((body,))),
    "hphantom": lambda body: Phantom(RowNode((body,))),
}
"""A command → the node that it makes of its argument."""


def _accent(reader: Reader, token: str) -> None:
    accent = _ACCENTS[token[1:]]
    reader.add(Accent(reader.argument(token), accent, below=accent == "underline"), token)


def _around(reader: Reader, token: str) -> None:
    body = reader.argument(token)
    reader.add(_AROUND[token[1:]](body) if token[1:] in _AROUND else RowNode((body,)), token)


def _brace(reader: Reader, token: str) -> None:
    reader.add(Brace(reader.argument(token), over=_BRACES[token[1:]]), token)


def _root(reader: Reader, token: str) -> None:
    index = reader.optional(token)
    body = reader.argument(token)
    reader.add(Root(RowNode((body,)) if index is None else body, index), token)


def _arrow(reader: Reader, token: str) -> None:
    under = reader.optional(token)
    over = RowNode((reader.argument(token), Space(0)))
    arrow = RowNode((reader.sign(_ARROWS[token[1:]]),))
    reader.add(Stack(arrow, under and RowNode((under, Space(0))), over), token)


_MODULUS = Sym("mod", NodeKind.BIN)


def _modulus(reader: Reader, token: str) -> None:
    for node in (Space(3), *in_parentheses(_MODULUS, Space(1), reader.argument(token))):
        reader.add(node, token)


def _two_arguments(reader: Reader, token: str) -> tuple[Node, Node]:
    return reader.argument(token, one_digit=True), reader.argument(token, one_digit=True)


def _fraction(reader: Reader, token: str) -> None:
    over, under = _two_arguments(reader, token)
    if token == r"\cfrac":
        over, under = styled([over], False), styled([under], False)
    _add_styled(reader, token, [Frac(over, under)])


def _binomial(reader: Reader, token: str) -> None:
    frac = Frac(*_two_arguments(reader, token), bar=False)
    _add_styled(reader, token, in_parentheses(frac))


def _add_styled(reader: Reader, token: str, nodes: list[Node]) -> None:
    r"""Add nodes in display style behind `\d…`, in text style behind `\t…`."""
    if token[1] in "dt":
        nodes = [styled(nodes, token[1] == "d")]
    for node in nodes:
        reader.add(node, token)


def _stack(reader: Reader, token: str) -> None:
    other, base = _two_arguments(reader, token)
    is_under = token == r"\underset"
    reader.add(Stack(base, under=other) if is_under else Stack(base, over=other), token)


def _cut(reader: Reader, token: str) -> None:
    r"""An \over or a style: it applies to the whole rest of the row."""
    reader.row.cuts.append((token, reader.row.items))
    reader.row.items = []
    reader.is_factor = False


# --- values and words -------------------------------------------------------------------------


def _boxed(reader: Reader, token: str) -> None:
    expression = reader.take_group(token, raw=True).strip()
    if not expression:
        raise FormulaError("boxed_is_empty")
    reader.boxed.append(expression)
    reader.add(ValueNode(expression), is_factor=True)


def _text(reader: Reader, token: str) -> None:
    """Words; the parts between dollars are mathematics again."""
    start = reader.source.rfind("\\", 0, reader.at)
    parts = _parts_between_dollars(reader.take_group(token))
    if len(parts) % 2 == 0:
        raise FormulaError("dollar_not_closed", command=token)
    if any("\\" in _plain_text(part) for part in parts[::2]):
        reader.show_source(start)
        return
    nodes: list[Node] = []
    for index, part in enumerate(parts):
        if index % 2:
            nodes += reader.read_apart(part, f"{token}{{")
        elif part or len(parts) == 1:
            nodes.append(TextNode(visible(_plain_text(part))))
    node = nodes[0] if len(parts) == 1 else RowNode(tuple(nodes))
    reader.add(node, is_factor=True if parts[-1] else None)


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


def _tag(reader: Reader, token: str) -> None:
    content = reader.take_group(token)
    reader.add(Space(6))
    text = visible(content if token.endswith("*") else f"({content})")
    reader.add(TextNode(text), is_factor=True)


# --- spaces -----------------------------------------------------------------------------------

_SPACES = {",": 1, ":": 1, ";": 1, ">": 1, "!": -1, "quad": 3, "qquad": 6}
_SPACES |= dict.fromkeys(["enspace", "thinspace", "medspace", "thickspace", "space"], 1)
"""A command → the cells of its space."""
_LENGTH = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)?)\s*([a-z]{2}|\\[a-zA-Z]+)")
_KERN = re.compile(r"\s*([+-]?[\d.]+\s*[a-z]{2})")
_RAISED = re.compile(r"\s*(\[\s*-?[\d.]+\s*[a-z]{2}\s*\])")
_POINTS = {"pt": 1.0, "mm": 2.845, "cm": 28.45, "in": 72.27, "ex": 5.0, "em": 10.0, "mu": 0.556}
_POINTS |= {"bp": 1.004, "pc": 12.0, "dd": 1.07, "cc": 12.84, "sp": 0.0, "nd": 1.067, "nc": 12.8}
_POINTS |= {"px": 1.004}
"""LaTeX's units of length; em and ex as in a 10 point font."""
_MOST_CELLS = 40


def _space(reader: Reader, token: str) -> None:
    reader.add(Space(_SPACES[token[1:]]), is_factor=False)


def _hspace(reader: Reader, token: str) -> None:
    content = reader.take_group(token).strip()
    cells = _cells_of(content)
    if cells is None:
        raise FormulaError("no_width", command=token, width=content)
    reader.add(Space(cells), is_factor=False)


def _kern(reader: Reader, token: str) -> None:
    width = reader.take_pattern(_KERN)
    if width is None:
        raise FormulaError("width_missing", command=token)
    reader.add(Space(_cells_of(width) or 0), is_factor=False)


def _rule(reader: Reader, token: str) -> None:
    r"""A line to write on. A rule without width is a strut, which shows nothing."""
    reader.take_pattern(_RAISED)
    cells = _cells_of(reader.take_group(token).strip()) or 0
    reader.take_group(token)
    if cells > 0:
        reader.add(TextNode("_" * cells), is_factor=True)


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


# --- signs ------------------------------------------------------------------------------------

_NAMES = (
    "arccos arcsin arctan cos cosh cot coth csc deg dim exp hom ker ln lg log sec sin sinh tan "
    "tanh lim sup inf max min det gcd Pr arg softmax sign"
)
_FUNCTIONS = {name: name for name in _NAMES.split()}
_FUNCTIONS |= {"argmax": "arg max", "argmin": "arg min", "liminf": "lim inf", "limsup": "lim sup"}
"""A command → the name of the function that it writes."""


def _symbol(reader: Reader, token: str) -> None:
    """A command that is no other: a sign, or unsupported."""
    name = token[1:]
    sign = plain_sign(token)
    if not name:
        raise FormulaError("lone_backslash")
    if name.isspace():
        reader.add(Space(1), is_factor=False)
    elif sign:
        is_letter = len(name) > 1 and sign.isalpha()
        reader.add(reader.sign(sign), token, is_factor=is_letter or reader.is_script())
    else:
        reader.unsupported_command(token)


def _named_function(reader: Reader, token: str) -> None:
    name = _FUNCTIONS[token[1:]]
    font = "" if name in glyphs.LIMIT_FUNCTIONS else reader.font
    node = _function(glyphs.in_style(name, font))
    reader.add(node, token, is_factor=reader.is_script())


def _sized(reader: Reader, token: str) -> None:
    r"""\big and its kin: parentheses grow by themselves, a bar becomes a delimiter."""
    following = reader.following()
    if plain_sign(following) in ("|", "‖", "∣"):
        reader.at += len(following)
        reader.add(Sym(plain_sign(following), NodeKind.MIDDLE), is_factor=True)


def _not(reader: Reader, token: str) -> None:
    following = reader.following()
    sign = plain_sign(following)
    if len(sign) != 1 or following in "{}_^&$%":
        reader.unsupported_command(token)
        return
    reader.at += len(following)
    struck = unicodedata.normalize("NFC", sign + "\u0338")
    reader.add(Sym(struck, glyphs.symbol_class(sign)), is_factor=False)


def _limits(reader: Reader, token: str) -> None:
    if reader.following() not in ("_", "^"):
        raise FormulaError("limits_without_script", command=token)
    if not (reader.row.items and reader.row.items[-1].command):
        raise FormulaError("limits_without_operator")
    reader.row.limits = token


def _line(reader: Reader, token: str) -> None:
    reader.require_table(token)
    if reader.previous not in (r"\begin", r"\\", r"\hline"):
        raise FormulaError("hline_in_row")
    reader.add(HLINE, is_factor=False)


# --- the table --------------------------------------------------------------------------------


def _nothing(reader: Reader, token: str) -> None:
    """A command that shows nothing."""


def _by_name(*functions: tuple[_Command, str]) -> dict[str, _Command]:
    return {name: function for function, names in functions for name in names.split()}


_ONE_ARGUMENT = _by_name(
    (_font, " ".join(_FONTS)),
    (_word, "mathrm mathsf mathtt mathit"),
    (_accent, " ".join(_ACCENTS)),
    (_arrow, " ".join(_ARROWS)),
    (_brace, " ".join(_BRACES)),
    (_around, " ".join(_AROUND)),
    (_around, "mathop mathrel mathbin mathord mathopen mathclose mathpunct"),
    (_modulus, "pmod"),
    (_root, "sqrt"),
)
_TWO_ARGUMENTS = _by_name(
    (_fraction, "frac dfrac tfrac cfrac"),
    (_binomial, "binom dbinom tbinom"),
    (_stack, "overset underset stackrel"),
)
_OTHERS = _by_name(
    (_space, " ".join(_SPACES)),
    (_named_function, " ".join(_FUNCTIONS)),
    (_cut, "over choose displaystyle textstyle"),
    (_text, "text textrm textbf textit textsf texttt textup textnormal mbox fbox framebox"),
    (_word, "operatorname operatorname* operatornamewithlimits"),
    (_sized, "big bigl bigm bigr Big Bigl Bigm Bigr bigg biggl biggm biggr"),
    (_sized, "Bigg Biggl Biggm Biggr"),
    (_nothing, "notag nonumber small footnotesize scriptsize tiny normalsize large Large LARGE"),
    (_nothing, "huge Huge scriptstyle scriptscriptstyle allowbreak nobreak noindent centering"),
    (_nothing, "strut mathstrut displaylimits relax protect hline* null"),
    (Reader.argument_start, "smash mathclap mathllap mathrlap ensuremath hbox"),
    (Reader.take_group, "label vspace vspace* vphantom color textcolor"),
    (_tag, "tag tag*"),
    (_hspace, "hspace hspace*"),
    (_limits, "limits nolimits"),
    (_boxed, "boxed"),
    (lambda reader, token: reader.add(_MODULUS, token, is_factor=False), "bmod"),
    (_line, "hline"),
    (_kern, "kern hskip mkern mskip"),
    (_not, "not"),
    (_rule, "rule"),
    (Reader.left, "left"),
    (Reader.begin, "begin"),
    (Reader.substack, "substack"),
)
_COMMANDS = _ONE_ARGUMENT | _TWO_ARGUMENTS | _OTHERS
"""A command's name → its function."""


def _read_command(reader: Reader, token: str) -> None:
    _COMMANDS.get(token[1:], _symbol)(reader, token)


_TABLE = CommandTable(_read_command, frozenset(_ONE_ARGUMENT), frozenset(_TWO_ARGUMENTS))


def parse(latex: str) -> Formula:
    r"""Read a formula. Raises FormulaError.

    It may be empty, too long or too deep, or have unbalanced braces, \left without \right, an
    unknown or unclosed environment, a missing argument, & outside of an alignment, or two scripts.
    """
    if len(latex) > MAX_LENGTH:
        raise FormulaError("formula_too_long", most=MAX_LENGTH)
    reader = Reader(unicodedata.normalize("NFC", latex), _TABLE)
    try:
        row = reader.read_row("", is_display=True)
    except RecursionError:
        raise FormulaError("too_deep", most=MAX_DEPTH) from None
    if not row.items:
        raise FormulaError("empty")
    return Formula(latex, tuple(reader.boxed), tuple(reader.unsupported), RowNode((row,)))
