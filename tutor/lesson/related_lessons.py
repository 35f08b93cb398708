"""A lesson beside the others: its prerequisites, and the original that it is a translation of.

Code, settings and questions of a translation must be equal to the character, so that both show the
same figures and progress in one holds in the other. Prose that is still the original's is
reported as well. No code runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, zip_longest
from typing import Any, NamedTuple, TypeAlias

import msgspec

from tutor.errors import LessonError
from tutor.lesson import cache, document, front_matter, library
from tutor.lesson.exercise import Exercise, kind_of
from tutor.lesson.front_matter import FrontMatter
from tutor.lesson.languages import ORIGINAL, TRANSLATED, sibling
from tutor.lesson.map import fault_of
from tutor.lesson.model import (
    Diagnostic,
    DiagnosticList,
    DisplayFormula,
    Fault,
    Fence,
    Lesson,
    Prose,
    Section,
)
from tutor.lesson.schema import ByMode, keys_of
from tutor.plain import cut_short


def diagnostics_beside_others(lesson: Lesson) -> tuple[Diagnostic, ...]:
    """Slugs in `builds_on` that are wrong or lead back, and differences from the original."""
    return (*_of_prerequisites(lesson), *_of_translation(lesson))


def _of_prerequisites(lesson: Lesson) -> Iterator[Diagnostic]:
    if lesson.builds_on:
        known = {**_builds_on(lesson), lesson.slug: lesson.builds_on}
        if fault := fault_of(lesson.slug, known):
            yield Diagnostic(lesson.path, _front(lesson).line("builds_on"), fault)


def _builds_on(lesson: Lesson) -> Mapping[str, tuple[str, ...]]:
    """The prerequisites of each lesson: of those beside this lesson, and of the shipped ones."""
    folder = lesson.path.absolute().parent
    home = folder.parent if folder.name in TRANSLATED else folder
    listed = cache.headlines()
    known = {h.path for h in listed}
    beside = (library.headline(path) for path in library.lesson_files(home) if path not in known)
    return {h.slug: h.builds_on for h in (*beside, *listed)}


def _of_translation(lesson: Lesson) -> Iterator[Diagnostic]:
    path = library.original_of(lesson.path)
    if path is None:
        if lesson.language != ORIGINAL:
            there = sibling(lesson.path, ORIGINAL)
            values = {"language": lesson.language, "original": str(there)}
            yield Diagnostic(lesson.path, 1, Fault("no_original", values))
        return
    try:
        original = document.read(path)
    except LessonError:
        yield Diagnostic(lesson.path, 1, Fault("original_is_wrong", {"original": str(path)}))
        return
    yield from differences(original, lesson)
    yield from untranslated(original, lesson)


def _front(lesson: Lesson) -> FrontMatter:
    """The front matter, parsed again: a Lesson does not keep the lines of the keys."""
    return front_matter.parse(lesson.source.split("\n"), DiagnosticList(lesson.path))


# ── Prose that is not translated ────────────────────────────────────────────────────

_MATH_OR_CODE = re.compile(r"\$[^$]*\$|`[^`]*`")
_WORD = re.compile(r"[A-Za-z]{2,}")

FEWEST_WORDS = 3
"""The fewest words of a text that has to be translated; fewer may be a name or a command."""

_TEXTS = frozenset({"ask", "hints", "explain", "choices", "reply", "text"})
"""The fields of an exercise and its parts that hold texts."""


def untranslated(original: Lesson, translation: Lesson) -> Iterator[Diagnostic]:
    """Each text that stands in both, by line of the translation."""
    theirs = {text for text, _ in _texts(original)}
    for text, line in sorted(_texts(translation), key=lambda found: found[1]):
        if text in theirs and len(_WORD.findall(_MATH_OR_CODE.sub("", text))) >= FEWEST_WORDS:
            values = {"text": cut_short(text, 40), "original": str(original.path)}
            yield Diagnostic(translation.path, line, Fault("not_translated", values))


def _texts(lesson: Lesson) -> Iterator[tuple[str, int]]:
    """All prose of a lesson, each text on one line, with its line in the file."""
    for section in lesson.sections:
        yield section.heading, section.line
        for block in section.blocks:
            if isinstance(block, Prose):
                yield " ".join(block.markdown.split()), block.line
    for exercise in lesson.exercises:
        for path, is_text, value in _leaves(exercise):
            if is_text and path in exercise.lines:  # an `again` may take it from the exercise
                yield " ".join(value.split()), exercise.lines[path]


class _Leaf(NamedTuple):
    """A value in a part of an exercise that has no parts itself."""

    path: str
    """The keys that lead to it, as `wrong.0.reply`."""
    is_text: bool
    value: Any


def _leaves(part: Any, path: str = "", *, is_text: bool = False) -> Iterator[_Leaf]:
    """The values in a part of an exercise, without its lines."""
    inner = list(_inner(part))
    if not inner:
        yield _Leaf(path, is_text and isinstance(part, str), part)
    for key, value in inner:
        below = f"{path}.{key}" if path else key
        is_many = isinstance(part, Mapping | tuple)
        yield from _leaves(value, below, is_text=key in _TEXTS or (is_text and is_many))


def _inner(part: Any) -> Iterable[tuple[str, Any]]:
    """The fields, items or elements of a part of an exercise."""
    if isinstance(part, msgspec.Struct):
        names = (name for name in part.__struct_fields__ if name not in ("line", "lines"))
        return ((name, getattr(part, name)) for name in names)
    if isinstance(part, Mapping):
        return part.items()
    return ((str(n), v) for n, v in enumerate(part)) if isinstance(part, tuple) else ()


# ── Differences from the original ───────────────────────────────────────────────────


class _Part(msgspec.Struct, frozen=True):
    """A part of a lesson that a translation has to repeat."""

    line: int
    content: tuple[Any, ...] = ()
    """The content to compare: of code one entry for each line."""


_Parts: TypeAlias = Mapping[tuple[object, ...], _Part]
"""The parts of a lesson in the file's order: each with its kind, its number and its name."""

