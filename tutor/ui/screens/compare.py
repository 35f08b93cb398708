"""The compare screen: the gradients of all modes at the same parameters, during a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget

from tutor.digits import BRIEF_DIGITS, COMPARISON_DIGITS
from tutor.plain import one_line
from tutor.protocol.frame import NONE, Value
from tutor.protocol.inspections import FINITE_DIFFERENCE, ModeComparison, ParameterComparison
from tutor.session.run_view import RunView
from tutor.ui.bars import ErrorBar, Footer, Header, StatusBar
from tutor.ui.commands import LESSON_COMMANDS, AppCommand, bindings
from tutor.ui.lines import CHANGED, DIM, ERROR, HEADING, PLAIN, STRONG, LinesPane, Piece, line
from tutor.ui.screens.base import SessionScreen
from tutor.wording import number_format
from tutor.wording.layout import GAP, aligned, first_fitting
from tutor.wording.remarks import comparison_result, diagnosis, gradient_standing, remarks_text

INDENT = "  "
SEPARATOR = line((" · ", DIM))
WRONG, RIGHT = "✗ ", "✓ "


class ComparisonPane(LinesPane):
    """A block for each parameter: how its gradients agree, and a table with a row for each mode."""

    drawn_from = attrgetter("inspections.comparison", "epoch")

    def build(self, width: int) -> Sequence[Content]:
        """The heading and a block for each parameter; or that the comparison is being computed."""
        view = self.view
        comparison = view.inspections.comparison if view else None
        if view is None or comparison is None:
            return [line(("comparing …", DIM))]
        lines = [part for words in _heading(comparison, view) for part in words.wrap(width)]
        for compared in comparison.parameters:
            lines += [line(), *_block(compared, width)]
        return lines


# ── The heading ─────────────────────────────────────────────────────────────────────


def _heading(comparison: ModeComparison, view: RunView) -> Iterator[Content]:
    """The heading: the compared position, the mode that trains, and the result."""
    batches = view.frame.batches if view.frame else 1
    where = f"Epoch {comparison.epoch}"
    if batches > 1:
        where += f", batch {comparison.batch + 1} of {batches}"
    if not 0 <= comparison.epoch - view.epoch <= 1:
        where += f" (the run is at epoch {view.epoch})"
    elif comparison.epoch > view.epoch:
        where += ", which comes next"
    pieces: list[Piece] = [(where, STRONG)]
    if comparison.parameters:
        words, is_right = comparison_result(comparison.parameters)
        mark, style = (RIGHT, STRONG) if is_right else (WRONG, ERROR)
        pieces += [" · ", (f"{mark}{words}", style)]
    yield line(*pieces, f" · the run follows the gradient of {one_line(comparison.leader)}")
    if comparison.remarks:
        yield line(remarks_text(comparison.remarks, "; "))


# ── One parameter ───────────────────────────────────────────────────────────────────


def _block(compared: ParameterComparison, width: int) -> Iterator[Content]:
    """The parameter with the diagnosis and the largest difference, then a row for each mode."""
    mark, style = (RIGHT, STRONG) if compared.agrees else (WRONG, ERROR)
    lead = line((f"{one_line(compared.parameter)}{GAP}", HEADING))
    room = max(10, width - lead.cell_length)
    said = line((f"{mark}{diagnosis(compared)}", style)).wrap(room)
    if compared.largest > 0:
        figure = number_format.number(compared.largest, BRIEF_DIGITS)
        largest = line((f"largest difference {figure}", DIM))
        if said[-1].cell_length + SEPARATOR.cell_length + largest.cell_length <= room:
            said[-1] += SEPARATOR + largest
        elif not compared.agrees:
            said.append(largest)
    for part in said:
        yield lead + part
        lead = line(" " * lead.cell_length)
    yield from _table(compared, width)


@dataclass(frozen=True, slots=True)
class _Row:
    """One mode's gradient of one parameter, and how it stands to the right one."""

    label: str
    value: Value
    apart: frozenset[int]
    """The elements that are wrong by more than rounding."""
    word: str


def _rows(compared: ParameterComparison) -> list[_Row]:
    return [
        _Row(
            "finite difference" if mode == FINITE_DIFFERENCE else one_line(mode),
            value,
            frozenset(compared.apart.get(mode, ()) if value.data else ()),
            _word(compared, mode),
        )
        for mode, value in compared.gradients.items()
    ]


def _word(compared: ParameterComparison, mode: str) -> str:
    """The verdict on a gradient; or the reason why there are no numbers."""
    value = compared.gradients[mode]
    return one_line(value.text) if value.dtype == "text" else gradient_standing(compared, mode)


# ── The table ───────────────────────────────────────────────────────────────────────


