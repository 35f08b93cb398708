"""The Python of an exported file: the lesson's code in one mode, and the loop around it."""

from __future__ import annotations

import ast
import json
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from io import StringIO
from itertools import dropwhile, takewhile

from tutor.errors import Refused
from tutor.lesson.code_checks import bound_names, computes_gradient, stores_grad, why_not_code
from tutor.lesson.model import (
    GRADIENT_CHANGES,
    REPORT,
    SETUP,
    Block,
    Fence,
    Lesson,
    Prose,
    Section,
    check_mode,
    gradient_index,
    gradient_variable,
)
from tutor.plain import one_line


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """The learner's choices for an exported file; None stands for the lesson's own setting."""

    device: str = "cpu"
    learning_rate: float | None = None
    epochs: int | None = None
    seed: int = 0
    every: int = 1
    """Every how many epochs figures are printed; the last epoch always has some."""
    changed: bool = False
    """Whether the exported run had changes in its middle, which a script can't repeat."""


@dataclass(slots=True)
class OutlinePart:
    """One phase, and the sections without code that follow it."""

    name: str
    blocks: tuple[Block, ...]
    notes: list[Section] = field(default_factory=list)

    @property
    def fences(self) -> tuple[Fence, ...]:
        """The phase's code, in order."""
        return tuple(block for block in self.blocks if isinstance(block, Fence))


@dataclass(frozen=True, slots=True)
class LessonOutline:
    """The whole lesson in one mode."""

    opening: tuple[Section, ...]
    """The sections before the first phase."""
    setup: OutlinePart
    """Empty where the lesson has none."""
    loop: tuple[OutlinePart, ...]
    """The phases of each batch; the last has no notes."""
    report: OutlinePart | None
    closing: tuple[Section, ...]
    """The sections after the last phase of the loop, or after the Report."""
    gradient: str
    """The phase after which the gradients are as the update uses them."""

    @property
    def codes(self) -> tuple[str, ...]:
        """All code of the mode, a piece for each fence."""
        parts = [self.setup, *self.loop, *([self.report] if self.report else [])]
        return tuple(fence.code for part in parts for fence in part.fences)


def outline(lesson: Lesson, mode: str) -> LessonOutline:
    """The outline of a lesson in this mode."""
    opening: list[Section] = []
    parts: list[OutlinePart] = []
    for section in lesson.sections:
        if section.phase is None:
            (parts[-1].notes if parts else opening).append(section)
        elif section.fences(mode):
            parts.append(OutlinePart(section.phase, tuple(_of_mode(section, mode))))
    setup = next((p for p in parts if p.name == SETUP), OutlinePart(SETUP, ()))
    report = next((p for p in parts if p.name == REPORT), None)
    loop = tuple(p for p in parts if p.name not in (SETUP, REPORT))
    last = report or loop[-1]
    closing, last.notes = tuple(last.notes), []
    names = [part.name for part in loop]
    changes = [name for name in GRADIENT_CHANGES if name in names]
    gradient = changes[-1] if changes else names[gradient_index(names)]
    return LessonOutline(tuple(opening), setup, loop, report, closing, gradient)


def _of_mode(section: Section, mode: str) -> Iterator[Block]:
    """The blocks of a phase without the code of other modes and the text that introduces it."""
    blocks = section.blocks
    for index, block in enumerate(blocks, 1):
        if isinstance(block, Prose):
            text = block.markdown
            following = list(takewhile(lambda b: isinstance(b, Fence), blocks[index:]))
            if following and not any(isinstance(b, Fence) and b.runs_in(mode) for b in following):
                text = text.rpartition("\n\n")[0].rstrip()
            if text:
                yield Prose(text, block.line)
        elif not isinstance(block, Fence) or block.runs_in(mode):
            yield block


INDENT = "    "

_PLAIN = '''\
def {plain}(thing):
    """Numbers for JSON: arrays as lists; NaN, infinities and complex numbers as text."""
    if hasattr(thing, "tolist"):
        thing = thing.tolist()
    if isinstance(thing, list):
        return [{plain}(element) for element in thing]
    if isinstance(thing, complex):
        return str(thing).strip("()")
    return {{"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}}.get(str(thing), thing)
'''

PartLines = Callable[[OutlinePart, str], Iterator[str]]
"""Makes the lines of a phase with an indent: its code and its text."""


