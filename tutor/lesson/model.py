"""Lessons as plain frozen data, and the diagnostics of their files.

Lessons are structs, so that one can be sent to the process that runs it without parsing it again.
The rule for learning rates holds for lessons, runs, dialogs and commands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from tutor.errors import LessonError, Refused
from tutor.lesson.exercise import Exercise


class Fault(NamedTuple):
    """Something wrong with a lesson: a code, which `tutor.wording` has a sentence for."""

    code: str
    values: Mapping[str, Any]
    """The parameters of the sentence: numbers, names, and lists of them."""


class Diagnostic(msgspec.Struct, frozen=True):
    """One thing that is wrong with a lesson file."""

    path: Path
    line: int
    """1-based line in the file."""
    fault: Fault

    def in_file(self) -> Fault:
        """The fault with its place in the file among its parameters."""
        code, values = self.fault
        return Fault(code, {"path": str(self.path), "line": self.line, **values})


class LessonDiagnostics(LessonError):
    """A lesson file that can't be used as it is."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = _by_line(diagnostics)
        super().__init__("\n".join(map(repr, self.diagnostics)))


def _by_line(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The diagnostics in the order of their lines, each once."""
    once = {repr(diagnostic): diagnostic for diagnostic in diagnostics}
    return tuple(sorted(once.values(), key=lambda diagnostic: diagnostic.line))


class DiagnosticList:
    """The diagnostics found so far in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: list[Diagnostic] = []
        self._warnings: list[Diagnostic] = []

    def add(self, line: int, code: str, /, **values: object) -> None:
        """Add a diagnostic that makes the lesson unusable."""
        self._found.append(Diagnostic(self._path, line, Fault(code, values)))

    def warn(self, line: int, code: str, /, **values: object) -> None:
        """Add a warning: the author should fix it, but the lesson can be used."""
        self._warnings.append(Diagnostic(self._path, line, Fault(code, values)))

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings, by line."""
        return _by_line(self._warnings)

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raise LessonDiagnostics if there are any."""
        if self._found:
            raise LessonDiagnostics(self._found)


LARGEST_WHOLE = 1_000_000_000
"""The largest count of epochs or batches, and seed; above it there is a typing mistake."""

LARGEST_RATE = 1e6
"""Far above every rate at which a lesson converges; the update of a float32 stays finite longer."""


def check_mode(mode: str | None, modes: Collection[str]) -> None:
    """Raise Refused if a mode is asked for that is none of `modes`: empty if not known."""
    if mode is not None and modes and mode not in modes:
        raise Refused("no_mode", mode=mode, available=[*modes])


def is_learning_rate(value: float) -> bool:
    """Whether a number can be a learning rate. NaN can't."""
    return 0 < value <= LARGEST_RATE


MANUAL, AUTOGRAD, OPTIMIZER, MODEL = "manual", "autograd", "optimizer", "model"
STANDARD_MODES = (MANUAL, AUTOGRAD, OPTIMIZER, MODEL)
"""The usual gradient modes: in each, PyTorch does more of what the one before does by hand.

First the gradient, then the update, then the prediction and the loss. A lesson may name others.
"""


def standard_modes(named: Collection[str]) -> tuple[str, ...]:
    """The modes of a lesson that lists none: the standard modes that its fences name."""
    return tuple(mode for mode in STANDARD_MODES if mode in named) or (AUTOGRAD,)


def gradient_variable(parameter: str) -> str:
    """The variable of a gradient by hand: `dw` for `w`, `layer.dW` for `layer.W`."""
    owner, dot, name = parameter.rpartition(".")
    return f"{owner}{dot}d{name}"


SETUP, REPORT = "Setup", "Report"
PREDICT, LOSS, GRADIENT = "Predict", "Loss", "Gradient"
SYNCHRONIZE, UPDATE, RESET = "Synchronize", "Update", "Reset"
PHASES_IN_ORDER = (PREDICT, LOSS, GRADIENT, SYNCHRONIZE, UPDATE)
"""Each needs the result of the one before. A Reset may stand anywhere."""
GRADIENT_CHANGES = (SYNCHRONIZE,)
"""The phases that change the gradients before the update uses them, in their order."""
PHASES = (SETUP, PREDICT, LOSS, GRADIENT, SYNCHRONIZE, UPDATE, RESET, REPORT)
"""The level-2 headings that are phases. Setup runs once; Report ends an epoch.

Synchronize is of a lesson on several ranks: it makes their gradients one.
"""

MOST_WORKERS = 4
"""Ranks that a lesson may run on: each is a process that loads PyTorch."""


def gradient_index(phases: Sequence[str]) -> int:
    """Index of the phase that completes the gradients of the loss.

    The update uses them as they are then, or as the last of GRADIENT_CHANGES leaves them.
    """
    if GRADIENT in phases:
        return phases.index(GRADIENT)
    return max(phases.index(UPDATE) - 1, 0) if UPDATE in phases else len(phases) - 1


class Prose(msgspec.Struct, frozen=True, tag=True):
    """A run of Markdown text (no headings, fences or display formulas in it)."""

    markdown: str
    line: int
    """1-based line of its first character in the file."""


class DisplayFormula(msgspec.Struct, frozen=True, tag=True):
    """A display formula: the LaTeX between `$$` and `$$`."""

    latex: str
    line: int
    boxed: tuple[str, ...] = ()
    """The Python expressions in its `\\boxed{…}`, in order."""


class Fence(msgspec.Struct, frozen=True, tag=True):
    """A fenced block of Python: the code that is shown is the code that runs."""

    code: str
    line: int
    """1-based line of its first line of code in the file."""
    modes: tuple[str, ...] = ()
    """The modes that run it; empty means all."""

    def runs_in(self, mode: str) -> bool:
        """Whether this code belongs to `mode`."""
        return not self.modes or mode in self.modes


Block: TypeAlias = Prose | DisplayFormula | Fence | Exercise
"""The parts of a section."""


class Section(msgspec.Struct, frozen=True):
    """One section: a heading and all below it (the introduction has the heading "")."""

    heading: str
    line: int
    phase: str | None
    """One of PHASES, or None where the heading is only prose."""
    blocks: tuple[Block, ...]

    @property
    def lines(self) -> range:
        """The lines of the file from its first line of code to its last."""
        fences = [b for b in self.blocks if isinstance(b, Fence)]
        if not fences:
            return range(0)
        rows = fences[-1].code.rstrip().count("\n") + 1
        return range(fences[0].line, fences[-1].line + rows)

    def fences(self, mode: str) -> tuple[Fence, ...]:
        """The code of this section that `mode` runs, in order."""
        return tuple(b for b in self.blocks if isinstance(b, Fence) and b.runs_in(mode))


def fences_of(sections: Iterable[Section]) -> Iterator[Fence]:
    """The code of sections, in order."""
    return (b for s in sections for b in s.blocks if isinstance(b, Fence))


LAST = 1e9
"""The order of a lesson that gives none: after all that do."""


class DataNames(msgspec.Struct, frozen=True):
    """The names of a lesson's data in its code, for plots."""

    input: str
    target: str
    prediction: str


class ScriptOptions(msgspec.Struct, frozen=True):
    """The options of a learner's own script: the lesson made of it has these, and no prose."""

    loop: int = 1
    """The number, from 1, of the training loop that is stepped."""
    arguments: tuple[str, ...] = ()
    """The arguments that the script finds in `sys.argv`, after its name."""
    name: str = ""
    """Its file as it was typed, the first of `sys.argv`; "" for its whole path."""
    is_here: bool = False
    """Whether it writes files where it wants; else into a temporary folder."""
    is_counted: bool = True
    """Whether its code says how many epochs there are; else nobody knows before its end."""
    line: int = 0
    """The line of its loop."""
    phases: tuple[str, ...] = ()
    """The phase of each step, if all its epochs have the same; empty if they may differ."""
    is_sum_of_batches: bool = False
    """Whether its loss is a sum over an epoch's batches."""
    modules: Mapping[str, bytes] | None = None
    """The modules beside it by path, where it runs on another machine, which has not got them."""
    workers: int = 1
    """The ranks that it runs on, as if `torchrun` had started it."""


class Lesson(msgspec.Struct, frozen=True):
    """One lesson: its prose, formulas and code, and what is watched while it runs."""

    slug: str
    """Its file's name without `.md`, which names it on the command line."""
    path: Path
    digest: str
    """SHA-256 of the file's content, in hex; the learner trusts this content."""
    source: str
    """The file's whole text."""
    title: str
    summary: str
    order: float
    modes: tuple[str, ...]
    parameters: Mapping[str, tuple[str, ...]]
    """The names whose value and gradient are watched, by mode."""
    learning_rate: Mapping[str, float]
    epochs: Mapping[str, int]
    sections: tuple[Section, ...]
    batches: int = 1
    """Updates in an epoch; the code sees `batch`, from 0."""
    workers: int = 1
    """The ranks that it runs on, each a process; the code sees `rank`, `world_size` and `dist`."""
    warm_up: int = 0
    """Updates (batches 0, 1, …) that come before epoch 1 and are steppable as epoch 0."""
    watch: Mapping[str, Mapping[str, str]] | None = None
    """The Python expressions shown among the numbers, by mode and label."""
    watch_lines: Mapping[str, Mapping[str, int]] = {}
    """The line of the file that each of these expressions stands on, by mode and label."""
    own_gradient: tuple[str, ...] = ()
    """Modes whose gradient differs from autograd's on purpose."""
    comparable: bool = True
    """Whether the modes compute the same run, so that they can be compared."""
    data: DataNames | None = None
    """The names of the data, or the usual ones; None where the code does not bind them."""
    builds_on: tuple[str, ...] = ()
    """The slugs of the lessons that should come before this one."""
    language: str = "en"
    """The code of its prose's language, as in `lessons/zh/`."""
    warnings: tuple[Diagnostic, ...] = ()
    """Diagnostics that do not keep the lesson from being used."""
    script: ScriptOptions | None = None
    """Set where this is made from a learner's own script, whose code is `source`."""

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        """The exercises, in the file's order."""
        return tuple(b for s in self.sections for b in s.blocks if isinstance(b, Exercise))

    def fingerprint(self) -> str:
        """A digest, in hex, of everything that a run depends on: the same in every language."""
        import hashlib  # noqa: PLC0415 - loads OpenSSL; the menu needs no digest

        code = [
            (s.phase, f.code, f.modes)
            for s in self.sections
            for f in s.blocks
            if isinstance(f, Fence)
        ]
        settings = (self.modes, sorted(self.parameters.items()), self.batches, self.warm_up)
        # What it was typed as, --here and the way its modules come change no number.
        script = self.script
        own = script and msgspec.structs.replace(script, name="", is_here=False, modules=None)
        run = [own] if own else []
        workers = [self.workers] if self.workers > 1 else []
        recipe = repr((code, settings, *run, *workers))
        return hashlib.sha256(recipe.encode()).hexdigest()

    def phase(self, name: str, line: int = 0) -> Section | None:
        """The section that is the phase `name`, if the lesson has it.

        Of a script, which may have several of one name, the one whose code is on this line.
        """
        found = [s for s in self.sections if s.phase == name]
        if len(found) < 2:
            return found[0] if found else None
        return next((s for s in found if line in s.lines), found[0])

    def phase_of_line(self, line: int) -> str:
        """The phase with code on this line of the file; "" if none has."""
        return next(
            (
                section.phase
                for section in self.sections
                for fence in section.blocks
                if section.phase
                and isinstance(fence, Fence)
                and fence.line <= line < fence.line + len(fence.code.splitlines())
            ),
            "",
        )

    def loop(self, mode: str) -> tuple[Section, ...]:
        """The phases that `mode` runs for each batch, in the file's order."""
        return tuple(
            s for s in self.sections if s.phase not in (None, SETUP, REPORT) and s.fences(mode)
        )

    def gradient_phase(self, mode: str) -> str:
        """The phase that completes the gradients of the loss in `mode`."""
        phases = [str(section.phase) for section in self.loop(mode)]
        return phases[gradient_index(phases)]

    def has_gradients(self, mode: str, phase: str | None, line: int = 0) -> bool:
        """Whether the gradients of a batch are known when this phase of it has just run.

        A script may have several losses, each with a Gradient phase: the last of them counts.
        """
        loop = self.loop(mode)
        phases = [str(section.phase) for section in loop]
        if phase == REPORT or self.script is None or GRADIENT not in phases:
            return phase == REPORT or phase in phases[gradient_index(phases) :]
        until = self.phase(phase, line) if phase else None
        so_far = phases[: loop.index(until) + 1] if until in loop else []
        deciding = (name for name in reversed(so_far) if name in (LOSS, GRADIENT))
        return next(deciding, "") == GRADIENT

    def steps(self, mode: str) -> tuple[str, ...]:
        """The phase of each step of an epoch in `mode`: all batches, then the Report."""
        batches = [str(section.phase) for section in self.loop(mode)] * self.batches
        report = self.phase(REPORT)
        return (*batches, REPORT) if report and report.fences(mode) else tuple(batches)

    def boxed(self) -> tuple[str, ...]:
        r"""Every expression in a `\boxed{…}`, once, in the file's order."""
        return tuple(dict.fromkeys(e for found in self.boxed_by_phase().values() for e in found))

    def boxed_by_phase(self) -> Mapping[str, Mapping[str, int]]:
        r"""The expressions in each phase's `\boxed{…}`; "" for all other sections.

        Each with the line of the first formula there that it stands in.
        """
        found: dict[str, dict[str, int]] = {}
        for section in self.sections:
            for formula in (block for block in section.blocks if isinstance(block, DisplayFormula)):
                for expression in formula.boxed:
                    found.setdefault(section.phase or "", {}).setdefault(expression, formula.line)
        return found
