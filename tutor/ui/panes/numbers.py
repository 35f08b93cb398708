"""The numbers pane: each watched value now, before, and by how much it has moved.

Beside them, as they were at this place of another run, if one is looked at. A network with many
parameters has one line for each, with mean and norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from textual.content import Content

from tutor.digits import ARRAY_DIGITS, EXACT_DIGITS, SCALAR_DIGITS, SUMMARY_DIGITS
from tutor.plain import one_line
from tutor.protocol.frame import Frame, RankFigures, Value
from tutor.protocol.inspections import OtherRunState
from tutor.session.run_view import RunView
from tutor.ui.lines import DIM, DONE_MARK, ERROR, GUTTER, NO_MARK, STRONG, LinesPane, Piece, line
from tutor.wording import number_format
from tutor.wording.remarks import remark_text

GAP = 2
THEN = "then →"
"""The heading of another run's figures."""
RUN_NAME = 10
"""Cells that another run's name may take in the heading of its column."""

BEFORE_SYNCHRONIZE = "  before sync"
"""The label of a gradient as a rank had it before Synchronize."""

CellLines = tuple[str, ...]
"""The lines of one cell of the table, all equally wide."""


class NumberRow(msgspec.Struct, frozen=True):
    """One row: a name, its value now and before, in another run, and on other ranks."""

    name: str
    now: Value
    was: Value | None
    then: Value | None = None
    ranks: tuple[tuple[Value | None, Value | None], ...] = ()
    """The value now and the value before, on each rank from 1 on."""

    @property
    def has_changed(self) -> bool:
        """Whether the last step has changed the value, on any rank."""
        pairs = [(self.now, self.was), *self.ranks]
        return any(now and was and _differ(now, was) for now, was in pairs)

    def columns(self) -> dict[str, Value | None]:
        """Its values by the column that each stands in."""
        found = {"now": self.now, "was": self.was, "then": self.then}
        for rank, (now, was) in enumerate(self.ranks, 1):
            found |= {f"rank {rank}": now, f"was {rank}": was}
        return found


class NumbersPane(LinesPane):
    """Loss, parameters, gradients and watched expressions as a table."""

    def build(self, width: int) -> Sequence[Content]:
        """The table in as many columns as there is room for."""
        view = self.view
        if view is None or view.frame is None:
            what = "script" if view and view.lesson.script else "lesson"
            words = f"The numbers appear when the {what} has begun."
            return [line((words, DIM))]
        then, frame = view.inspections.then, view.frame
        was = earlier_heading(frame, view.before)
        table = list(rows(frame, view.before, then))
        if view.lesson.script is not None and height_of(frame) > self.room:
            lines = list(_table(table[:1], width, then, frame, was))
            lines += parameter_lines(frame, view.before, then, width)
        else:
            lines = list(_table(table, width, then, frame, was))
        if then is not None and then.remark:
            remark = line((f"{one_line(then.name)}: {remark_text(then.remark)}", DIM))
            lines = [*remark.wrap(width), *lines]
        if frame.diverged:
            lines = [*line((_not_finite(view, frame), ERROR)).wrap(width), *lines]
        return lines


def _not_finite(view: RunView, frame: Frame) -> str:
    """A message that a value is not finite, since when, and what to do."""
    names = [name for name, value in frame.values.items() if not value.is_finite]
    is_loss = view.diverged_at is not None or not frame.loss.is_finite
    what = "The loss is" if is_loss else f"{one_line(names[0]) if names else 'A parameter'} is"
    if view.was_never_finite:
        return (
            f"{what} not finite from the start: a lower learning rate does not help. "
            "Look at what Predict and Loss compute."
        )
    since = f"not finite from epoch {view.diverged_at} on"
    state = since if view.diverged_at else "no longer finite"
    if view.lesson.script is not None and not frame.learning_rate:
        return f"{what} {state}. Lower the learning rate in the script, and open it again."
    return f"{what} {state}. Lower the learning rate ([), then start again (R)."


def earlier_heading(frame: Frame, before: Frame | None) -> str:
    """The heading of the column with the earlier values.

    The values are compared with those at the position before the last command.
    """
    if before is None:
        return "was"
    now, earlier = frame.at, before.at
    if earlier.epoch == now.epoch:
        return "was" if earlier <= now else "later"
    is_end = earlier.epoch == 0 or earlier.step >= before.steps
    is_last = earlier.epoch == now.epoch - 1 and is_end and now.step <= 1
    return "was" if is_last else f"epoch {earlier.epoch}"


