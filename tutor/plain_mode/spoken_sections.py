"""A lesson's text by section: before a phase runs, and after it.

Text after the last code of a phase is told once the phase has run, because it is about the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tutor.lesson.code_checks import LADDER_PHASES
from tutor.lesson.code_checks import ladder as phase_ladder
from tutor.lesson.library import ORIGINAL
from tutor.lesson.model import (
    SETUP,
    Block,
    DisplayFormula,
    Fence,
    Lesson,
    Prose,
    Section,
)
from tutor.plain_mode.line_writer import Line, SpokenCode
from tutor.plain_mode.spoken_prose import (
    following,
    sentence,
    spoken_definition,
    spoken_formula,
    spoken_line,
    spoken_prose,
)
from tutor.plain_mode.spoken_values import is_known, spoken_value
from tutor.protocol.frame import Frame, Value


def has_symbols(lesson: Lesson) -> bool:
    """Whether formulas are told as symbols, because the lesson is not in English."""
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
            yield from before(section, mode, in_symbols=is_foreign)


def beginning(lesson: Lesson, mode: str, device: str, learning_rate: float) -> str:
    """The gradient modes of the lesson and its first settings."""
    modes = listed(lesson.modes)
    many = f"There are {len(lesson.modes)} gradient modes: {modes}. It begins with {mode}"
    one = f"Its gradient mode is {mode}"
    rest = f"on {device}, learning rate {learning_rate:g}, {lesson.epochs[mode]} epochs"
    return f"{many if len(lesson.modes) > 1 else one}, {rest}."


def before(section: Section, mode: str, *, in_symbols: bool) -> Iterator[Line]:
    """The text before a phase runs: its prose, its formulas, the code of this mode."""
    for block in section.blocks[: _border(section)]:
        match block:
            case Prose(markdown):
                yield from spoken_prose(markdown, in_symbols=in_symbols)
            case DisplayFormula(latex):
                yield spoken_definition(latex, in_symbols=in_symbols)
            case Fence() if block.runs_in(mode):
                yield SpokenCode(block.code)


def after(
    section: Section, values: Mapping[str, Value], *, with_words: bool, in_symbols: bool
) -> Iterator[Line]:
    """The text after a phase has run: its live formulas, and the text below its code."""
    border = _border(section)
    for block in section.blocks[:border]:
        if isinstance(block, DisplayFormula):
            yield live(block, values, in_symbols=in_symbols)
    for block in section.blocks[border:]:
        match block:
            case DisplayFormula():
                unknown = spoken_formula(block.latex, in_symbols=in_symbols) if with_words else ""
                yield live(block, values, in_symbols=in_symbols) or unknown
            case Prose(markdown) if with_words:
                yield from spoken_prose(markdown, in_symbols=in_symbols)


def live(block: DisplayFormula, values: Mapping[str, Value], *, in_symbols: bool) -> str:
    """A formula with the numbers of this step; empty if it has no boxes or a number is unknown."""
    if not block.boxed or not all(is_known(values.get(e)) for e in block.boxed):
        return ""
    numbers = {e: spoken_value(values[e], is_part=True) for e in block.boxed}
    return spoken_formula(block.latex, numbers, in_symbols=in_symbols)


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
    """The sections after the last phase."""
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
        yield f"This lesson has none of the phases {listed(LADDER_PHASES)}."


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


def where(frame: Frame) -> str:
    """The position of a run, and the next phase."""
    epoch = frame.at.epoch
    if frame.phase in (None, SETUP) and not frame.at.step:
        place = "The run stands at the start"
    elif frame.is_epoch_end and epoch:
        return f"The run stands at the end of epoch {epoch}. Next: {frame.next_phase}."
    else:
        batch = f", batch {frame.batch + 1} of {frame.batches}" if frame.batches > 1 else ""
        place = f"The run stands in epoch {epoch}{batch}, after {frame.phase}"
    return f"{place}. Next: {frame.next_phase}."


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
