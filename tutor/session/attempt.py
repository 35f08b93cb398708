"""One attempt at an exercise as frozen data, the reply to an answer, and the code that it names.

A reply is a code and its parameters; `tutor.wording` makes the sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, TypeAlias

import msgspec

from tutor.lesson.code_checks import bound_in
from tutor.lesson.exercise import Exercise, Predict, Repair
from tutor.lesson.library import is_shipped
from tutor.lesson.model import UPDATE, DisplayFormula, Lesson, Section
from tutor.protocol.events import LessonFailed, StoppedAt
from tutor.protocol.inspections import LocalGradientQuestion
from tutor.script.line_places import cells_in, code_at, place_in
from tutor.session.bookmark import UnfinishedRun
from tutor.session.goal_progress import Marks
from tutor.session.run_view import RunView


class Reply(msgspec.Struct, frozen=True):
    """The reply to an answer: a code and its parameters."""

    code: str
    values: Mapping[str, Any] = msgspec.field(default_factory=dict)


class CodePlace(msgspec.Struct, frozen=True):
    """A line of a lesson's code, as the learner can find it."""

    phase: str
    line: int | None = None
    """Its number in the lesson's file; in the editor where the code is the learner's own."""
    code: str = ""
    """The line itself, to be quoted in an exercise: the file is not in view there."""
    is_own: bool = False
    """Whether it is the code that the learner fixes."""
    in_cell: str = ""
    """The line in a notebook's cell: `[3]:2`."""

    @property
    def is_in_file(self) -> bool:
        """Whether the line's number in the file says where it is."""
        return bool(self.line) and not self.is_own and not self.code


def code_place(exercise: Exercise, lesson: Lesson, at: LessonFailed | StoppedAt) -> CodePlace:
    """The place in an exercise's code; `lesson` is as its file has it."""
    if at.phase == phase_to_fix(exercise):
        return CodePlace(at.phase, at.line, is_own=True)
    code = code_at(lesson, at.line)
    return CodePlace(at.phase, at.line if code else None, code)


def file_place(lesson: Lesson | None, at: LessonFailed | StoppedAt) -> CodePlace:
    """The place in the code of a lesson or a script, where no exercise is on."""
    if lesson and at.line and cells_in(lesson.path, lesson.source):
        return CodePlace(at.phase, at.line, in_cell=place_in(lesson)(at.line))
    # The file of a lesson that came with the tutor is not at hand: its line is quoted.
    code = code_at(lesson, at.line) if lesson and is_shipped(lesson.path) else ""
    return CodePlace(at.phase, at.line, code)


def phase_to_fix(exercise: Exercise | None) -> str | None:
    """The phase whose code the learner fixes; None where they fix none."""
    return exercise.phase if isinstance(exercise, Repair) else None


AttemptState: TypeAlias = Literal["opening", "asking", "judging", "wrong", "done"]
"""Its run is being set up; an answer is awaited; an answer is being checked on the run; the
answer was wrong (`go_on` asks again: a Predict with other numbers); it is done."""


class Wants(Enum):
    """The sort of answer that an exercise wants; what sets it apart is asked of its properties.

    NUMBER, SIGN and CHOICE are the forms of a Predict; a Backpropagate wants a NUMBER, too, and a
    Choose a CHOICE.
    """

    NUMBER = "number"
    SIGN = "sign"
    CHOICE = "choice"
    """One of `choices`."""
    CODE = "code"
    """Code that the learner fixes in an editor."""
    GOAL = "goal"
    """Nothing that is given: a condition that the run has to meet."""

    @property
    def is_typed(self) -> bool:
        """Whether an answer is typed into the field."""
        return self in (Wants.NUMBER, Wants.SIGN)

    @property
    def is_picked(self) -> bool:
        """Whether an answer is one of the choices."""
        return self is Wants.CHOICE

    @property
    def is_answer(self) -> bool:
        """Whether the learner answers a question; else they do a task."""
        return self.is_typed or self.is_picked

    @property
    def is_edited(self) -> bool:
        """Whether the learner edits code."""
        return self is Wants.CODE


