"""A place in LaTeX source that moves from token to token; finds groups and arguments."""

from __future__ import annotations

import re

from tutor.errors import FormulaError
from tutor.formula import commands

MAX_DEPTH = 40
TOO_DEEP = f"the formula is nested more than {MAX_DEPTH} deep"
ENDS = ("}", "&", r"\\", r"\right", r"\end", r"\middle")
"""Tokens that are no argument: they end what they stand in."""
_TOKEN = re.compile(r"\\(?:(?:operatorname|tag|hspace|vspace)\*|[a-zA-Z]+|.|$)|\s+|.", re.DOTALL)


class Cursor:
    """An offset into the source."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def match(self, at: int) -> str:
        """The token that begins at `at`; "" at the end."""
        found = _TOKEN.match(self.source, at)
        return found.group() if found else ""

    def take(self) -> str:
        """The next token, which is then behind us."""
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
        """The content of the braces that must come next."""
        start = self.skip_blanks(self.at)
        if self.source[start : start + 1] != "{":
            raise FormulaError(f"{command} needs its argument in braces: {command}{{…}}")
        end = self.group_end(start, command, raw=raw)
        self.at = end + 1
        return self.source[start + 1 : end]

    def argument_end(self, at: int, command: str, depth: int = 0) -> int:
        """Where the argument that begins at `at` ends; raises if there is none."""
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


def argument_count(name: str) -> int:
    """How many arguments a command needs."""
    return 2 if name in commands.TWO_ARGUMENTS else int(name in commands.ONE_ARGUMENT)


def never_closed(opener: str) -> str:
    """The message for something that has no end."""
    closer = {"{": "}", r"\left": r"\right", r"\begin": r"\end"}
    wanted = next((c for o, c in closer.items() if opener.startswith(o)), "}")
    return f"{opener} is never closed by {wanted}"
