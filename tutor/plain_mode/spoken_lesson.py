"""A lesson's Markdown, formulas, expressions and sections as lines to be read aloud.

Text after the last code of a phase is told once the phase has run, because it is about the result.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tutor import formula
from tutor.errors import FormulaError
from tutor.formula.nodes import Formula
from tutor.formula.words_patterns import without_values
from tutor.lesson.code_checks import ladder as phase_ladder
from tutor.lesson.languages import ORIGINAL
from tutor.lesson.markdown import MATH, parser
from tutor.lesson.model import (
    PHASES_IN_ORDER,
    SETUP,
    Block,
    DisplayFormula,
    Fence,
    Lesson,
    Prose,
    Section,
)
from tutor.plain import plain
from tutor.plain_mode.line_writer import Line, SpokenCode, in_words, is_wide
from tutor.plain_mode.spoken_script import of_line, where_it_ended
from tutor.protocol.frame import NO_VALUE, Frame, Value
from tutor.wording import number_format
from tutor.wording.number_format import article, counted, is_single, listed, setting

if TYPE_CHECKING:
    from markdown_it.token import Token

_OPERATORS: Mapping[type[ast.AST], str] = {
    ast.Add: "plus",
    ast.Sub: "minus",
    ast.Mult: "times",
    ast.Div: "over",
    ast.MatMult: "times, as matrices,",
    ast.Pow: "to the power of",
    ast.Gt: "is greater than",
    ast.Lt: "is less than",
    ast.GtE: "is at least",
    ast.LtE: "is at most",
    ast.Eq: "equals",
    ast.NotEq: "is not",
}
_FUNCTIONS = {"mean": "the mean", "sum": "the sum", "abs": "the absolute value"}
_NEEDS_WORDS = ast.BinOp | ast.UnaryOp | ast.Subscript | ast.Compare
"""Expressions that are not told as they are written."""


def spoken_python(code: str) -> str:
    """The expression in words; as it is written if it needs no words or has none."""
    try:
        tree = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code
    if not any(isinstance(node, _NEEDS_WORDS) for node in ast.walk(tree)):
        return code
    return _in_words(tree) or code


def _in_words(node: ast.expr) -> str:
    """The words of an expression; empty if a part of it has none."""
    match node:
        case ast.Constant() | ast.Name() | ast.Attribute(value=ast.Name()):
            return ast.unparse(node)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _joined(["minus", _grouped(operand)])
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=2)):
            return _joined(["the square of", _grouped(left)])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _joined([_grouped(left), _OPERATORS[type(op)], _grouped(right)])
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _joined([_grouped(left), _OPERATORS[type(op)], _grouped(right)])
        case ast.Subscript(value=value, slice=ast.Constant(value=int(at))) if at >= 0:
            return _joined([f"number {at + 1} of", _grouped(value)])
        case ast.Subscript(
            value=value,
            slice=ast.Tuple(elts=[ast.Constant(value=int(row)), ast.Constant(value=int(column))]),
        ) if min(row, column) >= 0:
            return _joined([f"row {row + 1}, column {column + 1} of", _grouped(value)])
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))):
            return f"{name} of {key}"
        case ast.Call(func=ast.Name(id=name), args=[one], keywords=[]):
            return _joined([f"{_FUNCTIONS.get(name, name)} of", _grouped(one)])
        case ast.Call(func=ast.Name(id=name), args=[_, _, *_] as several, keywords=[]):
            inner = [_in_words(argument) for argument in several]
            return f"{name} of ({', '.join(inner)})" if all(inner) else ""
        case ast.Call(func=ast.Attribute(value=of, attr=name), args=[], keywords=[]):
            return _joined([f"{_FUNCTIONS.get(name, name)} of", _grouped(of)])
    return ""


def _grouped(node: ast.expr) -> str:
    """The words of an operand, in parentheses if its end can't be heard."""
    words = _in_words(node)
    is_open = isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp) and not words.startswith(
        "the square"
    )
    return f"({words})" if words and is_open else words


def _joined(words: Sequence[str]) -> str:
    return " ".join(words) if all(words) else ""


