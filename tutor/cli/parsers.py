"""The command line's parsers: the commands of `tutor`, their options and their help.

Loads neither torch nor Textual, so that `tutor --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

from tutor import __version__
from tutor.cli.terminal import (
    LANGUAGE_NAMES,
    read_count,
    read_host,
    read_language,
    read_rate,
    read_script_name,
    read_seed,
)
from tutor.lesson.languages import language_of_locale
from tutor.lesson.model import MOST_WORKERS, STANDARD_MODES
from tutor.plain import one_line
from tutor.protocol.frame import DEVICE_KINDS
from tutor.ui.settings import THEMES

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: done; a lesson or the machine failed; wrong usage; stopped by Ctrl+C."""


_LESSON_OR_SCRIPT = "a lesson's name, or a .md, .py or .ipynb file"

_EXAMPLES = """examples:
  tutor                          choose a lesson from the menu
  tutor xor                      open a lesson
  tutor ./mine.md --mode model   open a lesson file of your own
  tutor train.py -- --epochs 3   step a training script of your own
  tutor torchrun --nproc 2 train.py
                                 the same on two ranks, as torchrun starts it
  tutor --plain xor              the same in plain lines, formulas in words
  tutor list                     what there is to learn
  tutor list --map               and what builds on what
  tutor xor --lang zh            the same lesson in Chinese
  tutor run thermometer --mode autograd --every 500
                                 train without a screen
  tutor run xor --format jsonl | head -3
                                 the same, for other programs
  tutor run sum-or-mean --compare --epochs 3
                                 do the gradients of all modes agree?
  tutor export xor --mode model -o xor.ipynb
                                 the lesson as a notebook, a script or a table
  tutor new mine                 write a lesson of your own: mine.md
  tutor new mine --from train.py make it from a training script
  tutor check mine.md            check it
  tutor progress                 what you have done, where you left each lesson
  tutor devices                  the devices that PyTorch can use
  tutor --on gpu-box xor         the engine on another machine, over ssh
  tutor check --on gpu-box --device cuda
                                 can that machine run all lessons on its GPU?
  python train.py 2>&1 | tutor why
                                 what an error of PyTorch means

TUTOR_LESSONS names the folders in which your own lessons are found."""


_WIDTH = 78
"""Cells of a line of a command's description."""

_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose error messages are one line without escape sequences."""

    def error(self, message: str) -> NoReturn:
        """Print the message and name the help; exit with 2."""
        self.exit(USAGE, f"tutor: {one_line(message)} (see {self.prog} --help)\n")

    def parse_known_args(self, *given: Any) -> Any:  # type: ignore[override]
        """Parse as argparse does; what is not known is an error, which names this parser's help."""
        options, unknown = super().parse_known_args(*given)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help. Raises OSError if it can't be written; argparse would say nothing."""
        (file or sys.stdout).write(self.format_help())
        sys.stdout.flush()


def make_parser(command: str = "") -> argparse.ArgumentParser:
    """The parser of this command, or of the whole command line.

    A start needs one command only, and the parsers of all take as long as a module.
    """
    parser = _Parser(
        prog="tutor",
        usage="tutor [LESSON] [options]\n       tutor COMMAND …",
        description="Step through gradient descent, backpropagation and PyTorch's autograd.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tutor {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", prog="tutor")
    for name, one in COMMANDS.items():
        if command == name or command not in COMMANDS:
            one.add(commands)
    return parser


