"""The rows, groups, scripts and environments of LaTeX, read by recursive descent over its tokens.

The commands that it meets are read by a CommandTable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import msgspec
from msgspec.structs import replace

from tutor.errors import FormulaError
from tutor.formula import glyphs
from tutor.formula.box import visible
from tutor.formula.cursor import ENDS, MAX_DEPTH, UNICODE_SCRIPTS, Cursor, never_closed
from tutor.formula.glyphs import plain_sign
from tutor.formula.nodes import (
    Brace,
    Break,
    Fenced,
    Frac,
    Node,
    NodeKind,
    RowNode,
    Scripts,
    Soft,
    Space,
    Stack,
    Sym,
    TextNode,
    Unsupported,
)
from tutor.formula.rows import TABLES, as_one, in_parentheses, joined, styled, table

_NUMBER = re.compile(r"(\d+(?:\.\d+)?|\.\d+)")
_ROW_SPACING = re.compile(r"\*?(\s*\[\s*-?[\d.]+\s*[a-z]{2}\s*\])?")
_POSITION = re.compile(r"\s*(\[[tcb]\])")
_PLAIN_ENVIRONMENTS = frozenset(["equation", "equation*", "displaymath", "math"])
"""Environments that only say "this is mathematics"."""
_COLUMNS_ARGUMENT = frozenset(["array", "alignedat", "alignat", "alignat*", "subarray"])
_DELIMITERS = "()[]{}|‖/\\⟨⟩⌊⌋⌈⌉."
r"""The signs that may stand behind \left, \middle and \right."""
_NEXT_PRIMES = {"′": "″", "″": "‴", "‴": "⁗", "⁗": "′′′′′"}
_PRIME = Sym("′")


class _Item(msgspec.Struct):
    """A node of a row that is being read, with its scripts."""

    base: Node
    command: str = ""
    """The command that wrote the node, until it has a script."""
    sub: Node | None = None
    sup: Node | None = None
    limits: str = ""
    """The scripts that stand below and above, by `_`, by `^`, or by both."""

    def node(self) -> Node:
        """The node as it stands in the tree."""
        signs = ("_" if self.sub is not None else "") + ("^" if self.sup is not None else "")
        if not signs:
            return self.base
        if self.limits and (signs == "_^" or signs in self.limits):
            return Stack(self.base, self.sub, self.sup)
        return Scripts(self.base, self.sub, self.sup)


class _Row(msgspec.Struct):
    """A row that is being read."""

    is_display: bool = False
    r"""Whether the scripts of \sum and \prod are limits."""
    items: list[_Item] = []
    limits: str = ""
    r"""The \limits or \nolimits before the next script."""
    cuts: list[tuple[str, list[_Item]]] = []
    r"""Each \over, \choose or style that applies to all that follows, and the items before it."""

    def nodes(self) -> list[Node]:
        """The nodes of the row; raises FormulaError for half a fraction."""
        nodes = [item.node() for item in self.items]
        for command, items in reversed(self.cuts):
            before = [item.node() for item in items]
            if command in (r"\displaystyle", r"\textstyle"):
                nodes = [*before, styled(nodes, command == r"\displaystyle")]
                continue
            if not before or not nodes:
                code = "nothing_after" if before else "nothing_before"
                raise FormulaError(code, command=command)
            frac = Frac(as_one(before), as_one(nodes), bar=command == r"\over")
            nodes = [frac] if frac.bar else in_parentheses(frac)
        return nodes


class CommandTable(msgspec.Struct, frozen=True):
    """The commands that a Reader knows."""

    read: Callable[[Reader, str], None]
    """Reads a command's arguments and adds its nodes; the command comes with its backslash."""
    one_argument: Collection[str]
    two_arguments: Collection[str]