def spoken_prose(
    markdown: str, *, in_symbols: bool = False, spoken_code: Callable[[str], str] = str
) -> list[Line]:
    """A line for each paragraph, item of a list and row of a table.

    `spoken_code` makes the words for code in a sentence.
    """

    def inline(token: Token) -> str:
        return _inline(token, in_symbols, spoken_code)

    lines: list[Line] = []
    cells: list[str] | None = None
    numbers: list[int | None] = []
    mark = ""
    for token in parser().parse(plain(markdown)):
        match token.type:
            case "ordered_list_open":
                numbers.append(int(token.attrGet("start") or 1))
            case "bullet_list_open":
                numbers.append(None)
            case "ordered_list_close" | "bullet_list_close":
                numbers.pop()
            case "list_item_open":
                number = numbers[-1]
                mark = "" if number is None else f"{number}. "
                numbers[-1] = None if number is None else number + 1
            case "tr_open":
                cells = []
            case "tr_close" if cells is not None:
                lines.append("; ".join(cells))
                cells = None
            case "inline" if cells is not None:
                cells.append(inline(token))
            case "inline":
                lines += (mark + inline(token)).split("\n")
                mark = ""
            case "fence" | "code_block":
                lines.append(SpokenCode(token.content))
            case "math_block":
                lines.append(spoken_formula(token.content, in_symbols=in_symbols))
            case "html_block":
                lines.append(token.content.strip())
    return lines


def spoken_line(markdown: str, *, in_symbols: bool = False) -> str:
    """Short Markdown as one line."""
    lines = spoken_prose(markdown, in_symbols=in_symbols)
    said = (line.text if isinstance(line, SpokenCode) else line for line in lines)
    return " ".join(" ".join(said).split())


def _inline(token: Token, in_symbols: bool, spoken_code: Callable[[str], str]) -> str:
    said: list[str] = []
    for child in token.children or []:
        match child.type:
            case "softbreak":
                is_open = not said or not is_wide(said[-1][-1:])
                said.append(" " if is_open else "")
            case "hardbreak":
                said.append("\n")
            case kind if kind in MATH:
                words = spoken_formula(child.content, is_inline=True, in_symbols=in_symbols)
                before = "".join(said).split()[-1:]
                said.append(_as_noun(words) if {*before} & _PREPOSITIONS else words)
            case "text":
                said.append(child.content if in_symbols else in_words(child.content))
            case "code_inline":
                said.append(spoken_code(child.content))
            case _ if child.nesting == 0:
                said.append(child.content)
    return "".join(said)


_PREPOSITIONS = frozenset(
    ["after", "at", "before", "by", "for", "from", "in", "of", "on", "than", "to", "until", "with"]
)


def _as_noun(formula: str) -> str:
    """A formula after a preposition: `for z equal to 0`, not `for z equals 0`."""
    return formula.replace(" equals ", " equal to ", 1).replace(" is about ", " about ", 1)


def spoken_formula(
    latex: str,
    values: Mapping[str, str] | None = None,
    *,
    is_inline: bool = False,
    in_symbols: bool = False,
) -> str:
    """A formula in words, with `values` for its boxes; a sentence unless it `is_inline`."""
    try:
        parsed = formula.parse(latex)
        said = _symbols(parsed, values) if in_symbols else formula.say(parsed, values)
    except FormulaError:  # the lesson's check reports it
        return latex
    return said if is_inline else sentence(said)


def spoken_definition(latex: str, *, in_symbols: bool = False) -> str:
    """A formula in words without its boxes; empty if nothing is left."""
    try:
        parsed: Formula = formula.parse(latex)
    except FormulaError:
        return latex
    if in_symbols:
        return sentence(_symbols(without_values(parsed)))
    return sentence(formula.define(parsed))


def _symbols(parsed: Formula, values: Mapping[str, str] | None = None) -> str:
    """A formula on one line; wide gaps in it become semicolons."""
    return _APART.sub("; ", formula.draw_inline(parsed, values).strip())


_APART = re.compile(r"[ ,;]*(?: {3,}|; )[ ;]*")


def following(*sentences: str) -> str:
    """Sentences in a row, without a blank after a wide character."""
    said = ""
    for one in filter(None, sentences):
        said += one if not said or is_wide(said[-1]) else f" {one}"
    return said


_BEGINNERS = frozenset(
    ["the", "there", "this", "as", "by", "in", "it", "no", "nothing", "left", "seed"]
)
"""First words that get a capital: they are no names of the lesson."""

_ENDED = re.compile(r"(?:[.?!:]|[。？！：…][”’」』）》\"']*)\Z")
"""The end of a sentence; in Chinese a closing mark may follow it."""


