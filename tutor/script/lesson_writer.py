"""The text of a lesson made from a script's training loop: phases cut, formulas filled in.

The lesson computes the script's numbers; its prose is short, for an author to go on from.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import msgspec

from tutor.lesson.model import GRADIENT, LOSS, PREDICT, REPORT, RESET, SETUP, UPDATE, DisplayFormula
from tutor.python_syntax import (
    DEFINITIONS,
    PARSING,
    counted_range,
    imported_by,
    last_name,
    names_in,
)
from tutor.script.code_facts import CodeFacts
from tutor.script.code_pieces import (
    CodePieces,
    indented,
    names_read,
    one_statement_a_line,
    rate_argument,
    refusal,
    renamed,
    stored_in,
    with_expressions,
    with_named_rate,
    with_rate_alone,
)
from tutor.script.formulas import formulas_of
from tutor.script.lesson import USUAL_RATE, learning_rate_in
from tutor.script.lesson_settings import (
    Batches,
    FoundInRun,
    Watched,
    batches_of,
    watched_parameters,
)
from tutor.script.loops import outline_of
from tutor.script.outline import Outline, TrainingLoop
from tutor.script.rewritten_script import (
    with_default_arguments,
    with_for_loop,
    without_batch,
    without_class,
    without_loss_function,
    without_pictures,
)
from tutor.script.source import ScriptSource
from tutor.script.straight_code import StraightCode, Straightener

_RATE = "learning_rate"
_NEEDS_LEARNER = {
    "input": "asks_for_input",
    **dict.fromkeys(PARSING, "reads_arguments"),
    "show": "opens_window",
}
"""A function that no lesson can call → the code of the refusal."""
_PROSE = {
    SETUP: "Setup runs once: it creates the data and the starting values of the parameters.",
    PREDICT: "The forward pass computes the predictions from the inputs.",
    LOSS: "The loss says how far the predictions are from the targets.",
    GRADIENT: "The gradient says how the loss changes when a parameter changes.",
    UPDATE: "Each parameter takes a step against its gradient.",
    RESET: "The gradient of one step must not be added to that of the next.",
    REPORT: "The report runs at the end of each epoch.",
}
_MOVED = re.compile(r"(.+) \\leftarrow \1")
r"""A formula of data that are only moved to a device: `x \leftarrow x`."""
_LOSS_ALONE = "The loss is the function whose smallest value the training looks for."
"""Of a loop that predicts nothing, such as one that minimizes `(w - 2) ** 2`."""

_INTRODUCTION = "Say here in a few lines what this lesson is about, and ask a question.\n"


@dataclass(frozen=True, slots=True)
class WrittenLesson:
    """A lesson's text."""

    text: str
    left_out: str
    """The place of the first statement behind the loop, all of which is left out; or empty."""
    stops: str
    """The place at which the script may end its loop early, where the lesson goes on; or empty."""


def lesson_from(
    source: ScriptSource, outline: Outline, number: int, slug: str, found_in_run: FoundInRun
) -> WrittenLesson:
    """The lesson of the script's loop with this number. Raises ScriptError with the line.

    The script is run for what its code alone does not say: the number of batches, and the
    parameters that an optimizer holds.
    """
    loop = outline.loops[number - 1]
    source, loop = _rewritten(source, loop, number, *one_statement_a_line(source.text))
    text = without_batch(without_pictures(with_default_arguments(source.text)))
    source, loop = _rewritten(source, loop, number, text)
    if (flat := without_class(source.text, loop, source.place)) is not None:
        source, loop = _rewritten(source, loop, number, flat.text, flat.origin)
    alone = with_rate_alone(source.text, loop.rates)
    source, loop = _rewritten(source, loop, number, *alone)
    if learning_rate_in(source.text, loop) is None and not loop.rates:
        named = with_named_rate(source.text, loop.phases, _RATE)
        source, loop = _rewritten(source, loop, number, *named)
    text = with_for_loop(source.text, loop.line)
    source, loop = _rewritten(source, loop, number, text)
    if loop.loss != "loss":
        text = without_loss_function(source.text)
        source, loop = _rewritten(source, loop, number, text)
    return _Writer(source, loop, found_in_run).written(slug)


def _rewritten(
    source: ScriptSource,
    loop: TrainingLoop,
    number: int,
    text: str,
    origin: Sequence[int] | None = None,
) -> tuple[ScriptSource, TrainingLoop]:
    """The source with a rewritten text, which computes the same values, and the loop in it.

    `origin` has, for each line, the source's line that it was made from; without it, they are
    the same ones.
    """
    loops = outline_of(text).loops if text != source.text else ()
    if len(loops) < number:
        return source, loop
    lines = source.origin
    if origin is not None:
        lines = tuple(lines[n - 1] if lines else n for n in origin)
    return msgspec.structs.replace(source, text=text, origin=lines), loops[number - 1]


