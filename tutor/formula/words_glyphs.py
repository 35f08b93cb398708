"""Spoken English for formulas: the templates of phrases, and the names of symbols."""

from __future__ import annotations

import re
import unicodedata

from tutor.formula.glyphs import command_names

TEMPLATES = {
    "unsupported": "LaTeX {}",
    "of": "{} of {}",
    "of group": "{} of ({})",
    "sub": " sub {}",
    "superscript": " superscript {}",
    "power": " to the power of {}",
    "power group": " to the power of ({})",
    "inverse": " inverse",
    "fraction": "{} over {}",
    "nested fraction": "the fraction {}, over {}, end fraction,",
    "binomial": "{} choose {}",
    "square root": "the square root of {}",
    "cube root": "the cube root of {}",
    "root": "the root {} of {}",
    "norm": "the {} norm of {}",
    "evaluated at": "{}, at {},",
    "evaluated between": "{}, from {} to {},",
    "derivative": "{} of {} with respect to {}",
    "derivative by": "{} with respect to {} of",
    "gradient": "the gradient",
    "Hessian": "the Hessian",
    "by": " by {}",
    "labelled": "({}, which is {})",
    "named": "({}, called {})",
    "inner product": "the inner product of {} and {}",
    "set": "the set of {}",
    "determinant": "the determinant of {}",
    "cases": "either {};",
    "condition": "if {}",
    "system": "{};",
    "row vector": "a row of {}: {};",
    "column vector": "a column of {}: {};",
    "matrix": "a {} by {} matrix: {};",
    "matrix row": "row {}: {}",
}
"""Templates in the style of ClearSpeak; a script's begins with the blank behind its base."""


def phrase(rule: str, *parts: object) -> str:
    """A template with the parts in its gaps."""
    return TEMPLATES[rule].format(*parts)


RELATIONS = {
    "=": "equals", "≈": "is about", "≃": "is about", "≅": "is congruent to",
    "≠": "is not equal to", "≡": "is identical to", "<": "is less than", ">": "is greater than",
    "≤": "is at most", "≥": "is at least", "≪": "is much less than", "≫": "is much greater than",
    "∈": "is in", "∉": "is not in", "⊂": "is a subset of", "⊆": "is a subset of",
    "∝": "is proportional to", "∼": "is distributed as", "←": "becomes", "→": "goes to",
    "⟶": "goes to", "↦": "is mapped to", ":=": "is defined as", "+=": "is increased by",
    "≔": "is defined as", "⟂": "is perpendicular to", "⊥": "is independent of",
    "⫫": "is independent of", "≜": "is defined as", "≐": "is defined as", "≲": "is at most about",
    "≳": "is at least about", "⩽": "is at most", "⩾": "is at least", "≦": "is at most",
    "≧": "is at least", "⪯": "is dominated by", "⪰": "dominates", "≼": "is dominated by",
    "≽": "dominates", "≺": "comes before", "≻": "comes after", "⊃": "is a superset of",
    "⊇": "is a superset of", "∋": "contains", "⊢": "proves", "⊨": "models", "⇝": "leads to",
    "↑": "goes up to", "↓": "goes down to", "⟵": "becomes",
}  # fmt: skip
"""Verbs: in a chain, each but the first is said as `which equals`."""

CONNECTIVES = {
    "⇒": "hence", "⟹": "hence", "⇐": "follows from", "⟸": "follows from", "⇔": "if and only if",
    "⟺": "if and only if", "↔": "if and only if",
}  # fmt: skip
"""Connectives between two statements."""

OPERATORS = {
    "+": "plus", "−": "minus", "-": "minus", "·": "times", "⋅": "times", "×": "times",
    "∗": "star", "*": "times", "⊙": "times, element by element,", "∘": "after", "÷": "divided by",
    "/": "over", "±": "plus or minus", "∓": "minus or plus", "∧": "and", "∨": "or", "∪": "union",
    "∩": "intersected with", "⊕": "direct sum", "⊗": "tensor", "⊖": "circled minus",
    "∖": "without", "⧵": "without", "⋆": "star", "∙": "times", "•": "times", "mod": "modulo",
}  # fmt: skip