def _table(compared: ParameterComparison, width: int) -> Iterator[Content]:
    rows = _rows(compared)
    shape = max((row.value.shape for row in rows), key=math.prod, default=())
    labels = max(len(row.label) for row in rows)
    words = max(len(row.word) for row in rows)
    room = width - len(INDENT) - labels - (words + len(GAP) if words else 0)
    shown = _fitting(rows, shape, room, is_complex=compared.is_complex)
    heads = ["", *(column.head for column in shown), ""]
    texts = [[row.label, *(c.cells[at] for c in shown), row.word] for at, row in enumerate(rows)]
    head, *cells = aligned([heads, *texts], to_the_right=range(1, len(heads) - 1))
    if any(heads):
        yield line((INDENT + GAP.join(head).rstrip(), DIM))
    for at, (label, *numbers, word) in enumerate(cells):
        pieces: list[Piece] = [INDENT + label]
        for column, text in zip(shown, numbers, strict=True):
            style = CHANGED if column.index in rows[at].apart else PLAIN
            number = column.cells[at].rstrip()
            start = len(text) - len(column.cells[at])
            pieces += [GAP + text[:start], (number, style), text[start + len(number) :]]
        yield line(*pieces, f"{GAP}{word}").rstrip()
    left_out = math.prod(shape) - len(shown)
    if left_out > 0:
        yield line((f"{INDENT}{_left_out(rows, shown, left_out)}", DIM))


@dataclass(frozen=True, slots=True)
class _Column:
    """One element of the gradient, mode by mode, decimal points below each other."""

    index: int
    head: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(len(self.head), *map(len, self.cells))


def _fitting(
    rows: Sequence[_Row], shape: tuple[int, ...], room: int, *, is_complex: bool
) -> list[_Column]:
    """All elements in as many digits as fit; else those that differ before the first ones."""
    count = max(1, *(len(row.value.data) for row in rows))

    def columns_of(digits: int) -> list[_Column]:
        heads = [_index(i, shape, is_complex=is_complex) for i in range(count)]
        return [_column(rows, i, head, digits) for i, head in enumerate(heads)]

    columns = first_fitting(
        map(columns_of, COMPARISON_DIGITS),
        lambda found: sum(c.width + len(GAP) for c in found),
        room,
    )
    apart = _all_apart(rows)
    chosen: list[_Column] = []
    for column in sorted(columns, key=lambda c: (c.index not in apart, c.index)):
        room -= column.width + len(GAP)
        if room < 0 and chosen:
            break
        chosen.append(column)
    return sorted(chosen, key=lambda c: c.index)


def _column(rows: Sequence[_Row], index: int, head: str, digits: int) -> _Column:
    cells = number_format.align_points([_number(row.value, index, digits) for row in rows])
    if index in _all_apart(rows):
        signs = [WRONG if index in row.apart else " " * len(WRONG) for row in rows]
        cells = [sign + text for sign, text in zip(signs, cells, strict=True)]
    return _Column(index, head, tuple(cells))


def _number(value: Value, index: int, digits: int) -> str:
    if not value.data:
        return number_format.value_text(value) if index == 0 and value == NONE else ""
    return number_format.number(value.data[index], digits) if index < len(value.data) else ""


def _index(flat: int, shape: tuple[int, ...], *, is_complex: bool) -> str:
    """`[1, 0]`, the place of an element in the array; `[1] imag` of a complex one."""
    if math.prod(shape) <= 1:
        return ""
    if is_complex:
        flat, part = divmod(flat, 2)
        return f"{_index(flat, shape[:-1], is_complex=False)} {('real', 'imag')[part]}".lstrip()
    return f"{number_format.index_of(flat, shape)}"


def _all_apart(rows: Sequence[_Row]) -> frozenset[int]:
    return frozenset[int]().union(*(row.apart for row in rows))


def _left_out(rows: Sequence[_Row], columns: Sequence[_Column], left_out: int) -> str:
    """The number of elements that have no room, and how many of them differ."""
    apart = _all_apart(rows) - {c.index for c in columns}
    more = f", {len(apart)} of which differ" if apart else ""
    return f"… {left_out} more elements{more}"


SHARED = (
    "step_phase", "step_epoch", "back_phase", "back_epoch", "toggle_run", "restart", "next_mode",
    "previous_mode", "next_device", "lower_learning_rate", "raise_learning_rate",
    "ask_learning_rate", "value", "jump", "palette", "help", "quit",
)  # fmt: skip
"""The lesson screen's commands that work here, too, by the same keys."""

COMPARE_COMMANDS = (
    *(command for command in LESSON_COMMANDS if command.name in SHARED),
    AppCommand("stop", ("x", "ctrl+c"), "stop", "Stop what is running",
            "screen.session('stop')", 16, priority=True),
    AppCommand("close", ("c", "escape"), "lesson", "Back to the lesson", "app.back", 4),
)  # fmt: skip


class CompareScreen(SessionScreen):
    """The screen with the gradients of all modes, between the same bars as the lesson's."""

    ALL_COMMANDS = COMPARE_COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(COMPARE_COMMANDS)]
    AUTO_FOCUS = "#agreement"

    def parts(self) -> Iterable[Widget]:
        """Header, the one pane, status and footer; all bind to this screen's attributes."""
        view = CompareScreen.view
        yield Header(id="header", host=self.session.host).data_bind(view)
        yield ErrorBar(id="error").data_bind(view, CompareScreen.attempt)
        with Container(id="panes"):
            pane = ComparisonPane(id="agreement").data_bind(view)
            pane.tabs = (("Every mode's gradient at the same parameters", True),)
            yield pane
        status = StatusBar(id="status")
        yield status.data_bind(view, CompareScreen.notice, CompareScreen.waiting)
        yield Footer(COMPARE_COMMANDS, id="footer")

    def on_mount(self) -> None:
        """Start comparing the modes."""
        self.session.inspect(compare=True)

    def on_unmount(self) -> None:
        """Stop comparing the modes, because it costs time."""
        self.session.inspect(compare=False)