_WORDS_OF_LESSON = ("title", "summary")
"""The keys of the front matter that are translated."""

_OWN_TEXT = re.compile(r"again\.\d+(\.(ask|hints|explain))?")
"""A text that an entry of `again` may take from the exercise: in both files, or in neither."""

_KEYS = {"settings": "set", "solution_code": "solution"}
"""The key in the file for a field of another name."""


def differences(original: Lesson, translation: Lesson) -> tuple[Diagnostic, ...]:
    """The differences between a translation and its original, by line of the translation."""
    found = _Comparison(original, translation).differences()
    return tuple(sorted(found, key=lambda diagnostic: diagnostic.line))


class _Comparison(msgspec.Struct, frozen=True):
    """Two lessons side by side; each method yields differences."""

    original: Lesson
    translation: Lesson

    def differences(self) -> Iterator[Diagnostic]:
        original, translation = self.original, self.translation
        yield from self._compare(_settings(original), _settings(translation))
        theirs, mine = _phases(original), _phases(translation)
        yield from self._compare(_headings(theirs), _headings(mine))
        for phase in ("", *(phase for phase in theirs if phase in mine)):
            line = mine[phase].line if phase else 1
            for parts in (_code, _boxed):
                found = self._compare(parts(original, phase), parts(translation, phase), line)
                yield from islice(found, 1)  # the others follow from the first
        yield from self._compare(_exercises(original), _exercises(translation))
        by_id = {exercise.id: exercise for exercise in translation.exercises}
        for exercise in original.exercises:
            if exercise.id in by_id:
                yield from self._compare_exercises(exercise, by_id[exercise.id])

    def _compare_exercises(self, their: Exercise, my: Exercise) -> Iterator[Diagnostic]:
        parts = (
            (_kind_part, _fields, _own_texts) if kind_of(their) == kind_of(my) else (_kind_part,)
        )
        for parts_of in parts:
            yield from self._compare(parts_of(their), parts_of(my), my.line)

    def _compare(self, theirs: _Parts, mine: _Parts, line: int = 1) -> Iterator[Diagnostic]:
        """Parts that differ, are missing (below `line`), are in one alone, or in another order."""
        for name, their in theirs.items():
            my = mine.get(name)
            if my is None:
                there = f"{self.original.path}:{their.line}"
                yield self._diagnostic(line, "part_missing", part=name, there=there)
                continue
            line = my.line
            if my.content != their.content:
                lines = enumerate(zip_longest(my.content, their.content))
                at = next(number for number, (one, other) in lines if one != other)
                there = f"{self.original.path}:{their.line + at}"
                yield self._diagnostic(my.line + at, "part_differs", part=name, there=there)
        for name, my in mine.items():
            if name not in theirs:
                there = str(self.original.path)
                yield self._diagnostic(my.line, "part_is_new", part=name, there=there)
        order = (name for name in theirs if name in mine)
        for wanted, name in zip(order, (n for n in mine if n in theirs), strict=True):
            if name != wanted:
                values = {"part": name, "there": str(self.original.path), "instead": wanted}
                yield self._diagnostic(mine[name].line, "part_elsewhere", **values)
                return

    def _diagnostic(self, line: int, code: str, **values: object) -> Diagnostic:
        return Diagnostic(self.translation.path, line, Fault(code, values))