def _command(commands: _Commands, name: str, about: str, example: str) -> _Parser:
    """A subcommand with its help and one example."""
    parser = commands.add_parser(
        name,
        help=about,
        description=fill(f"{about[0].upper()}{about[1:]}.", _WIDTH),
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def _add_open(commands: _Commands) -> None:
    about = "open the menu, a lesson, or a script of your own (the word open may be left out)"
    parser = _command(commands, "open", about, "tutor line-through-origin --mode autograd")
    parser.add_argument("lesson", nargs="?", metavar="LESSON", help=_LESSON_OR_SCRIPT)
    _add_opening(parser)


def _add_opening(parser: argparse.ArgumentParser) -> None:
    """All options of `open`."""
    _add_screen(parser)
    _add_exercise(parser)
    _add_host(parser)
    _add_start(parser)
    _add_script(parser)


def _add_torchrun(commands: _Commands) -> None:
    about = "step a script of your own on several ranks (processes), as torchrun starts it"
    example = "tutor torchrun --nproc 2 train.py -- --epochs 3"
    parser = _command(commands, "torchrun", about, example)
    parser.add_argument(
        "lesson", type=read_script_name, metavar="FILE", help="a .py or .ipynb file"
    )
    _add_screen(parser)
    _add_host(parser)
    _add_numbers(parser)
    _add_trust(parser)
    _add_script(parser)
    # It runs as `open` does, which reads all of that one's options.
    open_parser = _Parser()
    _add_opening(open_parser)
    parser.set_defaults(**{**vars(open_parser.parse_args([])), "nproc": 2})


def _add_exercise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exercise",
        default="",
        metavar="ID",
        help="begin with this exercise (ID: its name or number)",
    )


def _add_screen(parser: argparse.ArgumentParser) -> None:
    """The options for the screen, or the lines, in which a lesson or a script is stepped."""
    parser.add_argument(
        "--plain",
        action="store_true",
        help="use lines of plain text and typed commands: for screen readers, pipes and logs",
    )
    parser.add_argument(
        "--theme",
        choices=THEMES,
        help="the colours for this time (T in the tutor changes and remembers them)",
    )
    parser.add_argument(
        "--mouse",
        action=argparse.BooleanOptionalAction,
        help="whether the tutor uses the mouse this time; --no-mouse leaves it to the terminal, "
        "so that you can select text (Ctrl+P, then “Mouse”, remembers it)",
    )


def _add_list(commands: _Commands) -> None:
    parser = _command(commands, "list", "list the lessons", "tutor list --json")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON array of objects")
    form.add_argument("--map", action="store_true", help="print a tree of what builds on what")
    _add_language(parser)


def _add_run(commands: _Commands) -> None:
    about = "train a lesson or a script without a screen, and print its figures"
    parser = _command(
        commands, "run", about, "tutor run thermometer --mode autograd --every 500 --format csv"
    )
    parser.add_argument("lesson", metavar="LESSON", help=_LESSON_OR_SCRIPT)
    _add_host(parser)
    _add_start(parser)
    _add_length(parser, "default: all; as text without --compare, fewer in a long run")
    _add_script(parser)
    parser.add_argument(
        "--compare",
        action="store_true",
        help="print the gradients of all modes at the same parameters, and whether they agree; the "
        "run follows autograd's gradient, or that of --mode",
    )
    parser.add_argument(
        "--format",
        choices=("text", "csv", "jsonl", "none"),
        default="text",
        help="the format of the figures (default: text); none prints only what the code prints",
    )
    parser.add_argument(
        "--doctor",
        action="store_true",
        help="look for mistakes in the code in a second run, and print them at the end",
    )


def _add_export(commands: _Commands) -> None:
    about = "write a lesson as a script or notebook that runs without the tutor, or its figures"
    parser = _command(commands, "export", about, "tutor export xor --mode autograd -o xor.py")
    parser.add_argument("lesson", metavar="LESSON", help="a lesson's name, or a .md file")
    _add_host(parser)
    _add_start(parser)
    _add_length(parser, "default: all")
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="FILE",
        help="FILE.py, FILE.ipynb or FILE.csv (default: the script on standard output)",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def _add_length(parser: argparse.ArgumentParser, usual: str) -> None:
    """The options for the length of a run and its epochs in the figures: the `usual` ones."""
    parser.add_argument(
        "--epochs",
        type=read_count,
        metavar="N",
        help="number of epochs (default: the lesson's own)",
    )
    parser.add_argument(
        "--every",
        type=read_count,
        metavar="K",
        help=f"print every Kth epoch, and the last ({usual})",
    )


