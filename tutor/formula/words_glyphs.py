"""How symbols are called in English: operators, relations, Greek letters, functions.

Only data and look-ups; knows nothing of trees and sentences.
"""

from __future__ import annotations

import unicodedata

RELATIONS = {
    "=": "equals",
    "≈": "is about",
    "≃": "is about",
    "≅": "is congruent to",
    "≠": "is not equal to",
    "≡": "is identical to",
    "<": "is less than",
    ">": "is greater than",
    "≤": "is at most",
    "≥": "is at least",
    "≪": "is much less than",
    "≫": "is much greater than",
    "∈": "is in",
    "∉": "is not in",
    "⊂": "is a subset of",
    "⊆": "is a subset of",
    "∝": "is proportional to",
    "∼": "is distributed as",
    "←": "becomes",
    "→": "goes to",
    "⟶": "goes to",
    "↦": "is mapped to",
    ":=": "is defined as",
    "≔": "is defined as",
    "⟂": "is perpendicular to",
}
"""Verbs: in a chain, each but the first is said as `which equals`."""

CONNECTIVES = {
    "⇒": "hence",
    "⟹": "hence",
    "⇔": "if and only if",
    "⟺": "if and only if",
    "↔": "if and only if",
}
"""Stand between two statements."""

OPERATORS = {
    "+": "plus",
    "−": "minus",
    "-": "minus",
    "·": "times",
    "⋅": "times",
    "×": "times",
    "∗": "star",
    "*": "times",
    "⊙": "times, element by element,",
    "∘": "after",
    "÷": "divided by",
    "/": "over",
    "±": "plus or minus",
    "∓": "minus or plus",
    "∧": "and",
    "∨": "or",
    "∪": "union",
    "∩": "intersected with",
    "⊕": "direct sum",
    "⊗": "tensor product with",
}

BIG = {
    "∑": "the sum",
    "∏": "the product",
    "∫": "the integral",
    "⋃": "the union",
    "⋂": "the intersection",
}
INTEGRALS = frozenset("∫∬∭∮")

FUNCTIONS = {
    "sin": "sine",
    "cos": "cosine",
    "tan": "tangent",
    "ln": "natural log",
    "lim": "the limit",
    "max": "the maximum",
    "min": "the minimum",
    "argmax": "the arg max",
    "argmin": "the arg min",
    "arg max": "the arg max",
    "arg min": "the arg min",
    "sup": "the supremum",
    "inf": "the infimum",
    "det": "the determinant",
    "Pr": "the probability",
}
"""Those that are not called what is written; `of` follows."""

OVER = frozenset(["max", "min", "argmax", "argmin", "arg max", "arg min", "sup", "inf"])
"""Functions over whose subscript something is taken."""

FENCES = {
    ("|", "|"): "the absolute value of",
    ("∣", "∣"): "the absolute value of",
    ("‖", "‖"): "the norm of",
    ("∥", "∥"): "the norm of",
    ("⌊", "⌋"): "the floor of",
    ("⌈", "⌉"): "the ceiling of",
    ("{", "}"): "the set of",
}
"""Delimiters that say what is done with what is between them."""

ORDERS = {"2": "second", "3": "third", "4": "fourth"}
ACCENTS = {"vec": "vector", "ddot": "double dot", "underline": "underlined", "ring": "ring"}

_OTHERS = {
    "∞": "infinity",
    "∂": "partial",
    "∇": "gradient",
    "…": "and so on",
    "⋯": "and so on",
    "⋮": "and so on",
    "⋱": "and so on",
    "!": "factorial",
    "%": "percent",
    "°": "degrees",
    "∀": "for all",
    "∃": "there is",
    "∅": "the empty set",
    "¬": "not",
    "ℓ": "l",
    "ℝ": "the real numbers",
    "ℕ": "the natural numbers",
    "ℤ": "the whole numbers",
    "#": "number",
    "&": "and",
    "$": "dollars",
    "\\": "without",
    "_": "underscore",
    "@": "at",
    "|": "given",
    "∣": "given",
    "‖": "double bar",
    "{": "open brace",
    "}": "close brace",
    "?": "what?",
} | {"′": "prime", "″": "double prime", "‴": "triple prime"}

LEAN_ON = {"∂": "partial", "∇": "the gradient of", "Δ": "the change in", "∆": "the change in"}
"""Symbols that belong to what follows them."""
POSTFIX = frozenset("!%°′″‴")
BETWEEN = frozenset("/|∣‖∥")
"""What is an operator wherever it stands by itself."""
ELLIPSES = frozenset("…⋯⋮⋱")


def called(text: str) -> str:
    """What a symbol is called: `eta`, `infinity`; a letter or a number is itself.

    Letters of other alphabets are those behind them; what has no name here has Unicode's.
    """
    for names in (_OTHERS, OPERATORS, RELATIONS, CONNECTIVES):
        if text in names:
            return names[text]
    if text.isascii() and text[:1].isalnum():
        return text
    return " ".join(_character(c) for c in text)


def _character(character: str) -> str:
    if character in _OTHERS:
        return _OTHERS[character]
    plain = unicodedata.normalize("NFKC", character)
    if plain.isascii() and plain.isprintable() and plain.isalnum():
        return plain
    name = unicodedata.name(plain[:1] or character, "an unknown sign")
    if name.startswith("GREEK ") and "LETTER " in name:
        greek = name.rpartition("LETTER ")[2].split()[0].lower().replace("lamda", "lambda")
        return f"capital {greek}" if "CAPITAL" in name else greek
    return name.lower()
