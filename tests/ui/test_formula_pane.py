"""The formula pane: what has just run, and which digits it has changed."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import pairwise

import pytest
from msgspec.structs import replace
from textual.content import Content

from tutor.lesson.model import Block, DisplayFormula, Lesson, Prose, Section
from tutor.protocol.frame import NO_VALUE, Frame
from tutor.session.attempt import Attempt, Wants
from tutor.session.run_view import RunView
from tutor.ui.lines import CHANGED
from tutor.ui.panes.formula import FormulaPane

from .exercises import PREDICT
from .fake_engine import scalar
from .lessons import lesson
from .panes import OnePane, frame, running, view

SIZE = (78, 60)


class FormulaApp(OnePane):
    def __init__(self, first: RunView, ascii_only: bool = False) -> None:
        self.formula = FormulaPane(id="formula", ascii_only=ascii_only)
        super().__init__(self.formula, first)

    @property
    def results(self) -> list[str]:
        """The phases whose live formulas are all in view, whole."""
        first, height = self.pane.scroll_offset.y, self.pane.scrollable_content_region.height
        found = self.formula._results.items()
        return [p for (p, _), (a, b) in found if first <= a and b < first + height]

    @property
    def has_closed(self) -> bool:
        return any("What to remember" in row for row in self.screen_rows)

    async def step(self, lesson: Lesson, now: Frame, before: Frame | None = None) -> None:
        await self.show(replace(view(now, before), lesson=lesson))


def shown(
    now: Frame, before: Frame | None = None, *, size: tuple[int, int] = SIZE
) -> AbstractAsyncContextManager[FormulaApp]:
    return running(FormulaApp(view(now, before)), size=size)


def at_start(rows: int) -> AbstractAsyncContextManager[FormulaApp]:
    """Before the first step, in a pane of which so many rows are seen, and its border."""
    return shown(frame(0, 0), size=(78, rows))


def row(app: OnePane, beginning: str) -> Content:
    return next(c for c in app.pane.lines if c.plain.strip("┃ ").startswith(beginning))


def with_loss(at: Frame, loss: float | None) -> Frame:
    value = NO_VALUE if loss is None else scalar(loss)
    return replace(at, boxed={"Loss": {"loss": value}})


def blocks_of_phases(change: Callable[[Section], tuple[Block, ...]]) -> Lesson:
    """The lesson with other blocks in its phases."""
    plain = lesson()
    sections = tuple(replace(s, blocks=change(s)) if s.phase else s for s in plain.sections)
    return replace(plain, sections=sections)


WORDS = Prose("A long explanation of what was seen here, and of why it is so. " * 6, 1)


def told(words: int) -> Lesson:
    """The lesson with explanations after each phase's formula, and sections that close it."""
    long = blocks_of_phases(lambda s: (*s.blocks, *[WORDS] * words))
    end = Section("What to remember", 999, None, (WORDS,))
    return replace(long, sections=(*long.sections, end))


# ── What it shows ───────────────────────────────────────────────────────────────────


async def test_the_formulas_of_the_last_step_bear_its_mark_and_prose_does_not() -> None:
    async with shown(frame(1, 1), frame(0, 0)) as app:
        marked = [c.plain.rstrip() for c in app.pane.lines if c.plain.startswith("┃")]
        assert marked == ["┃ Predict", "┃   ŷᵢ = w xᵢ", "┃   ŷ₄ = 0 · 4"]
        assert row(app, "▶ Loss")


