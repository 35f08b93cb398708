"""A lesson beside the others: its prerequisites, and the original that it is a translation of.

Code, settings and questions of a translation must be equal to the character, so that both show the
same figures and progress in one holds in the other. Prose that is still the original's is
reported as well. No code runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from tutor.errors import LessonError
from tutor.lesson import document, front_matter, library
from tutor.lesson.diagnostics import Diagnostic, DiagnosticList
from tutor.lesson.exercise import Choose, Exercise, Predict, Stage, kind_of
from tutor.lesson.front_matter import FrontMatter
from tutor.lesson.library import ORIGINAL, TRANSLATED, sibling
from tutor.lesson.map import diagnostic_of
from tutor.lesson.model import DisplayFormula, Fence, Lesson, Prose, Section
from tutor.lesson.schema import ByMode, keys_of

_MATH_OR_CODE = re.compile(r"\$[^$]*\$|`[^`]*`")
_WORD = re.compile(r"[A-Za-z]{2,}")

LEAST = 3
"""The fewest words of a text that has to be translated; fewer may be a name or a command."""


def untranslated(original: Lesson, translation: Lesson) -> Iterator[Diagnostic]:
    """Each text that stands in both, by line of the translation."""
    theirs = {text for text, _ in _texts(original)}
    for text, line in sorted(_texts(translation), key=lambda found: found[1]):
        if text in theirs and len(_WORD.findall(_MATH_OR_CODE.sub("", text))) >= LEAST:
            short = text if len(text) <= 40 else f"{text[:39]}…"
            message = f"this is not translated: “{short}” is word for word that of {original.path}"
            yield Diagnostic(translation.path, line, message)


def _texts(lesson: Lesson) -> Iterator[tuple[str, int]]:
    """All prose of a lesson, each text on one line, with its line in the file."""
    for section in lesson.sections:
        yield section.heading, section.line
        for block in section.blocks:
            if isinstance(block, Prose):
                yield " ".join(block.markdown.split()), block.line
    for exercise in lesson.exercises:
        for text, key in _texts_of(exercise):
            yield " ".join(text.split()), exercise.lines.get(key, exercise.line)


def _texts_of(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """Its texts, and the keys of their lines."""
    yield exercise.ask, "ask"
    yield exercise.explain, "explain"
    for number, hint in enumerate(exercise.hints):
        yield hint, f"hints.{number}"
    if isinstance(exercise, Predict):
        for key, choice in exercise.choices.items():
            yield choice, f"choices.{key}"
        for number, wrong in enumerate(exercise.wrong):
            yield wrong.reply, f"wrong.{number}.reply"
        for number, again in enumerate(exercise.again):
            if f"again.{number}.ask" in exercise.lines:
                yield again.ask, f"again.{number}.ask"
    elif isinstance(exercise, Choose):
        for number, one in enumerate(exercise.choices):
            yield one.text, f"choices.{number}.text"
            yield one.reply, f"choices.{number}.reply"


_WORDS_OF_LESSON = ("title", "summary")
"""Of the front matter: the keys that are translated."""

_WORDS_OF_EXERCISE = frozenset({"ask", "explain", "reply", "text", "line", "lines"})
"""Of an exercise and its parts, likewise. Of `hints` and `choices` see `_bare`."""

_WORDS_ASKED_AGAIN = frozenset({"ask", "hints", "explain"})
"""Keys that an entry of `again` may take from the exercise: in both files, or in neither."""

_KEYS = {"settings": "set", "solution_code": "solution"}
"""The key in the file for a field of another name."""


def differences(original: Lesson, translation: Lesson) -> tuple[Diagnostic, ...]:
    """The differences between a translation and its original, by line of the translation."""
    found = _Comparison(original, translation).diagnostics()
    return tuple(sorted(found, key=lambda diagnostic: diagnostic.line))


class _Comparison:
    """Two lessons side by side; each method yields differences."""

    def __init__(self, original: Lesson, translation: Lesson) -> None:
        self._original = original
        self._translation = translation

    def diagnostics(self) -> Iterator[Diagnostic]:
        yield from self._settings()
        yield from self._phases()
        for phase in _phases(self._original):
            if phase in _phases(self._translation):
                yield from self._code(phase)
        for phase in ("", *_phases(self._original)):
            yield from self._boxed(phase)
        yield from self._exercises()

    def _diagnostic(self, line: int, message: str) -> Diagnostic:
        return Diagnostic(self._translation.path, line, message)

    def _there(self, line: int) -> str:
        """A place in the original."""
        return f"{self._original.path}:{line}"

    # ── The lesson ──────────────────────────────────────────────────────────────────

    def _settings(self) -> Iterator[Diagnostic]:
        theirs, mine = _front(self._original), _front(self._translation)
        for key in keys_of(FrontMatter):
            if key in _WORDS_OF_LESSON or _plain(getattr(theirs, key)) == _plain(
                getattr(mine, key)
            ):
                continue
            if key not in theirs:
                message = f"`{key}` is not in {self._original.path}; delete it here"
            else:
                message = f"`{key}` is not as in {self._there(theirs.line(key))}; copy that line"
            yield self._diagnostic(mine.line(key), message)

    def _phases(self) -> Iterator[Diagnostic]:
        theirs, mine = _phases(self._original), _phases(self._translation)
        for phase, section in theirs.items():
            if phase not in mine:
                there = self._there(section.line)
                yield self._diagnostic(
                    1, f"the phase {phase} of {there} is missing; add ## {phase}"
                )
        for phase, section in mine.items():
            if phase not in theirs:
                message = f"there is no phase {phase} in {self._original.path}; delete it here"
                yield self._diagnostic(section.line, message)
        order = [phase for phase in theirs if phase in mine]
        for wanted, phase in zip(order, (p for p in mine if p in theirs), strict=True):
            if phase != wanted:
                message = f"{phase} stands where {self._original.path} has {wanted}"
                yield self._diagnostic(mine[phase].line, message)
                return

    def _code(self, phase: str) -> Iterator[Diagnostic]:
        """The first fence of a phase that differs."""
        section = _phases(self._translation)[phase]
        for theirs, mine in zip_longest(
            _fences(_phases(self._original)[phase]), _fences(section), fillvalue=None
        ):
            if theirs == mine or (theirs and mine and _same_fence(theirs, mine)):
                continue
            if mine is None and theirs:
                message = f"the code of {self._there(theirs.line)} is missing in {phase}"
                yield self._diagnostic(section.line, message)
            elif theirs is None and mine:
                message = f"there is no such code in {phase} of {self._original.path}"
                yield self._diagnostic(mine.line, message)
            elif theirs and mine and theirs.modes != mine.modes:
                there = (
                    f"{' '.join(['```python', *theirs.modes])}` of {self._there(theirs.line - 1)}"
                )
                yield self._diagnostic(mine.line - 1, f"the modes are not those of `{there}")
            elif theirs and mine:
                at = _first_difference(theirs.code, mine.code)
                there = self._there(theirs.line + at)
                yield self._diagnostic(mine.line + at, f"the code is not that of {there}; copy it")
            return

    def _boxed(self, phase: str) -> Iterator[Diagnostic]:
        r"""The first `\boxed` expression under the headings of a phase that differs."""
        theirs, mine = _boxed(self._original, phase), _boxed(self._translation, phase)
        last = mine[-1][1] if mine else self._heading_line(phase)
        for their, my in zip_longest(theirs, mine):
            if their and my and their[0] != my[0]:
                there = f"`{their[0]}` in {self._there(their[1])}"
                yield self._diagnostic(my[1], f"\\boxed has `{my[0]}` instead of {there}")
            elif their and not my:
                there = self._there(their[1])
                yield self._diagnostic(
                    last, f"\\boxed{{{their[0]}}} of {there} is missing after this"
                )
            elif my and not their:
                message = f"\\boxed{{{my[0]}}} is not in {self._original.path}; delete it here"
                yield self._diagnostic(my[1], message)
            else:
                continue
            return

    def _heading_line(self, phase: str) -> int:
        section = _phases(self._translation).get(phase)
        return section.line if section else 1

    # ── Its exercises ───────────────────────────────────────────────────────────────

    def _exercises(self) -> Iterator[Diagnostic]:
        theirs = {exercise.id: exercise for exercise in self._original.exercises}
        mine = {exercise.id: exercise for exercise in self._translation.exercises}
        for id_, exercise in theirs.items():
            if id_ not in mine:
                there = self._there(exercise.line)
                yield self._diagnostic(1, f"the exercise `{id_}` of {there} is missing")
        for id_, exercise in mine.items():
            if id_ not in theirs:
                message = f"there is no exercise `{id_}` in {self._original.path}"
                yield self._diagnostic(exercise.lines.get("id", exercise.line), message)
            else:
                yield from self._exercise(theirs[id_], exercise)
        order = [id_ for id_ in theirs if id_ in mine]
        for wanted, id_ in zip(order, (i for i in mine if i in theirs), strict=True):
            if id_ != wanted:
                message = f"`{id_}` stands where {self._original.path} has `{wanted}`"
                yield self._diagnostic(mine[id_].line, message)
                return

    def _exercise(self, their: Exercise, my: Exercise) -> Iterator[Diagnostic]:
        if kind_of(their) != kind_of(my):
            at, kind = my.lines.get("kind", my.line), kind_of(their)
            yield self._diagnostic(
                at, f"the kind of `{my.id}` is not {kind}, as in {self._there(their.line)}"
            )
            return
        theirs, mine = _fields(their), _fields(my)
        for name, value in theirs.items():
            if value != mine[name]:
                key = _KEYS.get(name, name)
                there = self._there(their.lines.get(key, their.line))
                message = f"`{key}` of `{my.id}` is not as in {there}; copy it"
                if key == "hints":
                    message = f"the hints of `{my.id}` are {mine[name]}, and {value} in {there}"
                yield self._diagnostic(my.lines.get(key, my.line), message)
        yield from self._own_words(their, my)

    def _own_words(self, their: Exercise, my: Exercise) -> Iterator[Diagnostic]:
        """The texts of an `again` that stand in one of the two alone."""
        theirs, mine = _asked_again(their), _asked_again(my)
        for path in theirs.keys() - mine.keys():
            entry, key = path.rsplit(".", 1)
            if entry in my.lines:
                message = f"`{key}` of {self._there(theirs[path])} is missing; add it here"
                yield self._diagnostic(my.lines[entry], message)
        for path in mine.keys() - theirs.keys():
            entry, key = path.rsplit(".", 1)
            if entry in their.lines:
                message = f"there is no `{key}` in {self._there(their.lines[entry])}; delete it"
                yield self._diagnostic(mine[path], message)


# ── Lessons without their words ─────────────────────────────────────────────────────


def _front(lesson: Lesson) -> FrontMatter:
    """Its front matter, parsed again: a Lesson does not keep the lines of the keys."""
    return front_matter.parse(lesson.source.split("\n"), DiagnosticList(lesson.path))


def _plain(value: Any) -> Any:
    """A value of the front matter without the lines that it stands on."""
    if isinstance(value, ByMode):
        return value.common, dict(value.own)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return value


def _phases(lesson: Lesson) -> Mapping[str, Section]:
    return {s.phase: s for s in lesson.sections if s.phase}


def _fences(section: Section) -> Sequence[Fence]:
    return [block for block in section.blocks if isinstance(block, Fence)]


def _same_fence(one: Fence, other: Fence) -> bool:
    return one.code == other.code and one.modes == other.modes


def _first_difference(one: str, other: str) -> int:
    """The 0-based line of the first difference between two texts."""
    pairs = zip_longest(one.split("\n"), other.split("\n"))
    return next(number for number, (a, b) in enumerate(pairs) if a != b)


def _boxed(lesson: Lesson, phase: str) -> Sequence[tuple[str, int]]:
    """The expressions under a phase's heading ("": the others), and the lines of their formulas."""
    blocks = (b for s in lesson.sections if (s.phase or "") == phase for b in s.blocks)
    return [(e, b.line) for b in blocks if isinstance(b, DisplayFormula) for e in b.boxed]


