"""Where lessons are kept: found by name, listed in order.

Reads only front matter, so that a menu of lessons costs nearly nothing. Knows nothing
of what is in a lesson's body and does not say whether it would run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import platformdirs

from tutor.errors import LessonError
from tutor.lesson import files, front_matter
from tutor.lesson.faults import FaultList
from tutor.lesson.model import STANDARD_MODES
from tutor.plain import one_line

APP = "gradient-tutor"
FOLDERS = "TUTOR_LESSONS"
"""The environment variable that names more folders of lessons, separated as in PATH."""

_FENCE = re.compile(r"^ {0,3}(?:`{3,}|~{3,})python +(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Headline:
    """What a list of lessons shows of one lesson."""

    slug: str
    path: Path
    title: str
    """The slug, where the file says none."""
    summary: str = ""
    order: float = front_matter.LAST
    modes: tuple[str, ...] = ()
    shipped: bool = True
    fault: str = ""
    """One line about why it can't be used; empty if its front matter is right."""


def shipped_folder() -> Path:
    """The folder of lessons that came with the tutor: in the wheel, or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "lessons"
    return inside if inside.is_dir() else package.parent / "lessons"


def user_folders() -> tuple[Path, ...]:
    """The learner's own folders, existing or not: the usual one, then those of TUTOR_LESSONS."""
    named = os.environ.get(FOLDERS, "").split(os.pathsep)
    usual = platformdirs.user_data_path(APP) / "lessons"
    return (usual, *(Path(os.path.expanduser(name)) for name in named if name))


def is_shipped(path: Path) -> bool:
    """Whether the file came with the tutor. A link to a file elsewhere did not."""
    try:
        return path.resolve().is_relative_to(shipped_folder().resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def headlines() -> tuple[Headline, ...]:
    """One headline for each lesson file, by order and then slug, those with faults last."""
    taken: set[str] = set()
    found = []
    for path in _lesson_files():
        found.append(_shadowed(path) if path.stem in taken else headline(path))
        taken.add(path.stem)
    return tuple(sorted(found, key=lambda h: (bool(h.fault), h.order, h.slug)))


def headline(path: Path) -> Headline:
    """What a list shows of the lesson in a file; never raises for what is in the file."""
    shipped = is_shipped(path)
    try:
        text = files.normal(files.load(path))
        faults = FaultList(path)
        front = front_matter.parse(text.split("\n"), faults)
        faults.raise_if_any()
    except LessonError as error:
        fault = str(error).split("\n", 1)[0]
        return Headline(path.stem, path, one_line(path.stem), shipped=shipped, fault=fault)
    modes = front.modes or _modes_in(text)
    return Headline(path.stem, path, front.title, front.summary, front.order, modes, shipped)


def find(name: str) -> Path:
    """The file of the lesson that the learner names by its slug or by a path.

    Of lessons with the same slug the one that came with the tutor is found; another is
    reached by its path. Raises LessonError, with names that are near, if there is none.
    """
    slugs: dict[str, Path] = {}
    for path in _lesson_files():
        slugs.setdefault(path.stem, path)
    if name in slugs:
        return slugs[name]
    path = Path(name)
    if _is_path(name) and _exists(path):
        return path  # whether it is a lesson is told by whoever reads it
    what = f"there is no file {name}" if _is_path(name) else f"no lesson is named `{name}`"
    near = get_close_matches(path.stem, slugs, n=3)
    hint = f"did you mean {' or '.join(f'`{slug}`' for slug in near)}? " if near else ""
    raise LessonError(one_line(f"{what}; {hint}`tutor list` shows the lessons there are"))


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):  # no permission, a name too long, a NUL in it: told by reading
        return True
    return True


def _lesson_files() -> Iterator[Path]:
    """Every lesson file, the shipped ones first, each folder by name. No subfolders."""
    for folder in dict.fromkeys((shipped_folder(), *user_folders())):
        try:
            paths = sorted(folder.iterdir())
        except OSError:  # a folder that is not there, or may not be read, holds no lessons
            continue
        yield from (p for p in paths if p.suffix == ".md" and not _is_aside(p.name))


def _is_aside(name: str) -> bool:
    return name.startswith(".") or name.upper() == "README.MD"


def _is_path(name: str) -> bool:
    return name.endswith(".md") or os.sep in name or name in (".", "..", "~")


def _shadowed(path: Path) -> Headline:
    slug = path.stem
    fault = f"{path}: another lesson is already named `{slug}`; rename this one"
    return Headline(slug, path, one_line(slug), shipped=is_shipped(path), fault=one_line(fault))


def _modes_in(text: str) -> tuple[str, ...]:
    """The modes that fences name, without parsing Markdown: good enough for a list."""
    named = {word for words in _FENCE.findall(text) for word in words.split()}
    return tuple(mode for mode in STANDARD_MODES if mode in named) or ("autograd",)
