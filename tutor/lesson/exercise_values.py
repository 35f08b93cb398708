"""The values in the YAML of exercises, checked against the lesson around them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import yaml

from tutor.lesson import code_checks, markdown, schema
from tutor.lesson.exercise import Setting, Stage, StartPlace
from tutor.lesson.front_matter import FrontMatter
from tutor.lesson.markdown import MathSpan, Unclosed
from tutor.lesson.model import PHASES, REPORT, SETUP, DiagnosticList, Fence, Section, did_you_mean
from tutor.lesson.schema import Entry, YamlValue, key, optional


@dataclass(frozen=True)
class ExerciseContext:
    """The lesson around an exercise, and the list of what is wrong with its file."""

    front: FrontMatter
    sections: Sequence[Section]
    modes: tuple[str, ...]
    """Never empty. Where the front matter is wrong, they are not checked."""
    diagnostics: DiagnosticList

    def report(self, keys: Entry, name: str, message: str) -> None:
        """Add a diagnostic on the line of a key."""
        self.diagnostics.add(keys.line(name), message)

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """The phases that the lesson has, in its order."""
        return tuple(dict.fromkeys(s.phase for s in self.sections if s.phase))

    @cached_property
    def _fences(self) -> Mapping[str, Sequence[tuple[str, Fence]]]:
        """The code that each mode runs, with its phase. Code of a misspelt mode may be of any."""
        found = [(s.phase, b) for s in self.sections for b in s.blocks if isinstance(b, Fence)]
        fences = [(phase, fence) for phase, fence in found if phase]
        return {
            mode: [(p, f) for p, f in fences if f.runs_in(mode) or {*f.modes} - {*self.modes}]
            for mode in self.modes
        }

    @cached_property
    def _with_graph(self) -> tuple[str, ...]:
        return tuple(mode for mode in self.modes if self._may_differentiate(mode))

    def _may_differentiate(self, mode: str) -> bool:
        """Whether a mode's code asks for a gradient; code that does not compile may."""
        codes = [fence.code for _, fence in self._fences[mode]]
        return any(map(code_checks.why_not_code, codes)) or code_checks.computes_gradient(codes)

    def why_not_mode(self, mode: str) -> str:
        """The reason why a name is not a mode of the lesson; "" if it is, or may be."""
        if self.front.are_modes_unread or mode in self.modes:
            return ""
        return f"unknown mode `{mode}`{did_you_mean(mode, self.modes)}"

    def why_not_parameter(self, mode: str, name: str) -> str:
        """The reason why `name` can't be set in `mode`; "" if it can."""
        names = self.front.parameters.get(mode) if mode in self.modes else None
        if self.front.are_modes_unread or not names or name in names:
            return ""
        return f"`{name}` is not a parameter of mode `{mode}`{did_you_mean(name, names)}"

    def why_no_graph(self, mode: str) -> str:
        """The reason why a mode has no graph of its step; "" if it has."""
        is_unsure = self.front.are_modes_unread or mode not in self.modes
        if is_unsure or mode in self._with_graph:
            return ""
        others = f"; write `mode: {self._with_graph[0]}`" if self._with_graph else ""
        return f"mode `{mode}` has no graph: its code calls no backward(){others}"

    def why_not_place(self, mode: str, at: StartPlace, repaired: str = "") -> str:
        """The reason why a run in `mode` can't stand at `at`; "" if it can.

        A phase whose code an exercise replaces (`repaired`) is run, if it was not before.
        """
        if not at.phase:
            return ""
        is_unsure = self.front.are_modes_unread or mode not in self.modes
        run = set(PHASES) if is_unsure else {repaired, *(p for p, _ in self._fences[mode])}
        runs = [phase for phase in PHASES if phase in run - {SETUP}]
        warm_up, batches = self.front.warm_up, self.front.batches
        if at.phase not in runs:
            known = ", ".join(phase.lower() for phase in runs)
            return f"mode `{mode}` runs no phase {at.phase}; write one of: {known}"
        if at.epoch:
            most = 1 if at.phase == REPORT else batches
            return f"there is no batch {at.batch} {_advice(most, at)}" if at.batch > most else ""
        if not warm_up:
            return "there is no epoch 0 without a `warm_up`; epochs count from 1"
        if at.phase == REPORT:
            return "there is no report in the warm-up; write an epoch from 1"
        what = f"there is no batch {at.batch} in the warm-up; write one from 1 to {warm_up}"
        return what if at.batch > warm_up else ""


def _advice(most: int, at: StartPlace) -> str:
    if at.phase == REPORT:
        return "of the report, which comes once an epoch; leave it out"
    if most == 1:
        return "where an epoch is one batch; leave it out"
    return f"in an epoch; write one from 1 to {most}"


# ── Texts, expressions and code ─────────────────────────────────────────────────────


def text_with_formulas(value: YamlValue) -> str:
    """Markdown whose formulas parse; empty, with a diagnostic, where it can't be read."""
    if isinstance(value.node, yaml.MappingNode):  # YAML's reading of a text with a colon
        advice = "put 'single quotes' around it if it has a `:`"
        value.report(f"`{value.name}` must be text; {advice}", value.own_line)
        return ""
    text = schema.MARKDOWN(value) or ""
    if "$" in text:
        _check_formulas(text, value)
    return text


def _check_formulas(text: str, value: YamlValue) -> None:
    """Check each formula, on its own line where the YAML keeps the lines of the text."""
    node = value.node
    keeps_lines = isinstance(node, yaml.ScalarNode) and node.style == "|"
    blank_lines = len(node.value) - len(node.value.lstrip("\n")) if keeps_lines else 0
    for found in markdown.find(text.split("\n")):
        if not isinstance(found, MathSpan | Unclosed):
            continue
        line = value.first_line + blank_lines + (found.place.line if keeps_lines else 0)
        if isinstance(found, Unclosed) or found.display:
            value.report("a formula in an exercise stands in its line; write $…$", line)
        if isinstance(found, MathSpan):
            code_checks.check(found.latex, line, value.diagnostics)


