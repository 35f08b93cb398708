"""`tutor export` and `tutor new`: a lesson as a file that is written.

A script or a notebook is made from the lesson's text, without torch; a table of its figures by a
run. A new lesson is a small one that works, for an author to begin with, or is made from a script.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from msgspec.structs import replace

from tutor.cli.lessons import agreed, trusted_lesson
from tutor.cli.parsers import COMMANDS
from tutor.cli.running import train, train_command
from tutor.cli.scripts import check_loop, inspected, read_outline, suggesting_tutor_why
from tutor.cli.terminal import connect_as_asked, names_script, print_exactly, warn, word
from tutor.engine.command_client import CommandClient
from tutor.errors import ScriptError, UsageError
from tutor.export import new_file, write
from tutor.export.code import ExportSettings
from tutor.export.formats import notebook, script
from tutor.lesson import document, library, trust
from tutor.lesson.model import Lesson, LessonDiagnostics, ScriptOptions
from tutor.plain import one_line
from tutor.protocol.commands import InspectScript
from tutor.protocol.frame import DEVICE_KINDS
from tutor.protocol.inspections import LoopReport
from tutor.script.lesson import lesson_of_script
from tutor.script.lesson_writer import lesson_from
from tutor.wording.notices import error_text
from tutor.wording.number_format import listed

_KINDS = {".py": script, ".ipynb": notebook}
_DEVICE = re.compile(rf"({'|'.join(DEVICE_KINDS)})(:\d+)?\Z")
"""The names of torch's devices; a script may be for a machine that has another."""
_TEMPLATE = Path(document.__file__).with_name("new_lesson.md")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = 40


def export_command(options: argparse.Namespace) -> None:
    """Write the file that was asked for, or the script to standard output.

    Raises FileThere for a file that exists, unless --force is given.
    """
    if names_script(options.lesson):
        raise UsageError(
            f"{one_line(options.lesson)} is a script already; its figures are written by "
            f"`tutor run {word(options.lesson)} --format csv`"
        )
    path: Path | None = options.output
    kind = path.suffix.lower() if path else ""
    if path is not None and kind not in (*_KINDS, ".csv"):
        raise UsageError(
            f"{one_line(str(path))}: the name must end in .py (a script), .ipynb (a notebook) "
            "or .csv (the figures)"
        )
    if options.on and kind != ".csv":
        raise UsageError("only figures are computed: --on HOST goes with -o FILE.csv")
    lesson = trusted_lesson(options.lesson, trust_now=options.trust, language=options.lang)
    mode = options.mode or lesson.modes[0]
    if path is None:
        print_exactly(script(lesson, mode, _settings(options)))
        return
    if kind == ".csv":
        _write_table(lesson, mode, options)
    else:
        write(_KINDS[kind](lesson, mode, _settings(options)), path, options.force)
    print(one_line(str(path)))


def _settings(options: argparse.Namespace) -> ExportSettings:
    if not _DEVICE.match(options.device):
        raise UsageError(
            f"no device is called {options.device!r}; available: {listed(DEVICE_KINDS)}, cuda:1 …"
        )
    return ExportSettings(
        device=options.device,
        learning_rate=options.learning_rate,
        epochs=options.epochs,
        seed=options.seed,
        every=options.every or 1,
    )


def _write_table(lesson: Lesson, mode: str, options: argparse.Namespace) -> None:
    """Train, and write the figures; what the lesson prints meanwhile is dropped."""
    command = replace(train_command(options, lesson), mode=mode)
    with (
        new_file(options.output, options.force) as out,
        CommandClient(connect=connect_as_asked(options)) as client,
    ):
        train(client, command, out.write, quiet=True)


def new_command(options: argparse.Namespace) -> None:
    """Write NAME.md into this folder and print the next steps.

    Raises UsageError for a name that can't be a lesson's, FileThere for a file that exists,
    unless --force says to replace it, and ScriptError for a script that can't become a lesson.
    """
    if options.arguments:
        raise UsageError("tutor new takes no arguments after --: write them into the script")
    slug = _checked(options.name.removesuffix(".md"))
    path = Path(f"{slug}.md")
    if options.script is not None:
        _new_from_script(slug, path, options)
        return
    title = slug.replace("-", " ")
    text = _TEMPLATE.read_text(encoding="utf-8").replace("TITLE", title[0].upper() + title[1:])
    text = text.replace("NAME.md", path.name)
    write(text, path, options.force)
    # The tutor itself wrote this very content, so it may run without a question.
    not_remembered = trust.trust(document.parse(text, path))
    print(
        f"{path} is a small, working lesson: open it in your editor and make it yours.\n"
        f"  tutor check {path} --trust          check it (what you have written is run)\n"
        f"  tutor check --watch --trust {path}  check it again each time you save it\n"
        f"  tutor {path}                        see it as a learner does"
    )
    if not_remembered is not None:
        warn(error_text(not_remembered))


def _new_from_script(slug: str, path: Path, options: argparse.Namespace) -> None:
    """Write a lesson made from a script.

    The script runs first where its code does not say the parameters or the number of batches.
    """
    source, outline = read_outline(options.script)
    check_loop(options.loop, source, outline)
    chosen = ScriptOptions(loop=options.loop, name=str(options.script))
    as_lesson = lesson_of_script(source, outline, chosen)

    def run() -> LoopReport:
        lesson = agreed(as_lesson, trust_now=options.trust)
        command = InspectScript(lesson=lesson, with_doctor=False, counts_batches=True)
        with CommandClient() as client, suggesting_tutor_why():
            return inspected(client, command).loop

    with new_file(path, options.force) as file:
        written = lesson_from(source, outline, options.loop, slug, run)
        try:
            document.parse(written.text, path)
        except LessonDiagnostics as error:
            fault, place = error.diagnostics[0].fault, str(options.script)
            raise ScriptError("lesson_not_right", place=place, fault=fault) from None
        file.write(written.text)
    name = one_line(options.script.name)
    print(
        f"{path} computes what {name} does: now write its text and questions.\n"
        f"  tutor check {path} --trust          check it (this runs the code of {name})\n"
        f"  tutor {path} --trust                see it as a learner does"
    )
    if written.left_out:
        place = one_line(written.left_out)
        print(f"Left out: what the script does after its loop, from {place} on.")
    if written.stops:
        place = one_line(written.stops)
        print(f"The script may end its loop early at {place}: the lesson goes on.")


def _checked(slug: str) -> str:
    """The slug. Raises UsageError if it can't be the name of a lesson."""
    if not _SLUG.fullmatch(slug) or len(slug) > _LONGEST:
        raise UsageError(
            f"{slug!r} can't be the name of a lesson: use small letters, digits and single - "
            f"between them, {_LONGEST} at most, such as my-first-lesson"
        )
    if slug in COMMANDS or slug == "readme":
        raise UsageError(f"`{slug}` is a command or a reserved name; choose another")
    if any(library.is_shipped(file) for file in library.lessons().get(slug, {}).values()):
        raise UsageError(f"`{slug}` is a lesson of the tutor; choose another name")
    return slug