def sentence(text: str) -> str:
    """A text with a full stop, unless it ends like a sentence, and a capital."""
    first = text.partition(" ")[0]
    text = text[0].upper() + text[1:] if first in _BEGINNERS else text
    if not text or _ENDED.search(text):
        return text
    return f"{text}。" if is_wide(text[-1]) else f"{text}."


def has_symbols(lesson: Lesson) -> bool:
    """Whether formulas are spoken as symbols, because the lesson is not in English."""
    return lesson.language != ORIGINAL


BY_WHOM = {True: "by hand", False: "by PyTorch", None: "not at all"}


def introduction(lesson: Lesson, mode: str, device: str, learning_rate: float) -> Iterator[Line]:
    """The title, the summary, the settings and the first text of a lesson."""
    is_foreign = has_symbols(lesson)
    named = (spoken_line(text, in_symbols=is_foreign) for text in (lesson.title, lesson.summary))
    yield f"Lesson: {following(*map(sentence, named))}"
    yield beginning(lesson, mode, device, learning_rate)
    if lesson.exercises:
        count = counted(len(lesson.exercises), "exercise")
        yield f"It has {count}: type exercise to begin one."
    for section in lesson.sections:
        if not section.heading:
            yield from before(lesson, section, mode)


def beginning(lesson: Lesson, mode: str, device: str, learning_rate: float) -> str:
    """The gradient modes of the lesson and its first settings."""
    modes = listed(lesson.modes)
    many = f"There are {len(lesson.modes)} gradient modes: {modes}. It begins with {mode}"
    one = f"Its gradient mode is {mode}"
    rest = f"on {device}, learning rate {learning_rate:g}, {lesson.epochs[mode]} epochs"
    return f"{many if len(lesson.modes) > 1 else one}, {rest}."


def before(lesson: Lesson, section: Section, mode: str) -> Iterator[Line]:
    """The text before a phase runs: its prose, its formulas, the code of this mode."""
    in_symbols = has_symbols(lesson)
    for block in section.blocks[: _border(section)]:
        match block:
            case Prose(markdown):
                yield from spoken_prose(markdown, in_symbols=in_symbols)
            case DisplayFormula(latex):
                yield spoken_definition(latex, in_symbols=in_symbols)
            case Fence() if block.runs_in(mode):
                yield SpokenCode(block.code)


def after(
    lesson: Lesson, section: Section, values: Mapping[str, Value], *, with_words: bool
) -> Iterator[Line]:
    """The text after a phase has run: its live formulas, and the text below its code."""
    border, in_symbols = _border(section), has_symbols(lesson)
    for block in section.blocks[:border]:
        if isinstance(block, DisplayFormula):
            yield live(lesson, block, values)
    for block in section.blocks[border:]:
        match block:
            case DisplayFormula():
                unknown = spoken_formula(block.latex, in_symbols=in_symbols) if with_words else ""
                yield live(lesson, block, values) or unknown
            case Prose(markdown) if with_words:
                yield from spoken_prose(markdown, in_symbols=in_symbols)


def live(lesson: Lesson, block: DisplayFormula, values: Mapping[str, Value]) -> str:
    """A formula with the numbers of this step; empty if it has no boxes or a number is unknown."""
    if not block.boxed or not all(is_known(values.get(e)) for e in block.boxed):
        return ""
    numbers = {e: spoken_value(values[e], is_part=True) for e in block.boxed}
    return spoken_formula(block.latex, numbers, in_symbols=has_symbols(lesson))


def _border(section: Section) -> int:
    """The index of the first block after the last code; the number of blocks if there is none."""
    blocks: Sequence[Block] = section.blocks
    fences = [index for index, block in enumerate(blocks) if isinstance(block, Fence)]
    return fences[-1] + 1 if fences else len(blocks)


def prose_before(lesson: Lesson, phase: str) -> list[Section]:
    """The sections between the phase before and this phase."""
    found: list[Section] = []
    for section in lesson.sections:
        if section.phase == phase:
            return found
        found = [] if section.phase else [*found, *([section] if section.heading else [])]
    return []


def further_reading(lesson: Lesson) -> list[Section]:
    """The sections after the last phase; of a script, which is only code, none."""
    if lesson.script is not None:
        return []
    last = max(i for i, section in enumerate(lesson.sections) if section.phase)
    return list(lesson.sections[last + 1 :])


