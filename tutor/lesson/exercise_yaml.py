"""The YAML of a lesson's exercises: one schema class for each kind.

A class declares the keys of its kind, and makes the exercise of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

import msgspec
import yaml

from tutor.lesson import code_checks, front_matter, schema, working
from tutor.lesson.exercise import (
    EXERCISE_KINDS,
    MAY_CHANGE,
    Again,
    Backpropagate,
    Choice,
    Choose,
    Exercise,
    Form,
    Predict,
    Reach,
    Repair,
    Solution,
    StartPlace,
    Symptom,
    Wrong,
)
from tutor.lesson.exercise_values import (
    ExerciseContext,
    RunKeys,
    StageKeys,
    checked_settings,
    expression,
    place,
    python_code,
    stage_of,
    text_with_formulas,
    wanted_mode,
)
from tutor.lesson.markdown import ExerciseBlock
from tutor.lesson.model import GRADIENT, UPDATE
from tutor.lesson.schema import Entry, YamlValue, entries_of, key, keys_of, list_of, optional

Made = TypeVar("Made", bound=Exercise)

MOST_CHOICES = 9
"""The learner picks one by one digit."""

# ── All kinds ───────────────────────────────────────────────────────────────────────

_HINTS = list_of(text_with_formulas, "[first, second]")


class ExerciseKeys(StageKeys):
    """The keys of every exercise."""

    id: str = key(schema.ID, "", "first-gradient", required=True)
    kind: str = key(schema.word_of(tuple(EXERCISE_KINDS)), "", "predict", required=True)
    ask: str = key(text_with_formulas, "", required=True)
    hints: tuple[str, ...] = key(_HINTS, (), "[…]", required=True)
    explain: str = key(text_with_formulas, "", required=True)

    def exercise(self, context: ExerciseContext) -> Exercise | None:
        """The exercise, checked against its lesson; None where its kind is not known."""
        return None

    def make(self, kind: type[Made], context: ExerciseContext, **fields: Any) -> Made:
        """An exercise with these fields; the others are keys of the same name."""
        own = {name: getattr(self, name) for name in keys_of(type(self))}
        own = {name: value for name, value in own.items() if name in kind.__struct_fields__}
        own |= {"line": self.source.line, "lines": self.source.lines, **fields}
        return kind(**own if "stage" in fields else {**own, "stage": stage_of(self, context)})


# ── predict ─────────────────────────────────────────────────────────────────────────


class WrongKeys(Entry):
    """An entry of `wrong`."""

    value: str = key(expression, "", '4 * gradient["w"]', required=True)
    reply: str = key(text_with_formulas, "", required=True)


_wrong_entries = entries_of(WrongKeys, "[{value: …, reply: …}]")


def _wrong(value: YamlValue) -> tuple[Wrong, ...]:
    """Wrong answers that differ."""
    found: dict[str, Wrong] = {}
    for keys in _wrong_entries(value) or ():
        if keys.value and keys.value in found:
            value.report("wrong_value_twice", keys.line("value"), value=keys.value)
        found[keys.value] = Wrong(keys.value, keys.reply)
    return tuple(found.values())


class AgainKeys(StageKeys):
    """An entry of `again`."""

    ask: str = key(text_with_formulas, "")
    hints: tuple[str, ...] = key(_HINTS, ())
    explain: str = key(text_with_formulas, "")
    wrong: tuple[Wrong, ...] = key(_wrong, ())


_texts_by_key = schema.mapping_of(text_with_formulas, "{up: It rises, down: It falls}")


def _named_choices(value: YamlValue) -> Mapping[str, str] | None:
    """The choices by their key; their texts differ."""
    found = _texts_by_key(value)
    if found is not None:
        _check_choices(value, found)
    return found


def _check_choices(value: YamlValue, texts: Mapping[str, str]) -> None:
    """Check that there are a few choices, whose texts (by their path below `choices`) differ."""
    count = len(value.node.value)
    if not 2 <= count <= MOST_CHOICES:
        value.report("number_of_choices", most=MOST_CHOICES, count=count)
    seen = set[str]()
    for path, text in texts.items():
        if text in seen:
            line = value.lines[f"{value.path}.{path}"]
            value.report("choice_twice", line)
        seen |= {text} - {""}


def _working(value: YamlValue) -> str | None:
    """An expression that calculates something."""
    written = expression(value)
    if not written or code_checks.why_not_expression(written):
        return written
    if len(written) > working.LONGEST:
        value.report("working_too_long", most=working.LONGEST)
    elif not working.has_calculation(written):
        value.report("working_of_nothing")
    return written


class PredictKeys(ExerciseKeys):
    """The keys of a `predict`."""

    at: StartPlace | None = key(place, None, "1 gradient", required=True)
    answer: str = key(expression, "", 'gradient["w"]', required=True)
    form: str = key(schema.word_of(get_args(Form)), "")
    tolerance: float = key(schema.POSITIVE, 0.01)
    working: str = key(_working, "")
    choices: Mapping[str, str] | None = optional(_named_choices)
    wrong: tuple[Wrong, ...] = key(_wrong, ())
    again: tuple[AgainKeys, ...] = key(entries_of(AgainKeys, "[{at: 2 gradient}]"), ())

    def exercise(self, context: ExerciseContext) -> Predict:
        """The prediction, asked again one epoch later if the author has no other question."""
        if "working" in self and ("choices" in self or self.form not in ("", "number")):
            context.report(self, "working", "working_beside_choices")
        form, choices = self._form(context), self.choices or {}
        predict = self.make(Predict, context, form=form, choices=choices, again=())
        again = self._again(context, predict) or (_one_epoch_later(predict, context),)
        return msgspec.structs.replace(predict, again=again)

    def _form(self, context: ExerciseContext) -> Form:
        if "choices" in self:
            if self.form not in ("", "choice"):
                context.report(self, "form", "form_beside_choices")
            return "choice"
        if self.form == "choice":
            context.report(self, "form", "form_without_choices")
        return "sign" if self.form == "sign" else "number"

    def _again(self, context: ExerciseContext, first: Predict) -> tuple[Again, ...]:
        found: list[Again] = []
        for keys in self.again:
            before = len(context.diagnostics)
            again = Again(
                stage=stage_of(keys, context, first.stage),
                ask=keys.ask or first.ask,
                hints=keys.hints or first.hints,
                explain=keys.explain or first.explain,
                wrong=keys.wrong or first.wrong,
            )
            asked = [first.stage, *(earlier.stage for earlier in found)]
            if again.stage in asked and keys.source.is_right and len(context.diagnostics) == before:
                context.diagnostics.add(keys.source.line, "asks_the_same")
            found.append(again)
        return tuple(found)


def _one_epoch_later(first: Predict, context: ExerciseContext) -> Again:
    """The question with the numbers of the next epoch."""
    at = first.stage.at
    batch = min(at.batch, context.front.batches) if at.epoch == 0 else at.batch
    later = msgspec.structs.replace(first.stage, at=StartPlace(at.epoch + 1, at.phase, batch))
    return Again(later, first.ask, first.hints, first.explain, first.wrong)


# ── reach ───────────────────────────────────────────────────────────────────────────


class SolutionKeys(RunKeys):
    """The mapping `solution` of a `reach`."""

    epochs: int = key(schema.at_least(1), 1, "10", required=True)


_CHANGED_BY = {"mode": "mode", "learning_rate": "learning_rate", "seed": "seed", "set": "values"}
"""The words of MAY_CHANGE, by the key of a solution."""


class ReachKeys(ExerciseKeys):
    """The keys of a `reach`."""

    may: tuple[str, ...] = key(
        list_of(schema.word_of(MAY_CHANGE), "[learning_rate]"), (), "[learning_rate]", required=True
    )
    condition: str = key(expression, "", "losses[-1] < 1e-6", required=True)
    solution: SolutionKeys = key(
        schema.entry_of(SolutionKeys),
        SolutionKeys(),
        "{learning_rate: 0.1, epochs: 10}",
        required=True,
    )

    def exercise(self, context: ExerciseContext) -> Reach:
        """The task, whose solution changes only what it may."""
        stage, keys = stage_of(self, context), self.solution
        for name, changed in _CHANGED_BY.items():
            if name in keys and self.may and {*self.may} <= {*MAY_CHANGE, changed} - {changed}:
                context.report(keys, name, "solution_may_not", key=name, word=changed)
        mode = wanted_mode(keys, context, stage.mode)
        solution = Solution(
            epochs=keys.epochs,
            mode=keys.mode,
            learning_rate=keys.learning_rate,
            seed=keys.seed,
            settings=checked_settings(keys, context, mode),
        )
        return self.make(Reach, context, stage=stage, solution=solution)


# ── repair ──────────────────────────────────────────────────────────────────────────


class SymptomKeys(Entry):
    """The mapping `symptom` of a `repair`."""

    error: str = key(schema.TEXT, "", "part of the error's text")
    condition: str = key(expression, "", "loss > 1")


def _symptom(value: YamlValue) -> Symptom:
    keys = schema.read(SymptomKeys, value, "key")
    if keys.source.is_right and len(keys.source.own) != 1:
        value.report("symptom_of_one")
    return Symptom(keys.error, keys.condition, value.line)


class RepairKeys(ExerciseKeys):
    """The keys of a `repair`."""

    phase: str = key(schema.TEXT, "", UPDATE, required=True)
    code: str = key(python_code, "", "| and below it the code with the mistake", required=True)
    solution: str = key(python_code, "", "| and below it the code without", required=True)
    symptom: Symptom = key(_symptom, Symptom(), "{error: part of the error's text}", required=True)
    epochs: int = key(schema.at_least(1), 1, "5", required=True)
    condition: str = key(expression, "", "losses[-1] < 1e-6", required=True)

    def exercise(self, context: ExerciseContext) -> Repair:
        """The task, whose phase the lesson has and whose solution is other code."""
        phase = self.phase.capitalize()
        if phase and phase not in context.phases:
            known = [*context.phases]
            context.report(self, "phase", "no_such_phase", word=phase, known=known)
        if "solution" in self and not self.solution:
            context.report(self, "solution", "solution_is_empty")
        elif self.solution and code_checks.is_same_code(self.code, self.solution):
            context.report(self, "solution", "solution_is_the_mistake")
        stage = stage_of(self, context, repaired=phase)
        return self.make(Repair, context, stage=stage, phase=phase, solution_code=self.solution)


# ── autograd ────────────────────────────────────────────────────────────────────────


class BackpropagateKeys(ExerciseKeys):
    """The keys of an `autograd`."""

    tolerance: float = key(schema.POSITIVE, 0.01)

    def exercise(self, context: ExerciseContext) -> Backpropagate:
        """The task, in the phase Gradient of a mode that has a graph."""
        stage = stage_of(self, context, start=StartPlace(1, GRADIENT))
        context.check_graph(self, stage.mode)
        if "at" in self and stage.at.phase not in (GRADIENT, ""):
            context.report(self, "at", "autograd_elsewhere")
        return self.make(Backpropagate, context, stage=stage)


# ── choose ──────────────────────────────────────────────────────────────────────────


class ChoiceKeys(Entry):
    """An entry of the `choices` of a `choose`."""

    text: str = key(text_with_formulas, "", required=True)
    right: bool | None = optional(schema.YES_OR_NO)
    reply: str = key(text_with_formulas, "")

    @property
    def is_right(self) -> bool:
        """A `right` that can't be read counts as right, so that it has one diagnostic only."""
        return "right" in self if self.right is None else self.right