@dataclass(frozen=True)
class ScriptCode:
    """The parts of a program that trains one lesson in one mode and prints its figures."""

    lesson: Lesson
    mode: str
    settings: ExportSettings

    def __post_init__(self) -> None:
        """Raise Refused if there is no such mode."""
        check_mode(self.mode, self.lesson.modes)

    @cached_property
    def outline(self) -> LessonOutline:
        """The lesson in this mode."""
        return outline(self.lesson, self.mode)

    # ── Names that the lesson's code uses ───────────────────────────────────────────

    @cached_property
    def _words(self) -> frozenset[str]:
        """All names in the lesson's code."""
        return frozenset(word for code in self.outline.codes for word in _words(code))

    @cached_property
    def _imports_random(self) -> bool:
        """Whether the lesson imports Python's random generator."""
        nodes = [node for code in self.outline.codes for node in ast.walk(ast.parse(code))]
        modules = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
        modules += [n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)]
        return "random" in modules

    @cached_property
    def _bound(self) -> frozenset[str] | None:
        return bound_names(self.outline.codes)

    def _uses(self, *names: str) -> bool:
        return not self._words.isdisjoint(names)

    @property
    def _counts_batches(self) -> bool:
        return self.lesson.batches > 1 or self.lesson.warm_up > 0

    @property
    def _is_ranked(self) -> bool:
        """Whether it runs on several ranks."""
        return self.lesson.workers > 1

    def _own(self, name: str) -> str:
        """A name that the lesson's code does not use."""
        while name in self._words:
            name += "_"
        return name

    # ── Before the loop ─────────────────────────────────────────────────────────────

    def head(self) -> Iterator[str]:
        """The lines with imports, settings and seeds."""
        yield from self._imports()
        yield ""
        yield from self._settings()
        yield ""
        yield from self._preparations()

    def _imports(self) -> Iterator[str]:
        name = self._own("json")
        yield "import json" if name == "json" else f"import json as {name}"
        if self._imports_random:
            yield "import random"
        if self._uses("np", "numpy", "torch") or self._is_ranked:
            yield ""
        if self._uses("np", "numpy"):
            yield "import numpy as np"
        if self._uses("torch"):
            yield "import torch"
        if self._is_ranked:
            yield "import torch.distributed as dist"

    def _settings(self) -> Iterator[str]:
        lesson, mode, settings = self.lesson, self.mode, self.settings
        if self._uses("device"):
            yield f"device = {json.dumps(settings.device)}"
        rate = settings.learning_rate
        yield f"learning_rate = {lesson.learning_rate[mode] if rate is None else rate!r}"
        in_setup = any("batch" in _words(fence.code) for fence in self.outline.setup.fences)
        if in_setup or (self._uses("batch") and not self._counts_batches):
            yield "batch = 0"
        yield f"{self._own('epochs')} = {settings.epochs or lesson.epochs[mode]}"
        yield "# The epochs that this number divides are printed, and the last one."
        yield f"{self._own('every')} = {settings.every}"

    def _preparations(self) -> Iterator[str]:
        seed = self.settings.seed
        if self._is_ranked:
            yield 'dist.init_process_group("gloo")'
            yield "rank, world_size = dist.get_rank(), dist.get_world_size()"
        if self._imports_random:
            yield f"random.seed({seed})"
        if self._uses("np", "numpy"):
            yield f"np.random.seed({seed % 2**32})"
            yield 'np.seterr(over="ignore", invalid="ignore", divide="ignore")'
        if self._uses("torch"):
            yield f"torch.manual_seed({seed})"
            yield "torch.set_num_threads(1)  # sums then come out the same to the last digit"

    def helper(self) -> str:
        """The source of the function that makes numbers and arrays printable."""
        return _PLAIN.format(plain=self._own("plain"))

    # ── The loop ────────────────────────────────────────────────────────────────────

    def loop(self, lines_of: PartLines) -> Iterator[str]:
        """The lines of the training loop; `lines_of` makes the lines of a phase."""
        epoch, warm_up = self._own("epoch"), self.lesson.warm_up
        first, note = "1, ", ""
        if warm_up:
            how_many = "one update" if warm_up == 1 else f"{warm_up} updates"
            first, note = "", f"  # {epoch} 0 is the warm-up: {how_many}"
        yield f"for {epoch} in range({first}{self._own('epochs')} + 1):{note}"
        indent = INDENT
        if self._counts_batches:
            batches = self.lesson.batches
            updates = f"{batches} if {epoch} else {warm_up}" if warm_up else str(batches)
            yield f"{INDENT}for batch in range({updates}):"
            indent += INDENT
        for number, part in enumerate(self.outline.loop):
            lines = lines_of(part, indent)
            yield from lines if number else dropwhile(lambda line: not line, lines)
            if part.name == self.outline.gradient:
                yield ""
                yield f"{indent}# The gradients that the update uses, to be printed."
                yield from self._gradients(indent)
        if warm_up:
            yield ""
            yield f"{INDENT}if not {epoch}:"
            yield f"{INDENT * 2}continue  # the warm-up is not reported"
        if self.outline.report:
            yield from lines_of(self.outline.report, INDENT)
        yield ""
        yield from self._print()

    def _print(self) -> Iterator[str]:
        epoch, epochs, plain = self._own("epoch"), self._own("epochs"), self._own("plain")
        options = "" if all(map(str.isascii, self._parameters)) else ", ensure_ascii=False"
        yield f"{INDENT}if {epoch} % {self._own('every')} == 0 or {epoch} == {epochs}:"
        yield f"{INDENT * 2}{self._own('figures')} = {{"
        yield f'{INDENT * 3}"epoch": {epoch},'
        yield f'{INDENT * 3}"loss": {self._loss(plain)},'
        yield f'{INDENT * 3}"values": {{{", ".join(self._pairs(str))}}},'
        yield f'{INDENT * 3}"gradients": {self._own("gradients")},'
        yield f"{INDENT * 2}}}"
        indent = INDENT * 2
        if self._is_ranked:
            yield from self._gathered(indent)
            indent += INDENT
        yield f"{indent}print({self._own('json')}.dumps({self._own('figures')}{options}))"

    def _gathered(self, indent: str) -> Iterator[str]:
        """The figures of all ranks put into rank 0's, which prints them."""
        figures, every, n = self._own("figures"), self._own("every_rank"), self._own("n")
        yield f"{indent}{every} = [None] * world_size"
        yield f"{indent}dist.all_gather_object({every}, {figures})"
        yield f"{indent}if rank == 0:"
        yield f'{indent}{INDENT}{figures}["ranks"] = ['
        yield f'{indent}{INDENT * 2}{{"rank": {n}, **{every}[{n}]}} for {n} in range(1, world_size)'
        yield f"{indent}{INDENT}]"

    @property
    def _parameters(self) -> tuple[str, ...]:
        return self.lesson.parameters[self.mode]

    def _pairs(self, expression: Callable[[str], str]) -> Iterator[str]:
        """The items of a dict, one for each parameter: its name and an expression."""
        plain = self._own("plain")
        for name in self._parameters:
            yield f"{json.dumps(name, ensure_ascii=False)}: {plain}({expression(name)})"

    def _loss(self, plain: str) -> str:
        if self._bound is not None and "loss" not in self._bound:
            return '"NaN"'
        number = 'loss.item() if hasattr(loss, "item") else loss'
        if not self._uses("torch", "np", "numpy"):
            number = "loss"
        elif self._uses("backward") and not self._uses("float", "item"):
            number = "loss.item()"  # it is a tensor
        return f"{plain}(float({number}))"

    def _gradients(self, indent: str) -> Iterator[str]:
        name, pairs = self._own("gradients"), list(self._pairs(self._gradient))
        if len(pairs) == 1:
            yield f"{indent}{name} = {{{pairs[0]}}}"
            return
        yield f"{indent}{name} = {{"
        yield from (f"{indent}{INDENT}{pair}," for pair in pairs)
        yield f"{indent}}}"

    def _gradient(self, name: str) -> str:
        """The gradient's expression: `w.grad`, or the variable `dw`."""
        variable = gradient_variable(name)
        if not self._uses("torch"):
            return variable
        by_hand = self._bound is None or variable in self._bound
        if computes_gradient(self.outline.codes) and not by_hand:
            return f"{name}.grad"
        if any(stores_grad(ast.parse(code)) for code in self.outline.codes):
            return f"{name}.grad if torch.is_tensor({name}) else {variable}"
        return f'{name}.grad if getattr({name}, "requires_grad", False) else {variable}'


