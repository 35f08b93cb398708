"""The commands of plain mode that act on the session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from tutor.lesson.exercise import Repair
from tutor.plain_mode import exercise_text
from tutor.plain_mode.run_narrator import Kind
from tutor.plain_mode.spoken_lesson import has_symbols, listed
from tutor.session.run_view import RunView, Start
from tutor.session.session import Session
from tutor.wording import parameter_input
from tutor.wording.parameter_input import (
    MAX_EPOCH,
    read_learning_rate,
    read_place,
    read_run_name,
    read_whole_number,
)

T = TypeVar("T")

MOST_TIMES = 1000
"""The largest number of repetitions of one command."""

LARGEST_SEED = 10**9 - 1

LONGEST_CODE = 100_000
"""Characters that are read of a file of code."""


class UnclearCommandError(Exception):
    """A typed command that can't be done. The text says why."""


class ActionCommands:
    """The commands that act on the session."""

    def __init__(self, session: Session, more_lines: Callable[[], Iterable[str]]) -> None:
        """`more_lines` reads the further lines of a command.

        It raises KeyboardInterrupt, or EOFError if the input ends before the last of them.
        """
        self._session = session
        self._more_lines = more_lines
        self._simple: Mapping[str, tuple[Callable[[], None], Kind]] = {
            "back": (session.back_phase, "jump"),
            "back-epoch": (session.back_epoch, "jump"),
            "restart": (session.restart, "jump"),
            "hint": (session.controller.hint, "exercise"),
            "solution": (session.controller.show_solution, "solution"),
            "skip": (session.controller.skip, "exercise"),
            "unskip": (session.controller.unskip, "exercise"),
            "leave": (session.controller.leave, "exercise"),
            "fork": (session.fork, "aside"),
        }
        self._others: Mapping[str, Callable[[str, RunView], Kind]] = {
            "next": self._next,
            "epoch": self._step_epochs,
            "seed": self._seed,
            "run": self._run,
            "jump": self._jump,
            "mode": self._mode,
            "device": self._device,
            "lr": self._learning_rate,
            "set": self._set,
            "runs": self._runs,
            "exercise": self._exercise,
            "answer": self._answer,
            "edit": self._edit,
            "agree": self._agree,
            "go": self._go,
        }

    def do(self, name: str, argument: str) -> Kind:
        """Do the command; returns its kind. Raises UnclearCommandError."""
        view = self._session.view
        if view is None:
            raise UnclearCommandError("No lesson is open: type open and its name.")
        if name in ("hint", "solution", "skip", "leave", "answer", "edit", "agree"):
            self._need_exercise()
        if name in self._simple:
            wish, kind = self._simple[name]
            wish()
            return kind
        return self._others[name](argument, view)

    def _need_exercise(self) -> None:
        if self._session.attempt is None:
            raise UnclearCommandError("You are in no exercise. Type exercise to begin one.")

    # ── The run ─────────────────────────────────────────────────────────────────────────

    def _next(self, argument: str, view: RunView) -> Kind:
        attempt = self._session.attempt
        if attempt is None:
            self._session.step_phase()
            return "phase"
        if attempt.state in ("wrong", "done"):
            self._session.controller.go_on()
            return "exercise"
        if attempt.wants in ("number", "sign", "choice"):
            asked = exercise_text.question(attempt, has_symbols(view.lesson))
            how = f"{exercise_text.HOW[attempt.wants]} Or type hint, skip or leave."
            raise UnclearCommandError(f"Answer the question first. {asked}\n{how}")
        self._session.step_phase()
        return "phase"

    def _step_epochs(self, argument: str, view: RunView) -> Kind:
        count, frame = times(argument), view.frame
        if count == 1 or frame is None:
            self._session.step_epoch()
        else:
            is_whole = not frame.at.epoch or frame.is_epoch_end
            self._session.run_to(frame.at.epoch + count - (not is_whole))
        return "epochs"

    def _run(self, argument: str, view: RunView) -> Kind:
        if not argument:
            self._session.toggle_run()
            return "epochs"
        epoch = _clear(lambda text: read_whole_number(text, 0, MAX_EPOCH), argument)
        if epoch <= view.epoch and view.frame and view.frame.is_epoch_end:
            raise UnclearCommandError(
                f"Epoch {epoch} is behind you: the run stands at the end of epoch "
                f"{view.epoch}. jump {epoch} goes back to it."
            )
        self._session.run_to(epoch)
        return "epochs"

    def _seed(self, argument: str, view: RunView) -> Kind:
        if not argument:
            self._session.new_seed()
        elif self._session.attempt is not None:
            raise UnclearCommandError("In an exercise a seed can't be chosen: type seed alone.")
        else:
            seed = _clear(lambda text: read_whole_number(text, 0, LARGEST_SEED), argument)
            start = Start(view.mode, view.device, self._session.learning_rate, seed)
            self._session.open(view.lesson, start)
        return "jump"

    def _jump(self, argument: str, view: RunView) -> Kind:
        if not argument:
            raise UnclearCommandError(
                "To which epoch? Type jump and its number, and perhaps a phase."
            )
        phases = view.lesson.steps(view.mode)
        self._session.seek(*_clear(lambda text: read_place(text, phases), argument))
        return "jump"

    # ── Its settings ────────────────────────────────────────────────────────────────────

    def _mode(self, argument: str, view: RunView) -> Kind:
        modes = view.lesson.modes
        if not argument:
            self._session.next_mode()
        elif (mode := next((m for m in modes if m.lower() == argument.lower()), None)) is None:
            raise UnclearCommandError(f"There is no mode {argument}; available: {listed(modes)}.")
        elif mode == view.mode:
            raise UnclearCommandError(f"The mode is {mode} already.")
        else:
            self._session.switch(mode=mode)
        return "change"

    def _device(self, argument: str, view: RunView) -> Kind:
        if argument:
            self._session.switch(device=argument.lower())
        elif len(self._session.devices) == 1:
            raise UnclearCommandError(f"There is only one device here: {self._session.devices[0]}.")
        else:
            self._session.next_device()
        return "change"

    def _learning_rate(self, argument: str, view: RunView) -> Kind:
        self._session.set_learning_rate(_clear(read_learning_rate, argument))
        return "change"

    def _set(self, argument: str, view: RunView) -> Kind:
        if view.frame is None:
            raise UnclearCommandError("There is nothing to set yet: the lesson has not begun.")
        if "=" not in argument:
            argument = " = ".join(argument.rsplit(" ", 1))
        try:
            self._session.set_element(parameter_input.read(argument, view.frame.values))
        except ValueError as error:
            example = str(error).replace("Type it like this: ", "Type it like this: set ")
            raise UnclearCommandError(example) from None
        return "aside"  # the session says what was set

    def _runs(self, argument: str, view: RunView) -> Kind:
        """Resume, rename or delete a run."""
        action, *words = argument.split()
        if action not in ("go", "rename", "delete") or len(words) != 1 + (action == "rename"):
            raise UnclearCommandError(
                "Type runs alone for the list, or runs go NAME, runs rename NAME NEW, "
                "runs delete NAME."
            )
        named = (r for r in view.runs if words[0].lower() in (r.name.lower(), r.letter.lower()))
        run = next(named, None)
        if run is None:
            names = listed([r.name for r in view.runs])
            raise UnclearCommandError(f"There is no run {words[0]}; available: {names}.")
        if action == "go":
            if run.is_current:
                raise UnclearCommandError(f"You are in run {run.name} already.")
            self._session.select_run(run.name)
            return "jump"
        if action == "delete":
            self._session.delete_run(run.name)
        else:
            self._session.rename_run(run.name, _clear(read_run_name, words[1]))
        return "aside"

    # ── Exercises ───────────────────────────────────────────────────────────────────────

    def _exercise(self, argument: str, view: RunView) -> Kind:
        exercises = self._session.controller.exercises
        name = argument or None
        if argument.isdecimal() and 1 <= int(argument) <= len(exercises):
            name = exercises[int(argument) - 1].id
        if name is not None and name not in [e.id for e in exercises]:
            raise UnclearCommandError(
                f"There is no exercise {name}. Type exercises for their names."
            )
        self._session.controller.begin(name)
        return "begin"

    def _answer(self, argument: str, view: RunView) -> Kind:
        attempt = self._session.attempt
        if attempt is not None and attempt.wants in ("code", "condition"):
            raise UnclearCommandError(exercise_text.HOW[attempt.wants])
        if attempt is not None and attempt.state in ("wrong", "done"):
            then = "continue" if attempt.state == "done" else "be asked again"
            raise UnclearCommandError(f"This question has an answer already. Type next to {then}.")
        is_sign = attempt is not None and attempt.wants == "sign"
        self._session.controller.answer(
            exercise_text.SIGNS.get(argument.lower(), argument) if is_sign else argument
        )
        return "answer"

    def _edit(self, argument: str, view: RunView) -> Kind:
        attempt = self._session.attempt
        exercise = attempt.exercise if attempt else None
        if not isinstance(exercise, Repair):
            raise UnclearCommandError("There is no code to fix in this exercise.")
        code = _code_in(Path(argument)) if argument else self._typed_code(exercise.phase)
        if not code.strip():
            raise UnclearCommandError("No code was typed: it stays as it was.")
        self._session.controller.agree_to(code + "\n")  # typed, or named, by the learner just now
        return "edit"

    def _agree(self, argument: str, view: RunView) -> Kind:
        attempt = self._session.attempt
        if attempt is None or not attempt.is_from_elsewhere:
            raise UnclearCommandError("There is no code from elsewhere to agree to.")
        self._session.controller.agree_to(attempt.code)
        return "edit"

    def _typed_code(self, phase: str) -> str:
        """The typed lines. If they are stopped, keeps them and raises UnclearCommandError."""
        lines: list[str] = []
        try:
            for line in self._more_lines():
                lines.append(line)  # one by one, because they may be stopped
        except (KeyboardInterrupt, EOFError):
            code = "\n".join(lines)
            if not code.strip():
                raise UnclearCommandError("Stopped: the code stays as it was.") from None
            self._session.controller.keep_draft(code + "\n")
            raise UnclearCommandError(
                "Stopped: the lines you typed are kept, and nothing was checked. "
                f"Type code to hear them, code {phase} for the code before, edit to write it again."
            ) from None
        return "\n".join(lines)

    def _go(self, argument: str, view: RunView) -> Kind:
        attempt = self._session.attempt
        if attempt is not None and attempt.state in ("wrong", "done"):
            self._session.controller.go_on()
            return "exercise"
        self._session.resume_previous()
        return "jump"


def times(argument: str) -> int:
    """The number of repetitions that was typed. Raises UnclearCommandError."""
    return _clear(lambda text: read_whole_number(text, 1, MOST_TIMES), argument or "1")


def _clear(read: Callable[[str], T], text: str) -> T:
    """The value that a parser of the session reads from a text. Raises UnclearCommandError."""
    try:
        return read(text)
    except ValueError as error:
        raise UnclearCommandError(str(error)) from None


def _code_in(path: Path) -> str:
    try:
        with path.expanduser().open(encoding="utf-8", errors="replace") as file:
            return file.read(LONGEST_CODE)
    except OSError as error:
        raise UnclearCommandError(f"{path} can't be read: {error.strerror}.") from None
