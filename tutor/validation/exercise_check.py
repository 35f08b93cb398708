"""The check of a lesson's exercises: each can begin, can be answered, and can be solved.

An ExerciseTrial is one try at an exercise. A `predict` is checked at every place where it is asked.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import msgspec

from tutor.analysis.local_gradients import local_gradients
from tutor.errors import RunError, WorkingError
from tutor.lesson import working
from tutor.lesson.code_checks import known_names, slips
from tutor.lesson.exercise import (
    EXERCISE_NAMES,
    Backpropagate,
    Exercise,
    Predict,
    Reach,
    Repair,
    Stage,
    StartPlace,
)
from tutor.lesson.model import Lesson
from tutor.protocol.events import CheckFinding, LessonPart
from tutor.protocol.frame import Remark, Value
from tutor.training.devices import is_out_of_memory
from tutor.training.exercises import (
    as_answer,
    can_be_answer,
    close,
    expected_text,
    holds,
    is_right,
    is_truth,
    position_of,
    recipe_of,
    with_code,
)
from tutor.training.history import History
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.probe import Probe
from tutor.training.program import Program, UnheardOutput, programs_of
from tutor.training.run import Run

OnPart: TypeAlias = Callable[[LessonPart], object]
"""Called with the part that is checked next: it may never come to its end."""


def ignore_progress(part: LessonPart) -> None:
    """An OnPart that does nothing."""


class EndError(Exception):
    """An exercise can't be tried out any further; `finding` is the reason."""

    def __init__(self, finding: CheckFinding) -> None:
        super().__init__(finding)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class ExerciseTrial:
    """An exercise, the lesson it is in, and that lesson's programs."""

    lesson: Lesson
    programs: Mapping[str, Program]
    exercise: Exercise
    on_part: OnPart = ignore_progress
    device: str = "cpu"

    def finding(
        self, code: str, *keys: str, cause: Remark | None = None, **values: Any
    ) -> CheckFinding:
        """A finding on the line of the first of these keys that the author has written."""
        lines = self.exercise.lines
        line = next((lines[key] for key in keys if key in lines), self.exercise.line)
        remark = Remark(code, values)
        return CheckFinding(path=str(self.lesson.path), line=line, remark=remark, cause=cause)

    def failure(self, code: str, error: RunError, *keys: str) -> EndError:
        """The end of a trial: what the run could not do, and why. Raises the error if stopped."""
        return EndError(self.finding(code, *keys, cause=reason_of(error)))

    def begin(self, stage: Stage, again: str = "") -> Run:
        """A run that stands at `stage`. `again`: the entry that the stage belongs to, if any.

        Raises EndError.
        """
        try:
            return self._run_at(self.lesson, self.programs, stage)
        except RunError as error:
            keys = ("at", "set") if isinstance(error, LessonRaised) else ("set", "at")
            own = [f"{again}.{key}" for key in keys] if again else []
            raise self.failure("cannot_begin", error, *own, again, *keys) from error

    def from_the_start(self, stage: Stage, epochs: int, code: str | None = None) -> Run:
        """The run of a stage after `epochs` epochs; with other code for a Repair's phase.

        Raises RunError.
        """
        lesson, programs = self.lesson, self.programs
        if code is not None:
            lesson = with_code(lesson, stage.mode, self.exercise.phase, code)  # type: ignore[union-attr]
            programs = programs_of(lesson, [stage.mode])
        run = self._run_at(lesson, programs, msgspec.structs.replace(stage, at=StartPlace()))
        run.run_to_without_frame(epochs)
        return run

    def _run_at(self, lesson: Lesson, programs: Mapping[str, Program], stage: Stage) -> Run:
        recipe, place = recipe_of(lesson, stage, self.device), position_of(lesson, stage)
        # No keyframes: a trial does not go back.
        return Run.from_recipe(programs, recipe, place, history=History(spacing=math.inf))

    def is_true(self, run: Run, condition: str, *keys: str) -> bool:
        """Whether a condition holds. Raises EndError if it is neither True nor False."""
        (value,) = run.evaluate([condition])
        if not is_truth(value):
            if "is ambiguous" in value.text:  # Python's words for an array where a truth has to be
                raise EndError(self.finding("truth_of_array", *keys))
            raise EndError(self.finding("no_truth", *keys, value=unexpected(value)))
        return bool(value.data[0])


