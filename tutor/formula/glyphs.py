"""Signs with their class, ASCII spelling and words; script forms, accents, delimiters."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path

import msgspec

from tutor.formula.nodes import NodeKind

# --- Signs --------------------------------------------------------------------------------


class Sign(msgspec.Struct, frozen=True):
    """A line of `symbols.txt`, the table of all signs; "" for each column without an entry."""

    commands: str = ""
    """The names of the commands that write it, with blanks between them."""
    kind: str = ""
    """The name of its NodeKind: TeX's class."""
    ascii: str = ""
    words: str = ""


_UNLISTED = Sign()


@lru_cache(maxsize=1)
def _signs() -> dict[str, Sign]:
    text = Path(__file__).with_name("symbols.txt").read_text("ascii")
    entries = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return {chr(int(code, 16)): Sign(*columns) for code, *columns in entries}


@lru_cache(maxsize=1)
def _written_by() -> dict[str, str]:
    """A command's name → the sign that it writes."""
    return {name: text for text, sign in _signs().items() for name in sign.commands.split()}


def plain_sign(token: str) -> str:
    """The sign that a token writes, a command or the sign itself; "" if it is no plain sign."""
    sign = _written_by().get(token[1:], "") if token.startswith("\\") else token
    return "" if sign and unicodedata.category(sign[0]).startswith("M") else sign


def command_name(sign: str) -> str:
    """The name of the command that writes a sign, the first of two letters or more; "" without."""
    names = _signs().get(sign, _UNLISTED).commands.split()
    return next((name for name in names if len(name) > 1), "")


def words_of_sign(sign: str) -> str:
    """The spoken words for a sign; "" if it has none of its own."""
    return _signs().get(sign, _UNLISTED).words


INTEGRALS = frozenset("∫∬∭∮")
LIMIT_FUNCTIONS = frozenset(
    ["lim", "max", "min", "sup", "inf", "argmax", "argmin", "plim", "det", "gcd", "Pr"]
) | {"arg max", "arg min", "lim sup", "lim inf"}


def symbol_class(text: str) -> NodeKind:
    """The class of a symbol: TeX's, but by its Unicode character."""
    if kind := _signs().get(text, _UNLISTED).kind:
        return NodeKind[kind]
    is_relation = len(text) == 1 and (unicodedata.category(text) == "Sm" or "ARROW" in _name(text))
    return NodeKind.REL if is_relation else NodeKind.ORD


def _name(character: str) -> str:
    return unicodedata.name(character, "")


# --- Scripts that have glyphs of their own -----------------------------------------------

_SUP = dict(
    zip(
        "0123456789+-−=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ",
        strict=True,
    )
)
_SUB = dict(
    zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)
)
_PRIMES = {"′": "′", "″": "″", "‴": "‴", "*": "*", "∗": "*", "⋆": "*", "†": "†", "°": "°", "∘": "°"}

SUPERSCRIPTS = _SUP | _PRIMES | {"⊤": "ᵀ"}
"""Those that common terminal fonts have."""
SUBSCRIPTS = _SUB
INLINE_SUPERSCRIPTS = SUPERSCRIPTS | {"β": "ᵝ", "γ": "ᵞ", "δ": "ᵟ", "θ": "ᶿ"}
INLINE_SUBSCRIPTS = _SUB | {"β": "ᵦ", "γ": "ᵧ", "ρ": "ᵨ", "φ": "ᵩ", "χ": "ᵪ"}
ASCII_SUPERSCRIPTS = {"′": "'", "″": "''", "‴": "'''", "*": "*"}
"""Superscripts that may stay on the row of their base in ASCII."""

# --- Accents ----------------------------------------------------------------------------

COMBINING = {
    "hat": "\u0302", "bar": "\u0304", "tilde": "\u0303", "vec": "\u20d7", "dot": "\u0307",
    "ddot": "\u0308", "check": "\u030c", "breve": "\u0306", "acute": "\u0301", "grave": "\u0300",
    "ring": "\u030a", "cancel": "\u0338",
}  # fmt: skip
ASCII_ACCENTS = {"hat": "^", "tilde": "~"}
"""Accents that follow their letter in ASCII; the others stand over it or are spelled."""


_NARROW = {"hat": "^", "check": "ˇ", "dot": "˙", "ddot": "¨", "tilde": "~"}
_NARROW |= {"breve": "˘", "acute": "´", "grave": "`", "ring": "˚"}
_NARROW_ASCII = {"hat": "^", "check": "v", "dot": ".", "ddot": "..", "tilde": "~"}
_NARROW_ASCII |= {"breve": "u", "acute": "'", "grave": "`", "ring": "o"}


