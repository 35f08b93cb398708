"""The table of typed commands: words, argument and help of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class TypedCommand:
    """A command that can be typed."""

    words: tuple[str, ...]
    """The name first; single letters are the keys of the screen."""
    help: str
    argument: str = ""
    """The argument as the help shows it; empty for a command without one."""

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0]


COMMANDS = (
    TypedCommand(("next", "n"), "run the next phase, or N phases; so does an empty line", "[N]"),
    TypedCommand(("epoch", "s"), "run to the end of the epoch, or N epochs on", "[N]"),
    TypedCommand(("back", "b"), "go back one phase, or N phases", "[N]"),
    TypedCommand(("back-epoch", "B"), "go back to the start of the epoch", "[N]"),
    TypedCommand(("run", "r"), "run to the last epoch, or to epoch N", "[N]"),
    TypedCommand(
        ("jump", "j"),
        "go to an epoch's end, or to a phase: jump 12 loss",
        "EPOCH [PHASE]",
    ),
    TypedCommand(("restart", "R"), "start again from the same weights"),
    TypedCommand(("seed", "S"), "start again with another seed, or with seed N", "[N]"),
    TypedCommand(("mode", "g"), "switch to the next gradient mode, or to the named one", "[NAME]"),
    TypedCommand(("device", "d"), "switch to the next device, or to the named one", "[NAME]"),
    TypedCommand(("lr", "l"), "say the learning rate, or set it", "[NUMBER]"),
    TypedCommand(("set", "w"), "set a number of a parameter: set w 1.5", "NAME VALUE"),
    TypedCommand(("where",), "the position of the run, and its settings"),
    TypedCommand(("values", "numbers"), "the loss, the parameters and their gradients"),
    TypedCommand(("formula",), "the formulas of a phase, with their current values", "[PHASE]"),
    TypedCommand(("code",), "the code of the next phase, or of the named one", "[PHASE]"),
    TypedCommand(("read",), "the text of a phase, or the next text after the phases", "[PHASE]"),
    TypedCommand(("ladder",), "which phases each mode does by hand, and which PyTorch does"),
    TypedCommand(("inside",), "a variable: its value, its part in autograd, its gradient", "NAME"),
    TypedCommand(("graph",), "the autograd graph of this step, in the order of backward"),
    TypedCommand(("compare", "c"), "the gradients of all modes at the same parameters"),
    TypedCommand(("plot",), "the plots in words: loss, data, slope, plane, or all", "[NAME]"),
    TypedCommand(("fork", "f"), "keep this run as it is, and continue with a copy"),
    TypedCommand(
        ("runs", "F"),
        "the runs of this lesson; resume, rename or delete one of them",
        "[go NAME | rename NAME NEW | delete NAME]",
    ),
    TypedCommand(
        ("export", "e"),
        "write the lesson, or its figures so far, to a new file",
        "script|notebook|figures [FILE]",
    ),
    TypedCommand(("exercises", "A"), "the exercises of this lesson, and which are done"),
    TypedCommand(("exercise", "a"), "begin the first open exercise, or the named one", "[NAME]"),
    TypedCommand(("answer",), "answer the exercise; you can also type the answer alone", "ANSWER"),
    TypedCommand(("hint", "h"), "a hint for the exercise"),
    TypedCommand(("solution", "H"), "the solution of the exercise, after one try"),
    TypedCommand(("edit", "o"), "write the code of a repair, or read it from a file", "[FILE]"),
    TypedCommand(("agree",), "let code from elsewhere run, after you have heard all of it"),
    TypedCommand(("skip", "k"), "skip the exercise: you know this already"),
    TypedCommand(("unskip", "K"), "take back the last skip, and begin that exercise"),
    TypedCommand(("leave", "esc"), "leave the exercise and return to the lesson"),
    TypedCommand(("go", "O"), "resume the lesson, or continue the exercise", "on"),
    TypedCommand(("lessons", "m"), "list the lessons"),
    TypedCommand(("open",), "open another lesson", "LESSON"),
    TypedCommand(("help", "?"), "this list, or the help of one command", "[COMMAND]"),
    TypedCommand(("quit", "q", "exit"), "leave the tutor; the end of the input does the same"),
)
_BY_WORD = {word: command for command in COMMANDS for word in command.words}

TYPED: Mapping[str, str] = {
    "step_phase": "next",
    "toggle_run": "run",
    "restart": "restart",
    "resume_previous": "go on",
    "exercise": "exercise",
    "exercises": "exercises",
    "lessons": "lessons",
    "edit": "edit",
    "skip": "skip",
    "unskip": "unskip",
    "leave": "leave",
    "stop": "Ctrl+C",
    "quit": "quit",
}
"""By the name of a command: the word that a notice tells the learner to type."""


def read(line: str) -> tuple[TypedCommand, str] | None:
    """The command of a line and its argument; None if the line begins with no command.

    An empty line is `next`. Words may be typed in capitals; single letters may not, as
    `r` and `R` are different commands.
    """
    word, _, argument = line.strip().partition(" ")
    if not word:
        return _BY_WORD["next"], ""
    command = _BY_WORD.get(word) or (_BY_WORD.get(word.lower()) if len(word) > 1 else None)
    return (command, argument.strip()) if command else None


def nearest(line: str) -> str:
    """The command most like the typed word; empty if none is near."""
    word = line.split()[0].lower() if line.split() else ""
    names = [word for word in _BY_WORD if len(word) > 1]
    return next(iter(get_close_matches(word, names, n=1, cutoff=0.5)), "")


def _spelled(word: str) -> str:
    """A word that is told from others by ear: `capital R`."""
    if word == "?":
        return "a question mark"
    return f"capital {word}" if len(word) == 1 and word.isupper() else word


def help_lines(word: str = "") -> Iterator[str]:
    """One line for each command, or for the named one."""
    wanted = _BY_WORD.get(word)
    if word and wanted is None:
        yield f"There is no command {word}. Type help for all of them."
        return
    for command in (wanted,) if wanted else COMMANDS:
        others = command.words[1:]
        short = f", or {' or '.join(map(_spelled, others))}" if others else ""
        argument = f" {command.argument}" if command.argument else ""
        yield f"{command.name}{argument}{short}: {command.help}."
