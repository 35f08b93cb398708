"""A lesson's file as a checked Lesson, or all of its diagnostics.

Parses with front_matter, sections and exercise_yaml, and then runs the checks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from tutor.lesson import checks, exercise_yaml, front_matter, library
from tutor.lesson.diagnostics import DiagnosticList
from tutor.lesson.exercise_context import context_of
from tutor.lesson.front_matter import FrontMatter
from tutor.lesson.languages import language_of
from tutor.lesson.model import STANDARD_MODES, Fence, Lesson, Section
from tutor.lesson.sections import Body

_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")


def read(path: Path) -> Lesson:
    """The lesson in a file.

    Raises LessonError, one line, if there is no readable text there, and LessonDiagnostics,
    one line for each, if the text is not a lesson.
    """
    return parse(library.load(path), path)


def parse(source: str, path: Path) -> Lesson:
    """The lesson that `source` is, `path` being the file it came from.

    Raises LessonDiagnostics with everything that is wrong with it.
    """
    text = library.normal(source)
    diagnostics = DiagnosticList(path)
    _check_is_text(text, diagnostics)
    lines = text.split("\n")
    front = front_matter.parse(lines, diagnostics)
    body = Body(lines, front.end, diagnostics)
    if not body.is_whole:
        diagnostics.raise_if_any()
    sections = body.sections()
    front = checks.with_meant_modes(front, sections, diagnostics)
    modes = front.modes or _modes_named(sections)
    context = context_of(front, sections, modes, diagnostics)
    exercises = exercise_yaml.read(body.exercises, context)
    checks.check(front, sections, modes, diagnostics)
    _check_is_not_its_own_base(front, path, diagnostics)
    diagnostics.raise_if_any()
    return Lesson(
        slug=library.slug_of(path),
        path=path,
        digest=hashlib.sha256(source.encode()).hexdigest(),
        source=text,
        title=front.title,
        summary=front.summary,
        order=front.order,
        modes=modes,
        parameters={mode: front.parameters.get(mode) or () for mode in modes},
        learning_rate={mode: front.learning_rate.get(mode) or 0.0 for mode in modes},
        epochs={mode: front.epochs.get(mode) or 0 for mode in modes},
        sections=body.sections(exercises),
        batches=front.batches,
        warm_up=front.warm_up,
        watch=_watch_by_mode(front, modes),
        watch_lines={
            mode: {label: by.lines.get(mode, by.line) for label, by in front.watch.items()}
            for mode in modes
        },
        own_gradient=front.own_gradient,
        comparable=front.comparable,
        data=front.data or checks.usual_data(sections, modes),
        builds_on=front.builds_on,
        language=language_of(path),
        remarks=diagnostics.remarks,
    )


def _check_is_not_its_own_base(front: FrontMatter, path: Path, diagnostics: DiagnosticList) -> None:
    if library.slug_of(path) in front.builds_on:
        diagnostics.add(
            front.line("builds_on"),
            f"`{library.slug_of(path)}` is this lesson; write in `builds_on` what comes before it",
        )


def _check_is_text(text: str, diagnostics: DiagnosticList) -> None:
    """A NUL would be replaced in silence by the Markdown parser: then code shown is not run."""
    if found := _NOT_TEXT.search(text):
        line = text.count("\n", 0, found.start()) + 1
        diagnostics.add(line, f"the character {found[0]!r} is not text; delete it")
        diagnostics.raise_if_any()


def _modes_named(sections: tuple[Section, ...]) -> tuple[str, ...]:
    """The standard modes that some fence names, in the ladder's order."""
    fences = (b for s in sections for b in s.blocks if isinstance(b, Fence))
    named = {mode for fence in fences for mode in fence.modes}
    return tuple(mode for mode in STANDARD_MODES if mode in named) or ("autograd",)


def _watch_by_mode(
    front: FrontMatter, modes: tuple[str, ...]
) -> Mapping[str, Mapping[str, str]] | None:
    if not front.watch:
        return None
    return {
        mode: {label: found for label, by in front.watch.items() if (found := by.get(mode))}
        for mode in modes
    }
