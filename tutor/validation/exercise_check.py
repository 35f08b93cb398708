"""The check of a lesson's exercises: each can begin, can be answered, and can be solved.

A `predict` is checked at every place where it is asked.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from itertools import combinations

import msgspec

from tutor.analysis.local_gradients import local_gradients
from tutor.errors import RunError
from tutor.lesson import working
from tutor.lesson.code_checks import names_in, slips
from tutor.lesson.exercise import (
    EXERCISE_NAMES,
    BeAutograd,
    Exercise,
    Predict,
    Reach,
    Repair,
    Stage,
)
from tutor.lesson.model import Lesson
from tutor.protocol.events import Finding, LessonPart
from tutor.protocol.frame import Value
from tutor.training.devices import is_out_of_memory
from tutor.training.exercises import (
    close,
    expected_text,
    has_one_number,
    holds,
    sign_of,
)
from tutor.training.probe import Probe
from tutor.training.program import Program, UnheardOutput
from tutor.training.run import Run
from tutor.validation.exercise_trial import (
    EndError,
    ExerciseTrial,
    OnPart,
    ignore_progress,
    is_what,
    said_by,
)

NO_MEMORY = (
    "the memory that a lesson may take is too little to check it; make its tensors smaller, "
    "or set TUTOR_MEMORY_MB to more megabytes"
)


def predict_findings(trial: ExerciseTrial, exercise: Predict) -> Iterator[Finding]:
    """Findings unless there is an answer wherever it is asked for, none of the wrong ones.

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
    """The answer to one asking; None after any finding. `again` is the key of the repetition."""
    expressions = [asked.answer, *(wrong.value for wrong in asked.wrong)]
    run = trial.begin(asked.stage, again)
    sources = working.leaves(asked.working) if asked.working else ()
    leaves = dict(zip(sources, run.evaluate(sources), strict=True))
    _step(trial, run, again)
    answer, *mistaken = run.evaluate(expressions)
    where = "asked again, " if again else ""
    if why := _why_not(asked, answer):
        yield trial.finding(f"{where}the answer {why}", again, "answer")
        return None
    if leaves and (why := _why_not_working(asked, leaves, answer)):
        yield trial.finding(f"{where}{why}", "working")
    has_own = f"{again}.wrong" in asked.lines
    if again and asked.form != "number" and not has_own:
        return answer  # there a wrong answer of the first question may well be the right one
    found = [*_wrong(trial, asked, answer, mistaken, again)]
    yield from found
    return None if found else answer


def _wrong(
    trial: ExerciseTrial, asked: Predict, answer: Value, mistaken: Sequence[Value], again: str
) -> Iterator[Finding]:
    """Findings unless the wrong answers are answers, none is right, and each is another."""
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


def _step(trial: ExerciseTrial, run: Run, again: str) -> None:
    """Run the phase in question. Raises EndError."""
    try:
        run.step_phase()
    except RunError as error:
        what = "the phase that is asked about can't be run"
        raise trial.failure(what, error, f"{again}.at", again, "at") from error


PRINTED = 1e-4
"""The distance of a working from its answer, relative to it, that does not show in print."""


def _why_not_working(exercise: Predict, leaves: Mapping[str, Value], answer: Value) -> str:
    """The reason why a working, of leaves as before the phase, can't be shown; "" if it can."""
    for source, value in leaves.items():
        if not value.is_finite or len(value.data) != value.size:
            return f"`{source}` in `working` {is_what(value)} before the phase; it must be a number"
    try:
        found = working.result(exercise.working, {s: value.data for s, value in leaves.items()})
    except ValueError as error:
        return f"this working can't be shown: {error}"
    if close(found, answer.data[0], min(exercise.tolerance, PRINTED)):
        return ""
    shown = expected_text(exercise, answer)
    return f"before the phase this comes to {found:.6g}, but the answer is {shown}; correct it"


def _why_not(exercise: Predict, value: Value) -> str:
    """The reason why a value can't be given as an answer; "" if it can."""
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


MOST_STEPS = 20
"""Questions that an exercise in being autograd may have."""


def check_exercises(
    lesson: Lesson,
    programs: Mapping[str, Program],
    on_part: OnPart = ignore_progress,
    device: str = "cpu",
) -> Iterator[Finding]:
    """All that is wrong with the exercises that begin in a mode of `programs`. Runs their code.

    On another `device` than the CPU, code with a mistake that raises is left out: the words of an
    error differ there, and an assertion in a kernel ends all work on a GPU.
    """
    for exercise in lesson.exercises:
        if exercise.stage.mode in programs:
            on_part(LessonPart(exercise.line, exercise=exercise.id))
            yield from _found(ExerciseTrial(lesson, programs, exercise, on_part, device))