def rows(
    frame: Frame, before: Frame | None, then: OtherRunState | None = None
) -> Iterator[NumberRow]:
    """The rows of the table: the loss, each parameter with its gradient, watched values.

    Where the mode has changed, loss and gradient come from other code: then they are not
    compared with what they were before. Nor is the loss of Report with that of Loss.
    """
    is_comparable = before is not None and before.mode == frame.mode
    is_same_loss = before is not None and before.loss_phase == frame.loss_phase
    here, was = _figures(frame), _figures(before) if before else {}
    in_other_run = _figures(then.frame) if then and then.frame else {}
    ranks_now = [_figures(rank) for rank in frame.ranks]
    ranks_before = [_figures(rank) for rank in before.ranks] if before else []
    for key, now in here.items():
        kind, name = key
        if kind == "left over" and not any(
            _differ(of[key], of["gradient", name]) for of in (here, *ranks_now) if key in of
        ):
            continue
        label = name if kind in ("value", "watched") else _LABELS[kind]
        has_past = (
            (is_comparable and is_same_loss)
            if kind == "loss"
            else (is_comparable or kind in ("value", "watched"))
        )
        old = was.get(key) if has_past else None
        is_known = has_past and len(ranks_before) == len(ranks_now)
        known = ranks_before if is_known else [{} for _ in ranks_now]
        ranks = tuple((n.get(key), b.get(key)) for n, b in zip(ranks_now, known, strict=True))
        yield NumberRow(one_line(label), now, old, in_other_run.get(key), ranks)


Figure = tuple[Literal["loss", "value", "gradient", "before sync", "left over", "watched"], str]
"""The kind of a figure, and the name that it belongs to."""

_LABELS = {
    "loss": "loss",
    "gradient": "  gradient",
    "before sync": BEFORE_SYNCHRONIZE,
    "left over": "  left over",
}


def _figures(frame: Frame | RankFigures) -> dict[Figure, Value]:
    """All figures of a frame, or of another rank, in the order of the table."""
    found: dict[Figure, Value] = {("loss", ""): frame.loss}
    for name, value in frame.values.items():
        found["value", name] = value
        if name in frame.gradients:
            found["gradient", name] = frame.gradients[name]
            if name in frame.gradients_before_sync:
                found["before sync", name] = frame.gradients_before_sync[name]
            found["left over", name] = frame.gradients_now.get(name, frame.gradients[name])
    for label, value in frame.watched.items():
        found["watched", label] = value
    return found


def _differ(a: Value, b: Value) -> bool:
    exact = (number_format.value_lines(value, EXACT_DIGITS) for value in (a, b))
    return a != b and next(exact) != next(exact)


def _other_run_heading(then: OtherRunState | None) -> str:
    """The heading above another run's figures; empty where there are none."""
    if then is None or then.frame is None:
        return ""
    return f"{line(one_line(then.name)).truncate(RUN_NAME, ellipsis=True).plain} {THEN}"


def _table(
    table: Sequence[NumberRow], width: int, then: OtherRunState | None, frame: Frame, was: str
) -> Iterator[Content]:
    texts = _row_texts(table)
    ranks = [f"rank {r}" for r in range(1, len(table[0].ranks) + 1)]
    headings = {"now": "rank 0" if ranks else "now", "was": was, "change": "change"}
    headings |= {rank: rank for rank in ranks} | {
        rank.replace("rank", "was"): was for rank in ranks
    }
    if other_run := _other_run_heading(then):
        headings["then"] = other_run
    # Figures of a position that this run has left keep their room, so that nothing moves.
    hidden = "then" if then and then.frame and then.frame.at != frame.at else ""
    layouts = _layouts(ranks, bool(other_run))
    names = max([len(row.name) for row in texts])
    room = width - GUTTER - names
    fits = [_fitted(texts, {k: headings[k] for k in layout}, room) for layout in layouts]
    widths, fitting = max(fits, key=lambda fit: len(fit[1]))
    yield _head(names, headings, widths)
    alone = {("rank 0" if ranks else "now" if other_run else ""): "now", **{r: r for r in ranks}}
    alone |= {THEN: "then"} if other_run else {}
    for row in texts:
        if row in fitting:
            yield from _lines(row, names, widths, hidden)
        else:
            yield from _alone(row, names, width, alone, hidden)


def _layouts(ranks: Sequence[str], has_other_run: bool) -> Sequence[tuple[str, ...]]:
    """The columns: all, or fewer if more rows find room in them then; one for each rank."""
    if ranks and has_other_run:
        return (("then", "now", *ranks),)
    if ranks:
        with_was = [column for rank in ranks for column in (rank, rank.replace("rank", "was"))]
        return ("now", "was", *with_was), ("now", *ranks)
    if has_other_run:
        return ("then", "now", "was", "change"), ("then", "now", "change"), ("then", "now")
    return ("now", "was", "change"), ("now", "change")