def ladder(lesson: Lesson, mode: str) -> Iterator[Line]:
    """Each phase with the modes that do it by hand, and those that leave it to PyTorch."""
    for row in phase_ladder(lesson):
        others = [m for m in lesson.modes if m != mode]
        said = f"{row.phase}: {BY_WHOM[row.by_hand[mode]]} in {mode}, the current mode"
        rest = "; ".join(f"{BY_WHOM[row.by_hand[m]]} in {m}" for m in others)
        yield f"{said}; {rest}." if rest else f"{said}."
    if not phase_ladder(lesson):
        yield f"This lesson has none of the phases {listed(PHASES_IN_ORDER)}."


def is_by_hand(lesson: Lesson, mode: str) -> bool:
    """Whether the lesson's own code computes the gradient in this mode."""
    return any(row.phase == "Gradient" and row.by_hand[mode] for row in phase_ladder(lesson))


def code(lesson: Lesson, mode: str, phase: str) -> Iterator[Line]:
    """The code of a phase."""
    section = lesson.phase(phase)
    fences = section.fences(mode) if section else ()
    if fences:
        yield f"{phase}, in the mode {mode}."
    yield from (SpokenCode(fence.code) for fence in fences)


def of_batches(frame: Frame) -> str:
    """`, batch 2 of 3`; empty where an epoch has one batch."""
    return f", batch {number_format.of_batches(frame)}" if frame.batches > 1 else ""


def where(lesson: Lesson, frame: Frame) -> str:
    """The position of a run, and the next phase; of a script with the line that it begins on."""
    epoch = frame.at.epoch
    following = f"Next: {frame.next_phase}{of_line(lesson, frame.next_line)}."
    if frame.is_over:
        return where_it_ended(frame)
    if frame.phase in (None, SETUP) and not frame.at.step:
        place = "The run stands at the start"
    elif frame.is_epoch_end and epoch:
        return f"The run stands at the end of epoch {epoch}. {following}"
    else:
        place = f"The run stands in epoch {epoch}{of_batches(frame)}, after {frame.phase}"
    return f"{place}. {following}"


# ── Values ──────────────────────────────────────────────────────────────────────────

MOST_ELEMENTS = 16
"""Numbers of an array that are spoken; the rest is counted."""


def figure(x: float) -> str:
    """A number with up to six digits, without zeros at its end."""
    if math.isnan(x):
        return "not a number"
    if math.isinf(x):
        return "infinity" if x > 0 else "minus infinity"
    return setting(x or 0.0).replace("−", "-")  # no minus before a zero


def spoken_value(value: Value, *, is_part: bool = False, is_brief: bool = False) -> str:
    """A value in words: `-30`, `None`, `true`, `3 numbers: 1, 2, 3`, `a row of 2: 1, 2`.

    `is_part`: in a formula, where parentheses mark the end of an array. `is_brief`: of an array
    only its shape, mean and norm, as always of one with more elements than a Value carries.
    """
    if not value.data:
        return number_format.value_reason(value.why or value.text) or "no value"
    is_truth = value.dtype == "bool"
    words = [str(bool(x)).lower() if is_truth else figure(x) for x in value.data[:MOST_ELEMENTS]]
    if is_single(value):
        return words[0]
    figures = number_format.mean_and_norm(value)
    if figures is not None and (is_brief or value.norm is not None):
        shape = " by ".join(map(str, value.shape))
        said = f"{shape} numbers, mean {figure(figures[0])}, norm {figure(figures[1])}"
        return f"({said})" if is_part else said
    said = _array(words, value)
    left = value.size - len(words)
    said = f"{said}; and {left} more" if left > 0 else said
    return f"({said})" if is_part else said


def _array(words: Sequence[str], value: Value) -> str:
    """An array in words: its shape, then its rows."""
    match value.shape:
        case (1, width):
            return f"a row of {width}: {', '.join(words)}"
        case (height, 1):
            return f"a column of {height}: {', '.join(words)}"
        case (height, width):
            rows = (words[i : i + width] for i in range(0, len(words), width))
            said = (f"row {i}: {', '.join(row)}" for i, row in enumerate(rows, 1))
            return f"{article(height)} {height} by {width} matrix: {'; '.join(said)}"
    return f"{value.size} {'values' if value.dtype == 'bool' else 'numbers'}: {', '.join(words)}"


def is_known(value: Value | None) -> bool:
    """Whether a value has been computed."""
    return value is not None and value != NO_VALUE
