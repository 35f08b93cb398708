"""Where lessons are kept: found by name, listed in order, in the language that is asked for.

Reads only front matter and glances at the fences, so that a menu of lessons costs nearly nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import platformdirs

from tutor.errors import LessonError
from tutor.lesson import fence_scan, files, front_matter
from tutor.lesson.diagnostics import DiagnosticList
from tutor.lesson.languages import LANGUAGES, ORIGINAL, language_of, sibling
from tutor.lesson.model import STANDARD_MODES
from tutor.plain import one_line

APP = "gradient-tutor"
FOLDERS = "TUTOR_LESSONS"
"""The environment variable that names more folders of lessons, separated as in PATH."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One lesson in a list of lessons."""

    slug: str
    path: Path
    title: str
    """The slug, where the file says none."""
    summary: str = ""
    order: float = front_matter.LAST
    modes: tuple[str, ...] = ()
    shipped: bool = True
    diagnostic: str = ""
    """One line about why it can't be used; empty if its front matter is right."""
    language: str = ORIGINAL
    """Of this very file."""
    languages: tuple[str, ...] = (ORIGINAL,)
    """All that the lesson is there in, in the order of LANGUAGES."""
    builds_on: tuple[str, ...] = ()
    """Slugs, as the file says them: there may be no such lesson."""
    exercises: tuple[tuple[str, str], ...] = ()
    """The id and the kind of each, in the file's order."""


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


def headlines(language: str = ORIGINAL) -> tuple[Headline, ...]:
    """One headline for each lesson, by order and then slug, those with faults last.

    Of the lesson's file in `language` where there is one, else of the one that there is.
    """
    shelf = _Shelf()
    found = [headline(_in(files, language), tuple(files)) for files in shelf.lessons.values()]
    found += map(_shadowed, shelf.shadowed)
    return tuple(sorted(found, key=lambda h: (bool(h.diagnostic), h.order, h.slug)))


def headline(path: Path, languages: tuple[str, ...] = ()) -> Headline:
    """The headline of the lesson in a file. Never raises for what is in the file.

    `languages` are those of its translations beside it, where they are not given.
    """
    shipped = is_shipped(path)
    languages = languages or tuple(_beside(path))
    try:
        text = files.normal(files.load(path))
        diagnostics = DiagnosticList(path)
        front = front_matter.parse(text.split("\n"), diagnostics)
        diagnostics.raise_if_any()
    except LessonError as error:
        return _faulty(path, shipped, str(error).split("\n", 1)[0], languages)
    fences = tuple(fence_scan.fences(text))
    return Headline(
        files.slug_of(path),
        path,
        front.title,
        front.summary,
        front.order,
        front.modes or _in_order(fence_scan.modes_named(fences)),
        shipped,
        language=language_of(path),
        languages=languages,
        builds_on=front.builds_on,
        exercises=tuple(fence_scan.exercises(fences)),
    )


def find(name: str, language: str = ORIGINAL) -> Path:
    """The file of the lesson that the learner names by its slug or by a path.

    Named by its slug, it is the file in `language` if there is one, else the original.
    Of lessons with the same slug the one that came with the tutor is found; another is
    reached by its path. Raises LessonError, with names that are near, if there is none.
    """
    lessons = _Shelf().lessons
    return _in(lessons[name], language) if name in lessons else _named(name, lessons)


def find_all(name: str) -> Mapping[str, Path]:
    """The files of the lesson that is named by its slug or by a path: by language, in order.

    With a path they are that file and the translations beside it; a translation is alone.
    Raises LessonError as `find` does.
    """
    lessons = _Shelf().lessons
    if name in lessons:
        return lessons[name]
    path = _named(name, lessons)
    return _beside(path) if language_of(path) == ORIGINAL else {language_of(path): path}


def lessons() -> Mapping[str, Mapping[str, Path]]:
    """The files of all lessons by slug and by language. Reads none of them."""
    return _Shelf().lessons


def original_of(path: Path) -> Path | None:
    """The lesson that the file in `path` is a translation of; None if it is none, or of none."""
    if language_of(path) == ORIGINAL:
        return None
    beside = sibling(path, ORIGINAL)
    return (
        beside if beside.is_file() else _Shelf().lessons.get(files.slug_of(path), {}).get(ORIGINAL)
    )


def _named(name: str, slugs: Collection[str]) -> Path:
    """The path that `name` is. Raises LessonError if there is nothing there."""
    path = Path(name)
    if _is_path(name) and _exists(path):
        return path  # whether it is a lesson is told by whoever reads it
    what = f"there is no file {name}" if _is_path(name) else f"no lesson is named `{name}`"
    near = get_close_matches(files.slug_of(path), slugs, n=3)
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


class _Shelf:
    """The lesson files that there are, the shipped ones first, each folder by name."""

    def __init__(self) -> None:
        self.lessons: dict[str, dict[str, Path]] = {}
        """Slug → language → file; the languages in the order of LANGUAGES."""
        self.shadowed: list[Path] = []
        """Files of a slug and a language that there is already."""
        homes = dict.fromkeys((shipped_folder(), *user_folders()))
        for language in LANGUAGES:
            for home in homes:
                folder = home if language == ORIGINAL else home / language
                for path in lesson_files(folder):
                    self._add(path, language)

    def _add(self, path: Path, language: str) -> None:
        by_language = self.lessons.setdefault(files.slug_of(path), {})
        if by_language.setdefault(language, path) is not path:
            self.shadowed.append(path)


def lesson_files(folder: Path) -> Iterator[Path]:
    """The files of a folder that are lessons, by name; none if it can't be read."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:  # a folder that is not there, or may not be read, holds no lessons
        return
    yield from (p for p in paths if p.suffix.lower() == ".md" and not _is_aside(p.name))


def _in(by_language: Mapping[str, Path], language: str) -> Path:
    """The file in `language`, or the original, or whichever there is."""
    return by_language.get(language) or next(iter(by_language.values()))


def _beside(path: Path) -> dict[str, Path]:
    """The file and those of the same lesson beside it, by language."""
    files = {code: sibling(path, code) for code in LANGUAGES}
    return {code: f for code, f in files.items() if f == path or f.is_file()}


def _is_aside(name: str) -> bool:
    return name.startswith(".") or name.upper() == "README.MD"


def _is_path(name: str) -> bool:
    return name.lower().endswith(".md") or os.sep in name or name in (".", "..", "~")


def _shadowed(path: Path) -> Headline:
    slug = files.slug_of(path)
    diagnostic = f"{path}: another lesson is already named `{slug}`; rename this one"
    return _faulty(path, is_shipped(path), one_line(diagnostic), (language_of(path),))


def _faulty(path: Path, shipped: bool, diagnostic: str, languages: tuple[str, ...]) -> Headline:
    return Headline(
        files.slug_of(path),
        path,
        files.slug_of(path),
        shipped=shipped,
        diagnostic=diagnostic,
        language=language_of(path),
        languages=languages,
    )


def _in_order(named: Collection[str]) -> tuple[str, ...]:
    """The modes that fences name: good enough for a list."""
    return tuple(mode for mode in STANDARD_MODES if mode in named) or ("autograd",)