class Attempt(msgspec.Struct, frozen=True):
    """One attempt at an exercise."""

    exercise: Exercise
    number: int
    """The exercise's place among the lesson's, from 1."""
    count: int
    state: AttemptState
    wants: Wants
    ask: str
    """The question, in the lesson's own Markdown; of a Backpropagate, what comes first."""
    choices: tuple[str, ...] = ()
    """Markdown; they are picked by their number, from 1."""
    asks_what_comes: bool = False
    """Whether it asks for the result of the next phase: then no pane may show that result yet."""
    question_number: int = 0
    """The number of a Backpropagate's question, from 1; 0 elsewhere."""
    question_count: int = 0
    asked_of: LocalGradientQuestion | None = None
    """The operation that a Backpropagate asks about; None before its first question."""
    answer: str = ""
    """The learner's last answer, as it is compared."""
    reply: Reply | None = None
    """The reply to the last answer."""
    was_right: bool | None = None
    """Whether the last answer was right, where the same question stays or another one follows.

    None before the first.
    """
    round: int = 0
    """The number of times that a Predict has been asked again."""
    tries: int = 0
    hints: tuple[str, ...] = ()
    """Those that have been asked for so far. Markdown."""
    solution: Reply | None = None
    """The solution, once it has been asked for; `number` in it is the right choice's."""
    explain: str = ""
    """After success. Markdown."""
    is_met: bool | None = None
    """Whether a Reach's condition holds where the run rests; None: not known yet."""
    is_missed: bool = False
    """Whether this run can't meet a Reach's condition any more."""
    marks: Marks = ()
    """The state of each comparison of a Reach; empty where that is not known."""
    unread: str = ""
    """The last answer, if it could not be read; `reply` says so."""
    typed: str = ""
    """The text in the field, not answered yet."""
    code: str = ""
    """The code of a Repair as it was left. It runs, unless it is from elsewhere."""
    is_from_elsewhere: bool = False
    """Whether a Repair's code was not typed on this machine, and nobody has agreed to it.

    It is shown, and stays so when it is changed; to run it takes a word of the learner.
    """
    was_stopped: bool = False
    """Whether a Repair's code had to be stopped the last time that it ran."""
    is_editing: bool = False
    """Whether a Repair's code is open in the editor."""
    run: UnfinishedRun | None = None
    """The run of a Reach as it was left, until it is opened again."""

    @property
    def asked(self) -> Exercise:
        """The exercise as it is asked now: a Predict has other numbers in each round."""
        exercise = self.exercise
        return exercise.asked_in(self.round) if isinstance(exercise, Predict) else exercise

    @property
    def is_about_run(self) -> bool:
        """Whether it is about the run as it stands; a choice may be about anything."""
        return self.asks_what_comes or not self.wants.is_answer

    @property
    def is_solution_shown(self) -> bool:
        """Whether the solution has been asked for."""
        return self.solution is not None

    @property
    def hints_left(self) -> int:
        """The number of hints that are not shown yet."""
        return len(self.asked.hints) - len(self.hints)

    @property
    def may_see_solution(self) -> bool:
        """Whether the solution may be shown: after a try."""
        return self.tries > 0


def asks_what_comes(attempt: Attempt | None) -> bool:
    """Whether the question is about the result of the next phase, and open."""
    is_open = ("opening", "asking")
    return attempt is not None and attempt.asks_what_comes and attempt.state in is_open


def asks_of_forward_pass(attempt: Attempt | None, view: RunView) -> bool:
    """Whether a value of the forward pass is asked for: the graph holds it already."""
    return asks_what_comes(attempt) and view.is_before_gradient


def may_show_plots(attempt: Attempt | None, view: RunView) -> bool:
    """Whether no plot but that of the losses may hold the answer to the open question.

    They show the forward pass before it has run, and from the gradient on where the update leads.
    """
    if not asks_what_comes(attempt):
        return True
    return view.next_phase == view.lesson.gradient_phase(view.mode)


_READ = re.compile(r"([^\W\d]\w*)(\[-?\d+(, ?-?\d+)*\])*(\.item\(\))?")
"""A value of a variable, or of an element of it."""


def shown_values(
    block: DisplayFormula, attempt: Attempt | None, section: Section, view: RunView
) -> tuple[str, ...]:
    """The expressions of a formula that may be shown: all, unless its phase's result is asked for.

    Then only what stands before the formula's last `=`, and what only reads a variable that the
    phase leaves as it is.
    """
    if not is_asked_for(attempt, section, view):
        return block.boxed
    lesson, mode, phase = view.lesson, view.mode, section.phase or ""
    bound = bound_in(lesson.sections, phase, mode)
    changed = {*(bound or ()), *(lesson.parameters[mode] if phase == UPDATE else ())}
    count = block.latex.rpartition("=")[0].count(r"\boxed")
    before = block.boxed[:count] if count < len(block.boxed) else ()
    reads = ((e, _READ.fullmatch(e)) for e in block.boxed)
    given = {e for e, read in reads if read and read[1] not in changed and bound is not None}
    return tuple(e for i, e in enumerate(block.boxed) if i < len(before) or e in given)


def is_asked_for(attempt: Attempt | None, section: Section, view: RunView) -> bool:
    """Whether an open question asks for the result of this section's phase."""
    return asks_what_comes(attempt) and bool(section.phase) and section.phase == view.next_phase
