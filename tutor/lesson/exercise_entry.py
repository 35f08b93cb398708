"""One mapping in the YAML of an exercise: its texts, expressions and code, and where it begins.

The context of an exercise is what it is checked against: its lesson's modes, parameters and phases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import yaml

from tutor.lesson import code_checks, markdown, yaml_values
from tutor.lesson.diagnostics import did_you_mean
from tutor.lesson.exercise import Setting, Stage, StartPlace
from tutor.lesson.front_matter import FrontMatter
from tutor.lesson.markdown import MathSpan, Unclosed
from tutor.lesson.model import PHASES, REPORT, SETUP, Fence, Section
from tutor.lesson.yaml_values import Keys, ScalarType, Values, first_line_of, line_of


@dataclass(frozen=True, slots=True)
class ExerciseContext:
    """The lesson around an exercise."""

    modes: tuple[str, ...]
    """Never empty."""
    are_modes_known: bool
    """False where the front matter is at fault: then nothing is said of modes."""
    parameters: Mapping[str, tuple[str, ...] | None]
    """By mode; None where they could not be read."""
    phases: tuple[str, ...]
    """All that the lesson has, in its order."""
    run: Mapping[str, tuple[str, ...]]
    """By mode: the phases that can be stood before, Setup excepted."""
    with_graph: tuple[str, ...]
    """The modes whose code asks autograd for a gradient, or may do so."""
    batches: int
    warm_up: int

    def why_not_mode(self, mode: str) -> str | None:
        """Why a name is no mode of the lesson, or None."""
        if not self.are_modes_known or mode in self.modes:
            return None
        return f"unknown mode `{mode}`{did_you_mean(mode, self.modes)}"

    def why_not_parameter(self, mode: str, name: str) -> str | None:
        """Why `name` can't be set in `mode`, or None."""
        names = self.parameters.get(mode)
        if not self.are_modes_known or not names or name in names:
            return None
        return f"`{name}` is no parameter of mode `{mode}`{did_you_mean(name, names)}"

    def why_no_graph(self, mode: str) -> str | None:
        """Why a mode has no graph of its step, or None."""
        if not self.are_modes_known or mode not in self.modes or mode in self.with_graph:
            return None
        others = f"; write `mode: {self.with_graph[0]}`" if self.with_graph else ""
        return f"mode `{mode}` has no graph: its code calls no backward(){others}"

    def why_not_place(self, mode: str, at: StartPlace, repaired: str = "") -> str | None:
        """Why a run in `mode` can't stand at `at`, or None.

        A phase whose code an exercise replaces (`repaired`) is run, if it was not before.
        """
        if not at.phase:
            return None
        run = {*self.run.get(mode, PHASES), repaired} - {SETUP}
        runs = [phase for phase in PHASES if phase in run]
        if at.phase not in runs:
            known = ", ".join(phase.lower() for phase in runs)
            return f"mode `{mode}` runs no phase {at.phase}; write one of: {known}"
        if at.epoch == 0:
            return self._why_not_warm_up(at)
        if at.batch > (most := 1 if at.phase == REPORT else self.batches):
            return f"there is no batch {at.batch} {_to_choose(most, at.phase)}"
        return None

    def _why_not_warm_up(self, at: StartPlace) -> str | None:
        if not self.warm_up:
            return "there is no epoch 0 without a `warm_up`; epochs count from 1"
        if at.phase == REPORT:
            return "there is no report in the warm-up; write an epoch from 1"
        if at.batch > self.warm_up:
            return (
                f"there is no batch {at.batch} in the warm-up; write one from 1 to {self.warm_up}"
            )
        return None


def _to_choose(most: int, phase: str) -> str:
    if phase == REPORT:
        return "of the report, which comes once an epoch; leave it out"
    if most == 1:
        return "where an epoch is one batch; leave it out"
    return f"in an epoch; write one from 1 to {most}"


def context_of(
    front: FrontMatter, sections: Sequence[Section], modes: tuple[str, ...]
) -> ExerciseContext:
    """The context of a lesson's exercises; the lesson may have diagnostics."""
    known = not front.are_modes_unread
    phases = [s for s in sections if s.phase]
    run = {
        mode: tuple(s.phase or "" for s in phases if s.phase != SETUP and _runs(s, mode, modes))
        for mode in modes
    }
    return ExerciseContext(
        modes=modes,
        are_modes_known=known,
        parameters={mode: front.parameters.get(mode) for mode in modes},
        phases=tuple(dict.fromkeys(s.phase or "" for s in phases)),
        run=run if known else {},
        with_graph=tuple(mode for mode in modes if _may_differentiate(sections, mode, modes)),
        batches=front.batches,
        warm_up=front.warm_up,
    )