@pytest.mark.parametrize(
    ("losses", "digits", "ascii_only"),
    [
        ((21.675, 21.683), "83", False),
        ((21.675, None, 21.683), "83", False),  # compared with what the box held
        ((None, 21.675), "21.675", False),  # for the first time: as a whole
        ((-1.5, -1.25), "2500", True),
    ],
)
async def test_only_the_digits_that_differ_are_marked(
    losses: tuple[float | None, ...], digits: str, ascii_only: bool
) -> None:
    frames = [with_loss(frame(1, 2), loss) for loss in losses]
    async with running(FormulaApp(view(frames[0]), ascii_only), size=SIZE) as app:
        for before, now in pairwise(frames):
            await app.show(view(now, before))
        content = next(c for c in app.pane.lines if f"{losses[-1]}" in c.plain)
        spans = [s for s in content.spans if s.style == CHANGED]
        assert [content.plain[s.start : s.end] for s in spans] == [digits]


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_a_picture_that_is_used_again_is_that_of_the_new_numbers(ascii_only: bool) -> None:
    """The layout is kept where only digits differ: nothing else may come from the old numbers."""
    exponent = DisplayFormula(r"2^{\boxed{a}} + \boxed{loss} - \frac{\boxed{loss}}{\boxed{a}}", 18)
    exponent = replace(exponent, boxed=("a", "loss", "loss", "a"))
    powers = blocks_of_phases(lambda s: (*s.blocks, *[exponent] * (s.phase == "Loss")))

    def at(loss: float, a: float) -> RunView:
        boxed = {"Loss": {"loss": scalar(loss), "a": scalar(a)}}
        here = replace(frame(1, 2), boxed=boxed)
        return replace(view(here), lesson=powers)

    async with running(FormulaApp(at(0.125, 2), ascii_only), size=SIZE) as app:
        for loss, a in ((0.125, 2), (0.875, 3), (-0.5, -4), (-0.75, -7), (1e-9, 30), (3e-7, 41)):
            await app.show(at(loss, a))
            fresh = FormulaPane(id="fresh", ascii_only=ascii_only)
            fresh.set_reactive(FormulaPane.view, at(loss, a))
            lines = fresh.build(app.pane.scrollable_content_region.width)
            assert "\n".join(content.plain for content in lines) == app.text, (loss, a)


# ── What is in view ─────────────────────────────────────────────────────────────────


async def test_what_comes_next_is_shown_with_its_whole_formula_if_there_is_room() -> None:
    async with shown(frame(1, 1), frame(0, 0), size=(78, 8)) as app:
        assert any(row.strip().endswith("N i=1") for row in app.screen_rows)
        assert any("▶ Loss" in row for row in app.screen_rows)
        assert any("ŷ₄ = 0 · 4" in row for row in app.screen_rows), "what has run is there too"


@pytest.mark.parametrize(
    ("phase", "step", "latex", "boxed", "row"),
    [
        ("Predict", 0, r"y = \boxed{y[0]} + \boxed{y_pred[0]}", ("y[0]", "y_pred[0]"), "y = 7 + □"),
        ("Predict", 0, r"p = \boxed{w * x[3]} = \boxed{w * x[3] + 0}", ("w * x[3]", "w * x[3] + 0"),
         "p = 7 = □"),
        ("Predict", 0, r"p = \boxed{w} \cdot \boxed{w * x[3]}", ("w", "w * x[3]"), "p = 7 · □"),
        ("Update", 3, r"w = \boxed{w} - \boxed{lr * dw}", ("w", "lr * dw"), "w = □ − □"),
    ],
)  # fmt: skip
async def test_only_what_is_asked_for_is_blank_in_a_formula(
    phase: str, step: int, latex: str, boxed: tuple[str, ...], row: str
) -> None:
    formula = DisplayFormula(latex, 18, boxed)
    asked = blocks_of_phases(lambda s: (formula, *s.blocks) if s.phase == phase else s.blocks)
    values = {phase: dict.fromkeys(boxed, scalar(7.0))}
    now = replace(frame(int(step > 0), step), boxed=values)
    async with shown(now) as app:
        app.formula.attempt = Attempt(
            PREDICT, 1, 1, "asking", Wants.NUMBER, PREDICT.ask, asks_what_comes=True
        )
        await app.step(asked, now)
        assert row in [content.plain.strip() for content in app.pane.lines]


async def test_a_question_about_the_first_phase_of_a_later_epoch_has_that_phase_in_view() -> None:
    """Not the end of the epoch before, which is what the run has just done."""
    async with at_start(9) as app:
        app.formula.attempt = Attempt(
            PREDICT, 1, 1, "asking", Wants.NUMBER, PREDICT.ask, asks_what_comes=True
        )
        await app.step(told(2), frame(2, 5), frame(2, 4))
        assert app.screen_rows[0].strip().startswith("▶ Predict")