def _fields(exercise: Exercise) -> Mapping[str, Any]:
    """The fields of an exercise, and of its stage, that hold no words."""
    found: dict[str, Any] = {}
    for name in exercise.__struct_fields__:
        value = getattr(exercise, name)
        if isinstance(value, Stage):
            found.update({field: getattr(value, field) for field in value.__struct_fields__})
        elif name not in _WORDS_OF_EXERCISE:
            found[name] = _bare_field(name, value)
    return found


def _asked_again(exercise: Exercise) -> Mapping[str, int]:
    """The lines of the words that entries of `again` have themselves, by `again.NUMBER.KEY`."""
    paths = ((path.split("."), path) for path in exercise.lines)
    return {
        path: exercise.lines[path]
        for parts, path in paths
        if len(parts) == 3 and parts[0] == "again" and parts[2] in _WORDS_ASKED_AGAIN
    }


def _bare_field(name: str, value: Any) -> Any:
    """The number of `hints`; any other value without words."""
    return len(value) if name == "hints" else _bare(value)


def _bare(value: Any) -> Any:
    """The value without words. Of `choices` by key the keys are left, and their order."""
    if isinstance(value, msgspec.Struct):
        fields = [f for f in value.__struct_fields__ if f not in _WORDS_OF_EXERCISE]
        return {name: _bare_field(name, getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return list(value)
    if isinstance(value, tuple):
        return [_bare(entry) for entry in value]
    return value


def diagnostics_beside_others(lesson: Lesson) -> tuple[Diagnostic, ...]:
    """Slugs in `builds_on` that are wrong or lead back, and differences from the original."""
    return (*_of_prerequisites(lesson), *_of_translation(lesson))


def _of_prerequisites(lesson: Lesson) -> Iterator[Diagnostic]:
    if lesson.builds_on:
        known = {**_builds_on(lesson), lesson.slug: lesson.builds_on}
        if wrong := diagnostic_of(lesson.slug, known):
            front = front_matter.parse(lesson.source.split("\n"), DiagnosticList(lesson.path))
            yield Diagnostic(lesson.path, front.line("builds_on"), wrong)


def _builds_on(lesson: Lesson) -> Mapping[str, tuple[str, ...]]:
    """The prerequisites of each lesson: of those beside this lesson, and of the shipped ones."""
    folder = lesson.path.absolute().parent
    home = folder.parent if folder.name in TRANSLATED else folder
    beside = (library.headline(path) for path in library.lesson_files(home))
    found = {h.slug: h.builds_on for h in beside}
    return found | {h.slug: h.builds_on for h in library.headlines()}


def _of_translation(lesson: Lesson) -> Iterator[Diagnostic]:
    path = library.original_of(lesson.path)
    if path is None:
        if lesson.language != ORIGINAL:
            where = sibling(lesson.path, ORIGINAL)
            what = f"there is no lesson that this one, in {lesson.language}/, is a translation of"
            yield Diagnostic(
                lesson.path, 1, f"{what}; write {where}, or call this file as that one"
            )
        return
    try:
        original = document.read(path)
    except LessonError:
        message = f"{path} is not a lesson yet, so it can't be compared with this one; fix it first"
        yield Diagnostic(lesson.path, 1, message)
        return
    yield from differences(original, lesson)
    yield from untranslated(original, lesson)