class Reader(Cursor):
    """Reads the source once, from left to right."""

    def __init__(self, source: str, commands: CommandTable) -> None:
        super().__init__(source)
        self.commands = commands
        self.boxed: list[str] = []
        self.unsupported: list[str] = []
        self.row = _Row(is_display=True)
        self.font = ""
        self.previous = ""
        """The token before the present one."""
        self.token = ""
        self.is_factor = False
        """Whether a blank here follows a factor."""
        self.depth = 0
        """The number of arguments without braces that are open."""

    # --- rows -----------------------------------------------------------------------------

    def read_row(self, *ends: str, is_display: bool = False) -> RowNode:
        """Read a row up to one of the tokens in `ends`, which is then `self.token`."""
        outer, self.row = self.row, _Row(is_display)
        self.read(*ends)
        row, self.row = RowNode(joined(self.row.nodes())), outer
        return row

    def read(self, *ends: str) -> None:
        """Read nodes into the row, up to one of the tokens in `ends`."""
        while True:
            token = self.take()
            if token in ends:
                self.previous, self.token = self.token, token
                return
            self.step(token)

    def step(self, token: str) -> None:
        """Read the node, or nodes, that begin with a token that has been taken."""
        if token.isspace():
            self._blank()
            return
        if token == "%":
            newline = self.source.find("\n", self.at)
            self.at = len(self.source) if newline < 0 else newline
            return
        self.previous, self.token = self.token, token
        if token in ENDS:
            self._end(token)
        elif token.startswith("\\"):
            self.commands.read(self, token)
        else:
            self._character(token)

    def add(self, node: Node, command: str = "", *, is_factor: bool | None = None) -> None:
        """Add a node to the row; say whether it is a factor that a blank may follow."""
        self.row.items.append(_Item(node, command))
        if is_factor is not None:
            self.is_factor = is_factor and self.previous[1:] not in self.commands.two_arguments

    def _blank(self) -> None:
        """Keep a blank only between two factors."""
        following = self.match(self.at)
        is_letter = following.isalnum() and following not in UNICODE_SCRIPTS
        starts_factor = is_letter or following == "(" or following.startswith("\\")
        after_name = self.token.startswith("\\") and len(self.token) > 2
        is_argument = following == "(" and after_name
        if self.is_factor and starts_factor and following not in ENDS and not is_argument:
            self.add(Soft(), is_factor=False)

    def _end(self, token: str) -> None:
        r"""A token that ends nothing here: an error, \middle, or the end of a line."""
        if not token:
            raise never_closed(self.open[-1])
        if token == r"\middle":
            if not (self.open and self.open[-1].startswith(r"\left")):
                raise FormulaError("not_open", closer=token, opener=r"\left")
            self.add(Sym(self._delimiter(token) or ".", NodeKind.MIDDLE), is_factor=False)
        elif token == r"\\":
            self.take_pattern(_ROW_SPACING)
            if self.open and self._environment() not in _PLAIN_ENVIRONMENTS:
                self.require_table(token)
            self.add(Break(), is_factor=False)
        elif token == "&":
            self.require_table(token)
        else:
            name = f"{{{self.take_group(token).strip()}}}" if token == r"\end" else ""
            opener = {"}": "{", r"\right": r"\left"}.get(token, r"\begin")
            self.pop(opener + name, token + name)

    # --- characters -----------------------------------------------------------------------

    def _character(self, token: str) -> None:
        if token == "{":
            self._group()
        elif token in "_^":
            self._script(token)
        elif token == "'":
            self._prime()
        elif token == "~":
            self.add(Space(1), is_factor=False)
        elif token.isdecimal() or token == ".":
            self._number()
        else:
            shown = visible(token)
            node = self.sign(shown) if len(shown) == 1 else TextNode(shown)
            self.add(node, is_factor=shown.isalnum() or len(shown) > 1 or shown == ")")

    def _number(self) -> None:
        self.at -= 1
        number = self.take_pattern(_NUMBER) or self.take()
        self.add(self.sign(number), is_factor=number != ".")
        self.is_factor |= len(number) > 1

    def sign(self, text: str) -> Sym:
        """A sign or number as a node, in the font that is set."""
        text = glyphs.in_style({"-": "−", "~": "∼", "⋅": "·"}.get(text, text), self.font)
        kind = glyphs.symbol_class(text)
        return Sym(text, kind, limits=kind is NodeKind.BIG and text not in glyphs.INTEGRALS)

    def _group(self) -> None:
        before = self.previous[1:] if self.previous.startswith("\\") else ""
        self.push("{")
        outer, self.depth = self.depth, 0
        self.is_factor = False
        row = self.read_row("}")
        self.depth = outer
        self.pop("{", "}")
        self.add(row)
        self.is_factor = not before or before in self.commands.one_argument

    def is_script(self) -> bool:
        """Whether the token that is being read is all of a script."""
        return self.previous in ("_", "^")

    # --- scripts --------------------------------------------------------------------------

    def _script(self, sign: str) -> None:
        item = self.row.items.pop() if self.row.items else _Item(Sym(""))
        limits, self.row.limits = self.row.limits, ""
        script = self.argument(sign, one_digit=True)
        self.row.items.append(self._scripted(item, sign, script, limits))

    def _prime(self) -> None:
        item = self.row.items.pop() if self.row.items else _Item(Sym(""))
        text = item.sup.text if isinstance(item.sup, Sym) and item.sub is None else ""
        if text and not text.strip("′″‴⁗"):
            item.sup = Sym(_NEXT_PRIMES.get(text, f"{text}′"))
        else:
            item = self._scripted(item, "^", _PRIME, r"\nolimits")
        self.row.items.append(item)
        self.is_factor = self.previous[1:] not in self.commands.two_arguments

    def _scripted(self, item: _Item, sign: str, script: Node, limits: str) -> _Item:
        """An item with one more script."""
        has_one = (item.sub is None) != (item.sup is None)
        if sign == "_" and has_one and item.sub is not None:
            raise FormulaError("two_subscripts")
        if sign == "^" and has_one and item.sup is not None:
            if item.sup != _PRIME:
                raise FormulaError("two_superscripts")
            return replace(item, sup=RowNode((_PRIME, script)))
        if not has_one:
            item = self._new_base(item, limits)
        return replace(item, sub=script) if sign == "_" else replace(item, sup=script)

    def _new_base(self, item: _Item, limits: str) -> _Item:
        """An item that may get its first script."""
        base = item.node()
        if item.command == r"\begin":
            base = RowNode((base,))
        if isinstance(base, Brace):
            limits = "^" if base.over else "_"
        elif limits:
            limits = "_^" if limits == r"\limits" else ""
        elif self.row.is_display and item.command in (r"\sum", r"\prod"):
            limits = "_^"
        return _Item(base, limits=limits)

    # --- arguments ------------------------------------------------------------------------

    def argument(self, command: str, *, one_digit: bool = False) -> Node:
        """Read an argument: a group, a command with its arguments, or one character."""
        outer, self.row = self.row, _Row()
        self.is_factor = False
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise FormulaError("too_deep", most=MAX_DEPTH)
        while not self.row.items:
            token = self.argument_start(command)
            if one_digit and token.isdecimal():
                self.previous, self.token = self.token, self.take()
                self.add(self.sign(token), is_factor=True)
            else:
                self.step(self.take())
        self.depth -= 1
        node, self.row = as_one(self.row.nodes()), outer
        return node

    def read_apart(self, source: str, opener: str) -> tuple[Node, ...]:
        """The nodes of another source, read as if it stood in a group here."""
        outer = self.source, self.at
        self.source, self.at = source, 0
        self.push(opener)
        row = self.read_row("")
        self.open.pop()
        self.source, self.at = outer
        return row.items

    def optional(self, command: str) -> RowNode | None:
        """Read the `[…]` behind a command, if there is one."""
        if self.following() != "[":
            return None
        if self.bracket_end() < 0:
            raise FormulaError("never_closed", opener=f"{command}[", closer="]")
        self.take()
        self.push(f"{command}[")
        row = self.read_row("]")
        self.open.pop()
        return row

    def unsupported_command(self, token: str) -> None:
        """Put an unknown command aside, with the arguments written right behind it."""
        start = self.source.rfind(token, 0, self.at)
        while self.source[self.at : self.at + 1] in ("{", "["):
            if self.source[self.at] == "{":
                self.at = self.group_end(self.at, token) + 1
            else:
                end = self.bracket_end()
                if end < 0:
                    break
                self.at = end + 1
        self.show_source(start)

    def show_source(self, start: int) -> None:
        """Add the source from `start` on as LaTeX that can't be drawn."""
        source = " ".join(self.source[start : self.at].split())
        self.unsupported.append(source)
        self.add(Unsupported(source), is_factor=True)

    def _environment(self) -> str:
        opener = self.open[-1] if self.open else ""
        return opener.removeprefix(r"\begin{").removesuffix("}")

    def require_table(self, token: str) -> None:
        """Raise FormulaError unless a table is open: `token` has no meaning elsewhere."""
        opener = self.open[-1] if self.open else ""
        if self._environment() not in TABLES and opener != r"\substack{":
            if opener:
                raise FormulaError("table_is_not_inner", command=token, opener=opener)
            raise FormulaError("no_table", command=token)

    # --- delimiters and environments -------------------------------------------------------

    def _delimiter(self, command: str) -> str:
        r"""The delimiter that must follow \left, \middle or \right; "" for none."""
        self.skip_blanks()
        token = self.take()
        sign = {"<": "⟨", ">": "⟩", "{": "", "}": ""}.get(token, plain_sign(token))
        if not sign or sign not in _DELIMITERS:
            raise FormulaError("delimiter_missing", command=command)
        return "" if sign == "." else sign

    def left(self, token: str) -> None:
        r"""Read from \left to \right."""
        self.skip_blanks()
        start = self.at
        opening = self._delimiter(token)
        self.push(token + self.source[start : self.at])
        self.is_factor = False
        body = self.read_row(r"\right")
        self.pop(token, r"\right")
        fenced = Fenced(opening, body, self._delimiter(r"\right"))
        self.add(RowNode((fenced,)), token, is_factor=True)

    def begin(self, token: str) -> None:
        """Read an environment."""
        name = self.take_group(token).strip()
        self.is_factor = False
        if name in _PLAIN_ENVIRONMENTS:
            self.push(rf"\begin{{{name}}}")
            self.read(r"\end")
            self._end(r"\end")
            return
        if name not in TABLES:
            raise FormulaError("unknown_environment", name=name)
        self.push(rf"\begin{{{name}}}")
        self.take_pattern(_POSITION)
        columns = self.take_group(rf"\begin{{{name}}}") if name in _COLUMNS_ARGUMENT else ""
        rows = self._rows(r"\end", is_display=self.row.is_display)
        self._end(r"\end")
        kind = TABLES[name]
        node = table(rows, kind, columns if name == "array" else "")
        self.add(node, token, is_factor=True)

    def _rows(self, end: str, *, is_display: bool = False) -> list[list[RowNode]]:
        """Read the cells of a table, up to its end; the font around it does not reach them."""
        rows: list[list[RowNode]] = [[]]
        outer, self.font = self.font, ""
        while True:
            rows[-1].append(self.read_row("&", r"\\", end, is_display=is_display))
            self.is_factor = False
            if self.token == end:
                self.font = outer
                return rows
            if self.token == r"\\":
                self.take_pattern(_ROW_SPACING)
                rows.append([])

    def substack(self, token: str) -> None:
        """Read lines in braces, one below the other."""
        if self.following() != "{":
            raise FormulaError("braces_missing", command=r"\substack")
        self.take()
        self.push(r"\substack{")
        rows = self._rows("}")
        self.open.pop()
        self.add(RowNode((table(rows, "small"),)))
