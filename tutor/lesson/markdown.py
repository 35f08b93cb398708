"""The Markdown of a lesson: the parser with its `$` rules, and where each thing stands.

Finds headings, fences and formulas with their exact places.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.dollarmath.index import math_block_dollar, math_inline_dollar

_BlockRule: TypeAlias = Callable[[StateBlock, int, int, bool], bool]
_InlineRule: TypeAlias = Callable[[StateInline, bool], bool]

MATH = ("math_inline", "math_inline_double")


@dataclass(frozen=True, slots=True)
class SourceRange:
    """A stretch of the file: from (line, column) up to, not including, (line, column)."""

    line: int
    """0-based, as are all the numbers here."""
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading that is not inside a list or a quote."""

    level: int
    text: str
    place: SourceRange


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced block."""

    info: tuple[str, ...]
    """The words after the opening fence."""
    text: str
    place: SourceRange
    closed: bool
    nested: bool
    """Whether it stands inside a list or a quote."""


@dataclass(frozen=True, slots=True)
class MathSpan:
    """A formula between dollars."""

    latex: str
    place: SourceRange
    display: bool
    """Whether it can be cut out of the text around it and shown by itself."""


@dataclass(frozen=True, slots=True)
class Unclosed:
    """Two dollars that open a formula which nothing closes."""

    place: SourceRange


Found: TypeAlias = Heading | CodeBlock | MathSpan | Unclosed


def parser() -> MarkdownIt:
    """The Markdown that lessons are written in: CommonMark, tables, `$…$` and `$$…$$`.

    `math_inline`, `math_inline_double` and `math_block` are its tokens for formulas.
    """
    md = MarkdownIt("commonmark").enable("table")
    # Without text_join an escaped dollar stays apart from a real one.
    md.disable("text_join")
    block = math_block_dollar(allow_labels=False, allow_blank_lines=False)
    interrupts: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    md.block.ruler.before("fence", "math_block", _without_trace(block), interrupts)
    inline = math_inline_dollar(allow_space=False, allow_digits=True, allow_double=True)
    md.inline.ruler.before("escape", "math_inline", _with_position(inline))
    return md


def _without_trace(rule: _BlockRule) -> _BlockRule:
    """The plugin's rule ignores `silent`, which a rule that may end a paragraph must not."""

    def wrapped(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        line, tokens = state.line, len(state.tokens)
        found = rule(state, start, end, silent)
        if silent:
            state.line = line
            del state.tokens[tokens:]
        return found

    return wrapped


def _with_position(rule: _InlineRule) -> _InlineRule:
    """Note where in the paragraph the formula begins and ends, which tokens don't say."""

    def wrapped(state: StateInline, silent: bool) -> bool:
        start = state.pos
        found = rule(state, silent)
        if found and not silent:
            state.tokens[-1].meta.update(start=start, end=state.pos)
        return found

    return wrapped


def find(lines: Sequence[str]) -> tuple[Found, ...]:
    """The headings, fences and formulas of the text, in order."""
    return tuple(_walk(parser().parse("\n".join(lines)), lines))


def with_inline_math(markdown: str, drawn: Callable[[str], str]) -> str:
    """The text with each formula between dollars replaced by `drawn(latex)`."""
    lines = markdown.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    result, end = "", 0
    for found in find(lines):
        if not isinstance(found, MathSpan):
            continue
        first = starts[found.place.line]
        dollars = "$$" if found.display else "$"
        source = dollars + found.latex + dollars
        start = first + found.place.column
        if start < end or not markdown.startswith(source, start):  # in a cell of a table
            start = markdown.find(source, max(first, end))
        if start >= 0:
            result += markdown[end:start] + drawn(found.latex)
            end = start + len(source)
    return result + markdown[end:]


def _walk(tokens: Sequence[Token], lines: Sequence[str]) -> Iterator[Found]:
    for index, token in enumerate(tokens):
        if token.map is None:
            continue
        whole = SourceRange(token.map[0], 0, token.map[1], 0)
        if token.type == "heading_open" and token.level == 0:
            yield Heading(int(token.tag[1:]), tokens[index + 1].content.strip(), whole)
        elif token.type == "fence":
            closed = _is_closed(token, lines)
            info = tuple(token.info.split())
            yield CodeBlock(info, token.content, whole, closed, nested=token.level > 0)
        elif token.type == "math_block":
            yield MathSpan(token.content, whole, display=True)
        elif token.type == "inline":
            in_paragraph = tokens[index - 1].type == "paragraph_open"
            yield from _inline(token, token.map[0], lines, in_paragraph)


def _is_closed(token: Token, lines: Sequence[str]) -> bool:
    first, end = token.map or (0, 0)
    last = lines[end - 1].lstrip("> \t").rstrip()
    return end - first >= 2 and last.startswith(token.markup) and not last.strip(token.markup[0])


def _inline(
    token: Token, first: int, lines: Sequence[str], in_paragraph: bool
) -> Iterator[MathSpan | Unclosed]:
    text = _Paragraph(token.content, first, lines)
    line = first
    for child in token.children or ():
        if child.type in MATH:
            place = SourceRange(*text.at(child.meta["start"]), *text.at(child.meta["end"]))
            display = in_paragraph and child.type == "math_inline_double"
            yield MathSpan(child.content, place, display)
            line = place.end_line
        elif child.type in ("softbreak", "hardbreak"):
            line += 1
        elif child.type == "text" and "$$" in child.content:
            yield Unclosed(SourceRange(line, 0, line + 1, 0))


class _Paragraph:
    """Where in the file each character of a paragraph is."""

    def __init__(self, content: str, first: int, lines: Sequence[str]) -> None:
        self._first = first
        own = content.split("\n")
        self._starts = list(accumulate((len(line) + 1 for line in own), initial=0))
        # A paragraph's line is the tail of the file's line: before it are `>`, `-`, blanks.
        self._margins = [
            max(len(whole.rstrip()) - len(line.rstrip()), 0)
            for whole, line in zip(lines[first : first + len(own)], own, strict=True)
        ]

    def at(self, offset: int) -> tuple[int, int]:
        """The 0-based line and column in the file."""
        number = bisect_right(self._starts, offset) - 1
        return self._first + number, self._margins[number] + offset - self._starts[number]
