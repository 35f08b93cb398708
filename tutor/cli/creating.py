"""`tutor new`: a small lesson that works, for an author to begin with."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from tutor.cli.output import warn
from tutor.cli.parsers import COMMANDS
from tutor.errors import UsageError
from tutor.export import write
from tutor.lesson import document, library, trust

_TEMPLATE = Path(document.__file__).with_name("new_lesson.md")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = 40


def new_command(options: argparse.Namespace) -> int:
    """Write NAME.md into this folder and print the next steps.

    Raises UsageError for a name that can't be a lesson's, FileThere for a file that exists,
    unless --force says to replace it.
    """
    slug = _checked(options.name.removesuffix(".md"))
    path = Path(f"{slug}.md")
    title = slug.replace("-", " ")
    text = _TEMPLATE.read_text(encoding="utf-8").replace("TITLE", title[0].upper() + title[1:])
    text = text.replace("NAME.md", path.name)
    write(text, path, options.force)
    # The tutor itself wrote this very content, so it may run without a question.
    trouble = trust.trust(document.parse(text, path))
    print(
        f"{path} is a small lesson that works: open it in your editor and make it yours.\n"
        f"  tutor check {path} --trust          check it (what you have written is run)\n"
        f"  tutor check --watch --trust {path}  check it again each time you save it\n"
        f"  tutor {path}                        see it as a learner does"
    )
    if trouble:
        warn(trouble)
    return 0


def _checked(slug: str) -> str:
    """The slug. Raises UsageError if it can't be the name of a lesson."""
    if not _SLUG.fullmatch(slug) or len(slug) > _LONGEST:
        raise UsageError(
            f"{slug!r} can't be the name of a lesson: use small letters, digits and single - "
            f"between them, {_LONGEST} at most, such as my-first-lesson"
        )
    if slug in COMMANDS or slug == "readme":
        raise UsageError(f"`{slug}` is a command or a reserved name; choose another")
    if any(library.is_shipped(file) for file in _files_of(slug)):
        raise UsageError(f"`{slug}` is a lesson of the tutor; choose another name")
    return slug


def _files_of(slug: str) -> list[Path]:
    return list(library.lessons().get(slug, {}).values())