class _RowTexts(msgspec.Struct, frozen=True, eq=False):
    """The texts of one row."""

    name: str
    mark: Piece
    blocks: Mapping[str, CellLines]
    widths: Mapping[str, int]
    """The cells of its widest line, by column."""

    @classmethod
    def of(cls, name: str, has_changed: bool, blocks: Mapping[str, CellLines]) -> _RowTexts:
        """A row with its mark and its widths."""
        widths = {column: max(map(len, texts), default=0) for column, texts in blocks.items()}
        return cls(name, DONE_MARK if has_changed else NO_MARK, blocks, widths)


def _row_texts(table: Sequence[NumberRow]) -> list[_RowTexts]:
    """The texts of all rows; of single numbers, the decimal points stand in one column."""
    columns = [row.columns() for row in table]
    single = [i for i, row in enumerate(table) if number_format.is_single(row.now)]
    blocks: list[dict[str, CellLines]] = [{} for _ in table]
    for column in columns[0]:
        texts = number_format.align_points([_text(columns[i][column]) for i in single])
        for i, text in zip(single, texts, strict=True):
            blocks[i][column] = (text,)
    found: list[_RowTexts] = []
    for i, (row, block) in enumerate(zip(table, blocks, strict=True)):
        if not block:
            block |= {column: _block(value) for column, value in columns[i].items()}
        block["change"] = _change(row, is_single=i in single)
        found.append(_RowTexts.of(row.name, row.has_changed, block))
    return found


def _block(value: Value | None) -> CellLines:
    return number_format.value_lines(value, ARRAY_DIGITS) if value else ()


def _text(value: Value | None) -> str:
    return "" if value is None else number_format.value_text(value, SCALAR_DIGITS)


def _fitted(
    texts: Sequence[_RowTexts], headings: Mapping[str, str], room: int
) -> tuple[dict[str, int], list[_RowTexts]]:
    """The widths of the columns, and the rows that have room in them, narrow ones first."""
    widths = {column: len(heading) for column, heading in headings.items()}
    fitting: list[_RowTexts] = []
    for row in sorted(texts, key=lambda each: sum(each.widths.values())):
        wider = {k: max(w, row.widths[k]) for k, w in widths.items()}
        if sum(wider.values()) + GAP * len(wider) <= room:
            widths = wider
            fitting.append(row)
    return widths, fitting


def _alone(
    row: _RowTexts, names: int, width: int, columns: Mapping[str, str], hidden: str
) -> Iterator[Content]:
    """A row too wide for the table: its value now, over as many lines as that takes.

    Below that, its value on the other ranks, and in the other run if one is compared with.
    `columns` has the columns by their labels; a `hidden` one keeps its room, empty.
    """
    mark, name = row.mark, row.name.ljust(names)
    label_cells = max(map(len, columns)) + GAP if len(columns) > 1 else 0
    room = max(10, width - GUTTER - names - GAP - label_cells)
    for label, column in columns.items():
        for text in row.blocks[column]:
            for part in line((text, STRONG) if column == "now" else text).wrap(room):
                head = line(mark, name, " " * GAP, (label.ljust(label_cells), DIM))
                yield head if column == hidden else head + part.rstrip()
                mark, name, label = NO_MARK, " " * names, ""


def _head(names: int, headings: Mapping[str, str], widths: Mapping[str, int]) -> Content:
    """The headings of the columns, right of the names."""
    head = "".join([" " * GAP + headings[column].ljust(w) for column, w in widths.items()])
    return line((" " * (GUTTER + names) + head, DIM))


def _lines(row: _RowTexts, names: int, widths: Mapping[str, int], hidden: str) -> Iterator[Content]:
    for i in range(max(map(len, row.blocks.values()))):
        pieces: list[Piece] = [row.mark, (row.name if i == 0 else "").ljust(names)]
        for column, width in widths.items():
            block = row.blocks[column]
            known = block[i] if i < len(block) and column != hidden else ""
            text = " " * GAP + known.ljust(width)
            is_now = column in ("now", "value") or column.startswith("rank")
            pieces.append((text, STRONG) if is_now else text)
        yield line(*pieces)


def _change(row: NumberRow, *, is_single: bool) -> CellLines:
    digits = SCALAR_DIGITS if is_single else ARRAY_DIGITS
    if row.was is not None and row.now.norm is not None and row.was.norm is not None:
        moved_by = number_format.change_text(row.now.norm, row.was.norm, SUMMARY_DIGITS)
        return ("=",) if row.now == row.was else (f"norm {moved_by}",)
    moved = number_format.change_texts(row.now, row.was, digits)
    if not any(moved):
        return ()
    if is_single:
        return moved
    if all(text == "=" for text in moved):
        return ("=",)
    known = [text or number_format.NO_CHANGE_KNOWN for text in moved]
    return tuple(number_format.boxed_rows(known, row.now.shape[-1]))