def computed_answers(lesson: Lesson, programs: Mapping[str, Program]) -> Iterator[str]:
    """The id of each prediction, with its answer at each stage that asks for it."""
    for exercise in lesson.exercises:
        if isinstance(exercise, Predict):
            trial = ExerciseTrial(lesson, programs, exercise)
            stages = [exercise.stage, *(again.stage for again in exercise.again)]
            found = ", then ".join(_answer(trial, exercise, stage) for stage in stages)
            yield f"{exercise.id}: {found}"


def _answer(trial: ExerciseTrial, exercise: Predict, stage: Stage) -> str:
    """The answer as a learner could give it."""
    try:
        run = trial.begin(stage)
        run.step_phase()
        (value,) = run.evaluate([exercise.answer])
    except (EndError, RunError) as error:
        return said_by(error) if isinstance(error, RunError) else "none"
    return expected_text(exercise, value)


def _found(trial: ExerciseTrial) -> list[Finding]:
    """Diagnostics of one exercise. Output of its broken code is discarded."""
    found: list[Finding] = []
    with redirect_stdout(UnheardOutput()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for finding in _findings(trial):
                found.append(finding)  # what was found before an end counts
        except EndError as end:
            found.append(end.finding)
        except (MemoryError, RuntimeError) as error:  # in code of ours: the lesson's is a RunError
            if not is_out_of_memory(error):
                raise
            found.append(trial.finding(f"`{trial.exercise.id}`: {NO_MEMORY}"))
    return found


def _findings(trial: ExerciseTrial) -> Iterator[Finding]:
    if misnamed := list(_misnamed(trial)):
        yield from misnamed  # to play it would say no more than that it has no value
        return
    match trial.exercise:
        case Predict() as exercise:
            yield from predict_findings(trial, exercise)
        case Reach() as exercise:
            yield from _reach(trial, exercise)
        case Repair() as exercise:
            yield from _repair(trial, exercise)
        case BeAutograd() as exercise:
            yield from _be_autograd(trial, exercise)
        case exercise:
            trial.begin(exercise.stage)


def _misnamed(trial: ExerciseTrial) -> Iterator[Finding]:
    """Names in its expressions that no mode binds."""
    lesson, exercise = trial.lesson, trial.exercise
    more = [exercise.code, exercise.solution_code] if isinstance(exercise, Repair) else []
    known = names_in(lesson, lesson.modes, more)
    if known:
        known = known.union(EXERCISE_NAMES)
    parameters = {name for names in lesson.parameters.values() for name in names}
    for key, expression in _expressions(exercise):
        for slip in slips(expression, known, parameters):
            yield trial.finding(f"`{exercise.id}`: {slip}", key)


def _expressions(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """The expressions that are evaluated in the run, by key."""
    match exercise:
        case Predict():
            yield "answer", exercise.answer
            for leaf in working.leaves(exercise.working) if exercise.working else ():
                yield "working", leaf
            for number, wrong in enumerate(exercise.wrong):
                yield f"wrong.{number}.value", wrong.value
            for at, again in enumerate(exercise.again):
                for number, wrong in enumerate(again.wrong):
                    if (key := f"again.{at}.wrong.{number}.value") in exercise.lines:
                        yield key, wrong.value
        case Reach():
            yield "condition", exercise.condition
        case Repair():
            yield "condition", exercise.condition
            if exercise.symptom.condition:
                yield "symptom.condition", exercise.symptom.condition


# ── reach ───────────────────────────────────────────────────────────────────────────


def _reach(trial: ExerciseTrial, exercise: Reach) -> Iterator[Finding]:
    """Findings unless the solution meets the condition, and neither the start nor waiting does."""
    condition, epochs = exercise.condition, exercise.solution.epochs
    start = trial.begin(exercise.stage)
    # What can't be evaluated yet (an index into no losses) is not met yet.
    if holds(*start.evaluate([condition])):
        yield trial.finding("the condition holds from the start; ask for more", "condition")
        return
    try:
        waited = trial.from_the_start(exercise.stage, epochs)
    except RunError as error:
        said_by(error)  # what can't even run so far is not met by waiting
    else:
        if trial.is_true(waited, condition, "condition"):
            what = f"after {epochs} epochs the condition holds with nothing changed; ask for more"
            yield trial.finding(what, "condition")
    try:
        solved = trial.from_the_start(_solved(exercise), epochs)
    except RunError as error:
        yield trial.failure("the solution can't be run", error, "solution").finding
        return
    if not trial.is_true(solved, condition, "condition"):
        yield trial.finding(
            f"after {epochs} epochs of the solution the condition does not hold; "
            "correct the solution, or the condition",
            "solution",
        )


def _solved(exercise: Reach) -> Stage:
    """The stage under the solution's settings; with another mode comes its learning rate."""
    stage, solution = exercise.stage, exercise.solution
    mode, seed, rate = solution.mode, solution.seed, solution.learning_rate
    return msgspec.structs.replace(
        stage,
        mode=stage.mode if mode is None else mode,
        seed=stage.seed if seed is None else seed,
        learning_rate=stage.learning_rate if rate is None else rate,
        settings=(*stage.settings, *solution.settings),
    )


# ── repair ──────────────────────────────────────────────────────────────────────────


def _repair(trial: ExerciseTrial, exercise: Repair) -> Iterator[Finding]:
    """Findings unless the mistake shows as the symptom says, and is gone with the solution."""
    trial.begin(exercise.stage)
    if trial.device == "cpu" or not exercise.symptom.error:
        yield from _symptom(trial, exercise)
    yield from _solution(trial, exercise)


def _symptom(trial: ExerciseTrial, exercise: Repair) -> Iterator[Finding]:
    symptom, epochs = exercise.symptom, exercise.epochs
    ran = _run(trial, exercise, "code")
    if isinstance(ran, str):
        yield from _raised(trial, exercise, ran)
        return
    if symptom.error:
        what = f"`code` of `{exercise.id}` raises nothing in {epochs} epochs; put the mistake "
        yield trial.finding(f"{what}into `code`, or fix `symptom`", "symptom.error")
    elif not trial.is_true(ran, symptom.condition, "symptom.condition"):
        what = f"after {epochs} epochs of `code` of `{exercise.id}` this does not hold; "
        advice = "say what does go wrong, or put the mistake into `code`"
        yield trial.finding(what + advice, "symptom.condition")
    if holds(*ran.evaluate([exercise.condition])):
        what = f"the condition of `{exercise.id}` holds with the mistake in `code`, too"
        yield trial.finding(f"{what}; ask for more", "condition")


def _raised(trial: ExerciseTrial, exercise: Repair, error: str) -> Iterator[Finding]:
    """The findings where the code with the mistake raises another error than the symptom."""
    wanted = " ".join(exercise.symptom.error.split())
    if not wanted:
        what = f"`code` of `{exercise.id}` can't be run ({error})"
        advice = "write `symptom: {error: part of that}`"
        yield trial.finding(f"{what}; {advice}", "symptom.condition", "symptom")
    elif wanted not in " ".join(error.partition(" raised ")[2].split()):
        what = f"this is no part of the error that `code` of `{exercise.id}` raises"
        yield trial.finding(f"{what}; copy a part of it: {error}", "symptom.error")


def _solution(trial: ExerciseTrial, exercise: Repair) -> Iterator[Finding]:
    """Findings unless the condition holds with `solution`, which may do more than the lesson."""
    epochs, ran = exercise.epochs, _run(trial, exercise, "solution")
    if isinstance(ran, str):
        what = f"`solution` of `{exercise.id}` can't be run for {epochs} epochs"
        yield trial.finding(f"{what}; correct it: {ran}", "solution")
    elif not trial.is_true(ran, exercise.condition, "condition"):
        what = f"after {epochs} epochs of `solution` of `{exercise.id}` the condition does not hold"
        advice = "correct `solution` or `condition`, or give it more `epochs`"
        yield trial.finding(f"{what}; {advice}", "solution")


def _run(trial: ExerciseTrial, exercise: Repair, key: str) -> Run | str:
    """The run of its `code` or its `solution`, or what that raised."""
    code = exercise.code if key == "code" else exercise.solution_code
    line = exercise.lines.get(key, exercise.line)
    trial.on_part(LessonPart(line, exercise=exercise.id, key=key))
    try:
        return trial.from_the_start(exercise.stage, exercise.epochs, code)
    except RunError as error:
        return said_by(error)


# ── autograd ────────────────────────────────────────────────────────────────────────


def _be_autograd(trial: ExerciseTrial, exercise: BeAutograd) -> Iterator[Finding]:
    """Findings unless there are a few questions, each with a number for an answer."""
    run = trial.begin(exercise.stage)
    probe = Probe(run.program, run.device, run.learning_rate, run.settings.seed)
    try:
        local = local_gradients(probe, run.standpoint())
    except RunError as error:
        raise trial.failure("there is no graph", error, "at") from error
    if not local.steps:
        finding = trial.finding("there is nothing to ask here", "at", "mode")
        yield msgspec.structs.replace(finding, why=local.why)
    if (count := len(local.steps)) > MOST_STEPS:
        what = f"there are {count} questions here, more than {MOST_STEPS}; take a smaller graph"
        yield trial.finding(what, "at", "mode")
    for step in local.steps:
        if not math.isfinite(step.expected):
            asked = (
                f"the gradient in `{step.input}`" if step.asks == "total" else f"`{step.output}`"
            )
            yield trial.finding(f"{asked} has no finite answer ({step.expected})", "set", "at")
