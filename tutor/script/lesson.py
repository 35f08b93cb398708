"""A lesson made of a learner's own script: its sections are the file's own lines.

The engine runs the script itself. What works on a lesson (panes, session, bookmarks, plain mode)
finds in these sections the place, phase and code of each step.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

import msgspec

from tutor.lesson.model import (
    LAST,
    SETUP,
    Fence,
    Lesson,
    ScriptOptions,
    Section,
    is_learning_rate,
)
from tutor.python_syntax import defaults_of, last_name
from tutor.script.formulas import formulas_of
from tutor.script.line_places import short_place
from tutor.script.loops import outline_of
from tutor.script.outline import Outline, ScriptPhase, TrainingLoop
from tutor.script.source import ScriptSource

USUAL_RATE, USUAL_EPOCHS = 0.01, 100
"""The learning rate and the epochs where a script's code does not say them as numbers."""


def lesson_of_script(source: ScriptSource, outline: Outline, options: ScriptOptions) -> Lesson:
    """The lesson of a script's loop, `options.loop` being one of the outline's.

    The code of all sections, one after the other, is the file. The learning rate is the number
    that the code gives it, else 0.01: the engine finds the real one while the script runs. The
    number of epochs is the one in the code, else 100; the script itself says when it is over.
    """
    loop = outline.loops[options.loop - 1]
    name = source.path.name
    return Lesson(
        slug=name,
        path=source.path,
        digest=source.digest,
        source=source.text,
        title=name,
        summary=_summary(short_place(source.path, source.text, loop.line), loop),
        order=LAST,
        modes=(loop.mode,),
        parameters={loop.mode: loop.parameters},
        learning_rate={loop.mode: learning_rate_in(source.text, loop) or USUAL_RATE},
        epochs={loop.mode: loop.epochs or USUAL_EPOCHS},
        sections=tuple(_sections(source.text, loop)),
        workers=options.workers,
        comparable=False,
        script=msgspec.structs.replace(
            options,
            line=loop.line,
            is_counted=loop.epochs is not None,
            is_sum_of_batches=loop.is_sum_of_batches,
            phases=tuple(phase.name for phase in loop.phases) if loop.is_regular else (),
        ),
    )


def in_other_run(lesson: Lesson, options: ScriptOptions) -> Lesson:
    """A script's lesson with the loop, the arguments and the ranks of these options.

    The lesson is returned as it is if its script has no such loop.
    """
    own = lesson.script
    assert own is not None
    run = {"loop": options.loop, "arguments": options.arguments, "workers": options.workers}
    wanted = msgspec.structs.replace(own, **run)
    if wanted == own:
        return lesson
    if options.loop == own.loop:
        return msgspec.structs.replace(lesson, script=wanted, workers=options.workers)
    outline = outline_of(lesson.source)
    if options.loop > len(outline.loops):
        return lesson
    source = ScriptSource(path=lesson.path, text=lesson.source, digest=lesson.digest)
    return lesson_of_script(source, outline, wanted)


def _summary(place: str, loop: TrainingLoop) -> str:
    where = f" of `{loop.function}`" if loop.function else ""
    return f"The training loop{where} ({place})."


# ── The file in pieces ──────────────────────────────────────────────────────────────


class _Piece(NamedTuple):
    """A stretch of the file."""

    start: int
    end: int
    name: str
    """Setup, the name of its phase, or ""."""
    phase: ScriptPhase | None = None


def _sections(text: str, loop: TrainingLoop) -> Iterator[Section]:
    """A section for each piece; the first of Setup and of each phase has heading and formulas."""
    formulas = dict(formulas_of(text, loop))
    headed: set[object] = set()
    for piece in _pieces(text, loop):
        line = len(io.StringIO(text[: piece.start], newline=None).read().split("\n"))
        subject = piece.phase or piece.name
        heading = "" if subject in headed else piece.name
        headed.add(subject)
        said = formulas.pop(piece.phase, ()) if piece.phase else ()
        fence = Fence(text[piece.start : piece.end], line)
        yield Section(heading, line, piece.name or None, (*said, fence))


