"""Lesson files: found by name, listed by chapter in the learner's language, and read as text.

Lists must be fast: they find a lesson's fences by a regular expression and parse no Markdown.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import msgspec
import platformdirs

from tutor import APP
from tutor.errors import LessonFileError
from tutor.lesson.languages import LANGUAGES, ORIGINAL, language_of, sibling
from tutor.lesson.model import (
    LAST,
    DiagnosticList,
    Fault,
    LessonDiagnostics,
    standard_modes,
)
from tutor.plain import one_line

MAX_BYTES = 256 * 1024
"""Bytes of the largest lesson: some pages of text. A larger file is no lesson."""

BOM = "\ufeff"


def load(path: Path) -> str:
    """The file's text as it is, byte order mark and carriage returns included.

    Raises LessonFileError if the file is missing, not a plain file, empty, too large, unreadable
    or not UTF-8.
    """
    try:
        data = _bytes(path)
    except FileNotFoundError:
        raise LessonFileError("no_file", path=str(path)) from None
    except PermissionError:
        raise LessonFileError("not_permitted", path=str(path)) from None
    except (OSError, ValueError) as error:  # a ValueError: a path with a NUL character in it
        words = str(getattr(error, "strerror", None) or error)
        raise LessonFileError("unreadable", path=str(path), words=words) from None
    if not data.strip():
        raise LessonFileError("is_empty", path=str(path))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start
        place = {"line": data.count(b"\n", 0, at) + 1, "offset": at, "byte": data[at]}
        raise LessonFileError("not_utf8", path=str(path), **place) from None


def slug_of(path: Path) -> str:
    """The slug of the lesson in a file: its name without `.md`, made safe to show and to keep."""
    return one_line(path.stem)


def with_plain_newlines(text: str) -> str:
    """The text without a byte order mark, every line ended by a plain newline."""
    return text.removeprefix(BOM).replace("\r\n", "\n").replace("\r", "\n")


def _bytes(path: Path) -> bytes:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise LessonFileError("is_folder", path=str(path))
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever
        raise LessonFileError("not_plain_file", path=str(path))
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise LessonFileError("file_too_large", path=str(path))
    return data


_MARKER = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$", re.MULTILINE)
_KEY = re.compile(r"^(id|kind)[ \t]*:[ \t]*[\"']?([A-Za-z0-9-]+)", re.MULTILINE)


class FenceGlimpse(NamedTuple):
    """A fence: the words after its opening line's marks, and its content."""

    info: tuple[str, ...]
    text: str


def fences(text: str) -> Iterator[FenceGlimpse]:
    """Every fence that is closed, in order; `text` has plain newlines."""
    opened = ""
    info, start = "", 0
    for found in _MARKER.finditer(text):
        marks, rest = found.groups()
        if not opened:
            if marks[0] == "`" and "`" in rest:
                continue  # code in the middle of a line
            opened, info, start = marks, rest, found.end() + 1
        elif marks.startswith(opened) and not rest.strip():
            yield FenceGlimpse(tuple(info.split()), text[start : found.start()])
            opened = ""


def exercises(found: Iterable[FenceGlimpse]) -> Iterator[tuple[str, str]]:
    """The id and the kind of each exercise that has both, in order."""
    for fence in found:
        if fence.info[:2] == ("yaml", "exercise"):
            values: dict[str, str] = {}
            for key, value in _KEY.findall(fence.text):
                values.setdefault(key, value)
            if len(values) == 2:
                yield values["id"], values["kind"]


FOLDERS = "TUTOR_LESSONS"
"""The environment variable that names more folders of lessons, separated as in PATH."""