BIG = {
    "∑": "the sum", "∏": "the product", "∫": "the integral", "∐": "the coproduct",
    "∬": "the double integral", "∭": "the triple integral", "∮": "the contour integral",
    "⨁": "the direct sum", "⨂": "the tensor product", "⋁": "the disjunction",
    "⋀": "the conjunction", "⋃": "the union", "⋂": "the intersection",
}  # fmt: skip
INTEGRALS = frozenset("∫∬∭∮")

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

_OTHERS = {
    "∞": "infinity", "∂": "partial", "∇": "gradient", "…": "and so on", "⋯": "and so on",
    "⋮": "and so on", "⋱": "and so on", "!": "factorial", "%": "percent", "°": "degrees",
    "∀": "for all", "∃": "there is", "∅": "the empty set", "¬": "not", "ℓ": "l",
    "ℝ": "the real numbers", "ℕ": "the natural numbers", "ℤ": "the whole numbers",
    "ℚ": "the rational numbers", "ℂ": "the complex numbers", "□": "blank", "ℏ": "h bar",
    "½": "one half", "¼": "one quarter", "¾": "three quarters", "#": "number", "&": "and",
    "$": "dollars", "\\": "without", "_": "underscore", "@": "at", "|": "given", "∣": "given",
    "‖": "relative to", "{": "open brace", "}": "close brace", "?": "what?",
} | {"′": "prime", "″": "double prime", "‴": "triple prime"}  # fmt: skip

LEAN_ON = {
    "∂": "partial", "∇": "the gradient of", "∀": "for all", "∃": "there is", "¬": "not",
    "Δ": "the change in", "∆": "the change in",
}  # fmt: skip
"""Symbols that belong to what follows them."""
QUANTIFIERS = {"∀": "for all", "∃": "there is"}
POSTFIX = frozenset("!%°′″‴")
BETWEEN = frozenset("/|∣‖∥")
"""Symbols that are operators wherever they stand by themselves."""
ELLIPSES = frozenset("…⋯⋮⋱")


def spoken_name(text: str) -> str:
    """The spoken name of a symbol: `eta`, `infinity`; letters and numbers are unchanged.

    Letters of other alphabets become plain ones; other signs have the name of their command.
    """
    for names in (_OTHERS, OPERATORS, RELATIONS, CONNECTIVES):
        if text in names:
            return names[text]
    if text.isascii() and text[:1] == "." and text[1:].isdecimal():
        return f"0{text}"
    if text.isascii() and text[:1].isalnum():
        return text
    return " ".join(_character(c) for c in text)


def _character(character: str) -> str:
    if character in _OTHERS:
        return _OTHERS[character]
    plain = unicodedata.normalize("NFKC", character)
    if plain.isascii() and plain.isprintable() and plain.isalnum():
        return plain
    if "⁄" in plain:
        return f"({plain.replace('⁄', ' over ')})"
    name = unicodedata.name(plain[:1] or character, "")
    if name.startswith("GREEK ") and "LETTER " in name:
        greek = name.rpartition("LETTER ")[2].split()[0].lower().replace("lamda", "lambda")
        return f"capital {greek}" if "CAPITAL" in name else greek
    return command_names().get(character) or command_names().get(plain[:1]) or plain or character


_GRADIENT = re.compile(r"""gradient(_now)?\[["'](\w+)["']\]""")


def name_of_expression(expression: str) -> str:
    """The name of a Python expression: `the gradient of w`; other code stays as it is."""
    if found := _GRADIENT.fullmatch(expression):
        return f"the gradient of {found[2]}{' now' if found[1] else ''}"
    return expression.replace("_", " ") if expression.isidentifier() else expression