def unexpected(value: Value) -> tuple[str, dict[str, Any]]:
    """A value that can't be an answer, as a code with parameters: a parameter of a finding."""
    if value.dtype == "text":
        return "none", {"reason": value.why or value.text}
    if value.dtype == "str":
        return "text", {"text": value.text}
    if value.size != 1 and value.shape:
        return "array", {"shape": value.shape}
    if not value.data:
        return "other", {"text": value.text}
    if value.dtype == "bool":
        return "other", {"text": str(bool(value.data[0]))}
    return "number", {"number": value.data[0]}


def reason_of(error: RunError) -> Remark:
    """The error of the lesson, or the refusal.

    Raises the error itself if somebody has stopped it (Ctrl+C): no lesson is to blame for that.
    """
    raise_if_stopped(error)
    if not isinstance(error, LessonRaised):
        return Remark.of(error)
    return error.remark()


MOST_QUESTIONS = 20
"""Questions that a backward pass may have."""


def check_exercises(
    lesson: Lesson,
    programs: Mapping[str, Program],
    on_part: OnPart = ignore_progress,
    device: str = "cpu",
) -> Iterator[CheckFinding]:
    """All that is wrong with the exercises that begin in a mode of `programs`. Runs their code.

    On another `device` than the CPU, code with a mistake that raises is left out: the words of an
    error differ there, and an assertion in a kernel ends all work on a GPU.
    """
    for exercise in lesson.exercises:
        if exercise.stage.mode in programs:
            on_part(LessonPart(exercise.line, exercise=exercise.id))
            yield from _findings_on(ExerciseTrial(lesson, programs, exercise, on_part, device))


def answers(lesson: Lesson) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The id of each prediction, with its answer at each stage. Runs the lesson's code."""
    programs = programs_of(lesson)
    for exercise in lesson.exercises:
        if isinstance(exercise, Predict):
            trial = ExerciseTrial(lesson, programs, exercise)
            stages = [exercise.stage, *(again.stage for again in exercise.again)]
            yield exercise.id, tuple(_answer(trial, exercise, stage) for stage in stages)


def _answer(trial: ExerciseTrial, exercise: Predict, stage: Stage) -> str:
    """The answer as a learner could give it; empty if there is none."""
    try:
        run = trial.begin(stage)
        run.step_phase_without_frame()
        (value,) = run.evaluate([exercise.answer])
    except EndError:
        return ""
    except RunError as error:
        reason_of(error)  # raises it if somebody has stopped it
        return ""
    return expected_text(exercise, value)


def _findings_on(trial: ExerciseTrial) -> list[CheckFinding]:
    """The findings on one exercise. Output of its broken code is discarded."""
    found: list[CheckFinding] = []
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
            found.append(trial.finding("no_memory"))
    return found


def _findings(trial: ExerciseTrial) -> Iterator[CheckFinding]:
    if misnamed := list(_misnamed(trial)):
        yield from misnamed  # to play it would say no more than that it has no value
        return
    match trial.exercise:
        case Predict() as exercise:
            yield from _predict(trial, exercise)
        case Reach() as exercise:
            yield from _reach(trial, exercise)
        case Repair() as exercise:
            yield from _repair(trial, exercise)
        case Backpropagate() as exercise:
            yield from _backpropagate(trial, exercise)
        case exercise:
            trial.begin(exercise.stage)


def _misnamed(trial: ExerciseTrial) -> Iterator[CheckFinding]:
    """Names in its expressions that no mode binds."""
    lesson, exercise = trial.lesson, trial.exercise
    more = [exercise.code, exercise.solution_code] if isinstance(exercise, Repair) else []
    known = known_names(lesson, lesson.modes, more)
    if known:
        known = known.union(EXERCISE_NAMES)
    parameters = {name for names in lesson.parameters.values() for name in names}
    for key, expression in exercise.expressions():
        for slip in slips(expression, known, parameters):
            yield trial.finding("misnamed", key, id=exercise.id, slip=slip)


# ── predict ─────────────────────────────────────────────────────────────────────────


def _predict(trial: ExerciseTrial, exercise: Predict) -> Iterator[CheckFinding]:
    """Findings unless the question has an answer each time, and no wrong answer is right.

    Where it is asked again, the answer is another number. Raises EndError.
    """
    first = yield from _asked(trial, exercise)
    if first is None:
        return
    for number in range(len(exercise.again)):
        value = yield from _asked(trial, exercise.asked_in(number + 1), f"again.{number}")
        if exercise.form == "number" and value is not None and _is_same(exercise, first, value):
            yield trial.finding(
                "asked_again_alike",
                *(f"again.{number}", "answer"),
                answer=value.data[0],
                has_again="again" in exercise.lines,
            )


