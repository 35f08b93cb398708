"""LaTeX source read token by token, with the groups that are open."""

from __future__ import annotations

import re

from tutor.errors import FormulaError
from tutor.formula.glyphs import SUBSCRIPTS, SUPERSCRIPTS

MAX_DEPTH = 40
ENDS = frozenset(["", "}", "&", r"\\", r"\right", r"\end", r"\middle"])
"""Tokens that are no argument: they end the group or cell around them."""
_TOKEN = re.compile(r"\\(?:(?:operatorname|tag|hspace|vspace)\*|[a-zA-Z]+|.|$)|\s+|.", re.DOTALL)

_OLD_FONTS = {"bf": "mathbf", "rm": "mathrm", "it": "mathit", "cal": "mathcal", "sf": "mathsf"}
_OLD_FONTS |= {"tt": "mathtt", "frak": "mathfrak", "bfseries": "mathbf"}
"""A switch that holds to the end of its group → the command with an argument."""
_RAISED = {sign: plain for plain, sign in SUPERSCRIPTS.items() if plain in "0123456789+-=()ni"}
_LOWERED = {sign: plain for plain, sign in SUBSCRIPTS.items() if plain in "0123456789+-=()nijkt"}
UNICODE_SCRIPTS = dict.fromkeys(_RAISED, ("^", _RAISED)) | dict.fromkeys(_LOWERED, ("_", _LOWERED))
"""`²`, `₁` …, as authors type them → `^` or `_`, and the plain character of each."""


class Cursor:
    """A place in the source."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.open: list[str] = []
        """The openers of the groups, environments and delimiters around the place."""

    def match(self, at: int) -> str:
        """The token that begins at `at`; "" at the end."""
        found = _TOKEN.match(self.source, at)
        return found.group() if found else ""

    def take(self) -> str:
        """Read the next token; an old or typed form of a command is read as the command."""
        token = self.match(self.at)
        start = self.at
        self.at += len(token)
        if token in UNICODE_SCRIPTS:
            return self._rewritten_superscript(start, token)
        name = token[1:] if token.startswith("\\") else ""
        return self._rewritten_font(name) if name in _OLD_FONTS else token

    def _rewritten_superscript(self, start: int, token: str) -> str:
        """Read `²` as `^{2}`, and `₂` as `_{2}`, unless `^` or `_` follows it."""
        sign, table = UNICODE_SCRIPTS[token]
        end = start
        while self.source[end : end + 1] in table and end < len(self.source):
            end += 1
        if self.source[end : end + 1] == sign:
            return token
        script = "".join(table[c] for c in self.source[start:end])
        self.source = f"{self.source[:start]}{sign}{{{script}}}{self.source[end:]}"
        return sign

    def _rewritten_font(self, name: str) -> str:
        r"""Read `\bf x` as `\mathbf{x}`, to the end of the group, cell or line around it."""
        end = self._scope_end()
        body = self.source[self.at : end]
        if not body.strip():
            self.at = end
            return " "
        self.source = f"{self.source[: self.at]}{{{body}}}{self.source[end:]}"
        return "\\" + _OLD_FONTS[name]

    def _scope_end(self) -> int:
        depth, at = 0, self.at
        while at < len(self.source):
            token = self.match(at)
            if depth == 0 and token in ENDS:
                break
            depth += {"{": 1, r"\begin": 1, r"\left": 1}.get(token, 0)
            depth -= {"}": 1, r"\end": 1, r"\right": 1}.get(token, 0)
            at += len(token)
        return at

    def skip_blanks(self) -> None:
        """Go to the next character that is no blank."""
        while self.source[self.at : self.at + 1].isspace():
            self.at += 1

    def following(self) -> str:
        """The next token that is no blank; the cursor is then before it."""
        self.skip_blanks()
        return self.match(self.at)

    def group_end(self, at: int, opener: str, *, raw: bool = False) -> int:
        """The offset of the `}` that closes the `{` at `at`.

        `raw`: a brace counts after a backslash, too.
        """
        depth = 0
        step = at
        while step < len(self.source):
            token = self.source[step] if raw else self.match(step)
            depth += {"{": 1, "}": -1}.get(token, 0)
            if depth == 0:
                return step
            step += len(token)
        raise never_closed(f"{opener}{{")

    def bracket_end(self) -> int:
        """The offset of the `]` that closes the `[` here, braces apart; -1 without one."""
        depth, at = 0, self.at
        while at < len(self.source) and depth >= 0:
            token = self.match(at)
            depth += {"{": 1, "}": -1}.get(token, 0)
            if token == "]" and depth == 0:
                return at
            at += len(token)
        return -1

    def take_group(self, command: str, *, raw: bool = False) -> str:
        """Read the braces that must come next; returns their content."""
        self.skip_blanks()
        if self.source[self.at : self.at + 1] != "{":
            raise FormulaError("braces_missing", command=command)
        start, end = self.at + 1, self.group_end(self.at, command, raw=raw)
        self.at = end + 1
        return self.source[start:end]

    def take_pattern(self, pattern: re.Pattern[str]) -> str | None:
        """Read the text that the pattern matches here; returns its first group."""
        found = pattern.match(self.source, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[1]

    def argument_start(self, command: str) -> str:
        """The first token of the argument that must come next; the cursor is then before it."""
        token = self.following()
        if token in ENDS:
            raise FormulaError("argument_missing", command=command)
        if token == "{":
            self.group_end(self.at, command)
        return token

    def push(self, opener: str) -> None:
        """Open a group; raises FormulaError if it is nested too deep."""
        if len(self.open) >= MAX_DEPTH:
            raise FormulaError("too_deep", most=MAX_DEPTH)
        self.open.append(opener)

    def pop(self, wanted: str, closer: str) -> None:
        """Close the last group; raises FormulaError if it does not begin with `wanted`."""
        if not self.open:
            raise FormulaError("not_open", closer=closer, opener=wanted)
        if not self.open[-1].startswith(wanted):
            raise FormulaError("other_is_open", closer=closer, opener=self.open[-1])
        self.open.pop()


def never_closed(opener: str) -> FormulaError:
    """The error of an opener without an end."""
    closer = {"{": "}", r"\left": r"\right", r"\begin": r"\end"}
    wanted = next((c for o, c in closer.items() if opener.startswith(o)), "}")
    return FormulaError("never_closed", opener=opener, closer=wanted)
