"""Exercises without a screen: the run that one starts with, and the learner's typed answers.

An answer is read as a value (`2*(1-2)*1`) and compared with the right one. Pure functions, which
session and `tutor check` share; they stand above the lessons, as they read the protocol's Values.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

import msgspec

from tutor.digits import significant, whole_number
from tutor.errors import WorkingError
from tutor.lesson import working
from tutor.lesson.exercise import Exercise, Predict, Repair, Stage
from tutor.lesson.model import REPORT, Block, Fence, Lesson, Section
from tutor.protocol.frame import Change, Element, Position, RunRecipe, Value


class ExerciseStart(msgspec.Struct, frozen=True):
    """The lesson, recipe and position with which an exercise starts."""

    lesson: Lesson
    recipe: RunRecipe
    at: Position


def start_of(
    lesson: Lesson,
    exercise: Exercise,
    *,
    stage: Stage | None = None,
    code: str | None = None,
    device: str = "cpu",
) -> ExerciseStart:
    """The start of `exercise`, or of another `stage` of it, with other `code` for a Repair."""
    stage = stage or exercise.stage
    if isinstance(exercise, Repair):
        code = exercise.code if code is None else code
        lesson = with_code(lesson, stage.mode, exercise.phase, code)
    return ExerciseStart(lesson, recipe_of(lesson, stage, device), position_of(lesson, stage))


def recipe_of(lesson: Lesson, stage: Stage, device: str = "cpu") -> RunRecipe:
    """The recipe of the stage's run. `device` is where the learner computes."""
    start = Position(0, 0)
    changes = tuple(
        Change(start, element=Element(s.parameter, s.index, s.value)) for s in stage.settings
    )
    rate = lesson.learning_rate[stage.mode] if stage.learning_rate is None else stage.learning_rate
    return RunRecipe(stage.mode, device, rate, stage.seed, changes)


def position_of(lesson: Lesson, stage: Stage) -> Position:
    """The position just before the stage's phase, which must be one of its mode's."""
    mode, place = stage.mode, stage.at
    if not place.phase:
        return Position(0, 0)
    names = [section.phase for section in lesson.loop(mode)]
    if place.phase in names:
        step = (place.batch - 1) * len(names) + names.index(place.phase)
    else:  # Report: after all batches
        step = lesson.batches * len(names)
    if step:
        return Position(place.epoch, step)
    if place.epoch <= 1:
        return Position(0, lesson.warm_up * len(names) if place.epoch else 0)
    whole = lesson.batches * len(names) + bool(_report(lesson, mode))
    return Position(place.epoch - 1, whole)


def with_code(lesson: Lesson, mode: str, phase: str, code: str) -> Lesson:
    """The lesson with this code for a phase in one mode; its lines count from 1.

    The learner's code has the line numbers of the editor, so that an error names those.
    """
    sections = tuple(
        _with_code(section, lesson.modes, mode, code) if section.phase == phase else section
        for section in lesson.sections
    )
    return msgspec.structs.replace(lesson, sections=sections)


def _with_code(section: Section, modes: tuple[str, ...], mode: str, code: str) -> Section:
    blocks: list[Block] = []
    mine = Fence(code, 1, (mode,))
    for block in section.blocks:
        if not isinstance(block, Fence) or not block.runs_in(mode):
            blocks.append(block)
            continue
        if others := tuple(m for m in block.modes or modes if m != mode):
            blocks.append(msgspec.structs.replace(block, modes=others))
        if mine not in blocks:
            blocks.append(mine)
    if mine not in blocks:
        blocks.append(mine)
    return msgspec.structs.replace(section, blocks=tuple(blocks))


def _report(lesson: Lesson, mode: str) -> bool:
    section = lesson.phase(REPORT)
    return section is not None and bool(section.fences(mode))


_CONSTANTS: working.LeafNumbers = {"e": (math.e,), "pi": (math.pi,)}
"""Names that may stand in typed arithmetic."""
_NUMBER = r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?"
_ANSWER = re.compile(rf"({_NUMBER})(?:\s*/\s*({_NUMBER}))?")
_BARE_CALL = re.compile(r"\b(log|sqrt|exp) +([0-9.]+|e|pi)(?![\w.(])")
"""A function before a number without parentheses, as in `log 3`."""
_MINUSES = str.maketrans({"−": "-", "–": "-", "⁄": "/"})
_SIGNS: Mapping[str, tuple[str, ...]] = {
    "+": (
        "plus", "positive", "rise", "rises", "rising", "grow", "grows", "growing", "increase",
        "increases", "increasing", "up", "upward", "upwards", "higher", "larger", "bigger",
        "greater", "more", "正", "正号", "增大", "变大", "上升", "增加", "更大",
    ),
    "-": (
        "minus", "negative", "fall", "falls", "falling", "shrink", "shrinks", "shrinking",
        "decrease", "decreases", "decreasing", "down", "downward", "downwards", "lower",
        "smaller", "less", "drop", "drops", "负", "负号", "减小", "变小", "下降", "减少", "更小",
    ),
    "0": (
        "zero", "null", "stay", "stays", "unchanged", "same", "constant", "equal", "零", "不变",
        "相同",
    ),
}  # fmt: skip
_SIGN_WORDS = {word: sign for sign, words in _SIGNS.items() for word in (sign, *words)}
_FILLERS = frozenset({
    "a", "as", "be", "become", "becomes", "get", "gets", "go", "goes", "is", "it", "its", "loss",
    "of", "sign", "the", "weight", "will", "would",
})  # fmt: skip
"""Words that may stand around a sign's: `it gets smaller`, `stays the same`."""
_TOLERANCE_ROUNDING = 1e-9
"""The rounding of a tolerance, relative to it: 0.99 is within 0.01 of 1, though not in binary."""


