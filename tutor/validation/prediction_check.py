"""Proves an exercise of the kind `predict`, at every place where it is asked."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import combinations

from tutor.errors import RunError
from tutor.lesson.exercise import Predict, Stage
from tutor.protocol.frame import Value
from tutor.training.answers import close, expected_text, has_one_number, sign_of
from tutor.validation.exercise_trial import EndError, ExerciseTrial, is_what, said_by
from tutor.validation.finding import Finding


def predict_findings(trial: ExerciseTrial, exercise: Predict) -> Iterator[Finding]:
    """There is an answer wherever it is asked for, and it is none of the wrong ones.

    Where it is asked again, the answer is another number. Raises EndError.
    """
    first = yield from _asked(trial, exercise)
    if first is None:
        return
    for number in range(len(exercise.again)):
        value = yield from _asked(trial, exercise.asked_in(number + 1), f"again.{number}")
        if exercise.form == "number" and value is not None and _is_same(exercise, first, value):
            how = (
                "choose other numbers" if "again" in exercise.lines else "write `again: [{set: …}]`"
            )
            what = f"asked again, the answer is {expected_text(exercise, value)} once more; {how}"
            yield trial.finding(what, f"again.{number}", "answer")


def _asked(
    trial: ExerciseTrial, asked: Predict, again: str = ""
) -> Generator[Finding, None, Value | None]:
    """The answer to one asking; None after any finding. `again` is the key of who asks again."""
    expressions = [asked.answer, *(wrong.value for wrong in asked.wrong)]
    answer, *mistaken = _values(trial, asked.stage, expressions, again)
    where = "asked again, " if again else ""
    if why := _why_not(asked, answer):
        yield trial.finding(f"{where}the answer {why}", again, "answer")
        return None
    has_own = f"{again}.wrong" in asked.lines
    if again and asked.form != "number" and not has_own:
        return answer  # there a wrong answer of the first question may well be the right one
    found = [*_wrong(trial, asked, answer, mistaken, again)]
    yield from found
    return None if found else answer


def _wrong(
    trial: ExerciseTrial, asked: Predict, answer: Value, mistaken: Sequence[Value], again: str
) -> Iterator[Finding]:
    """The wrong answers are answers, none is right, and each is another."""
    where = "asked again, " if again else ""
    path = f"{again}.wrong" if f"{again}.wrong" in asked.lines else "wrong"
    good: list[tuple[int, Value]] = []
    for number, value in enumerate(mistaken):
        key = f"{path}.{number}.value"
        if why := _why_not(asked, value):
            yield trial.finding(f"{where}this wrong answer {why}", key)
        elif _is_same(asked, answer, value):
            shown = expected_text(asked, value)
            yield trial.finding(f"{where}this wrong answer is right: {shown}; choose another", key)
        else:
            good.append((number, value))
    for (one, value), (other, same) in combinations(good, 2):
        if _is_same(asked, value, same):
            line = asked.lines.get(f"{path}.{one}.value", asked.line)
            shown = expected_text(asked, same)
            what = f"{where}this is {shown}, as on line {line}: its reply would never be given"
            yield trial.finding(what, f"{path}.{other}.value")


def _values(
    trial: ExerciseTrial, stage: Stage, expressions: Sequence[str], again: str
) -> tuple[Value, ...]:
    """The values of the expressions after the phase in question has run. Raises EndError."""
    run = trial.begin(stage, again)
    try:
        run.step_phase()
    except RunError as error:
        what = f"the phase that is asked about can't be run: {said_by(error)}"
        raise EndError(trial.finding(what, f"{again}.at", again, "at")) from error
    return run.evaluate(expressions)


def _why_not(exercise: Predict, value: Value) -> str:
    """Why a value can't be given as an answer; empty if it can."""
    if exercise.form != "choice":
        return "" if has_one_number(value) else f"{is_what(value)}; it must be one finite number"
    if value.dtype == "str" and value.text in exercise.choices:
        return ""
    return f"{is_what(value)}; it must be a key of `choices`: {', '.join(exercise.choices)}"


def _is_same(exercise: Predict, right: Value, value: Value) -> bool:
    """Whether `value` would be taken for `right`."""
    match exercise.form:
        case "number":
            return close(value.data[0], right.data[0], exercise.tolerance)
        case "sign":
            return sign_of(value.data[0]) == sign_of(right.data[0])
        case "choice":
            return value.text == right.text
