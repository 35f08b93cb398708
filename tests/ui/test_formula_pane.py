"""The formula pane: what has just run, and which digits it has changed."""

from dataclasses import replace

import msgspec
import pytest
from textual.content import Content

from tutor.lesson.model import DisplayFormula, Lesson, Prose, Section
from tutor.protocol.frame import NO_VALUE, Frame
from tutor.session.attempt import Attempt
from tutor.session.run_view import RunView
from tutor.ui import text_styles
from tutor.ui.panes.formula import FormulaPane

from .conftest import come_true
from .exercises import PREDICT
from .fake_engine import scalar
from .lessons import lesson
from .panes import OnePane, frame, view

SIZE = (78, 60)


def row(app: OnePane, beginning: str) -> Content:
    return next(c for c in app.pane.lines if c.plain.strip("┃ ").startswith(beginning))


def changed(content: Content) -> list[str]:
    return [content.plain[s.start : s.end] for s in content.spans if s.style == text_styles.CHANGED]


def with_loss(at: Frame, loss: float | None) -> Frame:
    value = NO_VALUE if loss is None else scalar(loss)
    return msgspec.structs.replace(at, boxed={"Loss": {"loss": value}})


def app_at(now: Frame, before: Frame | None = None, ascii_only: bool = False) -> OnePane:
    return OnePane(FormulaPane(id="formula", ascii_only=ascii_only), view(now, before))


async def test_the_formulas_of_the_last_step_bear_its_mark_and_prose_does_not() -> None:
    app = app_at(frame(1, 1), frame(0, 0))
    async with app.run_test(size=SIZE):
        marked = [c.plain.rstrip() for c in app.pane.lines if c.plain.startswith("┃")]
        assert marked == ["┃ Predict", "┃   ŷᵢ = w xᵢ", "┃   ŷ₄ = 0 · 4"]
        assert row(app, "▶ Loss")


async def test_only_the_digits_that_differ_are_marked() -> None:
    before, now = with_loss(frame(1, 2), 21.675), with_loss(frame(2, 2), 21.683)
    app = app_at(now, before)
    async with app.run_test(size=SIZE):
        assert changed(next(c for c in app.pane.lines if "21.683" in c.plain)) == ["83"]


async def test_a_box_that_was_empty_in_between_is_compared_with_what_it_held() -> None:
    first, empty, now = (with_loss(frame(1, 2), x) for x in (21.675, None, 21.683))
    app = app_at(first)
    async with app.run_test(size=SIZE) as pilot:
        app.view = view(empty, first)
        await pilot.pause()
        assert "□" in app.text
        app.view = view(now, empty)
        await pilot.pause()
        assert changed(next(c for c in app.pane.lines if "21.683" in c.plain)) == ["83"]


async def test_a_value_that_comes_for_the_first_time_is_marked_as_a_whole() -> None:
    app = app_at(with_loss(frame(1, 2), 21.675), with_loss(frame(1, 1), None))
    async with app.run_test(size=SIZE):
        assert changed(next(c for c in app.pane.lines if "21.675" in c.plain)) == ["21.675"]


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_a_picture_that_is_used_again_is_that_of_the_new_numbers(ascii_only: bool) -> None:
    """The layout is kept where only digits differ: nothing else may come from the old numbers."""
    exponent = DisplayFormula(r"2^{\boxed{a}} + \boxed{loss} - \frac{\boxed{loss}}{\boxed{a}}", 18)
    exponent = msgspec.structs.replace(exponent, boxed=("a", "loss", "loss", "a"))
    plain = lesson()
    powers = msgspec.structs.replace(
        plain,
        sections=tuple(
            msgspec.structs.replace(s, blocks=(*s.blocks, exponent)) if s.phase == "Loss" else s
            for s in plain.sections
        ),
    )

    def at(loss: float, a: float) -> RunView:
        boxed = {"Loss": {"loss": scalar(loss), "a": scalar(a)}}
        here = msgspec.structs.replace(frame(1, 2), boxed=boxed)
        return replace(view(here), lesson=powers)

    def pane() -> FormulaPane:
        return FormulaPane(id="formula", ascii_only=ascii_only)

    stepped = OnePane(pane(), at(0.125, 2))
    async with stepped.run_test(size=SIZE) as pilot:
        for loss, a in ((0.125, 2), (0.875, 3), (-0.5, -4), (-0.75, -7), (1e-9, 30), (3e-7, 41)):
            stepped.view = at(loss, a)
            await pilot.pause()
            fresh = OnePane(pane(), at(loss, a))
            async with fresh.run_test(size=SIZE) as other:
                await other.pause()
                assert fresh.text == stepped.text, (loss, a)
            assert "\n" in stepped.text


