"""A lesson or a script as spoken text: its sections, the position of its run, its values.

Text after the last code of a phase is told once the phase has run, because it is about the result.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from tutor.digits import PLAIN_DIGITS
from tutor.lesson.code_checks import ladder as phase_ladder
from tutor.lesson.languages import ORIGINAL
from tutor.lesson.model import (
    GRADIENT,
    PHASES_IN_ORDER,
    SETUP,
    Block,
    DisplayFormula,
    Fence,
    Lesson,
    Prose,
    Section,
    fences_of,
)
from tutor.plain import one_line, plain
from tutor.plain_mode.spoken_text import (
    Line,
    SpokenCode,
    following,
    sentence,
    spoken_definition,
    spoken_formula,
    spoken_line,
    spoken_prose,
)
from tutor.protocol.frame import NO_VALUE, Frame, Value
from tutor.script.line_places import place_in, step_place
from tutor.session.run_view import RunView
from tutor.wording import number_format
from tutor.wording.number_format import MINUS, article, counted, is_single, listed, trimmed


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
    rate = spoken_number(learning_rate)
    rest = f"on {device}, learning rate {rate}, {lesson.epochs[mode]} epochs"
    return f"{many if len(lesson.modes) > 1 else one}, {rest}."


def before(lesson: Lesson, section: Section, mode: str) -> Iterator[Line]:
    """The text before a phase runs: its prose, its formulas, the code of this mode."""
    in_symbols = has_symbols(lesson)
    for block in section.blocks[: _first_after_code(section)]:
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
    first_after, in_symbols = _first_after_code(section), has_symbols(lesson)
    for block in section.blocks[:first_after]:
        if isinstance(block, DisplayFormula):
            yield live(lesson, block, values)
    for block in section.blocks[first_after:]:
        match block:
            case DisplayFormula():
                known = live(lesson, block, values)
                if with_words and not known:  # it is read without its boxes, which hold code
                    known = spoken_definition(block.latex, in_symbols=in_symbols)
                yield known
            case Prose(markdown) if with_words:
                yield from spoken_prose(markdown, in_symbols=in_symbols)


def live(lesson: Lesson, block: DisplayFormula, values: Mapping[str, Value]) -> str:
    """A formula with the numbers of this step; empty if it has no boxes or a number is unknown."""
    if not block.boxed or not all(is_known(values.get(e)) for e in block.boxed):
        return ""
    numbers = {e: spoken_value(values[e], is_part=True) for e in block.boxed}
    return spoken_formula(block.latex, numbers, in_symbols=has_symbols(lesson))


def _first_after_code(section: Section) -> int:
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
    return any(row.phase == GRADIENT and row.by_hand[mode] for row in phase_ladder(lesson))


def code(lesson: Lesson, mode: str, phase: str) -> Iterator[Line]:
    """The code of a phase."""
    section = lesson.phase(phase)
    fences = section.fences(mode) if section else ()
    if fences:
        yield f"{phase}, in the mode {mode}."
    yield from (SpokenCode(fence.code) for fence in fences)


def batch_words(frame: Frame) -> str:
    """`, batch 2 of 3`; empty where an epoch has one batch."""
    return f", batch {number_format.of_batches(frame)}" if frame.batches > 1 else ""


def _of_line(lesson: Lesson, line: int) -> str:
    """`, line 12` of a script; empty for a lesson, whose file the learner does not see."""
    return f", {step_place(lesson, line)}" if line else ""


def where(lesson: Lesson, frame: Frame) -> str:
    """The position of a run, and the next phase; of a script with the line that it begins on."""
    epoch = frame.at.epoch
    following = f"Next: {frame.next_phase}{_of_line(lesson, frame.next_line)}."
    if frame.is_over:
        return f"The script has ended, after epoch {epoch}. Type back to go back."
    if frame.phase in (None, SETUP) and not frame.at.step:
        place = "The run is at the start"
    elif frame.is_epoch_end and epoch:
        return f"The run is at the end of epoch {epoch}. {following}"
    else:
        place = f"The run is in epoch {epoch}{batch_words(frame)}, after {frame.phase}"
    return f"{place}. {following}"


# ── A learner's own script ──────────────────────────────────────────────────────────

MOST_LINES = 30
"""Lines of a file that are read at once."""


def script_introduction(lesson: Lesson, mode: str, device: str) -> Iterator[Line]:
    """The name of the script, and its loop."""
    loop = one_line(lesson.summary).replace("`", "")
    yield f"Script: {one_line(lesson.title)}. {loop}"
    yield f"Its gradient mode is {mode}, and it runs on {device}."
    yield "Setup: the script runs to its loop."


def what_is_next(view: RunView) -> Iterator[Line]:
    """The next phase, and the line of code that it begins on."""
    frame, section = view.frame, view.next_section
    if frame is None:
        return
    if section is None or frame.is_over:
        yield "The script has ended. Type back to go back, restart to start again."
        return
    line = frame.next_line or (section.lines[0] if section.lines else 0)
    code = code_line(view.lesson, line)
    begins = "" if line in section.lines else "from "
    place = f"{begins}{place_in(view.lesson)(line)}"
    yield f"Next: {section.phase}, {place}{f': {code}' if code else '.'}"


def phase_lines(lesson: Lesson, section: Section) -> SpokenCode:
    """The lines of a phase, with their numbers in the file."""
    code = "".join(fence.code for fence in fences_of([section]))
    text, first = textwrap.dedent(code).rstrip(), section.lines[0]
    return SpokenCode(text, numbered=True, first=first, place_of=place_in(lesson))


def code_line(lesson: Lesson, line: int) -> str:
    """A line of the script without its indentation; empty if there is none."""
    lines = plain(lesson.source).split("\n")
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def file_lines_from(lesson: Lesson, first: int) -> Iterator[Line]:
    """The file from a line on, as much of it as is read at once."""
    lines = lesson.source.rstrip("\n").split("\n")
    if not 1 <= first <= len(lines):
        yield f"The script has {counted(len(lines), 'line')}: there is no line {first}."
        return
    chosen = lines[first - 1 : first - 1 + MOST_LINES]
    yield SpokenCode("\n".join(chosen), numbered=True, first=first, place_of=place_in(lesson))
    last = first + len(chosen) - 1
    if last < len(lines):
        place = place_in(lesson)(last + 1).removeprefix("line ")
        yield f"{len(lines) - last} more lines follow. Type code {place} to go on."


# ── Values ──────────────────────────────────────────────────────────────────────────

MOST_ELEMENTS = 16
"""Numbers of an array that are spoken; the rest is counted."""


def spoken_number(x: float, digits: int = PLAIN_DIGITS) -> str:
    """A number as `trimmed` writes it, but with a minus that is read aloud, and without symbols."""
    if math.isnan(x):
        return "not a number"
    if math.isinf(x):
        return "infinity" if x > 0 else "minus infinity"
    return trimmed(x, digits).replace(MINUS, "-")


def spoken_value(value: Value, *, is_part: bool = False, is_brief: bool = False) -> str:
    """A value in words: `-30`, `None`, `true`, `3 numbers: 1, 2, 3`, `a row of 2: 1, 2`.

    `is_part`: in a formula, where parentheses mark the end of an array. `is_brief`: of an array
    only its shape, mean and norm, as always of one with more elements than a Value carries.
    """
    if not value.data:
        return number_format.value_reason(value.why or value.text) or "no value"
    is_truth = value.dtype == "bool"
    words = [
        str(bool(x)).lower() if is_truth else spoken_number(x) for x in value.data[:MOST_ELEMENTS]
    ]
    if is_single(value):
        return words[0]
    figures = number_format.mean_and_norm(value)
    if figures is not None and (is_brief or value.norm is not None):
        shape = " by ".join(map(str, value.shape))
        said = (
            f"{shape} numbers, mean {spoken_number(figures[0])}, norm {spoken_number(figures[1])}"
        )
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