class _Writer:
    """Writes one loop as a lesson."""

    def __init__(self, source: ScriptSource, loop: TrainingLoop, found_in_run: FoundInRun) -> None:
        self._source, self._loop, self._found_in_run = source, loop, cache(found_in_run)
        self._refusal = partial(refusal, source.place)
        self._tree = ast.parse(source.text)
        self._facts = CodeFacts(self._tree, loop.rates)
        self._pieces = CodePieces(source.text)
        code = Straightener(self._tree, loop, source.place).straight()
        self._code = dataclasses.replace(code, setup=_used(code))
        self._setup_facts = self._facts_of_setup()
        self._rate = learning_rate_in(source.text, loop)
        self._names = names_in(self._tree)

    def written(self, slug: str) -> WrittenLesson:
        """The lesson. Raises ScriptError."""
        self._check()
        batches = self._batches()
        watched = watched_parameters(
            self._loop, self._found_in_run, self._setup_facts, self._tree, self._source.place
        )
        phases = self._phase_code(batches, watched)
        report = "\n".join(self._texts(self._code.report))
        setup = self._setup_code([*phases.values(), report], watched)
        parts = [self._front_matter(slug, watched, batches), _INTRODUCTION]
        parts.append(_section(SETUP, (), setup, _PROSE[SETUP]))
        formulas = self._formulas()
        if report:
            phases[REPORT] = self._with_lesson_rate(report)
        prose = _PROSE if PREDICT in phases else _PROSE | {LOSS: _LOSS_ALONE}
        for name, code in phases.items():
            parts.append(_section(name, formulas.get(name, ()), code, prose[name]))
        parts.append("## What to remember\n- Write here what to remember from this lesson.\n")
        lines = self._code.left_out, self._code.stops
        return WrittenLesson("\n".join(parts), *(self._source.place(n) if n else "" for n in lines))

    # ── Scripts that are refused ────────────────────────────────────────────────────

    def _facts_of_setup(self) -> CodeFacts:
        """The facts of Setup alone: names of other functions have other values."""
        body = [ast.parse(s).body[0] if isinstance(s, str) else s for s in self._code.setup]
        plain = [s for s in body if not isinstance(s, DEFINITIONS)]
        facts = CodeFacts(ast.Module(plain, []), self._loop.rates)
        facts.callables |= self._facts.callables
        facts.iterated |= self._facts.iterated
        facts.methods |= self._facts.methods
        facts.modules |= self._facts.modules
        facts.functions |= self._facts.functions
        return facts

    def _check(self) -> None:
        unsupported = next((p for p in self._loop.phases if p.name not in _PROSE), None)
        if unsupported is not None:
            raise self._refusal(unsupported.line, "phase_of_no_lesson", phase=unsupported.name)
        for statement in self._statements():
            for node in ast.walk(statement):
                self._check_node(node)
        if self._loop.epochs is None:
            raise self._refusal(self._loop.line, "no_number_of_epochs")
        if not self._loop.loss:
            raise self._refusal(self._loop.line, "no_name_of_loss")
        if self._loop.loss != "loss" and "loss" in self._names:
            raise self._refusal(self._loop.line, "other_name_of_loss", name=self._loop.loss)

    def _statements(self) -> Iterator[ast.stmt]:
        """All statements of the script that the lesson runs."""
        code = self._code
        yield from (s for s in code.setup if isinstance(s, ast.stmt))
        yield from code.before_batches
        for _, statements in code.phases:
            yield from statements
        yield from code.report

    def _check_node(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call):
            name = last_name(node.func)
            if name in _NEEDS_LEARNER and not (name in PARSING and self._is_answered(node)):
                raise self._refusal(node.lineno, _NEEDS_LEARNER[name])
            if self._facts.dotted(node.func).startswith("matplotlib"):
                raise self._refusal(node.lineno, "draws_picture")
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "batch":
            raise self._refusal(node.lineno, "binds_batch")

    def _is_answered(self, call: ast.Call) -> bool:
        """Whether arguments are read from a list, or by a function of the file."""
        return bool(call.args) or self._facts.functions.get(last_name(call.func)) is not None

    # ── Code ────────────────────────────────────────────────────────────────────────

    def _texts(self, statements: Sequence[ast.stmt | str]) -> list[str]:
        return [s if isinstance(s, str) else self._pieces.text_of(s) for s in statements]

    def _batches(self) -> Batches | None:
        loop = self._code.batch_loop
        if loop is None:
            return None
        names = ("batches_of_epoch", "_batches_of_epoch_")
        free_name = next(name for name in names if name not in self._names)
        if names_in(*counted_range(loop.iter) or ()) & self._changed_in_epoch():
            raise self._refusal(loop.lineno, "number_of_batches_changes")
        return batches_of(loop.target, loop.iter, free_name)

    def _changed_in_epoch(self) -> set[str]:
        """The names that the epoch itself, its phases or its report give another value."""
        code = self._code
        statements = [*code.report, *(s for _, of in code.phases for s in of)]
        own = names_in(code.loop.target) if code.loop else set()
        return own.union(*map(stored_in, statements))

    def _phase_code(self, batches: Batches | None, watched: Watched) -> dict[str, str]:
        """The code of each phase, in the order in which they run."""
        found: dict[str, list[str]] = {}
        for phase, statements in self._code.phases:
            found.setdefault(phase.name, []).extend(self._texts(statements))
        first = next(iter(found))
        found[first] = [*self._head(batches), *found[first]]
        if self._loop.loss != "loss":
            found[LOSS].append(f"loss = {self._loop.loss}")
        if watched.gradients and GRADIENT in found:
            found[GRADIENT] += watched.gradients
        elif watched.gradients:
            self._check_is_before_update(watched.gradients)
            at = list(found).index(UPDATE) if UPDATE in found else len(found)
            pairs = list(found.items())
            found = dict([*pairs[:at], (GRADIENT, [*watched.gradients]), *pairs[at:]])
        return {name: self._with_lesson_rate("\n".join(texts)) for name, texts in found.items()}

    def _check_is_before_update(self, gradients: Sequence[str]) -> None:
        """Refuse a gradient that only the update itself can compute."""
        updates = [s for phase, of in self._code.phases if phase.name == UPDATE for s in of]
        made = {name for statement in updates for name in stored_in(statement)}
        made -= set(self._loop.parameters)
        for gradient in gradients:
            if names_read(gradient) & made:
                name = gradient.partition(" = ")[0]
                raise self._refusal(self._loop.line, "gradient_in_update", name=name)

    def _head(self, batches: Batches | None) -> list[str]:
        """The beginning of the first phase: the loops' own code between two passes."""
        once = self._texts(self._code.before_batches)
        if counter := self._epoch_counter():
            once.insert(0, counter[1])
        if batches is None:
            return once
        once += batches.before
        guarded = [f"if batch == 0:\n{indented(chr(10).join(once))}"] if once else []
        return [*guarded, *batches.each]

    def _epoch_counter(self) -> tuple[str, str] | None:
        """The lines that set and advance the epoch's number; None if the loop does not read it."""
        loop = self._code.loop
        assert loop is not None
        in_loop = [*self._code.before_batches, *self._code.report]
        in_loop += [s for _, statements in self._code.phases for s in statements]
        read = names_in(*in_loop)
        if read.isdisjoint(names_in(loop.target)):
            return None
        numbers = _range_of(loop.iter)
        if not isinstance(loop.target, ast.Name) or numbers is None:
            target = ast.unparse(loop.target)
            raise self._refusal(loop.lineno, "reads_loop_variable", target=target)
        start, step = numbers
        name = loop.target.id
        return f"{name} = {start - step}  # counts the epochs", f"{name} += {step}"

    def _setup_code(self, others: Sequence[str], watched: Watched) -> str:
        """Setup without the statements that only the script needs."""
        kept = [s for s in self._code.setup if not self._is_left_out(s)]
        imports = [s for s in kept if isinstance(s, ast.Import | ast.ImportFrom)]
        rest = self._texts([s for s in kept if s not in imports])
        if counter := self._epoch_counter():
            rest.append(counter[0])
        rest += watched.aliases
        read = {name for code in [*rest, *others] for name in names_read(code)}
        used = [s for s in imports if not read.isdisjoint(dict(imported_by(s)))]
        rest = [self._with_lesson_rate(code) for code in rest]
        blocks = ["\n".join(self._texts(used))] if used else []
        return "\n".join([*blocks, *_spaced(rest)])

    def _is_left_out(self, statement: ast.stmt | str) -> bool:
        """Whether it is the docstring, or gives the learning rate its number."""
        if isinstance(statement, str):
            statement = ast.parse(statement).body[0]
        match statement:
            case ast.Expr(value=ast.Constant()):
                return True
            case ast.ImportFrom(module="__future__"):
                return True
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant()):
                return name == self._rate_name
        return False

    @property
    def _rate_name(self) -> str:
        """The script's name for the learning rate, if it has one number; else ""."""
        names = [name for name in self._loop.rates if name.isidentifier()]
        is_taken = _RATE in self._names and _RATE not in names
        return names[0] if self._rate and len(names) == 1 and not is_taken else ""

    def _with_lesson_rate(self, code: str) -> str:
        """The code with the lesson's learning rate, which the learner can change."""
        if not self._rate:
            return code
        if self._rate_name:
            code = renamed(code, {self._rate_name: _RATE})
        if _RATE in self._names:
            return code
        tree = ast.parse(code)
        calls = (n for n in ast.walk(tree) if isinstance(n, ast.Call))
        made = [c for c in calls if self._facts.dotted(c.func).startswith("torch.optim.")]
        rates = [rate for call in made if (rate := rate_argument(call)) is not None]
        return with_expressions(code, tree, dict.fromkeys(rates, _RATE))

    # ── Text ────────────────────────────────────────────────────────────────────────

    def _front_matter(self, slug: str, watched: Watched, batches: Batches | None) -> str:
        mode, title = self._loop.mode, slug.replace("-", " ")
        lines = [
            "---",
            "# The menu shows title and summary. Lines that begin with # are notes to you alone.",
            f"title: {_quoted(title[0].upper() + title[1:])}",
            f"summary: {_quoted('Made from ' + self._source.path.name + '.')}",
            "# Its place in the list: lessons with a smaller order come first.",
            "order: 1000",
            f"modes: [{mode}]",
            f"parameters: [{', '.join(watched.names)}]",
            f"learning_rate: {self._rate or USUAL_RATE!r}",
            f"epochs: {self._loop.epochs}",
        ]
        if batches:
            lines.append(f"batches: {self._found_in_run().batches}")
        if self._accumulates_gradients():
            lines += ["# The gradient is the sum of several batches.", f"own_gradient: [{mode}]"]
        return "\n".join([*lines, "---"])

    def _accumulates_gradients(self) -> bool:
        """Whether some batches end without an update, so that gradients add up."""
        updates = [s for phase, of in self._code.phases if phase.name == UPDATE for s in of]
        return any(isinstance(statement, ast.If) for statement in updates[:1])

    def _formulas(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        formulas = formulas_of(self._source.text, self._loop, self._rate_name)
        for phase, said in formulas.items():
            latex = [block.latex for block in said if isinstance(block, DisplayFormula)]
            kept = [text for text in latex if not _MOVED.fullmatch(text)]
            found.setdefault(phase.name, []).extend(kept)
        return found


def _used(code: StraightCode) -> list[ast.stmt | str]:
    """The statements of Setup without functions and classes that only the script's rest uses."""
    phases = [s for _, of in code.phases for s in of]
    loops = [n for n in (code.loop, code.batch_loop) if n is not None]
    heads = [part for loop in loops for part in (loop.iter, loop.target)]
    read = names_in(*heads, *code.before_batches, *phases, *code.report)
    kept: list[ast.stmt | str] = []
    for statement in reversed(code.setup):
        if not isinstance(statement, DEFINITIONS) or statement.name in read:
            kept.insert(0, statement)
            read |= names_in(ast.parse(statement) if isinstance(statement, str) else statement)
    return kept


def _range_of(iterable: ast.expr) -> tuple[int, int] | None:
    """The first number and the step of `range(…)`, with a progress bar around it or not."""
    match counted_range(iterable):
        case [_]:
            return 0, 1
        case [ast.Constant(value=int() as start), _]:
            return start, 1
        case [ast.Constant(value=int() as start), _, ast.Constant(value=int() as step)]:
            return start, step
    return None


def _section(name: str, formulas: Sequence[str], code: str, prose: str) -> str:
    ticks = "```"
    while ticks in code:
        ticks += "`"
    shown = "".join(f"$${latex}$$\n\n" for latex in formulas)
    return f"## {name}\n{prose}\n\n{shown}{ticks}python\n{code.strip(chr(10))}\n{ticks}\n"


def _spaced(texts: Sequence[str]) -> Iterator[str]:
    """The texts with a blank line around each function and class."""
    was_block = False
    for text in texts:
        is_block = bool(re.search(r"^(@|def |class |async def )", text, re.MULTILINE))
        yield f"\n{text}" if is_block or was_block else text
        was_block = is_block


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