_CHOICES = "[{text: …, right: true}, {text: …, reply: …}]"
_choice_entries = entries_of(ChoiceKeys, _CHOICES)


def _choices(value: YamlValue) -> tuple[Choice, ...]:
    """Choices of which one is right, with texts and replies that differ."""
    choices = _choice_entries(value) or ()
    if not choices:
        return ()
    _check_choices(value, {f"{number}.text": c.text for number, c in enumerate(choices)})
    if (right := sum(choice.is_right for choice in choices)) != 1:
        value.report("one_right_choice", right=right)
    replies = set[str]()
    for choice in choices:
        if choice.reply in replies:
            value.report("reply_twice", choice.line("reply"))
        if not choice.is_right and "reply" not in choice:
            value.report("no_reply", choice.source.line)
        replies |= {choice.reply} - {""}
    return tuple(Choice(c.text, c.is_right, c.reply) for c in choices)


class ChooseKeys(ExerciseKeys):
    """The keys of a `choose`."""

    choices: tuple[Choice, ...] = key(_choices, (), _CHOICES, required=True)

    def exercise(self, context: ExerciseContext) -> Choose:
        """The question with its choices."""
        return self.make(Choose, context)


# ── Reading ─────────────────────────────────────────────────────────────────────────

KIND_KEYS: Mapping[str, type[ExerciseKeys]] = {
    "predict": PredictKeys,
    "reach": ReachKeys,
    "repair": RepairKeys,
    "autograd": BackpropagateKeys,
    "choose": ChooseKeys,
}