@pytest.mark.parametrize("rows", [11, 13, 18])
async def test_what_has_just_run_stays_in_view_while_stepping(rows: int) -> None:
    """Its result is the point of the step; what is next stands below it if there is room."""
    async with at_start(rows) as app:
        for words in (0, 1, 2):
            long = told(words)
            for step in (1, 2, 6, 7):
                at = frame(1 + step // 6, step % 6 or 1)
                await app.step(long, at, frame(1, 1))
                if at.phase in {phase for phase, _ in app.formula._results}:
                    assert at.phase in app.results
                if words == 0:
                    assert any(f"▶ {at.next_phase}" in row for row in app.screen_rows)


async def test_a_phase_longer_than_the_pane_is_shown_from_its_heading() -> None:
    async with at_start(14) as app:
        for step, phase in ((1, "Predict"), (2, "Loss")):
            await app.step(told(3), frame(1, step), frame(1, step - 1))
            assert app.screen_rows[0].strip().startswith(f"┃ {phase}")
            assert phase in app.results


async def test_what_was_asked_for_is_in_view_once_it_is_answered() -> None:
    """The number itself, however much is said before it."""
    long = blocks_of_phases(lambda s: (*[WORDS] * 9, *s.blocks, WORDS))
    async with at_start(9) as app:
        app.formula.attempt = Attempt(
            PREDICT, 1, 1, "done", Wants.NUMBER, PREDICT.ask, asks_what_comes=True
        )
        await app.step(long, frame(1, 2), frame(1, 1))
        assert "Loss" in app.results


async def test_the_sections_behind_the_last_phase_are_shown_at_the_end() -> None:
    """Whether the run came there by steps, by epochs or by running; back goes back."""
    long = told(2)
    epochs = long.epochs["autograd"]
    async with at_start(12) as app:
        for before in (frame(epochs, 4), frame(epochs - 1, 5), frame(epochs, 5)):
            await app.step(long, frame(epochs, 4))
            assert not app.has_closed
            for last in (epochs, epochs + 7):
                await app.step(long, frame(last, 5), before)
                assert "What to remember" in app.screen_rows[0]
        await app.step(long, frame(epochs, 4), frame(epochs, 5))
        assert not app.has_closed


async def test_the_sections_behind_the_last_phase_come_by_stepping_on() -> None:
    """Below what has run; not in the first epoch, whose exercises they would answer."""
    async with at_start(12) as app:
        long = told(0)
        await app.step(long, frame(1, 5), frame(1, 4))
        first_top = app.pane.scroll_offset.y
        await app.step(long, frame(2, 5), frame(2, 4))
        assert app.has_closed
        assert any(row.strip().startswith("┃ Reset") for row in app.screen_rows)
        assert app.pane.scroll_offset.y >= first_top


async def test_after_the_lessons_epochs_each_further_one_shows_the_next_closing_section() -> None:
    one = told(2)
    last = Section("Further", 1099, None, (WORDS,) * 4)
    long = replace(one, sections=(*one.sections, last))
    epochs = long.epochs["autograd"]
    async with at_start(12) as app:
        for further, heading in enumerate(("What to remember", "Further", "Further")):
            await app.step(long, frame(epochs + further, 5), frame(epochs + further - 1, 5))
            found = [row.strip() for row in app.screen_rows]
            assert any(row.startswith(heading) for row in found[:12]), found
            assert (heading in found[0]) or further


@pytest.mark.parametrize("rows", [11, 18])
async def test_of_several_formulas_all_that_find_room_are_in_view(rows: int) -> None:
    """In a long phase, also in the last one before the loop begins again: from the first on."""
    async with at_start(rows) as app:
        for count, words in ((3, 2), (9, 1), (30, 0)):
            many = [DisplayFormula(rf"a_{{{n}}} = \boxed{{w}}", 18, ("w",)) for n in range(count)]
            blocks = (*[WORDS] * 2, *many, *[WORDS] * words)
            long = blocks_of_phases(
                lambda s, blocks=blocks: blocks if s.phase in ("Predict", "Update") else s.blocks
            )
            sections = tuple(s for s in long.sections if s.phase != "Reset")
            long = replace(long, sections=sections)
            for step in (1, 5):
                await app.step(long, frame(1, step), frame(1, step - 1))
                seen = [row.strip() for row in app.screen_rows if row.strip().startswith("┃   a")]
                ends = [r.plain.strip() for r in app.pane.lines if r.plain.startswith("┃   a")]
                assert seen == ends[: app.pane.scrollable_content_region.height]


async def test_before_the_first_frame_the_text_in_view_is_built_first() -> None:
    app = FormulaApp(replace(view(frame(0, 0)), frame=None, lesson=told(9)))
    built: list[int] = []
    show = app.pane.show_lines

    def counted(lines: Sequence[Content]) -> None:
        built.append(len(lines))
        show(lines)

    app.pane.show_lines = counted  # type: ignore[method-assign]
    async with running(app, size=(60, 9)):
        assert 8 <= min(built) < max(built) == len(app.pane.lines)
        assert "What to remember" in app.text
