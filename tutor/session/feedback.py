"""Feedback to answers, and solutions, as short Markdown.

Where in its code a run failed or hung, in words for who is at an exercise.

There the lesson's file is not before the learner's eyes, so that its line numbers say nothing:
the line itself is quoted. Code that the learner edits has the numbers of the editor.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tutor.lesson.exercise import Choose, Exercise, Predict, Repair, Setting, Solution
from tutor.lesson.model import Fence, Lesson
from tutor.plain import one_line
from tutor.protocol.frame import Value
from tutor.protocol.inspections import LocalGradientQuestion
from tutor.protocol.messages import AnyEvent, CommandRefused, FrameShown, LessonFailed, ProcessEnded
from tutor.session.goal_progress import Marks, words_of
from tutor.session.number_format import number, setting, short, without_tails

LONGEST_LINE = 48
"""Characters of a line of code that are quoted."""

_STOPPED = re.compile(r"stopped: (?P<phase>.+?)(?:, line (?P<line>\d+))?,? was still running")


def is_own(exercise: Exercise, phase: str) -> bool:
    """Whether the code of this phase is what the learner fixes."""
    return isinstance(exercise, Repair) and exercise.phase == phase


def code_at(lesson: Lesson, line: int | None) -> str:
    """The line of code with this number in the lesson's file; empty if there is none."""
    for section in lesson.sections:
        for fence in section.blocks:
            if line and isinstance(fence, Fence) and fence.line <= line:
                rows = fence.code.split("\n")
                if line - fence.line < len(rows):
                    return _shortened(rows[line - fence.line].strip())
    return ""


def _shortened(code: str) -> str:
    return code if len(code) <= LONGEST_LINE else code[: LONGEST_LINE - 1].rstrip() + "…"


def stopped_in(event: AnyEvent) -> tuple[str, int | None] | None:
    """Phase and line of what was still running when it was stopped; None if nothing was."""
    match event:
        case FrameShown(note=told) | CommandRefused(message=told):
            found = _STOPPED.match(told)
        case _:
            return None
    if found is None:
        return None
    return found["phase"], int(found["line"]) if found["line"] else None


STILL = "still raises this error."


def outcome(exercise: Predict, said: str, value: Value, reply: str = "") -> str:
    """Feedback to an answer: the given value, the reply, and the computed value.

    `You said: 4. That is the sum. It is: −30.`
    """
    expected, came = _ended(_shown(exercise, said)), _ended(answer(exercise, value))
    return " ".join(filter(None, (f"You said: {expected}", reply.strip(), f"It is: {came}")))


def plain_number(x: float) -> str:
    """A number without zeros at its end, as in a sentence they say nothing: `7.5`, `−0.3333`."""
    return without_tails(number(x))


def answer(exercise: Predict, value: Value) -> str:
    """The answer of a prediction, in the form that was asked for."""
    if exercise.form == "choice":
        return exercise.choices.get(value.text, value.text)
    if exercise.form == "sign" and value.data:
        return _sign_word(value.data[0])  # its number may be asked for next
    return without_tails(short(value))


def solution(exercise: Predict, value: Value) -> str:
    """The right answer; of a number also which quantity it is, where there are words for that.

    The expression that tells choices or signs apart is the lesson's machinery, and no help.
    """
    right = answer(exercise, value)
    words = _quantity(exercise) if exercise.form == "number" else ""
    return f"{right}, {words}" if words else right


def _quantity(exercise: Predict) -> str:
    """`the gradient of w`, `the value of w after Update`; empty where there are no words."""
    node = ast.parse(exercise.answer.strip(), mode="eval").body
    words, at = words_of(node), exercise.stage.at
    if not words:
        return ""
    if words.startswith(_NOUNS):
        return f"the {escaped(words)}"
    after = f" after {at.phase}" if at is not None and at.phase else ""
    return f"the value of {literal(words)}{after}"


_NOUNS = ("gradient of", "loss of", "lowest", "highest", "mean", "sum", "size")
"""How words begin that are a noun, and no name or formula."""