_OF_ARRAYS = {
    "shape": "shape",
    "mean": "mean",
    "value": "norm",
    "change": "change",
    "then": "norm then",
    "gradient": "grad norm",
}
"""The columns, with their headings, where each parameter has a line."""
_OF_NUMBERS = {"value": "value", "change": "change", "then": "then", "gradient": "gradient"}
"""The same where each parameter is a single number."""
_DROPPED = ("shape", "change", "mean", "then")
"""The columns that a narrow pane leaves out, the first of them first."""


def height_of(frame: Frame) -> int:
    """The lines that the numbers of a frame take where every array is written out.

    They depend on the shapes alone, so that it is the same at every step.
    """
    arrays = (*frame.values.values(), *frame.watched.values())
    lines = [1 if value.norm is not None else _rows(value) for value in arrays]
    return 2 + 2 * sum(lines[: len(frame.values)]) + sum(lines[len(frame.values) :])


def _rows(value: Value) -> int:
    return max(1, value.size // value.shape[-1]) if value.shape and value.shape[-1] else 1


def parameter_lines(
    frame: Frame, before: Frame | None, then: OtherRunState | None, width: int
) -> Iterator[Content]:
    """A heading, and a line for each parameter and watched expression."""
    are_numbers = all(
        value.size == 1 for value in (*frame.values.values(), *frame.watched.values())
    )
    headings = _OF_NUMBERS if are_numbers else _OF_ARRAYS
    headings = {c: heading for c, heading in headings.items() if c != "then" or then is not None}
    texts_of = _number_texts if are_numbers else _array_texts
    texts = _parameter_texts(frame, before, then.frame if then else None, headings, texts_of)
    names = max((len(row.name) for row in texts), default=0)
    widths = {c: max(len(h), *(row.widths[c] for row in texts)) for c, h in headings.items()}
    for column in _DROPPED:
        if sum(widths.values()) + GAP * len(widths) > width - GUTTER - names:
            widths.pop(column, None)
    yield _head(names, headings, widths).rstrip()
    for row in texts:
        for content in _lines(row, names, widths, ""):
            yield content.rstrip().truncate(width, ellipsis=True)


def _parameter_texts(
    frame: Frame,
    before: Frame | None,
    then: Frame | None,
    columns: Iterable[str],
    texts_of: Callable[[Value, Value | None, Value | None, Value | None], dict[str, str]],
) -> list[_RowTexts]:
    """The texts of all parameters; the decimal points stand in one column."""
    here, was, in_other_run = (_figures(at) if at else {} for at in (frame, before, then))
    watched = [(kind, name) for kind, name in here if kind in ("value", "watched")]
    rows = []
    for kind, name in watched:
        gradient = here.get(("gradient", name)) if kind == "value" else None
        now = here[kind, name]
        rows.append(texts_of(now, was.get((kind, name)), in_other_run.get((kind, name)), gradient))
    blocks: list[dict[str, CellLines]] = [{} for _ in rows]
    for column in columns:
        texts = [row.get(column, "") for row in rows]
        aligned = texts if column == "shape" else number_format.align_points(texts)
        for block, text in zip(blocks, aligned, strict=True):
            block[column] = (text,)
    return [
        _RowTexts.of(one_line(key[1]), key in was and was[key] != here[key], block)
        for key, block in zip(watched, blocks, strict=True)
    ]


def _number_texts(
    now: Value, was: Value | None, then: Value | None, gradient: Value | None
) -> dict[str, str]:
    """The cells of a single number: its gradient has a sign."""
    values = {"value": now, "then": then, "gradient": gradient}
    texts = {
        column: number_format.value_text(value, SUMMARY_DIGITS).strip("[]")
        for column, value in values.items()
        if value is not None
    }
    if was is not None and was != now and now.data and was.data:
        texts["change"] = number_format.change_text(now.data[0], was.data[0], SUMMARY_DIGITS)
    return texts


def _array_texts(
    now: Value, was: Value | None, then: Value | None, gradient: Value | None
) -> dict[str, str]:
    """The cells of an array: the norm of each value; one that has none in words: `None`."""
    values = {"value": now, "then": then, "gradient": gradient}
    texts = {
        column: number_format.summary(value).get("norm")
        or number_format.value_text(value, SUMMARY_DIGITS)
        for column, value in values.items()
        if value is not None
    }
    texts |= {
        "shape": "×".join(map(str, now.shape)),
        "mean": number_format.summary(now).get("mean", ""),
    }
    if was is not None and was != now:
        known = number_format.mean_and_norm(now), number_format.mean_and_norm(was)
        if known[0] and known[1]:
            texts["change"] = number_format.change_text(known[0][1], known[1][1], SUMMARY_DIGITS)
    return texts
