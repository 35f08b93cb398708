"""Lessons for commands: listed by `tutor list`, found by slug or path, and trusted to run.

`tutor devices` lists where PyTorch can compute.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tutor.cli.terminal import agrees, connected, is_attended, screen, warn
from tutor.errors import LessonError
from tutor.lesson import library, trust
from tutor.lesson.languages import ORIGINAL
from tutor.lesson.library import Headline, by_chapter
from tutor.lesson.model import Lesson
from tutor.plain import cell_width, json_text, one_line
from tutor.wording.layout import WIDEST, columns, cut, first_fitting, padded, wrap
from tutor.wording.lesson_faults import lesson_fault_text
from tutor.wording.notices import error_text
from tutor.wording.number_format import counted


def trusted_lesson(name: str, *, trust_now: bool, language: str = ORIGINAL) -> Lesson:
    """The lesson of this slug or path, if it is trusted to run.

    For a slug, it is the lesson in `language`, or else the original. Raises LessonError if
    there is none, something is wrong with it, or it is not trusted and there is no terminal to
    ask at.
    """
    return trusted(library.find(name, language), trust_now=trust_now)


def trusted(path: Path, *, trust_now: bool) -> Lesson:
    """The lesson in a file, if it is trusted to run. Raises LessonError as above."""
    from tutor.lesson import document  # noqa: PLC0415  loads the parsers; a list does without

    return agreed(document.read(path), trust_now=trust_now)


def agreed(lesson: Lesson, *, trust_now: bool) -> Lesson:
    """The lesson, or the script, if it is trusted to run. Raises LessonError as above."""
    if trust.is_trusted(lesson):
        return lesson
    if not trust_now and not _says_yes(lesson):
        raise LessonError(f"{_not_ours(lesson)}: read it, then give --trust to let it run")
    if (trouble := trust.trust(lesson)) is not None:
        warn(error_text(trouble))
    return lesson


def _says_yes(lesson: Lesson) -> bool:
    """Ask at the terminal, if there is one."""
    if not is_attended():
        return False
    words = f"{_not_ours(lesson)} that runs with your permissions."
    print(*wrap(words, shutil.get_terminal_size().columns), sep="\n", file=sys.stderr)
    return agrees("Run exactly this content from now on?")


def _not_ours(lesson: Lesson) -> str:
    name = one_line(str(lesson.path))
    if lesson.script is not None:
        return f"{name} is a script: the tutor runs it, as `python` does. It is Python code"
    return f"{name} did not come with the tutor and is Python code"


def list_command(options: argparse.Namespace) -> None:
    """Print the lessons: in order, as JSON, or as the map: which lesson builds on which."""
    headlines = library.headlines(options.lang)
    if options.json:
        print(json_text([_as_json(h) for h in headlines]))
    elif options.map:
        _print_map(headlines)
    else:
        _print_list(headlines)
        _warn_of_cycles(headlines)


def _as_json(h: Headline) -> dict[str, Any]:
    return {
        "slug": h.slug,
        "title": h.title,
        "summary": h.summary,
        "chapter": h.chapter or None,
        "modes": list(h.modes),
        "languages": list(h.languages),
        "builds_on": list(h.builds_on),
        "exercises": [{"id": id_, "kind": kind} for id_, kind in h.exercises],
        "path": str(h.path),
        **({"fault": lesson_fault_text(*h.fault)} if h.fault else {}),
    }


def _print_list(headlines: Sequence[Headline]) -> None:
    """A line for each lesson, with as many columns as the screen is wide enough for.

    Lessons in chapters stand below their headings.
    """
    chapters = by_chapter(headlines)
    indent = "" if "" in chapters else "  "
    cells = [tuple(map(one_line, _cells(h))) for h in headlines]
    width = screen() - len(indent)
    is_long = [h.fault or any(cell_width(text) > WIDEST for text in row[:3])
               for h, row in zip(headlines, cells, strict=True)]  # fmt: skip

    def width_of(lines: Sequence[str]) -> int:
        """The widest line that is not too long in every layout."""
        widths = map(cell_width, lines)
        return max((w for w, is_cut in zip(widths, is_long, strict=True) if not is_cut), default=0)

    layouts = [columns([row[:count] for row in cells]) for count in (5, 4, 3)]
    lines = first_fitting(layouts, width_of, width)
    drawn = iter(lines)
    for title, found in chapters.items():
        _print_heading(title)
        for h, line in zip(found, drawn, strict=False):
            print(indent + (line if h.fault else cut(line, width)))


def _print_heading(title: str) -> None:
    if title:
        print(cut(one_line(title), screen()))


def _cells(h: Headline) -> tuple[str, ...]:
    """Slug, title and modes (or what is wrong), then the columns a narrow screen leaves out."""
    if h.fault:
        return h.slug, h.title, lesson_fault_text(*h.fault)
    exercises = counted(len(h.exercises), "exercise") if h.exercises else ""
    after = f"after {', '.join(h.builds_on)}" if h.builds_on else ""
    return h.slug, h.title, ", ".join(h.modes), exercises, after


def _print_map(headlines: Sequence[Headline]) -> None:
    """Print a line for each lesson below what it builds on, with what is wrong with it."""
    from tutor.lesson.map import rows  # noqa: PLC0415 - a plain list needs no map

    drawn = rows(headlines)
    lines = _has_lines()
    trees = [
        ("  " if r.chapter else "")
        + (r.prefix if lines else r.ascii_prefix())
        + one_line(r.headline.slug)
        for r in drawn
    ]
    width = max(map(cell_width, trees), default=0)
    chapter = ""
    for row, tree in zip(drawn, trees, strict=True):
        if row.chapter != chapter:
            chapter = row.chapter
            _print_heading(chapter)
        after = "also after" if row.depth else "after"
        also = f" ({after} {', '.join(row.also)})" if row.also else ""
        fault = row.headline.fault or row.fault
        title = f"{row.headline.title}{also}" + (f": {lesson_fault_text(*fault)}" if fault else "")
        line = f"{padded(tree, width)}  {one_line(title)}"
        print(line if fault else cut(line, screen()))


def _warn_of_cycles(headlines: Sequence[Headline]) -> None:
    """A line on standard error for each cycle of lessons that build on one another."""
    from tutor.lesson.map import cycles  # noqa: PLC0415 - as above

    sys.stdout.flush()
    for cycle in cycles({h.slug: h.builds_on for h in headlines}):
        warn(one_line(f"{' → '.join(cycle)} build on one another; fix `builds_on` in one of them"))


def _has_lines() -> bool:
    """Whether standard output can say the characters that a tree is drawn with."""
    try:
        "├─└│".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def devices_command(options: argparse.Namespace) -> None:
    """Print the devices of this machine, or of another one, with a description."""
    if options.on:
        with closing(connected(options.on)) as connection:
            found = [(one_line(n), one_line(d)) for n, d in connection.devices()]
    else:
        from tutor.training import devices  # noqa: PLC0415 - loads torch, which takes seconds

        found = [(name, devices.describe(name)) for name in devices.available()]
    if options.json:
        print(json_text([{"name": n, "description": d} for n, d in found]))
    else:
        print("\n".join(columns(found)))
