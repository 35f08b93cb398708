"""The plot pane: which plot it shows, what it asks for, and what it says when it has none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import get_args

import msgspec
import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.reactive import var

from tutor.lesson.model import Fence, Section
from tutor.protocol import inspections
from tutor.protocol.frame import Curve, Remark
from tutor.protocol.inspections import AnyPicture, NoPicture
from tutor.session.attempt import Attempt
from tutor.session.run_view import Inspections, RunView
from tutor.ui.panes.lines import LinesPane
from tutor.ui.panes.plot import PLOT_KINDS, PlotPane

from . import pictures
from .conftest import come_true
from .exercises import PREDICT
from .fake_engine import Simulated
from .lessons import lesson

COLUMNS = 80 - 2 - 7
ALL = len(PLOT_KINDS)


def test_every_picture_is_of_a_kind() -> None:
    assert set(inspections.PICTURES) == set(get_args(inspections.PictureKind))
    of_kinds = {type_ for types in inspections.PICTURES.values() for type_ in types}
    assert of_kinds == {*get_args(AnyPicture)} - {NoPicture}


class OnePane(App[None]):
    """Nothing but the pane, as large as beside the others at 80×24."""

    CSS = """
    PlotPane { height: 9; border-top: solid white; padding: 0 1; scrollbar-size: 0 0; }
    """
    view: var[RunView | None] = var(None)

    def __init__(self, ascii_only: bool = False) -> None:
        super().__init__()
        self.ascii_only = ascii_only
        self.wanted: list[tuple[object, object]] = []

    def compose(self) -> ComposeResult:
        yield PlotPane(id="plot", ascii_only=self.ascii_only).data_bind(OnePane.view)

    def on_lines_pane_inspects(self, message: LinesPane.Inspects) -> None:
        self.wanted.append((message.changes["columns"], message.changes["picture"]))

    @property
    def pane(self) -> PlotPane:
        return self.query_one(PlotPane)

    @property
    def text(self) -> str:
        return "\n".join(content.plain for content in self.pane.lines)


@asynccontextmanager
async def showing(app: OnePane, view: RunView | None) -> AsyncIterator[Pilot[None]]:
    async with app.run_test(size=(80, 24)) as pilot:
        app.view = view
        await settled(pilot)
        yield pilot


async def settled(pilot: Pilot[None]) -> None:
    for _ in range(3):
        await pilot.pause()


def view(
    curve: Curve | None = None, picture: AnyPicture | None = None, epoch: int = 5, **more: object
) -> RunView:
    at = replace(Simulated(), epoch=epoch, step=5 if epoch else 0)
    told: dict[str, object] = {
        "frame": at.frame(),
        "curve": curve,
        "inspections": Inspections(picture=picture),
    }
    return RunView(lesson(), "autograd", "cpu", 20, **{**told, **more})  # type: ignore[arg-type]


PICTURES: dict[str, AnyPicture] = {
    "data": pictures.data(),
    "landscape": pictures.slope(),
    "plane": pictures.plane(),
}


async def test_it_opens_with_the_loss_and_says_how_to_go_on() -> None:
    app = OnePane()
    async with showing(app, view(pictures.curve(30.0, 20.0, 1.0))):
        assert app.text.startswith(f"loss by epoch, log scale · ● epoch 3 · 1/{ALL} · v next\n")
        assert app.wanted == [(COLUMNS, None)]


async def test_a_plot_that_has_the_answer_waits_for_it() -> None:
    app = OnePane()
    attempt = Attempt(PREDICT, 1, 1, "asking", "number", PREDICT.ask, asks_what_comes=True)
    async with showing(app, view(picture=pictures.data(), epoch=0)) as pilot:
        app.pane.turn(2)
        await settled(pilot)
        assert "y_pred" in app.text
        app.pane.attempt = attempt
        await settled(pilot)
        assert "y_pred" not in app.text
        app.pane.attempt = replace(attempt, state="wrong")
        await settled(pilot)
        assert "y_pred" in app.text


async def test_until_the_first_epoch_is_over_it_says_when_there_will_be_a_plot() -> None:
    app = OnePane()
    async with showing(app, view(epoch=0)) as pilot:
        assert "plotted from the end of the first epoch" in app.text
        app.view = view(epoch=1)
        await settled(pilot)
        assert "plotted from the end of the first epoch" in app.text
        app.view = view(epoch=1, furthest=3)
        await settled(pilot)
        assert "computing …" in app.text
        app.view = None
        await settled(pilot)
        assert "plotted from the end of the first epoch" in app.text


async def test_turning_goes_through_all_kinds_and_round() -> None:
    app = OnePane()
    async with showing(app, view(pictures.curve(30.0, 20.0, 1.0))) as pilot:
        titles = []
        for _ in PLOT_KINDS:
            titles.append(app.text.partition("\n")[0])
            app.pane.turn(1)
        numbers = [title.removesuffix(f"/{ALL} · v next")[-1] for title in titles]
        assert numbers == [str(number) for number in range(1, ALL + 1)]
        assert "log scale" in titles[0]
        assert "linear scale" in titles[1]
        assert app.pane.kind == PLOT_KINDS[0]
        app.pane.turn(-1)
        assert app.pane.kind == PLOT_KINDS[-1]
        await settled(pilot)


async def test_what_can_be_seen_is_what_is_wanted() -> None:
    app = OnePane()
    async with showing(app, view(pictures.curve(30.0, 1.0))) as pilot:
        for _ in PLOT_KINDS[1:]:
            app.pane.turn(1)
            await settled(pilot)
        assert app.wanted == [(COLUMNS, None), *((0, kind) for kind in inspections.PICTURES)]
        app.pane.display = False
        await settled(pilot)
        assert app.wanted[-1] == (0, None)
        app.pane.turn(-1)
        await settled(pilot)
        assert app.wanted[-1] == (0, None)
        app.pane.display = True
        await settled(pilot)
        assert app.wanted[-1] == (0, "landscape")
        await pilot.resize_terminal(100, 30)
        app.pane.turn(1 - 3)
        await settled(pilot)
        assert app.wanted[-1] == (COLUMNS + 20, None)


async def test_the_other_scale_stays_when_the_automatic_one_changes_its_mind() -> None:
    app = OnePane()
    async with showing(app, view(pictures.curve(30.0, 20.0))) as pilot:
        app.pane.turn(1)
        assert "log scale" in app.text
        app.view = view(pictures.curve(30.0, 20.0, 0.1))
        await settled(pilot)
        assert "log scale" in app.text
        app.pane.turn(-1)
        assert "log scale" in app.text


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_each_picture_is_drawn_when_it_comes(kind: str, ascii_only: bool) -> None:
    app = OnePane(ascii_only)
    async with showing(app, view()) as pilot:
        app.pane.turn(PLOT_KINDS.index(kind))
        assert "computing …" in app.text
        app.view = view(picture=PICTURES[kind])
        await settled(pilot)
        assert "computing …" not in app.text
        assert len(app.pane.lines) == 8
        assert max(content.cell_length for content in app.pane.lines) <= 78


async def test_a_contour_is_a_landscape_too() -> None:
    app = OnePane()
    async with showing(app, view(picture=pictures.contour())):
        app.pane.turn(3)
        assert app.text.startswith(f"landscape: loss by w → and b ↑ · 4/{ALL}")


def no_picture(why: str, *, never: bool = False) -> NoPicture:
    return NoPicture(why=Remark("lesson_error", {"error": why}), never=never)


async def test_a_plot_that_does_not_apply_says_why_in_words_that_are_data() -> None:
    app = OnePane()
    async with showing(app, view()) as pilot:
        app.pane.turn(4)
        why = "The model has [bold]one[/bold] input,\x1b[31m and a plane needs two of them"
        app.view = view(
            picture=NoPicture(
                why=Remark("lesson_error", {"error": f"{why}, as in the lesson on XOR."})
            )
        )
        await settled(pilot)
        words = app.text.replace("\n", " ")
        assert "Nothing to draw here: The model" in words
        assert "[bold]one[/bold] input,^[[31m and a plane needs two of them" in words
        assert max(content.cell_length for content in app.pane.lines) <= 78


async def test_why_there_is_no_picture_is_not_told_of_another_kind() -> None:
    app = OnePane()
    async with showing(app, view()) as pilot:
        app.pane.turn(2)
        app.view = view(picture=no_picture("There are no data."))
        await settled(pilot)
        assert "There are no data." in app.text
        app.pane.turn(1)
        assert "There are no data." not in app.text
        assert "computing …" in app.text


async def test_a_kind_that_this_lesson_never_has_is_passed_over_either_way() -> None:
    app = OnePane()
    async with showing(app, view(pictures.curve(30.0, 1.0))) as pilot:
        app.pane.turn(1)
        app.pane.turn(1)
        app.view = view(picture=no_picture("two inputs", never=True))
        await settled(pilot)
        assert app.pane.kind == "landscape"
        assert app.wanted[-1] == (0, "landscape")
        assert app.text.startswith(f"landscape of the loss · 3/{ALL - 1}")
        app.pane.turn(-1)
        assert app.pane.kind == "loss, the other scale"
        app.pane.turn(1)
        app.pane.turn(-1)
        app.pane.turn(-1)
        app.pane.turn(-1)
        assert app.pane.kind == "plane"
        app.view = view(picture=no_picture("one input", never=True))
        await settled(pilot)
        assert app.pane.kind == "landscape"


async def test_in_another_mode_all_kinds_are_looked_for_again() -> None:
    app = OnePane()
    async with showing(app, view()) as pilot:
        app.pane.turn(-1)
        app.view = view(picture=no_picture("one input", never=True))
        await settled(pilot)
        assert app.text.split("\n")[0].endswith(f"{ALL - 1}/{ALL - 1} · v next")
        app.view = replace(view(), mode="manual")
        await settled(pilot)
        app.pane.turn(1)
        assert app.pane.kind == "plane"


async def test_the_loss_of_the_line_that_is_drawn_stands_beside_the_data() -> None:
    app = OnePane()
    picture = msgspec.structs.replace(pictures.data(), loss=11.314)
    async with showing(app, view(picture=picture)):
        app.pane.turn(2)
        assert "loss 11.314" in app.text


async def test_a_moment_in_which_the_plot_is_the_same_is_not_drawn_again() -> None:
    app = OnePane()
    curve = pictures.curve(3.0, 2.0)
    async with showing(app, view(curve)) as pilot:
        builds = 0
        build = app.pane.build

        def counted(width: int) -> object:
            nonlocal builds
            builds += 1
            return build(width)

        app.pane.build = counted  # type: ignore[method-assign, assignment]
        app.view = view(pictures.curve(3.0, 2.0), picture=pictures.data())
        await settled(pilot)
        assert builds == 0
        app.view = view(pictures.curve(3.0, 2.0, 1.5))
        await settled(pilot)
        assert builds == 1


async def test_a_new_ghost_is_drawn_at_once() -> None:
    app = OnePane()
    curve = pictures.curve(3.0, 2.0, 1.0)
    async with showing(app, view(curve)) as pilot:
        assert "A = manual" not in app.text
        app.view = view(curve, runs=pictures.GHOSTS[:2])
        await settled(pilot)
        assert "A = manual lr 0.01" in app.text


async def test_the_plot_is_drawn_even_if_its_paint_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen that closes may take with it what waited for its paint: then nothing froze."""
    app = OnePane()
    async with showing(app, view(pictures.curve(30.0, 20.0, 1.0))):
        monkeypatch.setattr(app.pane, "call_after_refresh", lambda *_: True)
        app.view = view(pictures.curve(30.0, 20.0, 1.0, 0.5))
        await come_true(lambda: "epoch 4" in app.text)
        app.view = view(pictures.curve(30.0, 20.0, 1.0, 0.5, 0.1))
        await come_true(lambda: "epoch 5" in app.text)


@pytest.mark.parametrize(
    ("batches", "report", "is_of_a_batch"),
    [(1, "", False), (4, "", True), (4, "print(loss)", True), (4, "loss = total / 4", False)],
)
async def test_it_says_where_an_epochs_loss_is_only_that_of_its_last_batch(
    batches: int, report: str, is_of_a_batch: bool
) -> None:
    """Not where a Report computes the loss of the whole epoch, as in the lesson on XOR."""
    now = view(pictures.curve(30.0, 20.0, 1.0))
    assert now.frame is not None
    end = [Section("Report", 999, "Report", (Fence(report, 1000),))] if report else []
    long = msgspec.structs.replace(now.lesson, sections=(*now.lesson.sections, *end))
    several = msgspec.structs.replace(now.frame, batches=batches)
    app = OnePane()
    async with showing(app, replace(now, lesson=long, frame=several)):
        assert ("last batch's loss" in app.text) == is_of_a_batch
        assert "epoch 3" in app.text
