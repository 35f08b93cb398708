"""The plot pane: which plot it shows, what it asks for, and what it says when it has none."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from tutor.lesson.model import Fence, ScriptOptions, Section
from tutor.protocol import inspections
from tutor.protocol.frame import Change, Curve, Position, Remark
from tutor.protocol.inspections import NoPlot, PlotData
from tutor.session.attempt import Attempt, Wants
from tutor.session.run_view import Inspections, RunView
from tutor.ui.lines import LinesPane
from tutor.ui.panes.plot import PLOT_KINDS, PlotPane

from . import plots
from .conftest import come_true
from .exercises import PREDICT
from .fake_engine import Simulated
from .lessons import lesson
from .panes import OnePane, running

COLUMNS = 80 - 2 - 7
ALL = len(PLOT_KINDS)


class PlotApp(OnePane):
    """Nothing but the pane, as large as beside the others at 80×24."""

    CSS = """
    PlotPane { height: 9; border-top: solid white; padding: 0 1; scrollbar-size: 0 0; }
    """

    def __init__(self, first: RunView, ascii_only: bool) -> None:
        self.plot = PlotPane(id="plot", ascii_only=ascii_only)
        super().__init__(self.plot, first)
        self.wanted: list[tuple[object, object]] = []

    def on_lines_pane_inspects(self, message: LinesPane.Inspects) -> None:
        self.wanted.append((message.changes["columns"], message.changes["plot"]))

    async def turn(self, *by: int) -> None:
        for turns in by:
            self.plot.turn(turns)
        await self.settle()

    async def show(self, view: RunView | None) -> None:
        self.view = view
        await self.settle()

    async def settle(self) -> None:
        for _ in range(3):
            await self.pilot.pause()


@asynccontextmanager
async def showing(first: RunView, ascii_only: bool = False) -> AsyncIterator[PlotApp]:
    async with running(PlotApp(first, ascii_only), size=(80, 24)) as app:
        await app.settle()
        yield app


def view(
    curve: Curve | None = None, plot: PlotData | None = None, epoch: int = 5, **more: object
) -> RunView:
    at = replace(Simulated(), epoch=epoch, step=5 if epoch else 0)
    told: dict[str, object] = {
        "frame": at.frame(),
        "curve": curve,
        "inspections": Inspections(plot=plot),
    }
    return RunView(lesson(), "autograd", "cpu", 20, **{**told, **more})  # type: ignore[arg-type]


PLOT_DATA: dict[str, PlotData] = {
    "data": plots.data(),
    "landscape": plots.slope(),
    "plane": plots.plane(),
    "gradient-norm": plots.gradient_norm(30.0, 20.0, 12.0),
}


async def test_a_plot_that_has_the_answer_waits_for_it() -> None:
    attempt = Attempt(PREDICT, 1, 1, "asking", Wants.NUMBER, PREDICT.ask, asks_what_comes=True)
    async with showing(view(plot=plots.data(), epoch=0)) as app:
        await app.turn(2)
        assert "y_pred" in app.text
        app.plot.attempt = attempt
        await app.settle()
        assert "y_pred" not in app.text
        app.plot.attempt = replace(attempt, state="wrong")
        await app.settle()
        assert "y_pred" in app.text


async def test_until_the_first_epoch_is_over_it_says_when_there_will_be_a_plot() -> None:
    async with showing(view(epoch=0)) as app:
        assert "plotted from the end of the first epoch" in app.text
        await app.show(view(epoch=1))
        assert "plotted from the end of the first epoch" in app.text
        await app.show(view(epoch=1, last_epoch=3))
        assert "computing …" in app.text
        await app.show(None)
        assert "plotted from the end of the first epoch" in app.text


async def test_turning_goes_through_all_kinds_and_round() -> None:
    async with showing(view(plots.curve(30.0, 20.0, 1.0))) as app:
        titles, kinds = [], []
        for _ in PLOT_KINDS:
            kinds.append(app.plot.kind)
            titles.append(app.text.partition("\n")[0])
            app.plot.turn(1)
        assert kinds == [*PLOT_KINDS]
        assert all(title.endswith(" · v next") for title in titles)
        assert "log scale" in titles[0]
        assert "linear scale" in titles[1]
        assert app.plot.kind == PLOT_KINDS[0]
        app.plot.turn(-1)
        assert app.plot.kind == PLOT_KINDS[-1]
        await app.settle()


async def test_what_can_be_seen_is_what_is_wanted() -> None:
    async with showing(view(plots.curve(30.0, 1.0))) as app:
        assert app.text.startswith("loss by epoch, log scale · ● epoch 2 · v next\n")
        for _ in PLOT_KINDS[1:]:
            await app.turn(1)
        assert app.wanted == [(COLUMNS, None), *((0, kind) for kind in inspections.PLOT_DATA_KINDS)]
        app.pane.display = False
        await app.settle()
        assert app.wanted[-1] == (0, None)
        await app.turn(-1)
        assert app.wanted[-1] == (0, None)
        app.pane.display = True
        await app.settle()
        assert app.wanted[-1] == (0, PLOT_KINDS[-2])
        await app.pilot.resize_terminal(100, 30)
        await app.turn(1 - (ALL - 2))
        assert app.wanted[-1] == (COLUMNS + 20, None)


async def test_the_other_scale_stays_when_the_automatic_one_changes_its_mind() -> None:
    async with showing(view(plots.curve(30.0, 20.0))) as app:
        app.plot.turn(1)
        assert "log scale" in app.text
        await app.show(view(plots.curve(30.0, 20.0, 0.1)))
        assert "log scale" in app.text
        app.plot.turn(-1)
        assert "log scale" in app.text


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_each_plot_is_drawn_when_it_comes(ascii_only: bool) -> None:
    async with showing(view(), ascii_only) as app:
        for kind, plot in PLOT_DATA.items():
            await app.turn(PLOT_KINDS.index(kind) - PLOT_KINDS.index(app.plot.kind))
            assert "computing …" in app.text
            await app.show(view(plot=plot))
            assert "computing …" not in app.text
            assert len(app.pane.lines) == 8
            assert max(content.cell_length for content in app.pane.lines) <= 78


async def test_a_contour_is_a_landscape_too() -> None:
    async with showing(view(plot=plots.contour())) as app:
        app.plot.turn(3)
        assert app.text.startswith("landscape: loss by w → and b ↑ · v next")
        app.plot.turn(-1)
        await app.show(view(plot=replace(plots.data(), loss=11.314)))
        assert "loss 11.314" in app.text, "that of the line that is drawn stands beside the data"


def no_plot(why: str, *, never: bool = False) -> NoPlot:
    return NoPlot(why=Remark("text", {"text": why}), never=never)


async def test_a_plot_that_does_not_apply_says_why_in_words_that_are_data() -> None:
    async with showing(view()) as app:
        app.plot.turn(4)
        why = "The model has [bold]one[/bold] input,\x1b[31m and a plane needs two of them"
        await app.show(view(plot=no_plot(f"{why}, as in the lesson on XOR.")))
        words = app.text.replace("\n", " ")
        assert "Nothing to draw here: The model" in words
        assert "[bold]one[/bold] input,^[[31m and a plane needs two of them" in words
        assert max(content.cell_length for content in app.pane.lines) <= 78
        app.plot.turn(1)
        assert "Nothing to draw here" not in app.text, "that was of another kind"


async def test_a_kind_that_this_lesson_never_has_is_passed_over_either_way() -> None:
    async with showing(view(plots.curve(30.0, 1.0))) as app:
        app.plot.turn(1)
        app.plot.turn(1)
        await app.show(view(plot=no_plot("two inputs", never=True)))
        assert app.plot.kind == "landscape"
        assert app.wanted[-1] == (0, "landscape")
        assert app.text.startswith("landscape of the loss · v next")
        app.plot.turn(-1)
        assert app.plot.kind == "loss, the other scale"
        app.plot.turn(1)
        app.plot.turn(-1)
        app.plot.turn(-1)
        app.plot.turn(-1)
        app.plot.turn(-1)
        assert app.plot.kind == "plane"
        await app.show(view(plot=no_plot("one input", never=True)))
        assert app.plot.kind == "landscape"


async def test_in_another_mode_all_kinds_are_looked_for_again() -> None:
    async with showing(view()) as app:
        app.plot.turn(-1)
        await app.show(view(plot=no_plot("one input", never=True)))
        assert app.plot.kind == PLOT_KINDS[-2]
        await app.show(replace(view(), mode="manual"))
        app.plot.turn(1)
        assert app.plot.kind == PLOT_KINDS[-1]


async def test_a_moment_in_which_the_plot_is_the_same_is_not_drawn_again() -> None:
    curve = plots.curve(3.0, 2.0)
    async with showing(view(curve)) as app:
        builds = 0
        build = app.pane.build

        def counted(width: int) -> object:
            nonlocal builds
            builds += 1
            return build(width)

        app.pane.build = counted  # type: ignore[method-assign, assignment]
        await app.show(view(plots.curve(3.0, 2.0), plot=plots.data()))
        assert builds == 0
        await app.show(view(plots.curve(3.0, 2.0, 1.5)))
        assert builds == 1
        assert "A = manual" not in app.text
        await app.show(view(plots.curve(3.0, 2.0, 1.5), runs=plots.GHOSTS[:2]))
        assert "A = manual lr 0.01" in app.text, "a new ghost"


async def test_the_plot_is_drawn_even_if_its_paint_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen that closes may take with it what waited for its paint: then nothing froze."""
    async with showing(view(plots.curve(30.0, 20.0, 1.0))) as app:
        monkeypatch.setattr(app.pane, "call_after_refresh", lambda *_: True)
        app.view = view(plots.curve(30.0, 20.0, 1.0, 0.5))
        await come_true(lambda: "epoch 4" in app.text)
        app.view = view(plots.curve(30.0, 20.0, 1.0, 0.5, 0.1))
        await come_true(lambda: "epoch 5" in app.text)