def indented(code: str, indent: str) -> Iterator[str]:
    """The code's lines, indented, except lines inside a string."""
    inside = set(_rows_inside_strings(code))
    for row, text in enumerate(code.rstrip("\n").split("\n"), 1):
        yield text if row in inside or not text.strip() else indent + text


def _rows_inside_strings(code: str) -> Iterator[int]:
    """The rows (from 1) that begin inside a string, where an indent would change it."""
    started: list[int] = []
    for token in _tokens(code):
        kind = tokenize.tok_name[token.type]
        if kind == "STRING":
            yield from range(token.start[0] + 1, token.end[0] + 1)
        elif kind.endswith("STRING_START"):  # an f-string, from Python 3.12 on
            started.append(token.start[0])
        elif kind.endswith("STRING_END"):
            yield from range(started.pop() + 1, token.end[0] + 1)


def _words(code: str) -> Iterator[str]:
    yield from (token.string for token in _tokens(code) if token.type == tokenize.NAME)
    # Up to Python 3.11 an f-string is one token, whatever names stand in it.
    yield from (node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name))


def _tokens(code: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(StringIO(code).readline)


def checked(lines: Iterable[str], lesson: Lesson) -> str:
    """The lines as a program. Raises Refused if it is none, as a lesson can bring about."""
    text = "\n".join(lines) + "\n"
    if bad := why_not_code(text):  # `from __future__ import …`, a form feed before a line
        line = one_line(text.split("\n")[bad.line - 1].strip())
        raise Refused("not_exportable", slug=lesson.slug, line=line, reason=bad.reason)
    return text