class Headline(msgspec.Struct, frozen=True):
    """One lesson in a list of lessons."""

    slug: str
    path: Path
    title: str
    """The slug, where the file has none."""
    summary: str = ""
    order: float = LAST
    modes: tuple[str, ...] = ()
    shipped: bool = True
    fault: Fault | None = None
    """The reason why it can't be used; None if its front matter is right."""
    language: str = ORIGINAL
    """The language of this file."""
    languages: tuple[str, ...] = (ORIGINAL,)
    """The languages of its files, in the order of LANGUAGES."""
    builds_on: tuple[str, ...] = ()
    """Slugs, as in the file: there may be no such lesson."""
    chapter: str = ""
    """Empty if it stands in no chapter."""
    exercises: tuple[tuple[str, str], ...] = ()
    """The id and the kind of each, in the file's order."""


def shipped_folder() -> Path:
    """The folder of lessons that came with the tutor: in the wheel, or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "lessons"
    return inside if inside.is_dir() else package.parent / "lessons"


def user_folders() -> tuple[Path, ...]:
    """The learner's own folders, existing or not: the usual one, then TUTOR_LESSONS."""
    named = os.environ.get(FOLDERS, "").split(os.pathsep)
    usual = platformdirs.user_data_path(APP) / "lessons"
    return (usual, *(Path(os.path.expanduser(name)) for name in named if name))


def is_shipped(path: Path) -> bool:
    """Whether the file came with the tutor. A link to a file elsewhere did not."""
    try:
        return path.resolve().is_relative_to(shipped_folder().resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def headlines(
    language: str = ORIGINAL, read: Callable[[Path, tuple[str, ...]], Headline] | None = None
) -> tuple[Headline, ...]:
    """One headline for each lesson, by chapter, order and slug, those with faults last.

    A chapter's place is that of its first shipped lesson; lessons in no chapter follow.
    It is made from the lesson's file in `language` where there is one, else from another, by
    `read`, which is `headline` if it isn't given.
    """
    read = read or headline
    by_slug, shadowed = _shelf()
    found = [read(_in(files, language), tuple(files)) for files in by_slug.values()]
    found += map(_shadowed, shadowed)
    places: dict[str, tuple[bool, float]] = {"": (True, math.inf)}
    for h in found:
        place = (not h.shipped, h.order)
        places[h.chapter] = min(place, places.get(h.chapter, place)) if h.chapter else places[""]
    return tuple(
        sorted(found, key=lambda h: (h.fault is not None, places[h.chapter], h.order, h.slug))
    )


def headline(path: Path, languages: tuple[str, ...] = ()) -> Headline:
    """The headline of the lesson in a file. Never raises for what is in the file.

    `languages` are those of its translations beside it, where they are not given.
    """
    from tutor.lesson import front_matter  # noqa: PLC0415 - loads the YAML parser

    shipped = is_shipped(path)
    languages = languages or tuple(_beside(path))
    try:
        text = with_plain_newlines(load(path))
        diagnostics = DiagnosticList(path)
        front = front_matter.parse(text.split("\n"), diagnostics)
        diagnostics.raise_if_any()
    except LessonFileError as error:
        return _faulty(path, Fault(error.code, error.values), languages)
    except LessonDiagnostics as error:
        return _faulty(path, error.diagnostics[0].in_file(), languages)
    in_file = tuple(fences(text))
    modes = {word for f in in_file if f.info[:1] == ("python",) for word in f.info[1:]}
    return Headline(
        slug_of(path),
        path,
        front.title,
        front.summary,
        front.order,
        front.modes or standard_modes(modes),
        shipped,
        language=language_of(path),
        languages=languages,
        builds_on=front.builds_on,
        chapter=front.chapter,
        exercises=tuple(exercises(in_file)),
    )


_ENDINGS = (".md", ".py", ".ipynb")
"""The endings of the files that the tutor opens."""


def find(name: str, language: str = ORIGINAL) -> Path:
    """The file of the lesson that the learner names by its slug, by `zh/SLUG` or by a path.

    Named by its slug, it is the file in `language` if there is one, else the original.
    Of lessons with the same slug the one that came with the tutor is found; another is
    reached by its path. Raises LessonError, with names that are near, if there is none.
    """
    found = lessons()
    files = _by_slug(name, found)
    return _in(files, language) if files else _named(name, found)


def find_all(name: str) -> Mapping[str, Path]:
    """The files of the lesson that is named as in `find`: by language, in order.

    With a path they are that file and the translations beside it; a translation is alone.
    Raises LessonError as `find` does.
    """
    found = lessons()
    if files := _by_slug(name, found):
        return files
    path = _named(name, found)
    return _beside(path) if language_of(path) == ORIGINAL else {language_of(path): path}


def lessons() -> Mapping[str, Mapping[str, Path]]:
    """The files of all lessons by slug and by language. Reads none of them."""
    return _shelf()[0]


def original_of(path: Path) -> Path | None:
    """The lesson that the file in `path` translates; None if there is none."""
    if language_of(path) == ORIGINAL:
        return None
    beside = sibling(path, ORIGINAL)
    return beside if beside.is_file() else lessons().get(slug_of(path), {}).get(ORIGINAL)


def _by_slug(name: str, found: Mapping[str, Mapping[str, Path]]) -> Mapping[str, Path]:
    """The files of a slug, or the one that `zh/SLUG` names; none if there is no such lesson."""
    code, slash, slug = name.rpartition("/")
    files = found.get(slug, {})
    return {c: path for c, path in files.items() if c == code} if slash else files


def _named(name: str, slugs: Collection[str]) -> Path:
    """The path that `name` is. Raises LessonError if there is nothing there."""
    path = Path(name)
    if _is_path(name) and _exists(path):
        return path  # reading it shows whether it is a lesson
    here = [f"{name}{ending}" for ending in _ENDINGS if _exists(Path(f"{name}{ending}"))]
    near = here or get_close_matches(slug_of(path), slugs, n=3)
    raise LessonFileError("no_path" if _is_path(name) else "no_lesson", name=name, near=near)


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):  # no permission, a name too long, a NUL in it: reading reports it
        return True
    return True


