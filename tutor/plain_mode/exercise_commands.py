"""The commands of plain mode for exercises."""

from __future__ import annotations

import os
from collections.abc import Callable

from tutor.lesson.exercise import Repair
from tutor.plain_mode import exercise_text
from tutor.plain_mode.commands import (
    CommandContext,
    CommandOutcome,
    Needs,
    TypedCommand,
    UnclearCommandError,
    simple,
    typed,
)
from tutor.plain_mode.run_narrator import CommandKind
from tutor.session.exercise_controller import ExerciseController
from tutor.session.run_view import RunView

LONGEST_CODE = 100_000
"""Characters that are read of a file of code."""


@typed("exercises A")
def _exercises(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """The exercises of this lesson, and which are done."""
    controller = on.session.controller
    return list(exercise_text.listing(controller.exercises, controller.results()))


@typed("exercise a", "[NAME]")
def _exercise(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Begin the first open exercise, or the named one."""
    controller = on.session.controller
    if argument and controller.exercise(argument) is None:
        raise UnclearCommandError(
            f"There is no exercise {argument}. Type exercises for their names."
        )
    controller.begin(argument or None)
    return "begin"


@typed("answer", "ANSWER", needs="exercise")
def answer(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Answer the exercise; you can also type the answer alone."""
    attempt = on.session.attempt
    if attempt is not None and not attempt.wants.is_answer:
        raise UnclearCommandError(exercise_text.ANSWERS[attempt.wants].how)
    if attempt is not None and attempt.state in ("wrong", "done"):
        then = "continue" if attempt.state == "done" else "be asked again"
        raise UnclearCommandError(f"You have already answered this question. Type next to {then}.")
    on.session.controller.answer(argument)
    return "answer"


@typed("edit o", "[FILE]", needs="exercise")
def _edit(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Write the code of a repair, or read it from a file."""
    attempt = on.session.attempt
    exercise = attempt.exercise if attempt else None
    if not isinstance(exercise, Repair):
        raise UnclearCommandError("There is no code to fix in this exercise.")
    code = _code_in(argument) if argument else _typed_code(on, exercise.phase)
    if not code.strip():
        raise UnclearCommandError("No code was typed: your code stays as it was.")
    on.session.controller.agree_to(code + "\n")  # typed, or named, by the learner just now
    return "edit"


def _code_in(path: str) -> str:
    try:
        with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as file:
            return file.read(LONGEST_CODE)
    except (OSError, ValueError) as error:  # ValueError: no path has a NUL
        why = error.strerror if isinstance(error, OSError) else error
        raise UnclearCommandError(f"{path} can't be read: {why}.") from None


def _typed_code(on: CommandContext, phase: str) -> str:
    """The typed lines. If they are stopped, keeps them and raises UnclearCommandError."""
    lines: list[str] = []
    try:
        for line in on.more_lines():
            lines.append(line)  # one by one, because they may be stopped
    except (KeyboardInterrupt, EOFError):
        code = "\n".join(lines)
        if not code.strip():
            raise UnclearCommandError("Stopped: the code stays as it was.") from None
        on.session.controller.keep_draft(code + "\n")
        raise UnclearCommandError(
            "Stopped: the lines you typed are kept, and nothing was checked. "
            f"Type code to hear them, code {phase} for the previous code, edit to write it again."
        ) from None
    return "\n".join(lines)


@typed("agree", needs="exercise")
def _agree(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Let code from elsewhere run, after you have heard all of it."""
    attempt = on.session.attempt
    if attempt is None or not attempt.is_from_elsewhere:
        raise UnclearCommandError("There is no code from elsewhere that needs your agreement.")
    on.session.controller.agree_to(attempt.code)
    return "edit"


@typed("go O", "on")
def _go(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Resume the lesson, or continue the exercise."""
    attempt = on.session.attempt
    if attempt is not None and attempt.state in ("wrong", "done"):
        on.session.controller.go_on()
        return "exercise"
    on.session.resume_previous()
    return "jump"


def _simple(
    words: str,
    help: str,
    method: Callable[[ExerciseController], None],
    kind: CommandKind = "exercise",
    needs: Needs = "exercise",
) -> TypedCommand:
    """A command that calls one method of the exercise controller."""
    return simple(words, help, lambda session: method(session.controller), kind, needs=needs)


EXERCISE_COMMANDS = (
    _exercises,
    _exercise,
    answer,
    _simple("hint h", "a hint for the exercise", ExerciseController.hint),
    _simple(
        "solution H",
        "the solution of the exercise, after one try",
        ExerciseController.show_solution,
        "solution",
    ),
    _edit,
    _agree,
    _simple("skip k", "skip the exercise: you know this already", ExerciseController.skip),
    _simple(
        "unskip K",
        "take back the last skip, and begin that exercise",
        ExerciseController.unskip,
        needs="",
    ),
    _simple("leave esc", "leave the exercise and return to the lesson", ExerciseController.leave),
    _go,
)
