"""Proves an exercise of the kind `predict`, at every place where it is asked.

Knows nothing of other kinds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import combinations

from tutor.errors import RunError
from tutor.lesson.exercise import Predict, Stage
from tutor.training.answers import close, expected_text, has_one_number, sign_of
from tutor.training.bench import Bench, EndError, is_what, said_by
from tutor.training.finding import Finding
from tutor.training.frame import Value


def predict_findings(bench: Bench, exercise: Predict) -> Iterator[Finding]:
    """There is an answer wherever it is asked for, and it is none of the wrong ones.

    Where it is asked again, the answer is another number. Raises EndError.
    """
    first = yield from _asked(bench, exercise, exercise.stage)
    if first is None:
        return
    for number, again in enumerate(exercise.again):
        value = yield from _asked(bench, exercise, again.stage, f"again.{number}")
        if exercise.form == "number" and value is not None and _is_same(exercise, first, value):
            how = (
                "choose other numbers" if "again" in exercise.lines else "write `again: [{set: …}]`"
            )
            what = f"asked again, the answer is {expected_text(exercise, value)} once more; {how}"
            yield bench.finding(what, f"again.{number}", "answer")


def _asked(
    bench: Bench, exercise: Predict, stage: Stage, again: str = ""
) -> Generator[Finding, None, Value | None]:
    """The answer at a stage; None after any finding. `again` is the key of who asks again."""
    expressions = [exercise.answer, *(wrong.value for wrong in exercise.wrong)]
    answer, *mistaken = _values(bench, exercise, stage, expressions, again)
    where = "asked again, " if again else ""
    if why := _why_not(exercise, answer):
        yield bench.finding(f"{where}the answer {why}", again, "answer")
        return None
    if again and exercise.form != "number":
        return answer  # there a wrong answer of the first question may well be the right one
    found = [*_wrong(bench, exercise, answer, mistaken, where)]
    yield from found
    return None if found else answer


def _wrong(
    bench: Bench, exercise: Predict, answer: Value, mistaken: Sequence[Value], where: str
) -> Iterator[Finding]:
    """The wrong answers are answers, none is right, and each is another."""
    good: list[tuple[int, Value]] = []
    for number, value in enumerate(mistaken):
        key = f"wrong.{number}.value"
        if why := _why_not(exercise, value):
            yield bench.finding(f"{where}this wrong answer {why}", key)
        elif _is_same(exercise, answer, value):
            shown = expected_text(exercise, value)
            yield bench.finding(f"{where}this wrong answer is right: {shown}; choose another", key)
        else:
            good.append((number, value))
    for (one, value), (other, same) in combinations(good, 2):
        if _is_same(exercise, value, same):
            line = exercise.lines.get(f"wrong.{one}.value", exercise.line)
            shown = expected_text(exercise, same)
            what = f"{where}this is {shown}, as on line {line}: its reply would never be given"
            yield bench.finding(what, f"wrong.{other}.value")


def _values(
    bench: Bench, exercise: Predict, stage: Stage, expressions: Sequence[str], again: str
) -> tuple[Value, ...]:
    """What the expressions are once the phase that is asked about has run. Raises EndError."""
    run = bench.begin(stage, again)
    try:
        run.step_phase()
    except RunError as error:
        what = f"the phase that is asked about can't be run: {said_by(error)}"
        raise EndError(bench.finding(what, f"{again}.at", again, "at")) from error
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