# ── The parts of a lesson without its texts ─────────────────────────────────────────


def _settings(lesson: Lesson) -> _Parts:
    """The keys of the front matter whose values are not the default."""
    front, default = _front(lesson), FrontMatter()
    values = {key: _plain(getattr(front, key)) for key in keys_of(FrontMatter)}
    return {
        ("key", key): _Part(front.line(key), (value,))
        for key, value in values.items()
        if key not in _WORDS_OF_LESSON and value != _plain(getattr(default, key))
    }


def _plain(value: Any) -> Any:
    """A value of the front matter without the lines that it stands on."""
    if isinstance(value, ByMode):
        return value.common, dict(value.own)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return value


def _phases(lesson: Lesson) -> Mapping[str, Section]:
    return {s.phase: s for s in lesson.sections if s.phase}


def _headings(phases: Mapping[str, Section]) -> _Parts:
    return {("phase", name): _Part(section.line) for name, section in phases.items()}


def _code(lesson: Lesson, phase: str) -> _Parts:
    """The code of a phase, each fence with the line that opens it."""
    section = lesson.phase(phase)
    fences = [b for b in section.blocks if isinstance(b, Fence)] if section else []
    return {
        ("fence", number, phase): _Part(f.line - 1, (f.modes, *f.code.split("\n")))
        for number, f in enumerate(fences, 1)
    }


def _boxed(lesson: Lesson, phase: str) -> _Parts:
    r"""The `\boxed` expressions under a phase's heading; under all others, if that is empty."""
    blocks = [b for s in lesson.sections if (s.phase or "") == phase for b in s.blocks]
    found = [(e, b.line) for b in blocks if isinstance(b, DisplayFormula) for e in b.boxed]
    kind = "boxed" if phase else "boxed outside"
    return {
        (kind, number, phase): _Part(line, (expression,))
        for number, (expression, line) in enumerate(found, 1)
    }


def _exercises(lesson: Lesson) -> _Parts:
    return {("exercise", e.id): _Part(e.lines.get("id", e.line)) for e in lesson.exercises}


def _kind_part(exercise: Exercise) -> _Parts:
    return {("field", "kind", exercise.id): _Part(exercise.lines["kind"], (kind_of(exercise),))}


def _fields(exercise: Exercise) -> _Parts:
    """The fields of an exercise, and of its stage."""
    found: dict[tuple[object, ...], _Part] = {}
    for name, value in (*_inner(exercise), *_inner(exercise.stage)):
        if name != "stage":
            key = _KEYS.get(name, name)
            leaves = _leaves(value, is_text=name in _TEXTS)
            content = [(path, None if is_text else leaf) for path, is_text, leaf in leaves]
            line = exercise.lines.get(key, exercise.line)
            kind = "number of" if name == "hints" else "field"
            found[kind, key, exercise.id] = _Part(line, (content,))
    return found


def _own_texts(exercise: Exercise) -> _Parts:
    """The texts that entries of `again` have themselves."""
    paths = sorted(filter(_OWN_TEXT.fullmatch, exercise.lines))
    return {("field", path, exercise.id): _Part(exercise.lines[path]) for path in paths}
