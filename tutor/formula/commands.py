"""The LaTeX commands and environments that are understood, with their numbers of arguments.

Only data: what is not listed here (and is no plain symbol) is shown as its source.
"""

from __future__ import annotations


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
    "matrix": "matrix",
    "pmatrix": "pmatrix",
    "bmatrix": "bmatrix",
    "Bmatrix": "Bmatrix",
    "vmatrix": "vmatrix",
    "Vmatrix": "Vmatrix",
    "smallmatrix": "smallmatrix",
    "array": "array",
    "cases": "cases",
    "dcases": "cases",
    "aligned": "split",
    "align": "split",
    "align*": "split",
    "alignedat": "split",
    "split": "split",
    "eqnarray": "split",
    "eqnarray*": "split",
    "flalign": "split",
    "flalign*": "split",
    "alignat": "split",
    "alignat*": "split",
    "subarray": "smallmatrix",
    "gather": "displaylines",
    "gather*": "displaylines",
    "gathered": "displaylines",
    "multline": "displaylines",
    "multline*": "displaylines",
}
"""LaTeX's environment → the one that latex2mathml reads it as."""
PLAIN_ENVIRONMENTS = frozenset(["equation", "equation*", "displaymath", "math"])
"""Environments that only say "this is mathematics"."""
COLUMNS_ARGUMENT = frozenset(["array", "alignedat", "alignat", "alignat*", "subarray"])