def _add_check(commands: _Commands) -> None:
    about = "check that lessons can be read, run and repeated, and that their gradients are right"
    parser = _command(commands, "check", about, "tutor check --watch --trust mine.md")
    parser.add_argument(
        "lessons",
        nargs="*",
        metavar="LESSON",
        help="a lesson's name, or a .md file (default: all lessons that came with the tutor)",
    )
    parser.add_argument(
        "--lang",
        type=read_language,
        metavar="L",
        help=f"check only the lessons in this language ({LANGUAGE_NAMES})",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="check again when a file changes, until Ctrl+C; with --trust, whatever is saved to "
        "a lesson of your own meanwhile may run",
    )
    parser.add_argument(
        "-v", "--answers", action="store_true", help="print the computed answers of exercises"
    )
    parser.add_argument(
        "--device",
        default="",
        metavar="D",
        help=f"run the lessons on this device ({', '.join(DEVICE_KINDS[1:])}), compare them with "
        "the CPU, and say whether this machine can run all of them on it",
    )
    _add_host(parser)
    _add_trust(parser)


def _add_new(commands: _Commands) -> None:
    about = "write a small lesson, from which you make your own"
    parser = _command(commands, "new", about, "tutor new my-first-lesson")
    parser.add_argument("name", metavar="NAME", help="letters, digits and -; the file is NAME.md")
    parser.add_argument("--force", action="store_true", help="replace NAME.md if it exists")
    parser.add_argument(
        "--from",
        dest="script",
        type=Path,
        metavar="FILE",
        help="make it from your training script or notebook, which is not changed",
    )
    parser.add_argument(
        "--loop",
        type=read_count,
        default=1,
        metavar="N",
        help="with --from: use the Nth training loop (default: 1)",
    )
    _add_trust(parser)


def _add_progress(commands: _Commands) -> None:
    about = "show what you have done, and where you left each lesson"
    parser = _command(commands, "progress", about, "tutor progress export mine.jsonl")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.usage = "tutor progress [--json]\n       tutor progress {export,import,reset} …"
    about = "write all progress to a file"
    take = _command(actions, "export", about, "tutor progress export mine.jsonl")
    take.add_argument("file", type=Path, metavar="FILE", help="a new file; - is standard output")
    take.add_argument("--force", action="store_true", help="replace FILE if it exists")
    about = "add progress that was exported elsewhere; no progress here is lost"
    bring = _command(actions, "import", about, "tutor progress import mine.jsonl")
    bring.add_argument("file", type=Path, metavar="FILE", help="the file; - is standard input")
    about = "delete progress; a backup is kept"
    forget = _command(actions, "reset", about, "tutor progress reset xor")
    forget.add_argument("lesson", nargs="?", metavar="LESSON", help="default: all lessons")
    forget.add_argument("--yes", action="store_true", help="delete without asking")


def _add_devices(commands: _Commands) -> None:
    about = "list the devices that PyTorch can use"
    parser = _command(commands, "devices", about, "tutor devices --json")
    parser.add_argument("--json", action="store_true", help="print a JSON array of objects")
    _add_host(parser)


def _add_host(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on",
        metavar="HOST",
        type=read_host,
        help="compute on another machine, over ssh (TUTOR_SSH and TUTOR_REMOTE set the commands)",
    )


def _add_why(commands: _Commands) -> None:
    about = "explain an error of PyTorch, and name the lesson about it"
    parser = _command(commands, "why", about, "python train.py 2>&1 | tutor why")
    parser.add_argument(
        "message",
        nargs="*",
        metavar="MESSAGE",
        help="the error's message (default: read what a program prints from standard input)",
    )
    parser.add_argument(
        "--no-open", dest="open", action="store_false", help="don't offer to open the lesson"
    )


def _add_inspect(commands: _Commands) -> None:
    about = "show what the tutor understands of a training script, and what is wrong with it"
    parser = _command(commands, "inspect", about, "tutor inspect train.py --json")
    parser.add_argument("lesson", metavar="FILE", help="a .py or .ipynb file")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    _add_host(parser)
    _add_script(parser)
    _add_trust(parser)