def _shelf() -> tuple[dict[str, dict[str, Path]], list[Path]]:
    """The lesson files that there are, the shipped ones first, each folder by name.

    By slug and language, the languages in the order of LANGUAGES; and the files hidden by another
    one of the same slug and language.
    """
    lessons: dict[str, dict[str, Path]] = {}
    shadowed: list[Path] = []
    homes = dict.fromkeys((shipped_folder(), *user_folders()))
    for language in LANGUAGES:
        for home in homes:
            for path in lesson_files(home if language == ORIGINAL else home / language):
                by_language = lessons.setdefault(slug_of(path), {})
                if by_language.setdefault(language, path) is not path:
                    shadowed.append(path)
    return lessons, shadowed


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
    """The lesson's files by language: this one and its translations beside it."""
    files = {code: sibling(path, code) for code in LANGUAGES}
    return {code: f for code, f in files.items() if f == path or os.path.isfile(f)}


def _is_aside(name: str) -> bool:
    return name.startswith(".") or name.upper() == "README.MD"


def _is_path(name: str) -> bool:
    return name.lower().endswith(".md") or os.sep in name or name in (".", "..", "~")


def _shadowed(path: Path) -> Headline:
    fault = Fault("slug_taken", {"path": str(path), "slug": slug_of(path)})
    return _faulty(path, fault, (language_of(path),))


def _faulty(path: Path, fault: Fault, languages: tuple[str, ...]) -> Headline:
    return Headline(
        slug_of(path),
        path,
        slug_of(path),
        shipped=is_shipped(path),
        fault=fault,
        language=language_of(path),
        languages=languages,
    )


OTHERS = "Other lessons"
"""The heading above lessons that stand in no chapter, below all that do."""


def by_chapter(headlines: Sequence[Headline]) -> dict[str, list[Headline]]:
    """The lessons below the heading of their chapter, in the order given.

    Where no lesson has a chapter, the only heading is empty.
    """
    others = OTHERS if any(h.chapter for h in headlines) else ""
    found: dict[str, list[Headline]] = {}
    for headline in sorted(headlines, key=lambda h: not h.chapter):
        found.setdefault(headline.chapter or others, []).append(headline)
    return found