def _runs(section: Section, mode: str, modes: tuple[str, ...]) -> bool:
    """Whether a mode has code here, or may have: that of a misspelt mode could be anyone's."""
    return bool(_fences(section, mode, modes))


def _fences(section: Section, mode: str, modes: tuple[str, ...]) -> list[Fence]:
    fences = (b for b in section.blocks if isinstance(b, Fence))
    return [f for f in fences if f.runs_in(mode) or any(m not in modes for m in f.modes)]


def _may_differentiate(sections: Sequence[Section], mode: str, modes: tuple[str, ...]) -> bool:
    """Whether a mode's code asks for a gradient; what is no Python might."""
    codes = [f.code for s in sections if s.phase for f in _fences(s, mode, modes)]
    return any(map(code_checks.why_not_code, codes)) or code_checks.computes_gradient(codes)


T = TypeVar("T")


class ExerciseEntry:
    """Gives the values of a mapping's keys, with a default for each that is left out or wrong."""

    def __init__(self, keys: Keys, values: Values, lines: dict[str, int], path: str = "") -> None:
        """`lines` collects the line of every key of the exercise; `path` stands before each."""
        self._keys = keys
        self._values = values
        self.lines = lines
        self._path = path
        lines.update({path + key: line for key, line in keys.lines.items()})

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    @property
    def line(self) -> int:
        """Of the mapping."""
        return self._keys.line

    @property
    def diagnostics(self) -> int:
        """How many there are so far in the file."""
        return len(self._values.diagnostics)

    def diagnostic(self, key: str, message: str) -> None:
        """Note what is wrong with `key`, or with the mapping where the key is left out.

        A key of a mapping within this one is written `set.w`.
        """
        self._values.diagnostics.add(self.lines.get(self._path + key, self.line), message)

    def one(self, key: str, kind: ScalarType[T], default: T) -> T:
        """The value of one scalar."""
        value = self.optional(key, kind)
        return default if value is None else value

    def optional(self, key: str, kind: ScalarType[T]) -> T | None:
        """The value of one scalar, None where there is none."""
        return self._values.scalar(key, self._keys.nodes[key], kind) if key in self else None

    def text(self, key: str, default: str = "") -> str:
        """Markdown whose formulas parse."""
        return self._text(key, self._keys.nodes[key]) if key in self else default

    def texts(self, key: str, example: str) -> tuple[str, ...]:
        """A list of Markdown texts that differ, at least one."""
        found: dict[str, int] = {}
        for number, node in enumerate(self._items(key, example)):
            line = self.lines[f"{self._path}{key}.{number}"] = line_of(node)
            text = self._text(key, node)
            if text and text in found:
                self._values.diagnostics.add(
                    line, f"this is in `{key}` already, on line {found[text]}; keep one of them"
                )
            found.setdefault(text, line)
        return tuple(found)

    def words(self, key: str, kind: ScalarType[str], example: str) -> tuple[str, ...]:
        """A list of words, each once; each is told of as `key.WORD`."""
        found: dict[str, None] = {}
        for node in self._items(key, example):
            word = self._values.scalar(key, node, kind)
            if word in found:
                self._values.diagnostics.add(
                    line_of(node), f"`{word}` is twice in `{key}`; keep one of them"
                )
            elif word is not None:
                found[word] = None
                self.lines[f"{self._path}{key}.{word}"] = line_of(node)
        return tuple(found)

    def expression(self, key: str) -> str:
        """A Python expression that compiles; "" where there is none."""
        written = self.one(key, yaml_values.EXPRESSION, "")
        if written and (reason := code_checks.why_not_expression(written)):
            self.diagnostic(key, f"`{key}` is not a Python expression ({reason}); correct it")
        return written

    def code(self, key: str) -> str:
        """Python code that compiles, perhaps only a comment, perhaps empty."""
        written = self.one(key, yaml_values.CODE, "")
        if written and (bad := code_checks.why_not_code(written, self._first_line(key))):
            self._values.diagnostics.add(bad.line, f"this is not Python ({bad.reason}); correct it")
        return written

    def entry(
        self, key: str, known: Mapping[str, str], required: tuple[str, ...] = ()
    ) -> ExerciseEntry:
        """The mapping under `key`; an empty one where there is none."""
        if key not in self:
            return ExerciseEntry(Keys(self.line), self._values, {})
        node, line = self._keys.nodes[key], self._keys.lines[key]
        return self._entry(node, f"`{key}`", f"{key}.", line, known, required)

    def entries(
        self, key: str, known: Mapping[str, str], required: tuple[str, ...] = (), *, example: str
    ) -> tuple[ExerciseEntry, ...]:
        """The mappings in the list under `key`."""
        return tuple(
            self._entry(
                node, f"an entry of `{key}`", f"{key}.{number}.", line_of(node), known, required
            )
            for number, node in enumerate(self._items(key, example))
        )

    def pairs(self, key: str, example: str) -> list[tuple[str, yaml.Node]]:
        """The entries of a mapping whose keys are free, each told of as `key.ITS KEY`."""
        if key not in self:
            return []
        node = self._keys.nodes[key]
        if not isinstance(node, yaml.MappingNode):
            self.diagnostic(key, f"`{key}` must be a mapping; write `{key}: {example}`")
            return []
        pairs = self._values.pairs(node)
        self.lines.update({f"{self._path}{key}.{name}": line for name, line, _ in pairs})
        return [(name, value) for name, _, value in pairs]

    def value(self, name: str, node: yaml.Node, kind: ScalarType[T]) -> T | None:
        """The value of a node that `pairs` gave."""
        return self._values.scalar(name, node, kind)

    def text_of(self, name: str, node: yaml.Node) -> str:
        """The Markdown of a node that `pairs` gave."""
        return self._text(name, node)

    def _entry(
        self,
        node: yaml.Node,
        within: str,
        path: str,
        line: int,
        known: Mapping[str, str],
        required: tuple[str, ...],
    ) -> ExerciseEntry:
        keys = self._values.keys(node, known, within=within, line=line, required=required)
        path = self._path + path
        self.lines[path.removesuffix(".")] = line
        return ExerciseEntry(keys, self._values, self.lines, path)

    def _items(self, key: str, example: str) -> list[yaml.Node]:
        if key not in self:
            return []
        node = self._keys.nodes[key]
        if not isinstance(node, yaml.SequenceNode):
            found = "a mapping" if isinstance(node, yaml.MappingNode) else "a text"
            how = f"write `{key}:` and below it `  - …`, or `{key}: {example}`"
            self.diagnostic(
                key, f"`{key}` must be a list, not {found if node.value else 'empty'}; {how}"
            )
            return []
        if not node.value:
            self.diagnostic(key, f"`{key}` must be a list, not empty; write `{key}: {example}`")
            return []
        return list(node.value)

    def _first_line(self, key: str) -> int:
        return first_line_of(self._keys.nodes[key])

    def _text(self, name: str, node: yaml.Node) -> str:
        if isinstance(node, yaml.MappingNode):  # what a text with a colon is to YAML
            how = "put 'single quotes' around it if it has a `:`"
            self._values.diagnostics.add(line_of(node), f"`{name}` must be text; {how}")
            return ""
        text = self._values.scalar(name, node, yaml_values.MARKDOWN) or ""
        if "$" in text:
            self._formulas(text, node)
        return text

    def _formulas(self, text: str, node: yaml.Node) -> None:
        """Each formula is told on its own line, where the YAML keeps the lines of the text."""
        keeps_lines = isinstance(node, yaml.ScalarNode) and node.style == "|"
        first = first_line_of(node) + (_blank_lines_before(node.value) if keeps_lines else 0)
        diagnostics = self._values.diagnostics
        for found in markdown.find(text.split("\n")):
            if not isinstance(found, MathSpan | Unclosed):
                continue
            line = first + (found.place.line if keeps_lines else 0)
            if isinstance(found, Unclosed) or found.display:
                diagnostics.add(line, "a formula in an exercise stands in its line; write $…$")
            if isinstance(found, MathSpan):
                code_checks.check(found.latex, line, diagnostics)


