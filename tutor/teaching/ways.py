"""The way through an exercise, one for each kind: what is asked, and how an answer is checked.

Knows the desk (the attempt and its run); nothing of which exercise comes before or after, and
nothing of keys, widgets and streams. Whatever is expected is evaluated in the live run.
"""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from tutor.engine.messages import (
    AnyCommand,
    AnyEvent,
    BackPhase,
    Derive,
    Derived,
    Ended,
    Evaluate,
    Evaluated,
    Failed,
    Refused,
    RunTo,
    Shown,
    StepPhase,
)
from tutor.lesson import code_checks
from tutor.lesson.exercise import (
    BeAutograd,
    Choose,
    Exercise,
    Predict,
    Reach,
    Repair,
    Stage,
)
from tutor.teaching import said
from tutor.teaching.attempt import Wants
from tutor.teaching.desk import Desk
from tutor.teaching.goal import goal_of
from tutor.training import answers
from tutor.training.frame import Frame, Position
from tutor.training.sights import LocalStep
from tutor.training.stage import position_of

E = TypeVar("E", bound=Exercise)


class Way(Generic[E]):
    """The way that all kinds go: a run is set up, then an answer is awaited."""

    wants: ClassVar[Wants] = "number"

    def __init__(self, exercise: E, desk: Desk) -> None:
        self.exercise = exercise
        self.desk = desk

    @property
    def stage(self) -> Stage:
        """The run that is asked about."""
        return self.exercise.stage

    @property
    def place(self) -> Position:
        """Where it is asked."""
        return position_of(self.desk.lesson, self.stage)

    def begin(self) -> None:
        """Set up the run, and ask."""
        self.desk.open(self.stage, self.opened)

    def opened(self, event: AnyEvent) -> None:
        """The run stands, or can't be set up."""
        if isinstance(event, Refused):
            self.desk.set(reply=f"It can't be set up: {said.reason(event)}")
        if self.desk.attempt.state == "opening":
            self.desk.set(state="asking")

    def answer(self, text: str) -> None:
        """Check what was typed. Raises ValueError, fit to show, if it can't be read."""

    def go_on(self) -> None:
        """Ask again after a wrong answer, where that is another question."""

    def rested(self, command: AnyCommand | None) -> None:
        """The run has come to rest somewhere."""

    def ended(self, event: Ended) -> None:
        """The process that ran it has ended; if another comes, begin there."""
        if event.restarting:
            self.begin()

    def show_solution(self) -> None:
        """How it is done."""
        self.desk.set(solution=self.solution())
        self.desk.did("shown")

    def solution(self) -> str:
        """In words or code."""
        return ""


class PredictWay(Way[Predict]):
    """Says what the next phase will compute; then the phase runs."""

    def begin(self) -> None:
        """Set up the run that is asked about now."""
        seen = len(self.desk.attempt.hints)
        self.desk.set(ask=self.asked.ask, hints=self.asked.hints[:seen])
        super().begin()

    @property
    def asked(self) -> Predict:
        """Each time it is asked, other numbers."""
        return self.exercise.asked_in(self.desk.attempt.round)

    @property
    def stage(self) -> Stage:
        """That of the question that is asked now."""
        return self.asked.stage

    def answer(self, text: str) -> None:
        """Let the phase run, and look."""
        answer = _read(self.exercise, text)
        self.desk.set(state="judging", said=answer, reply="")
        moment = self.desk.talk.moment
        if moment is None or moment.frame is None or moment.frame.at != self.place:
            self.desk.open(self.stage, lambda _: None)
        self.desk.ask(StepPhase(), self._stepped)

    def _stepped(self, event: AnyEvent) -> None:
        if isinstance(event, Shown):
            wrong = (wrong.value for wrong in self.asked.wrong)
            self.desk.ask(Evaluate(expressions=(self.exercise.answer, *wrong)), self._judge)
        else:
            self.desk.set(state="asking", reply=said.reason(event))

    def _judge(self, event: AnyEvent) -> None:
        if not isinstance(event, Evaluated):
            self.desk.set(state="asking", reply=said.reason(event))
            return
        value, *mistaken = event.values
        given = self.desk.attempt.said
        self.desk.tried()
        if answers.is_right(self.exercise, value, given):
            self.desk.succeed(said.outcome(self.exercise, given, value))
        else:
            reply = answers.matching_reply(self.asked, given, mistaken)
            self.desk.set(state="wrong", reply=said.outcome(self.exercise, given, value, reply))

    def go_on(self) -> None:
        """The same question with other numbers."""
        asked = self.desk.attempt.round + 1
        self.desk.set(state="opening", round=asked, said="", reply="", solution="")
        self.begin()

    def show_solution(self) -> None:
        """Run the phase to see what comes out; then, if it is still asked for, back again."""
        if self.desk.attempt.state != "asking":
            self.desk.ask(Evaluate(expressions=(self.exercise.answer,)), self._solved)
            return
        self.desk.set(state="judging")
        self.desk.ask(StepPhase(), lambda _: None)
        self.desk.ask(Evaluate(expressions=(self.exercise.answer,)), self._solved)
        self.desk.ask(BackPhase(), lambda _: self.desk.set(state="asking"))

    def _solved(self, event: AnyEvent) -> None:
        if isinstance(event, Evaluated):
            value = said.answer(self.exercise, event.values[0])
            self.desk.set(solution=f"{value}, which is {self.solution()}")
            self.desk.did("shown")

    def solution(self) -> str:
        """What is evaluated."""
        return said.literal(self.exercise.answer)