def read(blocks: Sequence[ExerciseBlock], context: ExerciseContext) -> dict[int, Exercise]:
    """The exercises of one lesson, by the line of their fence, without unknown kinds.

    An exercise with diagnostics is not to be used.
    """
    found: dict[int, Exercise] = {}
    ids: dict[str, int] = {}
    for block in blocks:
        keys = _keys_of(block, context)
        if keys is None:
            continue
        if keys.id and ids.setdefault(keys.id, block.line) != block.line:
            context.report(keys, "id", "id_twice", id=keys.id, first=ids[keys.id])
        if exercise := keys.exercise(context):
            found[block.line] = exercise
    return found


def _keys_of(block: ExerciseBlock, context: ExerciseContext) -> ExerciseKeys | None:
    lines = block.yaml.removesuffix("\n").split("\n")
    root = front_matter.compose(
        lines, context.diagnostics, first=block.line + 1, block="exercise", example="id"
    )
    if root is None:
        return None
    kind = _kind_written(root)
    entry = KIND_KEYS.get(kind)
    known = keys_of(entry or ExerciseKeys)
    elsewhere = {
        name: other if entry else ""  # it may belong to this one
        for other, keys in KIND_KEYS.items()
        for name in keys_of(keys)
        if name not in known
    }
    value = YamlValue(kind, "", block.line, root, {}, context.diagnostics)
    return schema.read(entry or ExerciseKeys, value, "kind" if entry else "exercise", elsewhere)


def _kind_written(root: yaml.MappingNode) -> str:
    """The kind, which decides the meaning of the other keys; "" where there is none."""
    for key_node, value in root.value:
        if isinstance(value, yaml.ScalarNode) and key_node.value == "kind":
            return " ".join(value.value.split())
    return ""