def _shown(exercise: Predict, said: str) -> str:
    if exercise.form == "choice":
        return exercise.choices.get(said, said)
    if exercise.form == "sign":
        return _sign_word(float(f"{said}1") if said in "+-" else 0.0)
    return plain_number(float(said))


def _sign_word(x: float) -> str:
    if math.isnan(x):
        return "no number"
    return "positive" if x > 0 else "negative" if x < 0 else "zero"


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def reach_solution(solution: Solution) -> str:
    """How a condition is met, in words."""
    parts = []
    if solution.mode is not None:
        parts.append(f"the mode `{solution.mode}`")
    if solution.learning_rate is not None:
        parts.append(f"the learning rate {setting(solution.learning_rate)}")
    if solution.seed is not None:
        parts.append(f"the seed {solution.seed}")
    parts += [f"`{element(s)}` = {setting(s.value)}" for s in solution.settings]
    epochs = "epoch" if solution.epochs == 1 else "epochs"
    given = f"From the start with {' and '.join(parts)}" if parts else "From the start"
    return f"{given}, run {solution.epochs} {epochs}."


def element(of: Setting) -> str:
    """How one number of a parameter is called: `w`, `W[0,1]`."""
    return f"{of.parameter}[{','.join(map(str, of.index))}]" if of.index else of.parameter


def block_of_code(code: str) -> str:
    """Python, as a block."""
    return f"```python\n{code.rstrip()}\n```"


def right_choice(exercise: Choose) -> str:
    """The right one of several answers."""
    return next(choice.text for choice in exercise.choices if choice.is_right)


CODE_FROM_ELSEWHERE = (
    "The code that is kept here has not been run: it came with a progress file from elsewhere. "
    "Code is a program: read all of it before you let it run."
)


def mended(epochs: int) -> str:
    """The code does what it should."""
    return f"It runs for {_epochs(epochs)} and does what it should."


def not_mended(epochs: int, marks: Marks = ()) -> str:
    """The code runs, and that is all; what figures it ends with, and which it should.

    What they are to be compared with is not named, and no formula is: that might be the very code
    to be found. Two figures are enough to see it by.
    """
    missed = (m for way in marks[:1] for m in way if not m.holds and m.now and m.wanted)
    plain = [m for m in missed if not _FORMULA.search(m.what)][:MOST_FIGURES]
    figures = [escaped(f"{m.what} is {m.now}, should be {m.wanted}") for m in plain]
    what = f": {'; '.join(figures)}." if figures else "."
    return f"It runs for {_epochs(epochs)}, but it does not yet do what it should{what}"


_FORMULA = re.compile(r" [+−×/^] ")
MOST_FIGURES = 2
"""Of those that a fix misses; more take up the screen."""


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def place_in_code(phase: str, line: int | None, quoted: str, *, is_own: bool) -> str:
    """`line 2 of your code`, where the learner edits it; else the line that is `quoted`."""
    if is_own and line:
        return f"line {line} of your code"
    return f"{phase}, at {literal(quoted)}" if quoted else phase


def code_failed(where: str, message: str, *, is_known: bool = False) -> str:
    """Where code raises (a place in code), and what, unless that `is_known`."""
    where = where[:1].upper() + where[1:]
    comma = "," if where.endswith("`") else ""
    return f"{where}{comma} {STILL}" if is_known else f"{where}: {literal(message)}"


def endless(where: str, after: float | None) -> str:
    """Code was stopped: by the tutor `after` so many seconds of silence, or by the learner.

    `where` is the place in code that was still running; empty if that is not known.
    """
    who = "You broke it off" if after is None else f"The tutor stopped it after {after:.0f} s"
    comma = "," if where.endswith("`") else ""
    return f"{who}: {where}{comma} was still running." if where else f"{who}."


LIKE_AUTOGRAD = "The Gradient phase has run: autograd comes to the same numbers."


