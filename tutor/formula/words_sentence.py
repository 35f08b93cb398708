"""Spoken phrases: the names of symbols, the words for tables, and how they make sentences.

`sentence` puts `times` between factors and commas into chains of relations.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import TypeAlias

import msgspec

from tutor.formula.glyphs import command_name, words_of_sign
from tutor.formula.nodes import Node, NodeKind, RowNode, Sym, TableNode, TextNode
from tutor.formula.words_patterns import flat

TEXTS = {"?": "what?", "s.t.": "subject to", "w.r.t.": "with respect to", "iff": "if and only if"}
"""Abbreviations → their spoken words."""

FUNCTIONS = {
    "sin": "sine", "cos": "cosine", "tan": "tangent", "ln": "natural log", "lim": "the limit",
    "max": "the maximum", "min": "the minimum", "argmax": "the arg max", "argmin": "the arg min",
    "arg max": "the arg max", "arg min": "the arg min", "sup": "the supremum",
    "inf": "the infimum", "det": "the determinant", "Pr": "the probability",
    "Var": "the variance", "Cov": "the covariance", "Corr": "the correlation", "tr": "the trace",
    "Tr": "the trace", "diag": "the diagonal matrix", "rank": "the rank", "dim": "the dimension",
    "ker": "the kernel", "arg": "the argument", "lim sup": "the limit superior",
    "lim inf": "the limit inferior", "sinh": "hyperbolic sine", "cosh": "hyperbolic cosine",
    "sec": "secant", "arcsin": "arc sine", "arccos": "arc cosine", "arctan": "arc tangent",
    "sgn": "the sign", "sign": "the sign", "gcd": "the greatest common divisor",
}  # fmt: skip
"""Functions with a spoken name of their own; `of` follows."""

PRONOUNS = frozenset(
    ["it", "its", "this", "that", "these", "those", "they", "them", "he", "she", "we", "you", "us"]
)
"""Names that would refer to another name if they were said alone."""

OVER = frozenset(["max", "min", "argmax", "argmin", "arg max", "arg min", "sup", "inf"])
"""Functions whose subscript is the range `over` which they are taken."""

FENCES = {
    ("|", "|"): "the absolute value of", ("∣", "∣"): "the absolute value of",
    ("‖", "‖"): "the norm of", ("∥", "∥"): "the norm of", ("⌊", "⌋"): "the floor of",
    ("⌈", "⌉"): "the ceiling of", ("{", "}"): "the set of", ("⟨", "⟩"): "the bracket of",
}  # fmt: skip
"""Pairs of delimiters that are an operation."""

ORDERS = {"2": "second", "3": "third", "4": "fourth"}
ACCENTS = {
    "cancel": "crossed out",
    "vec": "vector",
    "ddot": "double dot",
    "underline": "underlined",
    "ring": "ring",
}

_JOINED = {":=": "is defined as", "+=": "is increased by", "mod": "modulo"}
"""Signs of several characters."""
CONNECTIVES = frozenset("⇒⟹⇐⟸⇔⟺↔")
"""Signs between two statements."""
LEAN_ON = {
    "∂": "partial", "∇": "the gradient of", "¬": "not", "Δ": "the change in", "∆": "the change in",
}  # fmt: skip
"""Symbols that belong to the node after them."""
QUANTIFIERS = frozenset("∀∃")
POSTFIX = frozenset("!%°′″‴")
BETWEEN = frozenset("/|∣‖∥")
"""Symbols that are operators wherever they stand by themselves."""
ELLIPSES = frozenset("…⋯⋮⋱")


def spoken_name(text: str) -> str:
    """The spoken name of a symbol: `eta`, `infinity`; letters and numbers are unchanged.

    Letters of other alphabets become plain ones; other signs have the name of their command.
    """
    if words := _JOINED.get(text) or words_of_sign(text):
        return words
    if text.isascii() and text[:1] == "." and text[1:].isdecimal():
        return f"0{text}"
    if text.isascii() and text[:1].isalnum():
        return text
    return " ".join(_character(c) for c in text)


def _character(character: str) -> str:
    if words := words_of_sign(character):
        return words
    plain = unicodedata.normalize("NFKC", character)
    if plain.isascii() and plain.isprintable() and plain.isalnum():
        return plain
    if "⁄" in plain:
        return f"({plain.replace('⁄', ' over ')})"
    name = unicodedata.name(plain[:1] or character, "")
    if name.startswith("GREEK ") and "LETTER " in name:
        greek = name.rpartition("LETTER ")[2].split()[0].lower().replace("lamda", "lambda")
        return f"capital {greek}" if "CAPITAL" in name else greek
    return command_name(character) or command_name(plain[:1]) or plain or character


_GRADIENT = re.compile(r"""gradient(_now)?\[["'](\w+)["']\]""")


def name_of_expression(expression: str) -> str:
    """The name of a Python expression: `the gradient of w`; other code stays as it is."""
    if found := _GRADIENT.fullmatch(expression):
        return f"the gradient of {found[2]}{' now' if found[1] else ''}"
    return expression.replace("_", " ") if expression.isidentifier() else expression


Whole: TypeAlias = Callable[[Node], str]
"""Says a node as a text of its own."""


class PhraseRole(Enum):
    """The role of a part between its neighbours."""

    FACTOR = auto()
    """Something to be multiplied: between two of them stands `times`."""
    PREFIX = auto()
    """`the sum over i of`: the next words belong to it."""
    POSTFIX = auto()
    """`squared`, `percent`: belongs to the words before it, and may be multiplied."""
    OPERATOR = auto()
    RELATION = auto()
    """A verb: in a chain, each but the first becomes `which equals`."""
    TEXT = auto()
    MARK = auto()
    """A comma or a colon: leans on the words before it, and a chain ends there."""
    STOP = auto()
    """The end of a statement; its text begins the next (`hence`), and is mostly empty."""


class PhrasePart(msgspec.Struct, frozen=True):
    """A few words, and their role between their neighbours."""

    text: str
    role: PhraseRole = PhraseRole.FACTOR
    is_long: bool = False
    """Whether a comma stands before its next factor, so that a listener hears its end."""


STOP = PhrasePart("", PhraseRole.STOP)
_SUMS = ("the sum over", "the mean over", "the product over")
"""The beginnings of prefixes whose words go up to the next plus or minus."""
_ENDS = (PhraseRole.RELATION, PhraseRole.STOP, PhraseRole.MARK)
"""The roles of parts at which a statement, or one side of it, ends."""
_MULTIPLIED = (PhraseRole.FACTOR, PhraseRole.POSTFIX)
_MULTIPLIES = (PhraseRole.FACTOR, PhraseRole.PREFIX)
_TIDY = (
    (re.compile(r"\s+"), " "),
    (re.compile(r"\s+(?=[,;:.)\]])"), ""),
    (re.compile(r"(?<=[(\[])\s+"), ""),
    (re.compile(r"(\([^,;()]+,(?=\)))|[,;]+(?=[;)\]])"), r"\1"),  # `(4,)` is a shape
    (re.compile(r"(?<=[;,]),|(?<=:);"), ""),
)


def sentence(parts: Iterable[PhrasePart], *, product: str = "times") -> str:
    """The parts as one text. `product` is said between factors."""
    said: list[str] = []
    before: PhraseRole | None = None
    is_chain = is_long = is_quantified = is_in_sum = False
    for part in parts:
        match part.role:
            case PhraseRole.STOP:
                said.append(f"; {part.text}")
            case PhraseRole.RELATION:
                verb = part.text.removeprefix("is ") if is_quantified else part.text
                said.append(f", which {verb}" if is_chain else verb)
            case role:
                is_multiplied = before in _MULTIPLIED and role in _MULTIPLIES
                if (is_in_sum and part.text in ("plus", "minus")) or (
                    is_long and (is_multiplied or part.text == "times")
                ):
                    said.append(",")
                if is_multiplied:
                    said.append(product)
                said.append(part.text)
        is_quantified = part.text in ("for all", "there is") or (
            is_quantified and part.role is PhraseRole.FACTOR
        )
        is_chain = part.role is PhraseRole.RELATION or (
            is_chain
            and part.role not in (PhraseRole.STOP, PhraseRole.MARK)
            and part.text != "given"
        )
        goes_on = part.role not in _ENDS and part.text not in ("plus", "minus")
        is_in_sum = part.text.startswith(_SUMS) or (is_in_sum and goes_on)
        before, is_long = part.role, part.is_long
    return tidy(" ".join(said))


def tidy(text: str) -> str:
    """The text without blanks and marks that follow each other."""
    for pattern, better in _TIDY:
        text = pattern.sub(better, text)
    return text.strip(" ,;")


def sign_part(text: str, kind: NodeKind, *, is_last: bool) -> PhrasePart | None:
    """The words for a sign that does something to its neighbours; None for all other symbols."""
    if text in QUANTIFIERS and not is_last:
        return PhrasePart(spoken_name(text), PhraseRole.STOP)
    if text in LEAN_ON and not is_last:
        return PhrasePart(LEAN_ON[text], PhraseRole.PREFIX)
    name = spoken_name(text)
    if text in CONNECTIVES:
        return PhrasePart(name, PhraseRole.STOP)
    if text in POSTFIX:
        return PhrasePart(name, PhraseRole.POSTFIX)
    if text in BETWEEN:
        return PhrasePart(name, PhraseRole.OPERATOR)
    match kind:
        case NodeKind.REL:
            return PhrasePart(name, PhraseRole.RELATION)
        case NodeKind.BIN | NodeKind.MIDDLE:
            return PhrasePart(name, PhraseRole.OPERATOR)
        case NodeKind.PUNCT:
            return STOP if text == ";" else PhrasePart(text, PhraseRole.MARK)
        case NodeKind.BIG:
            return PhrasePart(f"{name} of", PhraseRole.PREFIX)
        case NodeKind.OPEN | NodeKind.CLOSE:
            return PhrasePart(name, PhraseRole.TEXT)
    return None


def text_part(text: str) -> PhrasePart:
    """The words of a text in a formula."""
    if text and not text.strip("_"):
        return PhrasePart("blank")
    if text in PRONOUNS:
        return PhrasePart(f"the variable {text}")
    return PhrasePart(TEXTS.get(text.strip(), text), PhraseRole.TEXT)


# ── Tables ──────────────────────────────────────────────────────────────────────────

_JOINS = (PhraseRole.RELATION, PhraseRole.OPERATOR)
"""Roles of a part that joins two lines into one statement."""


def cases(table: TableNode, whole: Whole) -> str:
    """The words for cases, or for equations that hold together."""
    if all(len(row) == 1 for row in table.rows):
        return f"{', and '.join(whole(row[0]) for row in table.rows)};"
    rows = (", ".join(_case(row, whole)) for row in table.rows)
    return f"either {', or '.join(rows)};"


def _case(row: Sequence[Node], whole: Whole) -> list[str]:
    """A value, and the condition for it with an `if`."""
    value, *conditions = row
    said = [whole(value)]
    for condition in conditions:
        items = flat(condition)
        is_bare = bool(items) and not any(isinstance(item, TextNode) for item in items)
        text = whole(condition)
        said.append(f"if {text}" if is_bare else text)
    return [text for text in said if text]


def matrix(table: TableNode, whole: Whole) -> str:
    """The words for a matrix, row by row; for a vector in one go."""
    rows = [[whole(cell) for cell in row] for row in table.rows]
    height, width = len(rows), max(map(len, rows), default=0)
    if height == 1:
        return f"a row of {width}: {', '.join(rows[0])};"
    if width == 1:
        return f"a column of {height}: {', '.join(row[0] for row in rows)};"
    said = (f"row {i}: {', '.join(row)}" for i, row in enumerate(rows, 1))
    return f"a {height} by {width} matrix: {'; '.join(said)};"


def lines(
    table: TableNode, parts_of: Callable[[Sequence[Node]], list[PhrasePart]]
) -> list[PhrasePart]:
    """Displayed lines: statements, or one that continues from line to line."""
    parts: list[PhrasePart] = []
    for row in table.rows:
        is_new_row = True
        for index, cell in enumerate(row):
            said = parts_of(flat(cell))
            if parts and said:
                parts += _between(parts[-1], said[0], cell, index, is_new_row)
            parts += said
            is_new_row = is_new_row and not said
    return parts


def _between(
    before: PhrasePart, after: PhrasePart, cell: Node, index: int, is_new_row: bool
) -> list[PhrasePart]:
    """The mark between the words of two cells, the second of which has this index in its row."""
    goes_on = index > 0 and isinstance(cell, RowNode) and cell.items[:1] == (Sym(""),)
    goes_on |= after.role in _JOINS or before.role in _JOINS
    comma = [PhrasePart(",", PhraseRole.MARK)]
    if after.role is PhraseRole.TEXT and index > 0:
        return comma
    if before.role is PhraseRole.TEXT and is_new_row:
        return comma if goes_on else [STOP]
    return [] if goes_on else [STOP]
