"""The YAML of a lesson's exercises as exercises, with every fault and its line.

Takes every scalar as it is written, as the front matter does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

from tutor.lesson import scalars, yaml_tree
from tutor.lesson.diagnostics import DiagnosticList, did_you_mean
from tutor.lesson.exercise import Exercise
from tutor.lesson.exercise_context import ExerciseContext
from tutor.lesson.exercise_entry import ExerciseEntry
from tutor.lesson.exercise_kinds import KIND_KEYS
from tutor.lesson.exercise_stage import STAGE_KEYS
from tutor.lesson.yaml_values import Values

_COMMON = {
    "id": "first-gradient",
    "kind": "predict",
    "ask": "…",
    "hints": "[…]",
    "explain": "…",
}
"""The keys that every exercise must have, with an example of each."""


@dataclass(frozen=True, slots=True)
class ExerciseBlock:
    """A block of a lesson's file that is an exercise, as it is written."""

    yaml: str
    line: int
    """1-based line of the fence that opens it; the YAML begins on the next."""


def read(
    texts: Iterable[ExerciseBlock], context: ExerciseContext, diagnostics: DiagnosticList
) -> dict[int, Exercise]:
    """The exercises of one lesson, by the line of their fence; those that can't be are left out.

    What is wrong is added to `diagnostics`; an exercise with faults is not to be used.
    """
    reader = _Reader(context, Values(diagnostics))
    found = {text.line: reader.exercise(text) for text in texts}
    return {line: exercise for line, exercise in found.items() if exercise}


class _Reader:
    """Reads one exercise after the other, and remembers their ids."""

    def __init__(self, context: ExerciseContext, values: Values) -> None:
        self._context = context
        self._values = values
        self._ids: dict[str, int] = {}

    def exercise(self, text: ExerciseBlock) -> Exercise | None:
        lines = text.yaml.removesuffix("\n").split("\n")
        root = yaml_tree.compose(
            lines, self._values.diagnostics, first=text.line + 1, what="the exercise", example="id"
        )
        if root is None:
            return None
        kind = _kind_written(root)
        entry = self._entry(root, text.line, kind)
        common = {
            "id": self._id(entry),
            "line": text.line,
            "lines": entry.lines,
            "ask": entry.text("ask"),
            "hints": entry.texts("hints", "[first, second]"),
            "explain": entry.text("explain"),
        }
        if kind in KIND_KEYS:
            return KIND_KEYS[kind].read(entry, self._context, common)
        if written := entry.one("kind", scalars.TEXT, ""):
            entry.diagnostic("kind", f"unknown kind `{written}`{did_you_mean(written, KIND_KEYS)}")
        return None

    def _entry(self, root: yaml.MappingNode, line: int, kind: str) -> ExerciseEntry:
        """The keys of an exercise; where its kind is unknown, those of any kind may be there."""
        of = [KIND_KEYS[kind]] if kind in KIND_KEYS else list(KIND_KEYS.values())
        known = dict(_COMMON)
        for one in of:
            known |= one.known
        known |= STAGE_KEYS
        keys = self._values.keys(
            root,
            known,
            within=f"this `{kind}`" if kind in KIND_KEYS else "this exercise",
            line=line,
            required=(*_COMMON, *(of[0].required if len(of) == 1 else ())),
            elsewhere=_elsewhere(known),
        )
        return ExerciseEntry(keys, self._values, {})

    def _id(self, entry: ExerciseEntry) -> str:
        id_ = entry.one("id", scalars.ID, "")
        if id_ in self._ids:
            entry.diagnostic(
                "id", f"`{id_}` is the exercise on line {self._ids[id_]}; write another"
            )
        elif id_:
            self._ids[id_] = entry.line
        return id_


def _kind_written(root: yaml.MappingNode) -> str:
    """The kind, which says what the other keys mean; "" where there is none."""
    for key, value in root.value:
        if isinstance(value, yaml.ScalarNode) and key.value == "kind":
            return " ".join(value.value.split())
    return ""


def _elsewhere(known: Mapping[str, str]) -> dict[str, str]:
    """Of each key that only other kinds have: whose it is."""
    return {
        key: f"; it belongs to `kind: {kind}`"
        for kind, keys in KIND_KEYS.items()
        for key in keys.known
        if key not in known
    }