def wide_accent(name: str, cells: int, *, ascii: bool) -> str:
    """An accent drawn on a row of its own over something `cells` wide."""
    if name in ("vec", "back", "both"):
        return _arrow_over(name, max(cells, 2 if ascii else 1), ascii=ascii)
    if name == "bar":
        return "_" * cells
    if cells <= 1 or name not in ("hat", "check", "tilde"):
        return (_NARROW_ASCII if ascii else _NARROW)[name]
    if name == "tilde":
        return "~" * cells
    left, right, middle = ("/", "\\", "-") if ascii else ("╱", "╲", "‾")
    if name == "check":
        left, right, middle = right, left, "_"
    return left + middle * (cells - 2) + right


def _arrow_over(name: str, cells: int, *, ascii: bool) -> str:
    line, left, right = ("-", "<", ">") if ascii else ("─", "←", "→")
    head = left if name in ("back", "both") else line
    tail = right if name in ("vec", "both") else line
    return tail if cells == 1 else head + line * (cells - 2) + tail


# --- Delimiters that grow ----------------------------------------------------------------

# opening or closing → (top, middle, bottom, beside the baseline)
_TALL = {
    "(": "⎛⎜⎝⎜", ")": "⎞⎟⎠⎟", "[": "⎡⎢⎣⎢", "]": "⎤⎥⎦⎥", "{": "⎧⎪⎩⎨", "}": "⎫⎪⎭⎬", "|": "││││",
    "∣": "││││", "‖": "║║║║", "∥": "║║║║", "⌊": "⎢⎢⎣⎢", "⌋": "⎥⎥⎦⎥", "⌈": "⎡⎢⎢⎢", "⌉": "⎤⎥⎥⎥",
    "⟨": "╱ ╲⟨", "⟩": "╲ ╱⟩", "/": "╱╱╱╱", "\\": "╲╲╲╲",
}  # fmt: skip
_TALL_ASCII = {
    "(": "/|\\|", ")": "\\|/|", "[": "[[[[", "]": "]]]]", "{": "/|\\<", "}": "\\|/>", "|": "||||",
    "∣": "||||", "‖": "||||", "∥": "||||", "⌊": "||[|", "⌋": "||]|", "⌈": "[|||", "⌉": "]|||",
    "⟨": "/ \\<", "⟩": "\\ />", "/": "////", "\\": "\\\\\\\\",
}  # fmt: skip
POINTED = frozenset("{}⟨⟩")
"""Delimiters with a point at the baseline, which needs a row above and below it."""


def tall_delimiter(symbol: str, above: int, below: int, *, ascii: bool) -> tuple[str, ...]:
    """A delimiter's rows, `above` and `below` the baseline's row; a plain one if both are 0."""
    if above == below == 0:
        return (spell(symbol) if ascii else symbol,)
    table = _TALL_ASCII if ascii else _TALL
    top, middle, bottom, point = tuple(table.get(symbol, symbol * 4))
    rows = [middle] * (above + below + 1)
    rows[above] = point
    if above or symbol not in POINTED:
        rows[0] = top
    if below or symbol not in POINTED:
        rows[-1] = bottom
    return tuple(rows)


# --- Letters of other alphabets -----------------------------------------------------------


def in_style(text: str, style: str) -> str:
    """`text` in a mathematical alphabet, such as BOLD, by the characters' Unicode names."""
    return "".join(_in_style(c, style) for c in text) if style else text


def _in_style(character: str, style: str) -> str:
    name = _name(character)
    for word in ("LATIN ", "GREEK ", "LETTER "):
        name = name.replace(word, "")
    if not name.startswith(("SMALL ", "CAPITAL ", "DIGIT ")):
        return character
    for candidate in (f"MATHEMATICAL {style} {name}", f"{style} {name}", f"BLACK-LETTER {name}"):
        try:
            return unicodedata.lookup(candidate)
        except KeyError:
            continue
    return character


# --- ASCII --------------------------------------------------------------------------------


def spell(text: str) -> str:
    """`text` in ASCII: λ becomes lambda, ≤ becomes <=, a sign without a spelling `?`."""
    return text if text.isascii() else "".join(_spell(c) for c in text)


def _spell(character: str) -> str:
    if character.isascii():
        return character
    if spelled := _signs().get(character, _UNLISTED).ascii:
        return spelled
    plain = unicodedata.normalize("NFKC", character)
    if plain != character:
        return spell(plain)
    name = _name(character)
    if name.startswith("GREEK ") and "LETTER " in name:
        greek = name.rpartition("LETTER ")[2].split()[0].replace("LAMDA", "LAMBDA")
        return greek.capitalize() if "CAPITAL" in name else greek.lower()
    base = "".join(c for c in unicodedata.normalize("NFKD", character) if c.isascii())
    return base or ("" if unicodedata.combining(character) else "?")