def local_question(step: LocalGradientQuestion) -> str:
    """One question of who plays autograd, with what one needs to answer it."""
    if step.asks == "total":
        needed = ", ".join(f"{literal(name)} = {_numbers(x)}" for name, x in step.values.items())
        asked = f"What is the gradient of the loss with respect to {literal(step.input)}?"
        return f"{asked}  ({needed})"
    names = _Names.of(step)
    needed = ", ".join(
        f"{literal(names.short.get(name, name))} = {_numbers(x)}" for name, x in step.values.items()
    )
    has_others = len(step.values) > 2  # more than this input, and the output
    alone = ", the rest held fixed" if has_others else ""
    change = f"{literal(names.output)} change with {literal(names.input)}{alone}"
    return f"{names.introduced}How fast does {change}?  ({needed})"


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of the two numbers of a local gradient: letters where they have none."""

    input: str
    output: str
    introduced: str
    """`Here u = y_pred - y. `; empty where both have names of their own."""
    short: Mapping[str, str]
    """By what stands in the step's values: the letter in its place."""

    @classmethod
    def of(cls, step: LocalGradientQuestion) -> _Names:
        """Those of one question."""
        called = list(step.values)[-1] if len(step.values) > 1 else step.output
        taken = set(re.findall(r"\w+", " ".join((step.input, step.output, *step.values))))
        letters = (letter for letter in "uvpqst" if letter not in taken)
        source = step.input if _NAME.fullmatch(step.input) else next(letters, step.input)
        output = called if _NAME.fullmatch(called) else next(letters, called)
        pairs = ((source, step.input), (output, step.output))
        told = [f"{literal(name)} = {literal(text)}" for name, text in pairs if name != text]
        introduced = f"Here {' and '.join(told)}. " if told else ""
        return cls(source, output, introduced, {step.input: source, called: output})


_NAME = re.compile(r"[\w.]+(\[[\d, ]+\])?")
"""A name, or one element of what has a name."""


def _numbers(one_or_all: float | tuple[float, ...]) -> str:
    """`2`, or `(1, 2, 3)`."""
    if isinstance(one_or_all, tuple):
        return f"({', '.join(map(plain_number, one_or_all))})"
    return plain_number(one_or_all)


def local_help(step: LocalGradientQuestion) -> str:
    """A hint after a wrong answer."""
    if step.asks == "local":
        names = _Names.of(step)
        source, output = literal(names.input), literal(names.output)
        others = " and hold the rest fixed" if len(step.values) > 2 else ""
        return (
            f"Add 0.001 to {source}{others}, and work out {output} again. Its change, divided "
            "by 0.001, is close to the answer."
        )
    return "Multiply along each way back, then add up what came along the ways that meet here."


def local_solution(step: LocalGradientQuestion) -> str:
    """The number; of a gradient of the loss also how it comes about: `3 × 2 + 1 × 4 = 10`."""
    right = plain_number(step.expected)
    parts = [x if isinstance(x, tuple) else (x,) for x in step.values.values()]
    if step.asks == "local" or len(parts) % 2:
        return right
    pairs = [
        pair
        for flows, locals_ in zip(parts[::2], parts[1::2], strict=True)
        for pair in zip(flows, locals_, strict=False)
    ]
    products = (" × ".join(map(_factor, pair)) for pair in pairs)
    return f"{' + '.join(products)} = {right}"


def _factor(x: float) -> str:
    return f"({plain_number(x)})" if x < 0 else plain_number(x)


def reason(event: AnyEvent) -> str:
    """Why something was not done, as the engine tells it."""
    match event:
        case LessonFailed(phase=phase, message=message):
            return code_failed(phase, message)
        case ProcessEnded(
            message=message
        ):  # in the tutor's own words, which begin the sentence here
            return literal(message[:1].upper() + message[1:])
        case CommandRefused(message=message):
            return literal(message)
        case FrameShown(note=note) if note:
            return literal(note)
    return "It could not be done."


def literal(text: str) -> str:
    """Text that is shown just as it is, whatever it looks like: as inline code."""
    plain_text = one_line(text)
    ticks = "`" * (1 + max(map(len, re.findall("`+", plain_text)), default=0))
    pad = " " if "`" in plain_text else ""
    return f"{ticks}{pad}{plain_text}{pad}{ticks}"


def escaped(text: str) -> str:
    """Text that is no Markdown, whatever it looks like."""
    return _MARKDOWN.sub(r"\\\1", text)


_MARKDOWN = re.compile(r"([\\`*_$\[\]<>#])")