async def test_a_question_about_the_first_phase_of_a_later_epoch_has_that_phase_in_view() -> None:
    """Not the end of the epoch before, which is what the run has just done."""
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view(frame(0, 0), None))
    async with app.run_test(size=(78, 9)) as pilot:
        assert isinstance(app.pane, FormulaPane)
        app.pane.attempt = Attempt(
            PREDICT, 1, 1, "asking", "number", PREDICT.ask, asks_what_comes=True
        )
        app.view = replace(view(frame(2, 5), frame(2, 4)), lesson=told(2))
        await come_true(lambda: app.pane.lines)
        await pilot.pause()
        assert app.screen_rows[0].strip().startswith("▶ Predict")


async def test_in_ascii_the_changed_digits_are_the_same_ones() -> None:
    before, now = with_loss(frame(1, 2), -1.5), with_loss(frame(1, 2), -1.25)
    app = app_at(now, before, ascii_only=True)
    async with app.run_test(size=SIZE):
        assert changed(next(c for c in app.pane.lines if "-1.25" in c.plain)) == ["2500"]


async def test_what_comes_next_is_shown_with_its_whole_formula_if_there_is_room() -> None:
    app = app_at(frame(1, 1), frame(0, 0))
    async with app.run_test(size=(78, 8)):
        assert any(row.strip().endswith("N i=1") for row in app.screen_rows)
        assert any("▶ Loss" in row for row in app.screen_rows)
        assert any("ŷ₄ = 0 · 4" in row for row in app.screen_rows), "what has run is there too"


WORDS = Prose("A long explanation of what was seen here, and of why it is so. " * 6, 1)


def told(words: int) -> Lesson:
    """The lesson with explanations after each phase's formula, and sections that close it."""
    plain = lesson()
    sections = tuple(
        msgspec.structs.replace(s, blocks=(*s.blocks, *[WORDS] * words)) if s.phase else s
        for s in plain.sections
    )
    end = Section("What to remember", 999, None, (WORDS,))
    return msgspec.structs.replace(plain, sections=(*sections, end))


def results(pane: FormulaPane) -> list[str]:
    """The phases whose live formulas are all in view, whole."""
    first, height = pane.scroll_offset.y, pane.scrollable_content_region.height
    return [p for (p, _), (a, b) in pane._results.items() if first <= a and b < first + height]


@pytest.mark.parametrize("words", [0, 1, 2])
@pytest.mark.parametrize("rows", [11, 13, 18])
async def test_what_has_just_run_stays_in_view_while_stepping(words: int, rows: int) -> None:
    """Its result is the point of the step; what is next stands below it if there is room."""
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view(frame(0, 0), None))
    long = told(words)
    async with app.run_test(size=(78, rows)) as pilot:
        for step in (1, 2, 6, 7):
            at, before = frame(1 + step // 6, step % 6 or 1), frame(1, 1)
            app.view = replace(view(at, before), lesson=long)
            await pilot.pause()
            assert isinstance(app.pane, FormulaPane)
            if at.phase in {phase for phase, _ in app.pane._results}:
                assert at.phase in results(app.pane)
            if words == 0:
                assert any(f"▶ {at.next_phase}" in row for row in app.screen_rows)


async def test_a_phase_longer_than_the_pane_is_shown_from_its_heading() -> None:
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view(frame(0, 0), None))
    async with app.run_test(size=(78, 14)) as pilot:
        for step, phase in ((1, "Predict"), (2, "Loss")):
            app.view = replace(view(frame(1, step), frame(1, step - 1)), lesson=told(3))
            await come_true(lambda: app.pane.lines)
            await pilot.pause()
            assert app.screen_rows[0].strip().startswith(f"┃ {phase}")
            assert isinstance(app.pane, FormulaPane)
            assert phase in results(app.pane)


async def test_what_was_asked_for_is_in_view_once_it_is_answered() -> None:
    """The number itself, however much is said before it."""
    plain = lesson()
    long = msgspec.structs.replace(
        plain,
        sections=tuple(
            msgspec.structs.replace(s, blocks=(*[WORDS] * 9, *s.blocks, WORDS)) if s.phase else s
            for s in plain.sections
        ),
    )
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view(frame(0, 0), None))
    async with app.run_test(size=(78, 9)) as pilot:
        assert isinstance(app.pane, FormulaPane)
        app.pane.attempt = Attempt(
            PREDICT, 1, 1, "done", "number", PREDICT.ask, asks_what_comes=True
        )
        app.view = replace(view(frame(1, 2), frame(1, 1)), lesson=long)
        await pilot.pause()
        assert "Loss" in results(app.pane)