# ── Reading ─────────────────────────────────────────────────────────────────────────


class UnreadableError(ValueError):
    """A typed answer that is no number or sign. `code` says why; `tutor.wording` has the words."""

    def __init__(self, code: str, typed: str) -> None:
        super().__init__(code)
        self.code = code
        self.typed = typed


def read_number(text: str) -> float:
    """The number that was typed: `0.5`, `,5`, `−1/3`, `1e-3`, or what a sum of numbers comes to.

    Raises UnreadableError where there is none or it is not finite.
    """
    typed = _plainly(text)
    found = _ANSWER.fullmatch(typed)
    if found is None:
        return _result(typed)
    above, below = (float(part.replace(",", ".")) for part in found.groups(default="1"))
    if not below:
        raise UnreadableError("divides_by_0", typed)
    number = above / below
    if not math.isfinite(number):
        raise UnreadableError("typed_too_large", typed)
    return number


def _result(typed: str) -> float:
    """The value of typed arithmetic: operations, powers and functions of numbers."""
    expression = re.sub(r"\bln\b", "log", typed.replace("^", "**"))
    expression = _BARE_CALL.sub(r"\1(\2)", expression)
    try:
        number = working.result(expression, _CONSTANTS)
    except WorkingError:
        number = math.nan
    except (SyntaxError, KeyError, RecursionError, MemoryError):  # deep nesting raises the last two
        raise UnreadableError("no_typed_number", typed) from None
    if not math.isfinite(number):
        raise UnreadableError("typed_not_finite", typed)
    return number


def read_sign(text: str) -> str:
    """`+`, `-` or `0`, as it was typed or in a word. Raises UnreadableError."""
    typed = _plainly(text)
    words = [word for word in re.findall(r"[^\s.,!()]+", typed.lower()) if word not in _FILLERS]
    signs = {_SIGN_WORDS.get(word, "") for word in words}
    sign = signs.pop() if len(signs) == 1 else ""
    if not sign:
        raise UnreadableError("no_sign", typed)
    return sign


def read_choice(text: str, count: int) -> int | None:
    """Index of the choice that was named by its number from 1; None if none was."""
    number = whole_number(text.strip().rstrip(".)"), count)
    return number - 1 if number else None


def read_answer(exercise: Predict, text: str) -> str | None:
    """A typed answer as it is compared; None if no choice has this number.

    Raises UnreadableError where a number or a sign is wanted.
    """
    match exercise.form:
        case "number":
            return repr(read_number(text))
        case "sign":
            return read_sign(text)
        case "choice":
            index = read_choice(text, len(exercise.choices))
            return None if index is None else tuple(exercise.choices)[index]


def _plainly(text: str) -> str:
    """The text in ASCII where that is possible: full-width digits, other minus signs."""
    return unicodedata.normalize("NFKC", text).translate(_MINUSES).strip()


# ── Judging ─────────────────────────────────────────────────────────────────────────


def close(answer: float, value: float, tolerance: float) -> bool:
    """Whether `answer` is within `tolerance` of the size of `value`, or of 1 if that is 0."""
    return abs(answer - value) <= tolerance * (abs(value) or 1.0) * (1 + _TOLERANCE_ROUNDING)


def is_right(exercise: Predict, value: Value, answer: str) -> bool:
    """Whether `answer` (as `read_answer` returns it) is what `value` is."""
    if not can_be_answer(exercise, value):
        return False
    if exercise.form == "number":
        return close(float(answer), value.data[0], exercise.tolerance)
    return answer == as_answer(exercise, value)


def as_answer(exercise: Predict, value: Value) -> str:
    """A value that can be an answer, as `read_answer` returns it."""
    match exercise.form:
        case "number":
            return repr(value.data[0])
        case "sign":
            return sign_of(value.data[0])
        case "choice":
            return value.text


def can_be_answer(exercise: Predict, value: Value) -> bool:
    """Whether a value is one finite number; with choices, the key of one."""
    if exercise.form == "choice":
        return value.dtype == "str" and value.text in exercise.choices
    return has_one_number(value)


def matching_reply(exercise: Predict, answer: str, values: Sequence[Value]) -> str:
    """The reply to the first expected wrong answer that matches; empty if none does.

    `values` are those of `exercise.wrong`, in their order.
    """
    pairs = zip(exercise.wrong, values, strict=True)
    return next((wrong.reply for wrong, value in pairs if is_right(exercise, value, answer)), "")


def holds(value: Value) -> bool:
    """Whether a condition's value is True (1, or anything else but a bool, is not)."""
    return is_truth(value) and bool(value.data[0])


def is_truth(value: Value) -> bool:
    """Whether it is True or False."""
    return value.dtype == "bool" and value.size == 1


def has_one_number(value: Value) -> bool:
    """Whether it is a single finite number (in whatever array it may lie)."""
    return len(value.data) == 1 == value.size and value.dtype != "bool" and value.is_finite


def sign_of(number: float) -> str:
    """`+`, `-` or `0`."""
    return "+" if number > 0 else "-" if number < 0 else "0"


def expected_text(exercise: Predict, value: Value) -> str:
    """A right answer as a learner could give it: `0.125`, `-`, the text of a choice.

    Of a value that can't be an answer, its text.
    """
    if exercise.form == "choice":
        return exercise.choices.get(value.text, value.text)
    if not has_one_number(value):
        return value.text
    return sign_of(value.data[0]) if exercise.form == "sign" else significant(value.data[0])