def _asked(
    trial: ExerciseTrial, asked: Predict, again: str = ""
) -> Generator[CheckFinding, None, Value | None]:
    """The answer to one asking; None after any finding. `again` is the key of the repetition."""
    expressions = [asked.answer, *(wrong.value for wrong in asked.wrong)]
    run = trial.begin(asked.stage, again)
    sources = working.leaves(asked.working) if asked.working else ()
    leaves = dict(zip(sources, run.evaluate(sources), strict=True))
    _step(trial, run, again)
    answer, *mistaken = run.evaluate(expressions)
    if not can_be_answer(asked, answer):
        yield _unfit(trial, asked, "answer_unfit", answer, again, again, "answer")
        return None
    if leaves and (wrong := _wrong_working(asked, leaves, answer)):
        yield trial.finding(wrong.code, "working", again=bool(again), **wrong.values)
    has_own = f"{again}.wrong" in asked.lines
    if again and asked.form != "number" and not has_own:
        return answer  # there a wrong answer of the first question may well be the right one
    found = [*_wrong(trial, asked, answer, mistaken, again)]
    yield from found
    return None if found else answer


def _wrong(
    trial: ExerciseTrial, asked: Predict, answer: Value, mistaken: Sequence[Value], again: str
) -> Iterator[CheckFinding]:
    """Findings unless the wrong answers are answers, none is right, and each is another."""
    path = f"{again}.wrong" if f"{again}.wrong" in asked.lines else "wrong"
    good: list[tuple[int, Value]] = []
    for number, value in enumerate(mistaken):
        key = f"{path}.{number}.value"
        if not can_be_answer(asked, value):
            yield _unfit(trial, asked, "wrong_unfit", value, again, key)
        elif _is_same(asked, answer, value):
            right = _said(asked, value)
            yield trial.finding("wrong_is_right", key, again=bool(again), answer=right)
        else:
            good.append((number, value))
    for (one, value), (other, same) in combinations(good, 2):
        if _is_same(asked, value, same):
            line = asked.lines.get(f"{path}.{one}.value", asked.line)
            values: dict[str, Any] = {
                "again": bool(again),
                "answer": _said(asked, same),
                "line": line,
            }
            yield trial.finding("wrong_twice", f"{path}.{other}.value", **values)


def _step(trial: ExerciseTrial, run: Run, again: str) -> None:
    """Run the phase in question. Raises EndError."""
    try:
        run.step_phase_without_frame()
    except RunError as error:
        raise trial.failure("phase_fails", error, f"{again}.at", again, "at") from error


PRINTED = 1e-4
"""The distance of a working from its answer, relative to it, that does not show in print."""


def _wrong_working(exercise: Predict, leaves: Mapping[str, Value], answer: Value) -> Remark | None:
    """The reason why a working, of leaves as before the phase, can't be shown; None if it can."""
    for source, value in leaves.items():
        if not value.is_finite or len(value.data) != value.size:
            return Remark("working_of_no_number", {"source": source, "value": unexpected(value)})
    try:
        found = working.result(exercise.working, {s: value.data for s, value in leaves.items()})
    except WorkingError as error:
        return Remark(error.code, error.values)
    if close(found, answer.data[0], min(exercise.tolerance, PRINTED)):
        return None
    return Remark("working_differs", {"found": found, "answer": answer.data[0]})


def _said(exercise: Predict, value: Value) -> str | float:
    """An answer as a parameter of a finding."""
    return value.data[0] if exercise.form == "number" else expected_text(exercise, value)


def _unfit(
    trial: ExerciseTrial, asked: Predict, code: str, value: Value, again: str, *keys: str
) -> CheckFinding:
    """The finding on a value that can't be given as an answer."""
    found, choices = unexpected(value), list(asked.choices)
    return trial.finding(code, *keys, again=bool(again), value=found, choices=choices)


def _is_same(exercise: Predict, right: Value, value: Value) -> bool:
    """Whether `value` would be taken for `right`."""
    return is_right(exercise, right, as_answer(exercise, value))


# ── reach ───────────────────────────────────────────────────────────────────────────