def has_closed(app: OnePane) -> bool:
    return any("What to remember" in row for row in app.screen_rows)


async def test_the_sections_behind_the_last_phase_are_shown_at_the_end() -> None:
    """Whether the run came there by steps, by epochs or by running; back goes back."""
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view(frame(0, 0), None))
    long = told(2)
    epochs = long.epochs["autograd"]
    async with app.run_test(size=(78, 12)) as pilot:
        for before in (frame(epochs, 4), frame(epochs - 1, 5), frame(epochs, 5)):
            app.view = replace(view(frame(epochs, 4), None), lesson=long)
            await pilot.pause()
            assert not has_closed(app)
            for last in (epochs, epochs + 7):
                app.view = replace(view(frame(last, 5), before), lesson=long)
                await pilot.pause()
                assert "What to remember" in app.screen_rows[0]
        app.view = replace(view(frame(epochs, 4), frame(epochs, 5)), lesson=long)
        await pilot.pause()
        assert not has_closed(app)


async def test_the_sections_behind_the_last_phase_come_by_stepping_on() -> None:
    """Below what has run; not in the first epoch, whose exercises they would answer."""
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view(frame(0, 0), None))
    long = told(0)
    async with app.run_test(size=(78, 12)) as pilot:
        app.view = replace(view(frame(1, 5), frame(1, 4)), lesson=long)
        await pilot.pause()
        first_top = app.pane.scroll_offset.y
        app.view = replace(view(frame(2, 5), frame(2, 4)), lesson=long)
        await pilot.pause()
        assert has_closed(app)
        assert any(row.strip().startswith("┃ Reset") for row in app.screen_rows)
        assert app.pane.scroll_offset.y >= first_top


@pytest.mark.parametrize("rows", [11, 18])
@pytest.mark.parametrize(("count", "words"), [(3, 2), (9, 1), (30, 0)])
async def test_of_several_formulas_all_that_find_room_are_in_view(
    count: int, words: int, rows: int
) -> None:
    """In a long phase, also in the last one before the loop begins again: from the first on."""
    plain = lesson()
    many = tuple(DisplayFormula(rf"a_{{{n}}} = \boxed{{w}}", 18, ("w",)) for n in range(count))
    long = msgspec.structs.replace(
        plain,
        sections=tuple(
            msgspec.structs.replace(s, blocks=(*[WORDS] * 2, *many, *[WORDS] * words))
            if s.phase in ("Predict", "Update")
            else s
            for s in plain.sections
            if s.phase != "Reset"
        ),
    )
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view(frame(0, 0), None))
    async with app.run_test(size=(78, rows)) as pilot:
        for step in (1, 5):
            app.view = replace(view(frame(1, step), frame(1, step - 1)), lesson=long)
            await pilot.pause()
            seen = [row.strip() for row in app.screen_rows if row.strip().startswith("┃   a")]
            ends = [row.plain.strip() for row in app.pane.lines if row.plain.startswith("┃   a")]
            assert seen == ends[: app.pane.scrollable_content_region.height]


async def test_after_the_lessons_epochs_each_further_one_shows_the_next_closing_section() -> None:
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view(frame(0, 0), None))
    one = told(2)
    last = Section("Further", 1099, None, (WORDS,) * 4)
    long = msgspec.structs.replace(one, sections=(*one.sections, last))
    epochs = long.epochs["autograd"]
    async with app.run_test(size=(78, 12)) as pilot:
        for further, heading in enumerate(("What to remember", "Further", "Further")):
            at = frame(epochs + further, 5)
            app.view = replace(view(at, frame(epochs + further - 1, 5)), lesson=long)
            await pilot.pause()
            shown = [row.strip() for row in app.screen_rows]
            assert any(row.startswith(heading) for row in shown[:12]), shown
            assert (heading in shown[0]) or further


async def test_before_the_first_frame_the_text_in_view_is_built_first() -> None:
    pane = FormulaPane(id="formula", ascii_only=False)
    app = OnePane(pane, replace(view(frame(0, 0)), frame=None, lesson=told(9)))
    built: list[int] = []
    show = pane.show_lines
    pane.show_lines = lambda lines: (built.append(len(lines)), show(lines))[1]  # type: ignore[method-assign]
    async with app.run_test(size=(60, 9)) as pilot:
        await pilot.pause()
        assert 8 <= min(built) < max(built) == len(pane.lines)
        assert "What to remember" in app.text
