"""Every command that can be typed, defined once: its words, its argument and what it does.

Reading and help are made from these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class TypedCommand:
    """One thing that can be typed."""

    words: tuple[str, ...]
    """The first is its name; letters are those of the screen's keys where it has them."""
    help: str
    argument: str = ""
    """What may stand behind it, for the help; empty where nothing may."""

    @property
    def name(self) -> str:
        """The first of its words."""
        return self.words[0]


COMMANDS = (
    TypedCommand(("next", "n"), "run the next phase, or N of them; an empty line runs one", "[N]"),
    TypedCommand(("epoch", "s"), "run to the end of an epoch, or of the Nth from here", "[N]"),
    TypedCommand(("back", "b"), "go back one phase, or N", "[N]"),
    TypedCommand(("back-epoch", "B"), "go back to where the epoch began", "[N]"),
    TypedCommand(("run", "r"), "run on to the last epoch, or to epoch N", "[N]"),
    TypedCommand(
        ("jump", "j"), "go to the end of an epoch, or to after a phase of it", "EPOCH [PHASE]"
    ),
    TypedCommand(("restart", "R"), "start again from the same weights"),
    TypedCommand(("seed", "S"), "start again from another seed, or from seed N", "[N]"),
    TypedCommand(("mode", "g"), "the next gradient mode, or the one that is named", "[NAME]"),
    TypedCommand(("device", "d"), "the next device, or the one that is named", "[NAME]"),
    TypedCommand(("lr", "l"), "what the learning rate is, or set it", "[NUMBER]"),
    TypedCommand(("set", "w"), "set a number of a parameter: set w 1.5", "NAME VALUE"),
    TypedCommand(("where",), "where the run stands, and under which settings"),
    TypedCommand(("values", "numbers"), "the loss, the parameters and their gradients"),
    TypedCommand(("formula",), "the formulas of a phase, with their present values", "[PHASE]"),
    TypedCommand(("code",), "the code of the next phase, or of the one named", "[PHASE]"),
    TypedCommand(("read",), "what the lesson says of a phase, or what is left to read", "[PHASE]"),
    TypedCommand(("ladder",), "who does what: each phase by hand or by PyTorch"),
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
    TypedCommand(("exercise", "a"), "begin an exercise", "[NAME]"),
    TypedCommand(("answer",), "answer it; the answer alone does the same", "ANSWER"),
    TypedCommand(("hint", "h"), "one more hint"),
    TypedCommand(("solution", "H"), "how it is done; after a try"),
    TypedCommand(("edit", "o"), "write code anew, line by line, or take it from a file", "[FILE]"),
    TypedCommand(("agree",), "run code that came from elsewhere, once you have heard all of it"),
    TypedCommand(("skip", "k"), "I know this: on to the next exercise"),
    TypedCommand(("unskip", "K"), "take the last skip back, and do that exercise"),
    TypedCommand(("leave", "esc"), "back from an exercise to the lesson"),
    TypedCommand(("go", "O"), "go on: take up what you left, or be asked again", "on"),
    TypedCommand(("lessons", "m"), "the lessons that there are"),
    TypedCommand(("open",), "open another lesson", "LESSON"),
    TypedCommand(("help", "?"), "this list, or one command", "[COMMAND]"),
    TypedCommand(("quit", "q", "exit"), "leave; so does the end of the input"),
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
    """The command of a line, and what stands behind it; None if it begins with no command.

    An empty line is `next`. Words may be typed in capitals; single letters may not, as
    `r` and `R` are different commands.
    """
    word, _, argument = line.strip().partition(" ")
    if not word:
        return _BY_WORD["next"], ""
    command = _BY_WORD.get(word) or (_BY_WORD.get(word.lower()) if len(word) > 1 else None)
    return (command, argument.strip()) if command else None


def nearest(line: str) -> str:
    """The name of the command that was perhaps meant; empty if none is near."""
    word = line.split()[0].lower() if line.split() else ""
    names = [word for word in _BY_WORD if len(word) > 1]
    return next(iter(get_close_matches(word, names, n=1, cutoff=0.5)), "")


def _heard(word: str) -> str:
    """A word so that a capital is told from a small letter by ear."""
    if word == "?":
        return "a question mark"
    return f"capital {word}" if len(word) == 1 and word.isupper() else word


def help_lines(word: str = "") -> Iterator[str]:
    """One line for each command, or for the one that is named."""
    wanted = _BY_WORD.get(word)
    if word and wanted is None:
        yield f"There is no command {word}. Type help for all of them."
        return
    for command in (wanted,) if wanted else COMMANDS:
        others = command.words[1:]
        short = f", or {' or '.join(map(_heard, others))}" if others else ""
        argument = f" {command.argument}" if command.argument else ""
        yield f"{command.name}{argument}{short}: {command.help}."