def _reach(trial: ExerciseTrial, exercise: Reach) -> Iterator[CheckFinding]:
    """Findings unless the solution meets the condition, and neither the start nor waiting does."""
    condition, epochs = exercise.condition, exercise.solution.epochs
    start = trial.begin(exercise.stage)
    # What can't be evaluated yet (an index into no losses) is not met yet.
    if holds(*start.evaluate([condition])):
        yield trial.finding("met_at_start", "condition")
        return
    try:
        waited = trial.from_the_start(exercise.stage, epochs)
    except RunError as error:
        reason_of(error)  # what can't even run so far is not met by waiting
    else:
        if trial.is_true(waited, condition, "condition"):
            yield trial.finding("met_by_waiting", "condition", epochs=epochs)
    try:
        solved = trial.from_the_start(_solved(exercise), epochs)
    except RunError as error:
        yield trial.failure("solution_fails", error, "solution").finding
        return
    if not trial.is_true(solved, condition, "condition"):
        yield trial.finding("solution_misses", "solution", epochs=epochs)


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


def _repair(trial: ExerciseTrial, exercise: Repair) -> Iterator[CheckFinding]:
    """Findings unless the mistake shows as the symptom says, and is gone with the solution."""
    trial.begin(exercise.stage)
    if trial.device == "cpu" or not exercise.symptom.error:
        yield from _symptom(trial, exercise)
    yield from _solution(trial, exercise)


def _symptom(trial: ExerciseTrial, exercise: Repair) -> Iterator[CheckFinding]:
    symptom = exercise.symptom
    ran = _run(trial, exercise, "code")
    if isinstance(ran, Remark):
        yield from _raised(trial, exercise, ran)
        return
    if symptom.error:
        yield trial.finding("mistake_raises_nothing", "symptom.error", **_about(exercise))
    elif not trial.is_true(ran, symptom.condition, "symptom.condition"):
        yield trial.finding("mistake_not_seen", "symptom.condition", **_about(exercise))
    if holds(*ran.evaluate([exercise.condition])):
        yield trial.finding("met_with_mistake", "condition", id=exercise.id)


def _raised(trial: ExerciseTrial, exercise: Repair, error: Remark) -> Iterator[CheckFinding]:
    """The findings where the code with the mistake raises another error than the symptom."""
    wanted, id_ = " ".join(exercise.symptom.error.split()), exercise.id
    if not wanted:
        yield trial.finding("mistake_raises", "symptom.condition", "symptom", cause=error, id=id_)
    elif wanted not in " ".join(_text_of(error).split()):
        yield trial.finding("mistake_raises_other", "symptom.error", cause=error, id=id_)


def _text_of(error: Remark) -> str:
    """The type and text of the exception that a phase has raised; empty if it is none."""
    _, values = error.values.get("error", ("", {}))
    return str(values.get("text", ""))


def _solution(trial: ExerciseTrial, exercise: Repair) -> Iterator[CheckFinding]:
    """Findings unless the condition holds with `solution`, which may do more than the lesson."""
    ran = _run(trial, exercise, "solution")
    if isinstance(ran, Remark):
        yield trial.finding("repair_fails", "solution", cause=ran, **_about(exercise))
    elif not trial.is_true(ran, exercise.condition, "condition"):
        yield trial.finding("repair_misses", "solution", **_about(exercise))


def _about(exercise: Repair) -> dict[str, Any]:
    return {"id": exercise.id, "epochs": exercise.epochs}


def _run(trial: ExerciseTrial, exercise: Repair, key: str) -> Run | Remark:
    """The run of its `code` or its `solution`, or the error that it raised."""
    code = exercise.code if key == "code" else exercise.solution_code
    line = exercise.lines.get(key, exercise.line)
    trial.on_part(LessonPart(line, exercise=exercise.id, key=key))
    try:
        return trial.from_the_start(exercise.stage, exercise.epochs, code)
    except RunError as error:
        return reason_of(error)


# ── autograd ────────────────────────────────────────────────────────────────────────


def _backpropagate(trial: ExerciseTrial, exercise: Backpropagate) -> Iterator[CheckFinding]:
    """Findings unless there are a few questions, each with a number for an answer."""
    run = trial.begin(exercise.stage)
    probe = Probe(run.program, run.device, run.learning_rate, run.settings.seed)
    try:
        local = local_gradients(probe, run.standpoint())
    except RunError as error:
        raise trial.failure("no_graph", error, "at") from error
    if not local.questions:
        yield trial.finding("nothing_to_ask", "at", "mode", cause=local.why)
    if (count := len(local.questions)) > MOST_QUESTIONS:
        yield trial.finding("too_many_questions", "at", "mode", count=count, most=MOST_QUESTIONS)
    for question in local.questions:
        if not math.isfinite(question.expected):
            is_total = question.asks == "total"
            code = "gradient_not_finite" if is_total else "local_not_finite"
            quantity = question.input if is_total else question.output
            yield trial.finding(code, "set", "at", of=quantity, expected=question.expected)