class SignWay(PredictWay):
    """Says the sign alone."""

    wants = "sign"


class ChoiceWay(PredictWay):
    """Picks what will come."""

    wants = "choice"


class ReachWay(Way[Reach]):
    """Changes the run until a condition holds; looked at wherever it comes to rest."""

    wants = "condition"

    def __init__(self, exercise: Reach, desk: Desk) -> None:
        super().__init__(exercise, desk)
        self._goal = goal_of(exercise.condition)

    def opened(self, event: AnyEvent) -> None:
        """The run stands: does the condition hold?"""
        super().opened(event)
        self.rested(None)

    def again(self, seed: int | None = None) -> None:
        """From the start, under the settings that hold now; with another seed if one is given."""
        self.desk.open(self.stage, self.opened, keep_settings=True, seed=seed)

    def rested(self, command: AnyCommand | None) -> None:
        """Does it hold here?"""
        if self.desk.attempt.state == "asking":
            asked = Evaluate(expressions=(self.exercise.condition, *self._goal.expressions))
            self.desk.ask(asked, lambda event: self._met(event, isinstance(command, RunTo)))

    def _met(self, event: AnyEvent, has_run: bool) -> None:
        if not isinstance(event, Evaluated) or self.desk.attempt.state != "asking":
            return
        condition, *values = event.values
        is_met = answers.holds(condition)
        self.desk.set(is_met=is_met, marks=self._goal.marks(values))
        if has_run or is_met:
            self.desk.tried()
        if is_met:
            self.desk.succeed("")

    def solution(self) -> str:
        """The settings."""
        return said.reach_solution(self.exercise.solution)


class RepairWay(Way[Repair]):
    """Mends a phase's code; it is run, and a condition has to hold then."""

    wants = "code"

    def __init__(self, exercise: Repair, desk: Desk) -> None:
        super().__init__(exercise, desk)
        self._goal = goal_of(exercise.condition)
        desk.set(code=desk.draft() or exercise.code)

    def begin(self) -> None:
        """Set up the run with the code as the learner left it."""
        self.desk.open(self.stage, self._begun, code=self.desk.attempt.code)

    def _begun(self, event: AnyEvent) -> None:
        """Code that was left half mended may be none: then it runs as it was given."""
        if isinstance(event, Shown):
            self.opened(event)
        else:
            self.desk.open(self.stage, self.opened, code=self.exercise.code)

    def edit(self, code: str) -> None:
        """Let this code take the place of the phase's, and run it."""
        self.desk.keep_draft(code)
        if bad := code_checks.why_not_code(code):
            self.desk.set(state="asking", reply=f"Line {bad.line} is not Python: {bad.reason}.")
            return
        self.desk.set(state="judging", reply="")
        self.desk.open(self.stage, self._run, at=Position(0, 0), code=code)

    def _run(self, event: AnyEvent) -> None:
        if isinstance(event, Shown):
            self.desk.ask(RunTo(epoch=self.exercise.epochs), self._ran)
        else:
            self._failed(self._why(event))

    def _ran(self, event: AnyEvent) -> None:
        if not isinstance(event, Shown):
            self._failed(self._why(event))
        elif not self._is_through(event.frame) and not event.frame.diverged:
            self.desk.talk.tell("")  # where it was stopped is said here
            self._failed(said.endless(event.note))
        else:
            asked = Evaluate(expressions=(self.exercise.condition, *self._goal.expressions))
            self.desk.ask(asked, self._judge)

    def _why(self, event: AnyEvent) -> str:
        """An error is told in full once: the one that is to be mended stands above."""
        if isinstance(event, Failed):
            symptom = self.exercise.symptom.error
            is_known = bool(symptom) and symptom in event.message
            return said.code_failed(event, self.exercise.phase, is_known=is_known)
        return said.reason(event)

    def _is_through(self, frame: Frame) -> bool:
        return frame.at.epoch >= self.exercise.epochs and frame.at.step >= frame.steps

    def _judge(self, event: AnyEvent) -> None:
        if isinstance(event, Evaluated) and answers.holds(event.values[0]):
            self.desk.tried()
            self.desk.succeed(said.mended(self.exercise.epochs))
        else:
            values = event.values[1:] if isinstance(event, Evaluated) else ()
            marks = self._goal.marks(values) if values else ()
            self._failed(said.not_mended(self.exercise.epochs, marks))

    def _failed(self, why: str) -> None:
        self.desk.tried()
        self.desk.set(state="asking", reply=why)

    def ended(self, event: Ended) -> None:
        """The code ended its process, or had to be ended: that is its answer."""
        if self.desk.attempt.state == "judging":
            self._failed(said.reason(event))
        if event.restarting:
            # What a learner has written into Setup may be what can't be set up.
            is_setup = self.exercise.phase == "Setup"
            code = self.exercise.code if is_setup else self.desk.attempt.code
            self.desk.open(self.stage, self.opened, code=code)

    def solution(self) -> str:
        """The code without the mistake."""
        return said.block_of_code(self.exercise.solution_code)


