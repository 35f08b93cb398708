"""A learner's own script on the command line: read, its loop chosen, and trusted to run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from tutor.cli.lessons import agreed
from tutor.cli.terminal import answer_to, is_attended, warn
from tutor.digits import whole_number
from tutor.errors import Refused, RunError, ScriptError, UsageError
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.plain import one_line, plain
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.outline import Outline, TrainingLoop
from tutor.script.source import ScriptSource, modules_beside, read_script
from tutor.session.bookmark import script_key
from tutor.session.journal import Journal
from tutor.wording.layout import columns
from tutor.wording.script_faults import source_note_text
from tutor.wording.torch_errors import torch_error_of


def script_lesson(options: argparse.Namespace, journal: Journal | None = None) -> Lesson:
    """The lesson of the script's loop that the options name, trusted to run.

    Asks at the terminal which loop, where there are several. Raises ScriptError for a script that
    can't be read or stepped, UsageError for a loop that is not there, and LessonError where the
    content is not trusted.
    """
    return agreed(chosen_lesson(options, journal), trust_now=options.trust)


def chosen_lesson(options: argparse.Namespace, journal: Journal | None = None) -> Lesson:
    """The lesson of the loop that the options name, which may not be trusted yet.

    The `journal` knows in which loop the script was left. Raises ScriptError and UsageError.
    """
    source, outline = read_outline(Path(options.lesson))
    for note in source.notes:
        warn(source_note_text(note, source))
    number = options.loop or _asked_loop(source, outline.loops, journal)
    check_loop(number, source, outline)
    chosen = ScriptOptions(
        loop=number,
        arguments=tuple(options.arguments),
        name=options.lesson,
        is_here=options.here,
        modules=modules_beside(source.path, source.text) if getattr(options, "on", "") else None,
        workers=options.nproc,
    )
    return lesson_of_script(source, outline, chosen)


def read_lesson(path: Path, options: ScriptOptions) -> Lesson:
    """The lesson of a script that is opened once more: its file may have changed meanwhile.

    Raises ScriptError.
    """
    source, outline = read_outline(path)
    number = min(options.loop, len(outline.loops))
    modules = None if options.modules is None else modules_beside(path, source.text)
    return lesson_of_script(source, outline, replace(options, loop=number, modules=modules))


def read_outline(path: Path) -> tuple[ScriptSource, Outline]:
    """A script and its loops. Raises ScriptError if there is none that can be stepped."""
    source = replace(read_script(path), path=path.absolute())  # errors name it as it was typed
    outline = outline_of(source.text, _modules_beside(path))
    if (refusal := outline.refusal) is not None:
        name = source.path.name
        place = name if refusal.line is None else source.full_place(refusal.line)
        raise ScriptError(refusal.code, place=place, **refusal.values)
    return source, outline


def check_loop(number: int, source: ScriptSource, outline: Outline) -> None:
    """Raise UsageError if the script has no loop of this number."""
    if not 0 < number <= len(outline.loops):
        places = ", ".join(source.place(loop.line) for loop in outline.loops)
        name = one_line(source.path.name)
        raise UsageError(f"{name} has no loop {number}; its training loops begin at {places}")


@contextmanager
def suggesting_tutor_why(lesson: Lesson) -> Iterator[None]:
    """A span in which an error of PyTorch that a script raises gets a hint to use `tutor why`."""
    try:
        yield
    except RunError as error:
        is_known = lesson.script is not None and torch_error_of(str(error)) is not None
        if is_known and not isinstance(error, Refused):
            error.args = (f"{error}\n`tutor why` explains this error: paste it there",)
        raise


def _modules_beside(path: Path) -> list[str]:
    try:
        beside = list(path.absolute().parent.iterdir())
    except OSError:  # a folder that may be entered, not listed
        return []
    folders = [p.name for p in beside if (p / "__init__.py").is_file()]
    return [p.stem for p in beside if p.suffix == ".py" and p.name != path.name] + folders


def _asked_loop(
    source: ScriptSource, loops: Sequence[TrainingLoop], journal: Journal | None
) -> int:
    """The number of the loop that is to be stepped: asked for, or the first.

    An empty answer is the loop that the script was left in.
    """
    if len(loops) == 1:
        return 1
    if not is_attended():
        warn(f"{source.path.name} has {len(loops)} training loops: --loop N chooses another one")
        return 1
    left = journal.last_bookmark_of_script(script_key(source.path)) if journal else None
    number = left.script.loop if left and left.script else 0
    rows = [
        (
            f"{n}",
            *_loop_cells(source, loop),
            f"left in epoch {left.at.epoch}" if left and n == number else "",
        )
        for n, loop in enumerate(loops, 1)
    ]
    listed = "\n".join(f"  {line}" for line in columns(rows))
    usual = number if 0 < number <= len(loops) else 1
    print(f"{one_line(source.path.name)} has {len(loops)} training loops:", file=sys.stderr)
    print(plain(listed), file=sys.stderr)
    answer = answer_to(f"Which one? [{usual}] (q leaves)") or str(usual)
    if answer.lower() in ("q", "quit"):
        raise SystemExit(0)
    chosen = whole_number(answer, len(loops))
    if not chosen:
        raise UsageError(f"{one_line(answer)!r} is not the number of a loop; give --loop 1")
    return chosen


def _loop_cells(source: ScriptSource, loop: TrainingLoop) -> tuple[str, ...]:
    return source.place(loop.line), where_in(loop.function), loop.mode


def where_in(function: str) -> str:
    """The place of a loop in words, by the function that it stands in."""
    return f"in {function}" if function else "at the top level"
