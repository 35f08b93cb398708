"""Feedback to answers, questions and solutions in words, as short Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from tutor.digits import FORMULA_DIGITS
from tutor.errors import WorkingError
from tutor.lesson import working
from tutor.lesson.exercise import (
    Exercise,
    Predict,
    Repair,
    Setting,
    Solution,
)
from tutor.plain import one_line
from tutor.protocol.events import ProcessEnded
from tutor.protocol.frame import Value
from tutor.protocol.inspections import LocalGradientQuestion
from tutor.session.attempt import Attempt, CodePlace, Reply
from tutor.session.goal_progress import Marks
from tutor.wording.engine_remarks import phase_text, process_end
from tutor.wording.goals import fact_words, first_name, goal_words, subjects, unmet
from tutor.wording.notices import unreadable
from tutor.wording.number_format import (
    MINUS,
    counted,
    trimmed,
    value_reason,
    value_text,
)
from tutor.wording.remarks import remark_text
from tutor.wording.templates import Values

# ── An attempt ──────────────────────────────────────────────────────────────────────


def question_markdown(attempt: Attempt) -> str:
    """The question that is asked now; of a backward pass, with the numbers it takes."""
    asked_of = attempt.asked_of
    if asked_of is None:
        return attempt.ask
    return "\n\n".join(filter(None, (attempt.ask.rstrip(), local_question(asked_of))))


def reply_markdown(attempt: Attempt) -> str:
    """The reply to the last answer; empty if there is none."""
    return _reply(attempt.reply, attempt.exercise) if attempt.reply else ""


def solution_markdown(attempt: Attempt) -> str:
    """The solution in words or code; empty until it has been asked for."""
    return _reply(attempt.solution, attempt.exercise) if attempt.solution else ""


def verdict(attempt: Attempt) -> str:
    """Whether an answer was right, or a task is done, in a word or two."""
    is_right = attempt.state == "done"
    if attempt.wants.is_answer:
        return "Right." if is_right else "Not right."
    return "Done." if is_right else "Not yet."


# ── Replies ─────────────────────────────────────────────────────────────────────────


def _reply(reply: Reply, exercise: Exercise) -> str:
    return _REPLIES[reply.code](reply.values, exercise)


def _prediction(values: Values, exercise: Exercise) -> str:
    """The given value, the lesson's comment in a paragraph of its own, and the computed value.

    The comment may end with a question, or be in another language.
    """
    assert isinstance(exercise, Predict)
    comment = values["comment"].strip()
    given = f"You said: {_with_full_stop(_given_text(exercise, values['answer']))}"
    came = f"The answer is: {_with_full_stop(answer(exercise, values['value']))}"
    return "\n\n".join((given, comment, came)) if comment else f"{given} {came}"


def _expected(values: Values, exercise: Exercise) -> str:
    """The right value of a prediction; empty while it has not been computed."""
    assert isinstance(exercise, Predict)
    value = values["value"]
    return "" if value is None else solution(exercise, value, values["working"])


def _still_fails(values: Values, exercise: Exercise) -> str:
    place = _place(values["place"], at_start=True)
    return f"{place}{_comma(place)} still raises this error."


def _stopped(values: Values, exercise: Exercise) -> str:
    after = values["after"]
    who = "You stopped it" if after is None else f"The tutor stopped it after {after:.0f} s"
    if values["place"] is None:
        return f"{who}."
    place = _place(values["place"])
    return f"{who}: {place}{_comma(place)} was still running."


def _place(place: CodePlace, *, at_start: bool = False) -> str:
    """`line 2 of your code`, where the learner edits it; else the line of code itself."""
    if place.is_own and place.line:
        return f"{'Line' if at_start else 'line'} {place.line} of your code"
    phase = phase_text(place.phase)
    return f"{phase}, at {literal(place.code)}" if place.code else phase


def _process_ended(event: ProcessEnded) -> str:
    text = process_end(event)
    return text[:1].upper() + text[1:]


def _comma(place: str) -> str:
    return "," if place.endswith("`") else ""


def _fix_misses(values: Values, exercise: Exercise) -> str:
    """The code runs, and that is all; the figures it ends with, and the wanted ones.

    Formulas are left out: they might be the very code to be found. Where there are no figures, a
    condition that does not hold is shown as code.
    """
    assert isinstance(exercise, Repair)
    ways = goal_words(values["marks"])
    missed = (m for way in ways[:1] for m in way if not m.holds and m.now and m.wanted)
    plain = [m for m in missed if not m.is_formula][:MOST_FIGURES]
    figures = [escaped(f"{m.what} is {m.now}, should be {m.wanted_value}") for m in plain]
    what = f": {'; '.join(figures)}." if figures else "."
    hint = "" if figures else _unmet(values["marks"], exercise)
    runs = f"It runs for {counted(values['epochs'], 'epoch')}"
    return f"{runs}, but it does not yet do what it should{what}{hint}"


def _unmet(marks: Marks, exercise: Repair) -> str:
    """The subjects of what does not hold; or the condition itself, with the error it raises.

    Of a condition that would give the solution away, a name alone.
    """
    if about := subjects(marks):
        return f" Not right yet: {', '.join(about)}."
    part = unmet(marks, exercise.code, exercise.solution_code)
    if part is None:
        name = first_name(marks)
        return f" Not right yet: {literal(name)}." if name else ""
    said = escaped(fact_words(part)) or literal(part.comparison.condition)
    why = f" ({literal(part.error)})" if part.error else ""
    return f" Not true yet: {said}{why}."


MOST_FIGURES = 2
"""Figures that a fix misses and that are named; more take up the screen."""


_REPLIES: Mapping[str, Callable[[Values, Exercise], str]] = {
    "lesson": lambda v, _: v["markdown"],
    "not_asked": lambda v, _: remark_text(v["why"]) if v["why"] else "",
    "unreadable_answer": lambda v, _: escaped(unreadable(v["why"], v["text"])),
    "no_choice": lambda v, _: f"Pick one by its number, 1 to {v['count']}.",
    "no_setup": lambda v, e: f"It can't be set up: {_reply(v['reason'], e)}",
    "no_questions": lambda v, e: f"There is nothing to fill in: {_reply(v['reason'], e)}",
    "not_done": lambda v, _: "It could not be done.",
    "refused": lambda v, _: literal(remark_text(v["remark"])),
    "process_ended": lambda v, _: literal(_process_ended(v["event"])),
    "prediction": _prediction,
    "expected": _expected,
    "code": lambda v, _: f"```python\n{v['code'].rstrip()}\n```",
    "reach_solution": lambda v, _: reach_solution(v["solution"]),
    "local_solution": lambda v, _: local_solution(v["question"]),
    "right_gradient": lambda v, _: f"{trimmed(v['value'])} is right.",
    "wrong_gradient": lambda v, _: f"It is not {trimmed(v['value'])}. {local_help(v['question'])}",
    "like_autograd": lambda v, _: "The Gradient phase has run: autograd computes the same numbers.",
    "code_from_elsewhere": lambda v, _: (
        "The code kept here has not been run, because it came with a progress file from "
        "elsewhere. It is a program: read all of it before you let it run."
    ),
    "not_python": lambda v, _: f"Line {v['line']} is not Python: {value_reason(v['reason'])}.",
    "code_failed": lambda v, _: (
        f"{_place(v['place'], at_start=True)}: {literal(remark_text(v['error']))}"
    ),
    "still_fails": _still_fails,
    "stopped": _stopped,
    "fix_works": lambda v, _: (
        f"It runs for {counted(v['epochs'], 'epoch')} and does what it should."
    ),
    "fix_misses": _fix_misses,
}


# ── Predictions, goals and choices ──────────────────────────────────────────────────


def answer(exercise: Predict, value: Value) -> str:
    """The answer of a prediction, in the form that was asked for."""
    if exercise.form == "choice":
        return exercise.choices.get(value.text, value.text)
    if exercise.form == "sign" and value.data:
        return _sign_word(value.data[0])  # its number may be asked for next
    return value_text(value, FORMULA_DIGITS, trimmed)


def solution(exercise: Predict, value: Value, leaves: Sequence[Value] = ()) -> str:
    """The right answer; of a number also how it comes about: `0 − 0.002 · (−3260.4) = 6.52`.

    `leaves` are the values of the leaves of its `working`.
    """
    right = answer(exercise, value)
    if not (exercise.working and leaves and value.data):
        return right
    sources = working.leaves(exercise.working)
    numbers = {s: leaf.data for s, leaf in zip(sources, leaves, strict=True)}
    try:
        written = working.latex(exercise.working, numbers, _latex)
        shown = {s: tuple(float(_digits(x)) for x in data) for s, data in numbers.items()}
        is_exact = _latex(working.result(exercise.working, shown)) == _latex(value.data[0])
    except WorkingError:  # the lesson's check reports it
        return right
    return f"${written} {'=' if is_exact else APPROX} {_latex(value.data[0])}$"


APPROX = r"\approx"


def _digits(x: float) -> str:
    """A number of a working, as Python reads it."""
    return trimmed(x, FORMULA_DIGITS).replace(MINUS, "-")


def _latex(x: float) -> str:
    """A number as LaTeX; 1e-5 as a power of ten, which can be read aloud."""
    mantissa, e, exponent = _digits(x).partition("e")
    return rf"{mantissa} \cdot 10^{{{exponent}}}" if e else mantissa


def _given_text(exercise: Predict, given: str) -> str:
    if exercise.form == "choice":
        return exercise.choices.get(given, given)
    if exercise.form == "sign":
        return _sign_word(float(f"{given}1") if given in "+-" else 0.0)
    return trimmed(float(given))


def _sign_word(x: float) -> str:
    if math.isnan(x):
        return "not a number"
    return "positive" if x > 0 else "negative" if x < 0 else "zero"


def _with_full_stop(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def reach_solution(solution: Solution) -> str:
    """The solution of a `reach`, in words."""
    parts = []
    if solution.mode is not None:
        parts.append(f"the mode `{solution.mode}`")
    if solution.learning_rate is not None:
        parts.append(f"the learning rate {trimmed(solution.learning_rate)}")
    if solution.seed is not None:
        parts.append(f"the seed {solution.seed}")
    parts += [f"`{element(s)}` = {trimmed(s.value)}" for s in solution.settings]
    given = f"From the start with {' and '.join(parts)}" if parts else "From the start"
    return f"{given}, run {counted(solution.epochs, 'epoch')}."


def element(setting: Setting) -> str:
    """The name of one number of a parameter: `w`, `W[0,1]`."""
    index = f"[{','.join(map(str, setting.index))}]" if setting.index else ""
    return setting.parameter + index


# ── Backward passes ─────────────────────────────────────────────────────────────────


def local_question(question: LocalGradientQuestion) -> str:
    """One question of a backward pass, with the numbers that it takes."""
    if question.asks == "total":
        needed = ", ".join(_flows(question))
        asked = f"What is the gradient of the loss with respect to {literal(question.input)}?"
        return f"{asked}  ({needed})"
    names = _Names.of(question)
    needed = ", ".join(
        f"{literal(names.short.get(name, name))} = {trimmed(x)}"
        for name, x in question.values.items()
    )
    has_others = len(question.values) > 2  # more than this input, and the output
    alone = ", the rest held fixed" if has_others else ""
    change = f"{literal(names.output)} change with {literal(names.input)}{alone}"
    return f"{names.introduced}How fast does {change}?  ({needed})"


class _Names(msgspec.Struct, frozen=True):
    """The names of the two numbers of a local gradient: letters where they have none."""

    input: str
    output: str
    introduced: str
    """`Here u = y_pred - y. `; empty where both have names of their own."""
    short: Mapping[str, str]
    """The letters that stand for the question's values, by name."""

    @classmethod
    def of(cls, question: LocalGradientQuestion) -> _Names:
        """The names for one question."""
        called = list(question.values)[-1] if len(question.values) > 1 else question.output
        taken = set(
            re.findall(r"\w+", " ".join((question.input, question.output, *question.values)))
        )
        letters = (letter for letter in "uvpqst" if letter not in taken)
        source = (
            question.input if _NAME.fullmatch(question.input) else next(letters, question.input)
        )
        output = called if _NAME.fullmatch(called) else next(letters, called)
        pairs = ((source, question.input), (output, question.output))
        told = [f"{literal(name)} = {literal(text)}" for name, text in pairs if name != text]
        introduced = f"Here {' and '.join(told)}. " if told else ""
        return cls(source, output, introduced, {question.input: source, called: output})