def _blank_lines_before(text: str) -> int:
    """The blank lines that a text begins with, and that reading it leaves out."""
    return len(text) - len(text.lstrip("\n"))


STAGE_KEYS = {
    "mode": "autograd",
    "learning_rate": "0.1",
    "seed": "3",
    "set": "{w: 3}",
    "at": "1 gradient",
}
"""The keys of a stage, with an example of each."""

_PLACE = re.compile(r"(\d{1,9}) +([A-Za-z]+)(?: +(\d{1,9}))?")
_TARGET = re.compile(r"([^\W\d]\w*)(?:\[( *\d{1,9} *(?:, *\d{1,9} *)*)\])?")


def stage_of(
    entry: ExerciseEntry,
    context: ExerciseContext,
    base: Stage | None = None,
    *,
    start: StartPlace = StartPlace(),  # noqa: B008 - it is frozen
    repaired: str = "",
) -> Stage:
    """The stage that the keys of `entry` say; what they leave out is as in `base`.

    Without a `base`, `start` is where a run stands that `at` says nothing of.
    `repaired` is a phase that runs in this exercise whether or not the mode has code for it.
    """
    was = base or Stage(mode=context.modes[0], at=start)
    mode = mode_of(entry, context, was.mode)
    at = _place_of(entry, context) if "at" in entry else was.at
    settings = settings_of(entry, context, mode) if "set" in entry else was.settings
    if "at" in entry or "mode" in entry or base is None:
        key = "at" if "at" in entry else "mode"
        if wrong := context.why_not_place(mode, at, repaired):
            entry.diagnostic(key, wrong)
    if "mode" in entry and "set" not in entry:
        for setting in settings:
            if wrong := context.why_not_parameter(mode, setting.parameter):
                entry.diagnostic("mode", f"{wrong} (it is in `set`)")
    return Stage(
        mode=mode,
        learning_rate=entry.optional("learning_rate", yaml_values.RATE) or was.learning_rate,
        seed=entry.one("seed", yaml_values.at_least(0), was.seed),
        settings=settings,
        at=at,
    )