class BeAutogradWay(Way[BeAutograd]):
    """Fills in the gradients of the graph, one after the other."""

    def __init__(self, exercise: BeAutograd, desk: Desk) -> None:
        super().__init__(exercise, desk)
        self._steps: tuple[LocalStep, ...] = ()

    @property
    def _step(self) -> LocalStep:
        return self._steps[self.desk.attempt.step - 1]

    def opened(self, event: AnyEvent) -> None:
        """The run stands before its Gradient phase: which questions are there?"""
        super().opened(event)
        if not self._steps:
            self.desk.ask(Derive(), self._derived)

    def _derived(self, event: AnyEvent) -> None:
        if isinstance(event, Derived) and event.local.steps:
            self._steps = event.local.steps
            self.desk.set(steps=len(self._steps))
            step = min(max(1, self.desk.attempt.step), len(self._steps))
            self._ask(step, begins=True)
        else:
            why = event.local.why if isinstance(event, Derived) else said.reason(event)
            self.desk.set(reply=f"There is nothing to fill in: {why}")

    def _ask(self, step: int, *, begins: bool = False) -> None:
        """One question; the exercise's own words stand before the first that is asked."""
        question = said.local_question(self._steps[step - 1])
        task = f"{self.exercise.ask.rstrip()}\n\n" if begins else ""
        self.desk.set(step=step, ask=f"{task}{question}")

    def answer(self, text: str) -> None:
        """One number of the graph."""
        if not self._steps:
            return
        value = answers.read_number(text)
        self.desk.tried()
        self.desk.set(said=said.plain_number(value), solution="")
        attempt, expected = self.desk.attempt, self._step.expected
        if not answers.close(value, expected, self.exercise.tolerance):
            reply = f"It is not {said.plain_number(value)}. {said.local_help(self._step)}"
            self.desk.set(was_right=False, reply=reply)
        elif attempt.step < attempt.steps:
            self.desk.set(was_right=True, reply=f"{said.plain_number(expected)} is right.")
            self._ask(attempt.step + 1)
        else:
            self.desk.set(state="judging")
            self.desk.ask(StepPhase(), lambda _: self.desk.succeed(said.LIKE_AUTOGRAD))

    def solution(self) -> str:
        """The number that is asked for."""
        return said.plain_number(self._step.expected) if self._steps else ""


class ChooseWay(Way[Choose]):
    """Picks one of several answers."""

    wants = "choice"

    def answer(self, text: str) -> None:
        """Say whether it is this one, and why not."""
        choice = self.exercise.choices[_read_choice(text, len(self.exercise.choices))]
        self.desk.tried()
        self.desk.set(said=choice.text)
        if choice.is_right:
            self.desk.succeed(choice.reply)
        else:
            self.desk.set(reply=choice.reply)

    def solution(self) -> str:
        """The right one."""
        return said.right_choice(self.exercise)


AnyWay = PredictWay | ReachWay | RepairWay | BeAutogradWay | ChooseWay


def way_through(exercise: Exercise, desk: Desk) -> AnyWay:
    """The way for an exercise of its kind."""
    match exercise:
        case Predict():
            kinds = {"number": PredictWay, "sign": SignWay, "choice": ChoiceWay}
            return kinds[exercise.form](exercise, desk)
        case Reach():
            return ReachWay(exercise, desk)
        case Repair():
            return RepairWay(exercise, desk)
        case BeAutograd():
            return BeAutogradWay(exercise, desk)
        case Choose():
            return ChooseWay(exercise, desk)


def choices_of(exercise: Exercise) -> tuple[str, ...]:
    """The answers that can be picked; none where one is typed."""
    match exercise:
        case Predict(choices=choices):
            return tuple(choices.values())
        case Choose(choices=picks):
            return tuple(choice.text for choice in picks)
    return ()


def _read(exercise: Predict, text: str) -> str:
    """What was meant, in the form in which it is judged. Raises ValueError, fit to show."""
    match exercise.form:
        case "number":
            return repr(answers.read_number(text))
        case "sign":
            return answers.read_sign(text)
        case "choice":
            return tuple(exercise.choices)[_read_choice(text, len(exercise.choices))]


def _read_choice(text: str, count: int) -> int:
    """Index of the choice that was named by its number from 1. Raises ValueError."""
    typed = text.strip().rstrip(".)")
    if not (typed.isascii() and typed.isdecimal()) or not 1 <= int(typed) <= count:
        raise ValueError(f"Pick one by its number, 1 to {count}.")
    return int(typed) - 1