_NAME = re.compile(r"[\w.]+(\[[\d, ]+\])?")
"""A name, or one element of a named array."""


def _flows(question: LocalGradientQuestion) -> Iterator[str]:
    """The gradients that flow together, each with its local gradient; equal outputs are counted."""
    outputs = [flow.output for flow in question.flows]
    for number, flow in enumerate(question.flows, 1):
        more = f" ({number})" if flow.output in outputs[: number - 1] else ""
        gradient = f"gradient with respect to {flow.output}{more}"
        local = f"local gradient of {flow.output} with respect to {question.input}{more}"
        yield f"{literal(gradient)} = {_numbers(flow.gradients)}"
        yield f"{literal(local)} = {_numbers(flow.local_gradients)}"


def _numbers(numbers: Sequence[float]) -> str:
    """`2`, or `(1, 2, 3)`."""
    text = ", ".join(map(trimmed, numbers))
    return text if len(numbers) == 1 else f"({text})"


def local_help(question: LocalGradientQuestion) -> str:
    """A hint after a wrong answer."""
    if question.asks == "local":
        names = _Names.of(question)
        source, output = literal(names.input), literal(names.output)
        others = " and hold the rest fixed" if len(question.values) > 2 else ""
        return (
            f"Add 0.001 to {source}{others}, and work out {output} again. Its change, divided "
            "by 0.001, is close to the answer."
        )
    return "Multiply along each path back, then add up the products of the paths that meet here."


def local_solution(question: LocalGradientQuestion) -> str:
    """The number; of a gradient of the loss also how it comes about: `3 · 2 + 1 · 4 = 10`."""
    if question.asks == "local":
        return trimmed(question.expected)
    pairs = [
        pair
        for flow in question.flows
        for pair in zip(flow.gradients, flow.local_gradients, strict=True)
    ]
    products = (r" \cdot ".join(map(_factor, pair)) for pair in pairs)
    return f"${' + '.join(products)} = {_latex(question.expected)}$"


def _factor(x: float) -> str:
    return f"({_latex(x)})" if x < 0 else _latex(x)


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