def mode_of(entry: ExerciseEntry, context: ExerciseContext, default: str) -> str:
    """The mode that an entry names."""
    mode = entry.one("mode", yaml_values.MODE, default)
    if wrong := context.why_not_mode(mode):
        entry.diagnostic("mode", wrong)
    return mode


def settings_of(entry: ExerciseEntry, context: ExerciseContext, mode: str) -> tuple[Setting, ...]:
    """The numbers under `set`."""
    found: dict[tuple[str, tuple[int, ...]], Setting] = {}
    for key, node in entry.pairs("set", STAGE_KEYS["set"]):
        value = entry.value(key, node, yaml_values.NUMBER)
        target = _TARGET.fullmatch(key.strip())
        if target is None:
            entry.diagnostic(
                f"set.{key}", f"`{key}` names no number; write one such as `w: 3` or `W[0,1]: 3`"
            )
            continue
        name, index = target[1], tuple(int(i) for i in (target[2] or "").split(",") if i)
        if wrong := context.why_not_parameter(mode, name):
            entry.diagnostic(f"set.{key}", wrong)
        elif (name, index) in found:
            entry.diagnostic(f"set.{key}", f"`{key}` is set twice; keep one of them")
        elif value is not None:
            found[name, index] = Setting(name, index, value)
    return tuple(found.values())


def one_epoch_later(stage: Stage, context: ExerciseContext) -> Stage:
    """The same question with other numbers, where the author gives none."""
    at = stage.at
    batch = min(at.batch, context.batches) if at.epoch == 0 else at.batch
    return msgspec.structs.replace(stage, at=StartPlace(at.epoch + 1, at.phase, batch))


def _place_of(entry: ExerciseEntry, context: ExerciseContext) -> StartPlace:
    """The place that `at` names; the start, and a diagnostic, if it can't be read."""
    written = entry.one("at", yaml_values.TEXT, "")
    found = _PLACE.fullmatch(written)
    if found is None:
        if written:
            entry.diagnostic(
                "at",
                f"`at` must be EPOCH PHASE or EPOCH PHASE BATCH, not `{written}`; "
                "write `at: 1 gradient`",
            )
        return StartPlace()
    epoch, phase, batch = int(found[1]), found[2].capitalize(), int(found[3] or 1)
    if phase == SETUP:
        entry.diagnostic("at", "Setup runs before anything else; leave `at` out to begin after it")
        return StartPlace()
    if phase not in PHASES:
        known = [p.lower() for p in PHASES if p != SETUP]
        entry.diagnostic("at", f"unknown phase `{found[2]}`{did_you_mean(found[2], known)}")
        return StartPlace()
    if batch == 0:
        entry.diagnostic("at", "batches count from 1; write `at: 1 gradient 1`")
        return StartPlace()
    return StartPlace(epoch, phase, batch)
