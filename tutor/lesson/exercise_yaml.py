"""The YAML of a lesson's exercises, read and checked kind by kind.

Every fault is reported with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import yaml

from tutor.lesson import code_checks, yaml_values
from tutor.lesson.diagnostics import DiagnosticList, did_you_mean
from tutor.lesson.exercise import (
    MAY_CHANGE,
    Again,
    BeAutograd,
    Choice,
    Choose,
    Exercise,
    Predict,
    Reach,
    Repair,
    Solution,
    Stage,
    StartPlace,
    Symptom,
    Wrong,
)
from tutor.lesson.exercise_entry import (
    STAGE_KEYS,
    ExerciseContext,
    ExerciseEntry,
    mode_of,
    one_epoch_later,
    settings_of,
    stage_of,
)
from tutor.lesson.yaml_values import Values

Common = Mapping[str, Any]
"""The fields that all kinds have, `stage` excepted. Typed by the struct they go to."""

MOST_CHOICES = 9
"""They are picked by one digit."""


@dataclass(frozen=True, slots=True)
class KindKeys:
    """The keys of one kind, with an example of each, and how an exercise is made of them."""

    known: Mapping[str, str]
    required: Sequence[str]
    read: Callable[[ExerciseEntry, ExerciseContext, Common], Exercise]


# ── predict ─────────────────────────────────────────────────────────────────────────


def _predict(entry: ExerciseEntry, context: ExerciseContext, common: Common) -> Predict:
    choices = _named_choices(entry)
    predict = Predict(
        **common,
        stage=stage_of(entry, context),
        answer=entry.expression("answer"),
        form=_form(entry),
        tolerance=entry.one("tolerance", yaml_values.POSITIVE, 0.01),
        choices=choices,
        wrong=_wrong(entry),
    )
    again = _again(entry, context, predict) or (_later(context, predict),)
    return msgspec.structs.replace(predict, again=again)


def _form(entry: ExerciseEntry) -> Literal["number", "sign", "choice"]:
    default = "choice" if "choices" in entry else "number"
    form = entry.one("form", yaml_values.TEXT, default)
    if "choices" in entry:
        if form != "choice":
            entry.diagnostic(
                "form", "with `choices` the form is a choice; delete `form`, or `choices`"
            )
        return "choice"
    if form == "choice":
        entry.diagnostic(
            "form", "a choice needs `choices`; write `choices: {KEY: text, KEY: text}`"
        )
    elif form not in ("number", "sign"):
        entry.diagnostic("form", f"unknown form `{form}`{did_you_mean(form, ('number', 'sign'))}")
    return "sign" if form == "sign" else "number"


def _named_choices(entry: ExerciseEntry) -> dict[str, str]:
    before = entry.diagnostics
    pairs = entry.pairs("choices", _PREDICT["choices"])
    if "choices" in entry and entry.diagnostics == before:
        _check_count(entry, len(pairs))
    found: dict[str, str] = {}
    for key, node in pairs:
        text = entry.text_of(key, node)
        if text and text in found.values():
            entry.diagnostic(
                f"choices.{key}", "another choice has the same text; write it otherwise"
            )
        found[key] = text
    return found


def _check_count(entry: ExerciseEntry, count: int) -> None:
    if not 2 <= count <= MOST_CHOICES:
        entry.diagnostic("choices", f"there must be 2 to {MOST_CHOICES} choices, not {count}")


def _wrong(entry: ExerciseEntry) -> tuple[Wrong, ...]:
    found: dict[str, Wrong] = {}
    known = {"value": '4 * gradient["w"]', "reply": "…"}
    for one in entry.entries("wrong", known, tuple(known), example="[{value: …, reply: …}]"):
        wrong = Wrong(value=one.expression("value"), reply=one.text("reply"))
        if wrong.value and wrong.value in found:
            one.diagnostic("value", f"`{wrong.value}` is in `wrong` already; keep one of them")
        found[wrong.value] = wrong
    return tuple(found.values())


def _again(entry: ExerciseEntry, context: ExerciseContext, first: Predict) -> tuple[Again, ...]:
    found: list[Again] = []
    for one in entry.entries("again", _AGAIN, example=_PREDICT["again"]):
        before = one.diagnostics
        again = Again(
            stage=stage_of(one, context, first.stage),
            ask=one.text("ask", first.ask),
            hints=one.texts("hints", _AGAIN["hints"]) or first.hints,
            explain=one.text("explain", first.explain),
            wrong=_wrong(one) or first.wrong,
        )
        asked = [first.stage, *(earlier.stage for earlier in found)]
        if again.stage in asked and one.diagnostics == before:
            one.diagnostic("", "this asks for the same number again; change `at`, `set` or `seed`")
        found.append(again)
    return tuple(found)


def _later(context: ExerciseContext, first: Predict) -> Again:
    stage = one_epoch_later(first.stage, context)
    return Again(stage, first.ask, first.hints, first.explain, first.wrong)


# ── reach ───────────────────────────────────────────────────────────────────────────


def _reach(entry: ExerciseEntry, context: ExerciseContext, common: Common) -> Reach:
    stage = stage_of(entry, context)
    may = _may(entry)
    return Reach(
        **common,
        stage=stage,
        condition=entry.expression("condition"),
        may=may,
        solution=_solution(entry, context, stage, may),
    )


def _may(entry: ExerciseEntry) -> tuple[str, ...]:
    words = entry.words("may", yaml_values.TEXT, _REACH["may"])
    for word in words:
        if word not in MAY_CHANGE:
            entry.diagnostic(
                f"may.{word}", f"unknown `{word}` in `may`{did_you_mean(word, MAY_CHANGE)}"
            )
    return words


_SOLUTION = {"epochs": "10", **{key: STAGE_KEYS[key] for key in STAGE_KEYS if key != "at"}}
_CHANGED_BY = {
    "mode": "mode",
    "learning_rate": "learning_rate",
    "seed": "seed",
    "set": "values",
}
"""By key of a solution: what of MAY_CHANGE it changes."""


def _solution(
    entry: ExerciseEntry, context: ExerciseContext, stage: Stage, may: Sequence[str]
) -> Solution:
    one = entry.entry("solution", _SOLUTION, ("epochs",))
    can_tell = may and all(word in MAY_CHANGE for word in may)
    for key, changed in _CHANGED_BY.items():
        if key in one and can_tell and changed not in may:
            one.diagnostic(
                key, f"the solution changes `{key}`, but `may` lacks `{changed}`; add it there"
            )
    mode = mode_of(one, context, stage.mode)
    return Solution(
        epochs=one.one("epochs", yaml_values.at_least(1), 1),
        mode=mode if "mode" in one else None,
        learning_rate=one.optional("learning_rate", yaml_values.RATE),
        seed=one.optional("seed", yaml_values.at_least(0)),
        settings=settings_of(one, context, mode),
    )


# ── repair ──────────────────────────────────────────────────────────────────────────


def _repair(entry: ExerciseEntry, context: ExerciseContext, common: Common) -> Repair:
    phase = entry.one("phase", yaml_values.TEXT, "").capitalize()
    if phase and phase not in context.phases:
        entry.diagnostic(
            "phase", f"the lesson has no phase {phase}{did_you_mean(phase, context.phases)}"
        )
    code, solution = entry.code("code"), entry.code("solution")
    if "solution" in entry and not solution:
        entry.diagnostic("solution", "`solution` must be Python code, not empty")
    elif solution and code_checks.is_same(code, solution):
        entry.diagnostic("solution", "`solution` is the code with the mistake; fix it here")
    return Repair(
        **common,
        stage=stage_of(entry, context, repaired=phase),
        phase=phase,
        code=code,
        solution_code=solution,
        symptom=_symptom(entry),
        condition=entry.expression("condition"),
        epochs=entry.one("epochs", yaml_values.at_least(1), 1),
    )


def _symptom(entry: ExerciseEntry) -> Symptom:
    before = entry.diagnostics
    one = entry.entry("symptom", {"error": "part of the error's text", "condition": "loss > 1"})
    told = [key for key in ("error", "condition") if key in one]
    if "symptom" in entry and entry.diagnostics == before and len(told) != 1:
        entry.diagnostic(
            "symptom",
            "`symptom` must have one of `error` and `condition`; "
            "write `{error: part of the error's text}` or `{condition: loss > 1}`",
        )
    error = one.one("error", yaml_values.TEXT, "")
    return Symptom(error=error, condition=one.expression("condition"), line=one.line)


# ── autograd ────────────────────────────────────────────────────────────────────────


def _be_autograd(entry: ExerciseEntry, context: ExerciseContext, common: Common) -> BeAutograd:
    stage = stage_of(entry, context, start=StartPlace(1, "Gradient"))
    if wrong := context.why_no_graph(stage.mode):
        entry.diagnostic("mode", wrong)
    if "at" in entry and stage.at.phase not in ("Gradient", ""):
        entry.diagnostic("at", "autograd works in the phase Gradient; write `at: 1 gradient`")
    return BeAutograd(
        **common, stage=stage, tolerance=entry.one("tolerance", yaml_values.POSITIVE, 0.01)
    )


# ── choose ──────────────────────────────────────────────────────────────────────────


def _choose(entry: ExerciseEntry, context: ExerciseContext, common: Common) -> Choose:
    known = {"text": "…", "right": "true", "reply": "…"}
    entries = entry.entries("choices", known, ("text",), example=_CHOOSE["choices"])
    choices = tuple(
        Choice(
            text=one.text("text"),
            # what can't be read is taken as right, so that it is told only once
            is_right=one.one("right", yaml_values.YES_OR_NO, default="right" in one),
            reply=one.text("reply"),
        )
        for one in entries
    )
    if choices:
        _check_choices(entry, entries, choices)
    return Choose(**common, stage=stage_of(entry, context), choices=choices)


def _check_choices(
    entry: ExerciseEntry, entries: Sequence[ExerciseEntry], choices: Sequence[Choice]
) -> None:
    _check_count(entry, len(choices))
    if (right := sum(choice.is_right for choice in choices)) != 1:
        entry.diagnostic(
            "choices", f"one choice must be right, not {right}; write `right: true` once"
        )
    texts: set[str] = set()
    replies: set[str] = set()
    for one, choice in zip(entries, choices, strict=True):
        if choice.text in texts:
            one.diagnostic("text", "another choice has the same text; write it otherwise")
        if choice.reply and choice.reply in replies:
            one.diagnostic(
                "reply", "another choice has the same reply; write why this one is wrong"
            )
        if not choice.is_right and "reply" not in one:
            one.diagnostic("reply", "this choice has no reply; write `reply: …`, why it is wrong")
        texts |= {choice.text} - {""}
        replies.add(choice.reply)


_PREDICT = {
    "answer": 'gradient["w"]',
    "form": "number",
    "tolerance": "0.01",
    "choices": "{up: It rises, down: It falls}",
    "wrong": "[{value: …, reply: …}]",
    "again": "[{at: 2 gradient}]",
}
_AGAIN = {
    **STAGE_KEYS,
    "ask": "…",
    "hints": "[first, second]",
    "explain": "…",
    "wrong": _PREDICT["wrong"],
}
_REACH = {
    "may": "[learning_rate]",
    "condition": "losses[-1] < 1e-6",
    "solution": "{learning_rate: 0.1, epochs: 10}",
}
_REPAIR = {
    "phase": "Update",
    "code": "| and below it the code with the mistake",
    "solution": "| and below it the code without",
    "symptom": "{error: part of the error's text}",
    "epochs": "5",
    "condition": "losses[-1] < 1e-6",
}
_CHOOSE = {"choices": "[{text: …, right: true}, {text: …, reply: …}]"}

KIND_KEYS: Mapping[str, KindKeys] = {
    "predict": KindKeys(_PREDICT, ("at", "answer"), _predict),
    "reach": KindKeys(_REACH, tuple(_REACH), _reach),
    "repair": KindKeys(_REPAIR, tuple(_REPAIR), _repair),
    "autograd": KindKeys({"tolerance": "0.01"}, (), _be_autograd),
    "choose": KindKeys(_CHOOSE, ("choices",), _choose),
}


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
        root = yaml_values.compose(
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
        if written := entry.one("kind", yaml_values.TEXT, ""):
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
        id_ = entry.one("id", yaml_values.ID, "")
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