def expression(value: YamlValue) -> str | None:
    """A Python expression that compiles."""
    written = schema.EXPRESSION(value)
    if written and (reason := code_checks.why_not_expression(written)):
        what = f"`{value.name}` is not a Python expression ({reason})"
        value.report(f"{what}; correct it")
    return written


def python_code(value: YamlValue) -> str | None:
    """Python code that compiles, perhaps only a comment, perhaps empty."""
    written = schema.CODE(value)
    if written and (bad := code_checks.why_not_code(written, value.first_line)):
        value.report(f"this is not Python ({bad.reason}); correct it", bad.line)
    return written


# ── The stage ───────────────────────────────────────────────────────────────────────

_PLACE = re.compile(r"(\d{1,9}) +([A-Za-z]+)(?: +(\d{1,9}))?")
_TARGET = re.compile(r"([^\W\d]\w*)(?:\[( *\d{1,9} *(?:, *\d{1,9} *)*)\])?")


def place(value: YamlValue) -> StartPlace:
    """The place that `at` names; the start, and a diagnostic, if it can't be read."""
    written = schema.TEXT(value) or ""
    found = _PLACE.fullmatch(written)
    epoch, word, batch = found.groups() if found else ("", "", "")
    phase, problem = word.capitalize(), ""
    if not found:
        form = "EPOCH PHASE or EPOCH PHASE BATCH"
        problem = f"`at` must be {form}, not `{written}`; write `at: 1 gradient`" if written else ""
    elif phase == SETUP:
        problem = "Setup runs before anything else; leave `at` out to begin after it"
    elif phase not in PHASES:
        known = [p.lower() for p in PHASES if p != SETUP]
        problem = f"unknown phase `{word}`{did_you_mean(word, known)}"
    elif batch and int(batch) == 0:
        problem = "batches count from 1; write `at: 1 gradient 1`"
    else:
        return StartPlace(int(epoch), phase, int(batch or 1))
    if problem:
        value.report(problem)
    return StartPlace()


def _setting(value: YamlValue) -> Setting | None:
    number = schema.NUMBER(value)
    target = _TARGET.fullmatch(value.name.strip())
    if target is None:
        advice = "write one such as `w: 3` or `W[0,1]: 3`"
        value.report(f"`{value.name}` is not the name of a number; {advice}")
        return None
    index = tuple(int(i) for i in (target[2] or "").split(",") if i)
    return None if number is None else Setting(target[1], index, number)


_settings_by_key = schema.mapping_of(_setting, "{w: 3}")


def settings_of(value: YamlValue) -> Mapping[str, Setting]:
    """The numbers to set, each once, by key as it is written."""
    found = _settings_by_key(value) or {}
    kept: dict[tuple[str, tuple[int, ...]], str] = {}
    for name, setting in found.items():
        if kept.setdefault((setting.parameter, setting.index), name) != name:
            line = value.lines[f"{value.path}.{name}"]
            value.report(f"`{name}` is set twice; keep one of them", line)
    return {name: found[name] for name in kept.values()}


class RunKeys(Entry):
    """The keys that say how a run begins."""

    mode: str | None = optional(schema.MODE, "autograd")
    learning_rate: float | None = optional(schema.RATE, "0.1")
    seed: int | None = optional(schema.at_least(0), "3")
    set: Mapping[str, Setting] = key(settings_of, MappingProxyType({}), "{w: 3}")


class StageKeys(RunKeys):
    """The keys that say how a run begins, and where."""

    at: StartPlace | None = optional(place, "1 gradient")


def stage_of(
    keys: StageKeys,
    context: ExerciseContext,
    base: Stage | None = None,
    *,
    start: StartPlace = StartPlace(),  # noqa: B008 - it is frozen
    repaired: str = "",
) -> Stage:
    """The stage of an exercise; what the keys leave out is as in `base`.

    Without a `base`, a run begins at `start` where `at` is left out. `repaired` is a phase that
    runs in this exercise whether or not the mode has code for it.
    """
    was = base or Stage(mode=context.modes[0], at=start)
    mode = mode_of(keys, context, was.mode)
    at = was.at if keys.at is None else keys.at
    settings = checked_settings(keys, context, mode) if "set" in keys else was.settings
    if ("at" in keys or "mode" in keys or base is None) and (
        problem := context.why_not_place(mode, at, repaired)
    ):
        context.report(keys, "at" if "at" in keys else "mode", problem)
    if "mode" in keys and "set" not in keys:
        for setting in settings:
            if problem := context.why_not_parameter(mode, setting.parameter):
                context.report(keys, "mode", f"{problem} (it is in `set`)")
    return Stage(
        mode=mode,
        learning_rate=keys.learning_rate or was.learning_rate,
        seed=was.seed if keys.seed is None else keys.seed,
        settings=settings,
        at=at,
    )


def mode_of(keys: RunKeys, context: ExerciseContext, default: str) -> str:
    """The mode that the keys name, or the default."""
    mode = keys.mode or default
    if problem := context.why_not_mode(mode):
        context.report(keys, "mode", problem)
    return mode


def checked_settings(keys: RunKeys, context: ExerciseContext, mode: str) -> tuple[Setting, ...]:
    """The numbers under `set`, whose parameters the mode has to have."""
    for name, setting in keys.set.items():
        if problem := context.why_not_parameter(mode, setting.parameter):
            context.report(keys, f"set.{name}", problem)
    return tuple(keys.set.values())
