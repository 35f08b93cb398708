"""The values in the YAML of exercises, checked against the lesson around them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from types import MappingProxyType

import msgspec
import yaml

from tutor.lesson import code_checks, markdown, schema
from tutor.lesson.exercise import Setting, Stage, StartPlace
from tutor.lesson.front_matter import FrontMatter
from tutor.lesson.markdown import MathSpan, Unclosed
from tutor.lesson.model import PHASES, REPORT, SETUP, DiagnosticList, Fence, Section
from tutor.lesson.schema import Entry, YamlValue, key, optional


class ExerciseContext(msgspec.Struct, frozen=True, dict=True):
    """The lesson around an exercise, and the list of what is wrong with its file."""

    front: FrontMatter
    sections: Sequence[Section]
    modes: tuple[str, ...]
    """Never empty. Where the front matter is wrong, they are not checked."""
    diagnostics: DiagnosticList

    def report(self, keys: Entry, name: str, code: str, /, **values: object) -> None:
        """Add a diagnostic on the line of a key."""
        self.diagnostics.add(keys.line(name), code, **values)

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

    def _is_unsure(self, mode: str) -> bool:
        """Whether nobody can know the code of a mode."""
        return self.front.are_modes_unread or mode not in self.modes

    def check_mode(self, keys: Entry, mode: str) -> None:
        """Check that the lesson has a mode."""
        if not self.front.are_modes_unread and mode not in self.modes:
            self.report(keys, "mode", "unknown_mode", word=mode, known=[*self.modes])

    def check_parameter(self, keys: Entry, key: str, mode: str, name: str) -> None:
        """Check that a parameter can be set in a mode; a diagnostic is on the line of `key`."""
        names = self.front.parameters.get(mode)
        if not self._is_unsure(mode) and names and name not in names:
            code = "no_such_parameter_in_set" if key == "mode" else "no_such_parameter"
            self.report(keys, key, code, mode=mode, word=name, known=[*names])

    def check_graph(self, keys: Entry, mode: str) -> None:
        """Check that a mode has a graph of its step."""
        if not self._is_unsure(mode) and mode not in self._with_graph:
            self.report(keys, "mode", "mode_without_graph", mode=mode, others=[*self._with_graph])

    def check_place(self, keys: Entry, mode: str, at: StartPlace, repaired: str = "") -> None:
        """Check that a run in a mode can stand at a place.

        A phase whose code an exercise replaces (`repaired`) is run, if it was not before.
        """
        run = {repaired, *(p for p, _ in self._fences.get(mode, ()))}
        runs = [p for p in PHASES if p != SETUP and (p in run or self._is_unsure(mode))]
        report = partial(self.report, keys, "at" if "at" in keys else "mode")
        most = self.front.batches if at.epoch else self.front.warm_up
        if not at.phase:
            return
        if at.phase not in runs:
            known = [phase.lower() for phase in runs]
            report("phase_not_run", mode=mode, phase=at.phase, runs=known)
        elif not at.epoch and not most:
            report("no_warm_up")
        elif at.phase == REPORT and not at.epoch:
            report("no_report_in_warm_up")
        elif at.phase == REPORT and at.batch > 1:
            report("no_batch_of_report", batch=at.batch)
        elif at.batch > most and not at.epoch:
            report("no_batch_in_warm_up", batch=at.batch, most=most)
        elif at.batch > most == 1:
            report("epoch_is_one_batch", batch=at.batch)
        elif at.batch > most:
            report("no_batch_in_epoch", batch=at.batch, most=most)


# ── Texts, expressions and code ─────────────────────────────────────────────────────


def text_with_formulas(value: YamlValue) -> str:
    """Markdown whose formulas parse; empty, with a diagnostic, where it can't be read."""
    if isinstance(value.node, yaml.MappingNode):  # YAML's reading of a text with a colon
        value.report("text_with_colon", value.own_line)
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
            value.report("display_formula_in_exercise", line)
        if isinstance(found, MathSpan):
            code_checks.check(found.latex, line, value.diagnostics)


def expression(value: YamlValue) -> str | None:
    """A Python expression that compiles."""
    written = schema.EXPRESSION(value)
    if written and (reason := code_checks.why_not_expression(written)):
        value.report("no_expression", reason=reason)
    return written


def python_code(value: YamlValue) -> str | None:
    """Python code that compiles, perhaps only a comment, perhaps empty."""
    written = schema.CODE(value)
    if written and (bad := code_checks.why_not_code(written, value.first_line)):
        value.report("code_is_not_python", bad.line, reason=bad.reason)
    return written


# ── The stage ───────────────────────────────────────────────────────────────────────

_PLACE = re.compile(r"(\d{1,9}) +([A-Za-z]+)(?: +(\d{1,9}))?")
_TARGET = re.compile(r"([^\W\d]\w*)(?:\[( *\d{1,9} *(?:, *\d{1,9} *)*)\])?")


def place(value: YamlValue) -> StartPlace:
    """The place that `at` names; the start, and a diagnostic, if it can't be read."""
    written = schema.TEXT(value) or ""
    found = _PLACE.fullmatch(written)
    epoch, word, batch = found.groups() if found else ("", "", "")
    phase = word.capitalize()
    if not written:
        pass  # which has its diagnostic
    elif not found:
        value.report("no_place", written=written)
    elif phase == SETUP:
        value.report("place_in_setup")
    elif phase not in PHASES:
        value.report("unknown_phase", word=word, known=[p.lower() for p in PHASES if p != SETUP])
    elif batch and int(batch) == 0:
        value.report("batch_0")
    else:
        return StartPlace(int(epoch), phase, int(batch or 1))
    return StartPlace()


def _setting(value: YamlValue) -> Setting | None:
    number = schema.NUMBER(value)
    target = _TARGET.fullmatch(value.name.strip())
    if target is None:
        value.report("no_target")
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
            value.report("set_twice", value.lines[f"{value.path}.{name}"], key=name)
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
    """The stage of an exercise; keys that are left out have their values in `base`.

    Without a `base`, a run begins at `start` where `at` is left out. `repaired` is a phase that
    runs in this exercise whether or not the mode has code for it.
    """
    was = base or Stage(mode=context.modes[0], at=start)
    mode = wanted_mode(keys, context, was.mode)
    at = was.at if keys.at is None else keys.at
    settings = checked_settings(keys, context, mode) if "set" in keys else was.settings
    if "at" in keys or "mode" in keys or base is None:
        context.check_place(keys, mode, at, repaired)
    if "mode" in keys and "set" not in keys:
        for setting in settings:
            context.check_parameter(keys, "mode", mode, setting.parameter)
    return Stage(
        mode=mode,
        learning_rate=keys.learning_rate or was.learning_rate,
        seed=was.seed if keys.seed is None else keys.seed,
        settings=settings,
        at=at,
    )


def wanted_mode(keys: RunKeys, context: ExerciseContext, default: str) -> str:
    """The mode that the keys name, or the default."""
    mode = keys.mode or default
    context.check_mode(keys, mode)
    return mode


def checked_settings(keys: RunKeys, context: ExerciseContext, mode: str) -> tuple[Setting, ...]:
    """The numbers under `set`, whose parameters the mode has to have."""
    for name, setting in keys.set.items():
        context.check_parameter(keys, f"set.{name}", mode, setting.parameter)
    return tuple(keys.set.values())