def _pieces(text: str, loop: TrainingLoop) -> list[_Piece]:
    """The file cut into the phases and what stands between them; blank lines end a piece."""
    places = _Places(text)
    start = places.start_of(loop.line, loop.column)
    spans = {p: (places.start_of(p.line, p.column), places.end_of(p.end_line)) for p in loop.phases}
    inner_first = sorted(spans, key=lambda phase: spans[phase][0], reverse=True)
    pieces: list[_Piece] = []
    for first, end in pairwise(sorted({0, start, len(text), *chain(*spans.values())})):
        phase = next((p for p in inner_first if spans[p][0] <= first < spans[p][1]), None)
        name = phase.name if phase else SETUP if end <= start else ""
        if pieces and (pieces[-1].name, pieces[-1].phase) == (name, phase):
            first = pieces.pop().start
        elif pieces:
            first += _blank_lines(text[first:end])
            pieces[-1] = pieces[-1]._replace(end=first)
        if first < end:
            pieces.append(_Piece(first, end, name, phase))
    return pieces


def _blank_lines(code: str) -> int:
    """The length of the blank lines that it begins with."""
    blank = len(code) - len(code.lstrip())
    return blank if blank == len(code) else code.rfind("\n", 0, blank) + 1


class _Places:
    """The positions of lines and columns in a text, as `ast` counts them: columns in bytes."""

    def __init__(self, text: str) -> None:
        self.lines = io.StringIO(text, newline="").readlines()
        self.starts = [0, *accumulate(map(len, self.lines))]

    def start_of(self, line: int, column: int) -> int:
        """The place of a statement; with the indentation, if it is the first of its line."""
        before = self.lines[line - 1].encode()[:column].decode()
        return self.starts[line - 1] + (len(before) if before.strip() else 0)

    def end_of(self, line: int) -> int:
        """The place behind a line."""
        return self.starts[line]


# ── The learning rate ───────────────────────────────────────────────────────────────

_OPTIONS_OF_PARSERS = ("add_argument", "option")
RATE_NAMES = {"lr", "learning_rate"}


def learning_rate_in(text: str, loop: TrainingLoop) -> float | None:
    """The number that the file gives the loop's learning rate; None unless it is just one."""
    names = {rate.rpartition(".")[2] for rate in loop.rates} or RATE_NAMES
    found = {value for node in ast.walk(ast.parse(text)) for value in _numbers_for(node, names)}
    rates = {value for value in found if is_learning_rate(value)}
    return rates.pop() if len(rates) == 1 else None


def _numbers_for(node: ast.AST, names: set[str]) -> Iterator[float]:
    """The numbers that a node gives to one of the names."""
    given: list[tuple[str, ast.expr | None]] = []
    if isinstance(node, ast.Assign):
        given = [(last_name(target), node.value) for target in node.targets]
    elif isinstance(node, ast.AnnAssign):
        given = [(last_name(node.target), node.value)]
    elif isinstance(node, ast.keyword) and node.arg:
        given = [(node.arg, node.value)]
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        given = [*defaults_of(node).items()]
    elif isinstance(node, ast.Call) and last_name(node.func) in _OPTIONS_OF_PARSERS:
        default = next((k.value for k in node.keywords if k.arg == "default"), None)
        given = [(_option(argument), default) for argument in node.args]
    for name, value in given:
        if name in names and isinstance(value, ast.Constant) and type(value.value) in (int, float):
            yield float(value.value)  # type: ignore[arg-type]  # the line above says so


def _option(argument: ast.expr) -> str:
    """`learning_rate` of "--learning-rate"."""
    value = argument.value if isinstance(argument, ast.Constant) else ""
    return value.lstrip("-").replace("-", "_") if isinstance(value, str) else ""
