"""The graph pane: what is known of backward is shown, and what does not fit is folded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar, Literal

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input

from tutor.protocol.frame import NO_VALUE, NONE, Remark, Value
from tutor.protocol.inspections import AutogradGraph, GraphNode, LocalGradientQuestion
from tutor.session.attempt import Attempt, Wants
from tutor.session.run_view import Inspections, RunView
from tutor.ui.lines import ACTIVE, LinesPane
from tutor.ui.panes.graph import GraphPane
from tutor.ui.panes.graph_rows import backward, laid_out, tree
from tutor.ui.themes import to_ascii

from .conftest import SMALL
from .exercises import AUTOGRAD, PREDICT
from .fake_engine import Simulated, scalar
from .lessons import lesson


def array(*numbers: float, shape: tuple[int, ...] = ()) -> Value:
    return Value(numbers, shape or (len(numbers),), "float32")


def node(id: int, op: str, says: str, *inputs: int, name: str = "", value: Value = NO_VALUE,
         gradient: Value = NO_VALUE, old: Value | None = None,
         new: Value | None = None, order: int | None = None) -> GraphNode:  # fmt: skip
    return GraphNode(
        id=id,
        op=op,
        says=says,
        name=name,
        inputs=inputs,
        value=value,
        gradient=gradient,
        order=id if order is None else order,
        old=old,
        new=new,
    )


def line_graph(old: Value = NONE, new: float = -30.0) -> AutogradGraph:
    """Of `loss = ((w * x - y) ** 2).mean()`, at w = 0."""
    return AutogradGraph(
        nodes=(
            node(0, "MeanBackward0", "mean(…)", 1, name="loss", value=scalar(30.0),
                 gradient=scalar(1.0)),
            node(1, "PowBackward0", "(…) ** 2", 2, value=array(4, 16, 36, 64),
                 gradient=array(0.25, 0.25, 0.25, 0.25)),
            node(2, "SubBackward0", "y_pred - y", 3, value=array(-2, -4, -6, -8),
                 gradient=array(-1, -2, -3, -4)),
            node(3, "MulBackward0", "w * x", 4, name="y_pred", value=array(0, 0, 0, 0),
                 gradient=array(-1, -2, -3, -4)),
            node(4, "AccumulateGrad", "", name="w", value=scalar(0.0), gradient=scalar(-30.0),
                 old=old, new=scalar(new)),
        )
    )  # fmt: skip


def leaf(id: int, name: str, value: Value, gradient: Value) -> GraphNode:
    return node(id, "AccumulateGrad", "", name=name, value=value, gradient=gradient, old=NONE,
                new=gradient)  # fmt: skip


def xor_graph() -> AutogradGraph:
    """Of a network of two layers: deeper than a small pane is high."""
    one = array(0.4875)
    return AutogradGraph(
        nodes=(
            node(0, "PowBackward0", "(…) ** 2", 1, name="loss", value=array(0.2377),
                 gradient=array(1.0)),
            node(1, "SubBackward0", "o2 - y[batch]", 2, value=one, gradient=array(0.975)),
            node(2, "SigmoidBackward0", "sigmoid(z2)", 3, name="o2", value=one,
                 gradient=array(0.975)),
            node(3, "AddBackward0", "o1 @ w2 + b2", 4, 10, name="z2", value=array(-0.05),
                 gradient=array(0.2436)),
            node(4, "SqueezeBackward4", "o1 @ w2", 5, 9, value=array(-0.05),
                 gradient=array(0.2436)),
            node(5, "ReluBackward0", "relu(z1)", 6, name="o1", value=array(0.2, 0.0),
                 gradient=array(0.02436, -0.09744)),
            node(6, "AddBackward0", "x[batch] @ w1 + b1", 7, 8, name="z1", value=array(0.2, -0.2),
                 gradient=array(0.02436, 0.0)),
            leaf(7, "w1", array(0.1, 0.3, 0.2, 0.1, shape=(2, 2)), array(0, 0, 0, 0, shape=(2, 2))),
            leaf(8, "b1", array(0.2, -0.2), array(0.02436, 0.0)),
            leaf(9, "w2", array(0.1, -0.4, shape=(2, 1)), array(0.04872, 0.0, shape=(2, 1))),
            leaf(10, "b2", array(0.0), array(0.2436)),
        )
    )  # fmt: skip


def view(graph: AutogradGraph | None, step: int = 2, operations: int = 0) -> RunView:
    """After `step` of the five phases: Predict, Loss, Gradient, Update, Reset."""
    frame = Simulated(epoch=1, step=step).frame()
    inspections = Inspections(graph=graph)
    return RunView(
        lesson(), "autograd", "cpu", 20, frame=frame, inspections=inspections, operations=operations
    )


class GraphApp(App[None]):
    CSS_PATH: ClassVar = "../../tutor/ui/tutor.tcss"
    pilot: Pilot[None]

    def __init__(self, shown: RunView | None, height: int) -> None:
        super().__init__()
        self.pane = GraphPane(id="graph")
        self.pane.styles.height = height
        self.pane.view = shown
        self.looked: list[bool] = []

    def compose(self) -> ComposeResult:
        yield self.pane
        yield Input()

    def on_lines_pane_inspects(self, message: LinesPane.Inspects) -> None:
        self.looked.append(bool(message.changes["graph"]))

    @property
    def lines(self) -> list[str]:
        return [content.plain for content in self.pane.lines]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def seen(self) -> list[str]:
        """What can be seen, row by row."""
        rows = range(self.pane.scrollable_content_region.height)
        return ["".join(s.text for s in self.pane.render_line(y)).rstrip() for y in rows]

    @property
    def chosen(self) -> list[str]:
        """The chosen row, if one is."""
        return [
            content.plain
            for content in self.pane.lines
            if ACTIVE in [span.style for span in content.spans]
        ]

    async def show(self, view: RunView, attempt: Attempt | None = None) -> None:
        self.pane.view, self.pane.attempt = view, attempt
        await self.pilot.pause()


@asynccontextmanager
async def showing(
    at: RunView, height: int = 8, size: tuple[int, int] = SMALL
) -> AsyncIterator[GraphApp]:
    """The app with a pane of this height, its border included."""
    app = GraphApp(at, height)
    async with app.run_test(size=size) as app.pilot:
        yield app


def drawn_lines(at: RunView, width: int) -> list[str]:
    """The whole graph, unfolded, for so many columns."""
    graph = at.inspections.graph
    assert graph is not None
    assert at.frame is not None
    so_far = backward(at.lesson, at.frame, at.operations, graph, None)
    table = laid_out(tree(graph), graph, so_far, width)
    return [content.plain for content in table.lines(chosen=-1)]


# ── What is computed ────────────────────────────────────────────────────────────────


def test_the_tree_goes_from_the_loss_down_to_the_leaf_in_the_lessons_names() -> None:
    lines = drawn_lines(view(line_graph()), 120)
    names = ["loss = mean(…)", "(…) ** 2", "y_pred - y", "y_pred = w * x", "w"]
    assert [name in row for name, row in zip(names, lines[1:], strict=True)] == [True] * 5
    indents = [len(row) - len(row.lstrip(" ▶└─")) for row in lines[1:]]
    assert indents == sorted(set(indents))
    assert "PowBackward0" in lines[2]
    assert "[4] 4 16 36 64" in lines[2]


def test_on_a_narrow_pane_the_operations_names_go_first_and_the_numbers_then() -> None:
    at = view(xor_graph(), step=3)
    by_width = {width: "\n".join(drawn_lines(at, width)) for width in range(22, 170, 4)}
    with_ops = {width for width, found in by_width.items() if "SigmoidBackward0" in found}
    with_digits = {width for width, found in by_width.items() if "0.48750" in found}
    assert with_ops
    assert with_digits
    assert max(set(by_width) - with_ops) >= min(with_digits) > 58
    assert "o2 = sigmoid(z2)" in by_width[58]
    assert "None, now [0.049 …]" in by_width[58]


@pytest.mark.parametrize("width", [10, 20, 38, 58, 78, 118])
@pytest.mark.parametrize("operations", [0, 3, 11])
def test_no_line_is_wider_than_the_pane(width: int, operations: int) -> None:
    lines = drawn_lines(view(xor_graph(), 2, operations), width)
    assert max(map(cell_len, lines)) <= width


def test_all_of_it_can_be_read_in_ascii() -> None:
    found = to_ascii("\n".join(drawn_lines(view(xor_graph(), 2, 8), 78)))
    assert found.isascii()
    assert "?" not in found
    marked = [row for row in found.splitlines() if row.startswith(("> ", "| "))]
    assert len(marked) == 2


def test_what_a_lesson_names_is_no_escape_sequence() -> None:
    graph = AutogradGraph(nodes=(node(0, "Op\x1b[31m", "f(\x1b]0;x)", name="a\nb"),))
    found = "\n".join(drawn_lines(view(graph), 78)[1:])
    assert found.isprintable()


def test_what_is_used_twice_is_told_of_once() -> None:
    twice = node(0, "MulBackward0", "w * w", 1, 2), node(1, "ExpBackward0", "exp(w)", 2)
    graph = AutogradGraph(nodes=(*twice, leaf(2, "w", scalar(1.0), scalar(5.0))))
    lines = drawn_lines(view(graph, 3), 78)
    assert sum("(see above)" in row for row in lines) == 1
    assert sum("None, so 5 is stored" in row for row in lines) == 1


# ── How far backward has come ───────────────────────────────────────────────────────


def gradients(at: RunView) -> list[str]:
    """What stands in the last column, row by row, of the graph of the line."""
    lines = drawn_lines(at, 118)
    column = lines[0].index("gradient")
    return [row[column:].strip() for row in lines[1:]]


ALL = ["1", "[4] 0.25000 0.25000 0.25000 0.25000", "[4] −1 −2 −3 −4", "[4] −1 −2 −3 −4"]


def test_before_the_gradient_phase_there_is_none_but_what_a_leaf_had() -> None:
    assert gradients(view(line_graph(), step=1)) == ["", "", "", "", "w.grad: None"]
    assert gradients(view(line_graph(), step=2))[:4] == [""] * 4


@pytest.mark.parametrize("operations", range(6))
def test_they_come_one_operation_at_a_time(operations: int) -> None:
    at = view(line_graph(), step=2, operations=operations)
    last = "w.grad: None, so −30 is stored" if operations == 5 else "w.grad: None"
    assert gradients(at) == [*ALL[:operations], *[""] * (4 - operations), last]
    lines = drawn_lines(at, 118)
    assert f"({operations} of 5)" in lines[0]
    assert ("i: next operation" in lines[0]) == (operations < 5)
    assert [row.startswith("▶") for row in lines[1:]] == [i == operations for i in range(5)]
    assert [row.startswith("┃") for row in lines[1:]] == [i == operations - 1 for i in range(5)]


ASKED: tuple[tuple[Literal["local", "total"], int, int], ...] = (
    ("local", 0, 1), ("local", 2, 3), ("total", 3, 3), ("total", 4, 4)
)  # fmt: skip
"""What is asked, of which operation, and how many gradients have been found."""


async def test_while_an_exercise_asks_its_operation_is_marked_and_what_was_found_is_there() -> None:
    at = view(line_graph(), step=2)
    async with showing(at, 20, size=(118, 24)) as app:
        for asks, order, found in ASKED:
            step = LocalGradientQuestion(
                asks=asks, output="", input="w", values={}, expected=1.0, order=order
            )
            attempt = Attempt(AUTOGRAD, 1, 1, "asking", Wants.NUMBER, "How fast?", asked_of=step)
            attempt = replace(attempt, asks_what_comes=True)
            await app.show(at, attempt)
            heading, *rows = app.lines[:6]
            assert [row.startswith("▶") for row in rows] == [i == order for i in range(5)]
            there = [row[heading.index("gradient") :].strip() for row in rows]
            assert there == [*ALL[:found], *[""] * (4 - found), "w.grad: None"]
            await app.show(at, replace(attempt, state="done"))
            assert "▶ is asked" not in app.lines[0]


async def test_while_the_forward_pass_is_asked_for_the_operations_have_no_values() -> None:
    attempt = Attempt(PREDICT, 1, 1, "asking", Wants.NUMBER, PREDICT.ask, asks_what_comes=True)
    before, after = view(line_graph(), step=0), view(line_graph(), step=2)
    async with showing(before, 20, size=(118, 24)) as app:
        for at, asked, values in (
            (before, attempt, [False] * 4 + [True]),
            (before, replace(attempt, state="done"), [True] * 5),
            (after, attempt, [True] * 5),  # the gradient is asked for
        ):
            await app.show(at, asked)
            heading, *rows = app.lines[:6]
            start, end = heading.index("value"), heading.index("gradient")
            assert [bool(row[start:end].strip()) for row in rows] == values


@pytest.mark.parametrize("step", [3, 4, 5])
def test_after_the_gradient_phase_all_are_there(step: int) -> None:
    at = view(line_graph(), step)
    assert gradients(at) == [*ALL, "w.grad: None, so −30 is stored"]
    assert not any(row.startswith(("▶", "┃")) for row in drawn_lines(at, 118))


def test_a_leaf_adds_what_arrives_to_what_it_had() -> None:
    at = view(line_graph(old=scalar(-25.5), new=-55.5), step=3)
    assert gradients(at)[-1] == "w.grad: −25.500 + (−30) = −55.500"
    zero = view(line_graph(old=scalar(0.0), new=-30.0), step=3)
    assert gradients(zero)[-1] == "w.grad: 0 + (−30) = −30", "which is not None"


def test_where_backward_never_comes_there_is_no_gradient() -> None:
    nodes = line_graph().nodes
    cut = [replace(n, order=-1) if n.id == 2 else n for n in nodes]
    assert gradients(view(AutogradGraph(nodes=tuple(cut)), step=3))[2] == ""


# ── The pane ────────────────────────────────────────────────────────────────────────


async def test_why_there_is_no_graph_is_said() -> None:
    async with showing(view(AutogradGraph(remarks=(Remark("by_hand"),)))) as app:
        assert "A gradient by hand has no graph" in " ".join(app.seen)
        await app.show(view(None))
        assert "reading the graph" in " ".join(app.seen)


async def test_a_graph_that_does_not_fit_is_folded_and_says_what_it_hides() -> None:
    """Enter unfolds the chosen line and folds it again."""
    async with showing(view(xor_graph(), step=3), height=14) as app:
        assert "relu" in "\n".join(app.seen)
    async with showing(view(xor_graph(), step=3)) as app:
        app.pane.action_choose(4)
        folded = app.seen
        assert len([row for row in folded if row]) == 7
        assert "… 5 operations to w2, w1, b1" in folded[-2]
        assert "enter unfolds" in folded[0]
        assert "relu" not in "\n".join(folded)
        await app.pilot.press("enter")
        assert "relu(z1)" in app.seen[-1]
        assert "enter unfolds" not in app.seen[0]
        assert "b1" in app.text
        await app.pilot.press("enter")
        assert app.seen == folded


async def test_the_chosen_line_is_in_view_and_so_is_the_heading() -> None:
    async with showing(view(xor_graph(), step=3)) as app:
        app.pane.action_choose(4)
        await app.pilot.press("enter")
        app.pane.action_choose(99)
        assert "backward has run" in app.seen[0]
        assert "b2" in app.seen[-1]
        await app.pilot.press("up")
        assert "w2" in app.seen[-2]
        app.pane.action_choose(-8)
        assert "backward has run" in app.seen[0]
        assert "o2 - y[batch]" in app.seen[1]


async def test_from_see_above_enter_goes_there() -> None:
    twice = node(0, "MulBackward0", "w * w", 1, 2), node(1, "ExpBackward0", "exp(w)", 2)
    graph = AutogradGraph(nodes=(*twice, leaf(2, "w", scalar(1.0), scalar(5.0))))
    async with showing(view(graph, 3)) as app:
        await app.pilot.press("down", "down", "down", "enter")
        assert app.chosen == [app.lines[3]]


async def test_another_step_of_the_same_graph_leaves_the_learners_folds_alone() -> None:
    async with showing(view(line_graph(), step=3)) as app:
        await app.pilot.press("down", "down", "enter")
        assert "2 operations to w" in app.text
        await app.show(view(line_graph(old=scalar(1.0), new=-29.0), step=4))
        assert "2 operations to w" in app.text


async def test_it_says_when_it_comes_into_view_and_when_it_goes() -> None:
    """A line is chosen only while keys come here."""
    async with showing(view(line_graph())) as app:
        assert app.chosen
        app.query_one(Input).focus()
        await app.pilot.pause()
        assert not app.chosen
        app.pane.display = False
        await app.pilot.pause()
        app.pane.display = True
        await app.show(view(line_graph(), step=2, operations=1))
        assert app.looked == [True, False, True]
        assert "(1 of 5)" in app.text


async def test_the_operation_that_comes_next_is_in_view() -> None:
    async with showing(view(xor_graph(), 2, 0)) as app:
        for operations in (*range(12), 0, 11):
            await app.show(view(xor_graph(), 2, operations))
            mark = "▶" if operations < 11 else "┃"
            assert app.chosen[0].startswith(mark)
            assert f"({operations} of 11)" in app.seen[0]
            assert any(row.startswith(mark) for row in app.seen)


async def test_what_backward_never_reaches_stays_folded() -> None:
    nodes = (replace(n, order=-1) if n.id == 8 else n for n in xor_graph().nodes)
    async with showing(view(AutogradGraph(nodes=tuple(nodes)), step=3)) as app:
        assert "… 5 operations" in "\n".join(app.seen)