def _add_script(parser: argparse.ArgumentParser) -> None:
    """The options for a script of the learner's own."""
    parser.add_argument(
        "--loop", type=read_count, metavar="N", help="scripts: use the Nth training loop"
    )
    parser.add_argument(
        "--here",
        action="store_true",
        help="scripts: let the script write files where it wants (default: in a temporary folder); "
        "arguments for the script itself follow after --",
    )
    parser.add_argument(
        *("--nproc", "--nproc-per-node", "--nproc_per_node"),
        type=int,
        choices=range(2, MOST_WORKERS + 1),
        default=1,
        metavar="N",
        help=f"scripts: run on this many ranks (2 to {MOST_WORKERS}), as torchrun does",
    )


def _add_start(parser: argparse.ArgumentParser) -> None:
    """The options for the start of a run."""
    parser.add_argument("--mode", metavar="M", help=f"gradient mode: {', '.join(STANDARD_MODES)} …")
    _add_device(parser)
    _add_numbers(parser)
    _add_language(parser)
    _add_trust(parser)


def _add_device(parser: argparse.ArgumentParser) -> None:
    kinds = ", ".join(DEVICE_KINDS)
    parser.add_argument(
        "--device", default="cpu", metavar="D", help=f"lessons: {kinds}, cuda:1 … (default: cpu)"
    )


def options_of_kind(*, script: bool) -> Mapping[str, object]:
    """The options that only a script has, or only a lesson, with what they are if not given."""
    parser = _Parser()
    for add in (_add_script,) if script else (_add_device, _add_exercise):
        add(parser)
    return vars(parser.parse_args([])) | ({"arguments": []} if script else {})


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        *("--learning-rate", "--lr"), type=read_rate, metavar="X", help="default: the code's own"
    )
    parser.add_argument(
        "--seed", type=read_seed, default=0, metavar="S", help="for random numbers (default: 0)"
    )


def _add_language(parser: argparse.ArgumentParser) -> None:
    """`--lang`: the language of the lesson."""
    usual = language_of_locale(os.environ)
    parser.add_argument(
        "--lang",
        type=read_language,
        default=usual,
        metavar="L",
        help=f"the lesson's language, if translated: {LANGUAGE_NAMES} (default: {usual})",
    )


def _add_trust(parser: argparse.ArgumentParser) -> None:
    about = "trust this file: run it without asking, now and later"
    parser.add_argument("--trust", action="store_true", help=about)


def _add_engine(commands: _Commands) -> None:
    commands.add_parser("engine")  # without help, so not listed: `--on` runs it at the far end


class Subcommand(NamedTuple):
    """A command of the command line."""

    module: str
    """The module of `tutor.cli` that has its function, `NAME_command`.

    That returns the exit status, None for OK.
    """
    add: Callable[[_Commands], object]
    """The function that adds its parser."""
    takes_host: bool = False
    """Whether it takes `--on HOST`."""
    takes_script: bool = False
    """Whether it takes a script, and its own arguments after `--`."""


COMMANDS: Mapping[str, Subcommand] = {
    "open": Subcommand("opening", _add_open, takes_host=True, takes_script=True),
    "torchrun": Subcommand("opening", _add_torchrun, takes_host=True, takes_script=True),
    "list": Subcommand("lessons", _add_list),
    "run": Subcommand("running", _add_run, takes_host=True, takes_script=True),
    "export": Subcommand("writing", _add_export, takes_host=True),
    "check": Subcommand("checking", _add_check, takes_host=True),
    "new": Subcommand("writing", _add_new, takes_script=True),
    "progress": Subcommand("progress", _add_progress),
    "devices": Subcommand("lessons", _add_devices, takes_host=True),
    "why": Subcommand("why", _add_why),
    "inspect": Subcommand("scripts", _add_inspect, takes_host=True, takes_script=True),
    "engine": Subcommand("opening", _add_engine),
}
"""All commands, in the order of the help."""