async def test_it_says_where_an_epochs_loss_is_only_that_of_its_last_batch() -> None:
    """Not where a Report computes the loss of the whole epoch, as in the lesson on XOR."""
    now = view(plots.curve(30.0, 20.0, 1.0))
    assert now.frame is not None
    for batches, report, is_of_a_batch in (
        (1, "", False), (4, "", True), (4, "print(loss)", True), (4, "loss = total / 4", False)
    ):  # fmt: skip
        end = [Section("Report", 999, "Report", (Fence(report, 1000),))] if report else []
        long = replace(now.lesson, sections=(*now.lesson.sections, *end))
        several = replace(now.frame, batches=batches)
        async with showing(replace(now, lesson=long, frame=several)) as app:
            assert ("last batch's loss" in app.text) == is_of_a_batch
            assert "epoch 3" in app.text
    script = replace(now.lesson, script=ScriptOptions(is_sum_of_batches=True))
    several = replace(now.frame, batches=4)
    async with showing(replace(now, lesson=script, frame=several)) as app:
        assert "loss by epoch" in app.text


async def test_the_gradient_norm_has_the_marks_of_changes_and_a_scale_of_its_own() -> None:
    plot = plots.gradient_norm(1000.0, 20.0, 0.5, here=2)
    change = Change(Position(2, 4), learning_rate=0.02)
    async with showing(view(plot=plot)) as app:
        await app.turn(PLOT_KINDS.index("gradient-norm"))
        assert app.text.startswith("gradient norm by epoch, log scale · ● epoch 2 ·")
        assert "lr 0.02" not in app.text
        await app.show(view(plot=plot, changes=(change,)))
        assert "lr 0.02" in app.text
        few = plots.gradient_norm(math.nan, math.nan)
        await app.show(view(plot=few))
        assert "No finite norm so far." in app.text
        some = replace(plot, norms=(30.0, 20.0, 12.0))
        now = view(plot=some)
        assert now.frame is not None
        await app.show(replace(now, frame=replace(now.frame, batches=3)))
        assert app.text.startswith("last batch's gradient norm, linear scale")
