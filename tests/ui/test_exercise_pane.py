"""Exercises on the lesson screen: every key that is about them, pressed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from textual.content import Content

from tutor.protocol.commands import OpenLesson, StepPhase
from tutor.protocol.events import LessonFailed
from tutor.protocol.frame import Remark, Value
from tutor.session.attempt import Attempt, Reply, Wants
from tutor.ui.exercise_lines import exercise_row, keys_line, parts
from tutor.ui.panes.exercise import BRIEF, ExercisePane
from tutor.ui.panes.formula import FormulaPane
from tutor.ui.prose import inline_formulas
from tutor.ui.screens.dialogs import Ask
from tutor.ui.screens.editor import EditorScreen

from .conftest import LARGE, SMALL, Learner, doing
from .exercises import (
    AUTOGRAD,
    CHOOSE,
    PREDICT,
    REACH,
    REPAIR,
    WORKED,
    comparison_state,
    with_exercises,
)
from .panes import OnePane, frame, running, view


@doing(PREDICT)
async def test_in_the_field_of_an_exercise_that_begins_no_letter_is_a_key(learner: Learner) -> None:
    assert learner.sees("Exercise 1 of 1 · prediction")
    assert learner.field.has_focus
    assert not learner.field.cursor_blink
    pane = learner.app.screen.query_one(ExercisePane)
    assert pane.region.bottom == learner.field.region.bottom + 1  # the keys are below it
    assert learner.sees("enter answers · esc then: h hint (2 left), k I", "exercise-keys")
    assert learner.sees(
        "enter answers  tab the other panes, and back  esc then: the other keys", "footer"
    )
    sent = len(learner.engine.sent)
    await learner.press(*"sqxk1mH", "space", "enter")
    assert len(learner.engine.sent) == sent
    assert learner.sees("▸ I can't read “sqxk1mH”")
    assert learner.field.value == "sqxk1mH "  # it stays, to be fixed
    assert (learner.attempt.hints, learner.attempt.tries) == ((), 0)
    await learner.press("ctrl+c")
    assert learner.session.notice.code == "nothing_running_in_field"
    await learner.press("escape", "h", "h", "h")
    assert learner.sees("No more hints", "status")
    await learner.press("enter", *["backspace"] * 8, "h")
    assert not learner.sees("No more hints", "status")
    await learner.press("enter")
    assert learner.sees("▸ I can't read “h”.")
    assert "(For a hint press esc, then h.)" in " ".join(learner.text("exercise-text").split())


@doing(PREDICT)
async def test_the_formula_can_be_read_while_half_an_answer_waits(learner: Learner) -> None:
    formula = learner.app.screen.query_one(FormulaPane)
    await learner.press("-", "3", "1", "left", "tab")
    assert formula.has_focus
    top = formula.scroll_offset.y
    await learner.press("up")
    assert formula.scroll_offset.y == top - 1
    await learner.press("2", "1", "tab")  # the code, and the formula again
    assert (learner.field.has_focus, learner.field.cursor_position) == (True, 2)
    await learner.press("0", "delete", "shift+tab")
    assert formula.has_focus
    await learner.press("enter")
    assert (learner.field.value, learner.field.has_focus) == ("-30", True)
    assert learner.attempt.state == "asking"  # that enter led to the field, and no further
    await learner.press("enter")
    assert learner.attempt.state == "done"
    await learner.press("tab", "tab")
    assert learner.app.screen.query_one("#exercise-text").has_focus


@pytest.mark.app(first=with_exercises(PREDICT))
async def test_escape_leaves_the_field_then_the_exercise_and_the_run_is_as_it_was(
    learner: Learner,
) -> None:
    await learner.press("s", "s", "space", "a", "escape", "h", "H")
    assert learner.sees("Hint 1: Look at w.")
    assert learner.sees("Try once", "status")
    assert not learner.field.has_focus
    await learner.press("escape")
    assert learner.session.attempt is None
    opened = [command for command in learner.engine.sent if isinstance(command, OpenLesson)][-1]
    assert (opened.epoch, opened.step) == (3, 1)
    assert learner.sees("Your own run is back", "status")
    assert learner.shows("numbers")


@doing(PREDICT, CHOOSE)
async def test_a_wrong_answer_is_asked_again_and_after_success_comes_the_next(
    learner: Learner,
) -> None:
    await learner.press(*"-120", "enter")
    assert learner.sees("✗ Not right.")
    assert learner.sees("That is the sum.")
    assert not learner.shows("exercise-field")
    assert learner.sees("enter asks again", "exercise-keys")
    await learner.press("-", "2", "8")  # panes as everywhere, and the reply stays
    assert learner.sees("That is the sum.")
    await learner.press("enter")
    assert learner.sees("And in epoch 2?")
    await learner.press("enter")
    assert learner.session.notice.code == "empty_answer"
    assert (learner.field.has_focus, learner.field.value) == (True, "")
    assert learner.shows("exercise")
    await learner.press(*"5 x", "enter", "7")  # what can't be read gives way to the next key
    assert learner.field.value == "7"
    await learner.press("backspace", "escape", "H")  # the field goes and comes: keys stay keys
    assert learner.sees("Solution:")
    assert not learner.field.has_focus
    await learner.press("a", *"-25.5", "enter")
    assert learner.sees("✓ Right.")
    assert learner.sees("Because the mean divides by N.")
    await learner.press("1", "enter")  # from another pane, too
    assert learner.sees("Exercise 2 of 2 · choice")


@doing(CHOOSE)
async def test_digits_and_arrows_pick_a_choice_and_enter_answers(learner: Learner) -> None:
    for key in ("enter", "a"):
        await learner.press("x", key)
        assert learner.session.notice.code == "nothing_chosen", key
    await learner.press("1")
    assert learner.sees("▶ 1  Not so")
    assert learner.shows("exercise")
    assert learner.attempt.tries == 0  # picked, not yet answered
    await learner.press("enter", "down")
    assert learner.sees("✗ Not right. No: look again.")
    assert learner.sees("▶ 2  So")
    await learner.press("3")  # there is no third answer: it shows its pane
    assert learner.shows("numbers")
    await learner.press("a", "enter")
    assert learner.sees("✓ Right.")


@doing(PREDICT, size=LARGE)
async def test_in_a_large_terminal_it_has_two_columns_and_no_other_pane_goes_for_good(
    learner: Learner,
) -> None:
    assert learner.app.screen.query_one("#exercise").region.width == LARGE[0]
    assert all(map(learner.shows, ("formula", "code", "numbers")))
    await learner.press("escape", "5")
    assert learner.shows("output")
    await learner.resize(SMALL)
    await learner.press("8")
    await learner.resize(LARGE)
    assert learner.shows("exercise")
    await learner.press("escape", "escape")
    assert learner.shows("output")
    assert learner.shows("ladder")


@doing(REPAIR)
async def test_an_error_of_a_repair_names_the_line_of_the_learners_code(learner: Learner) -> None:
    assert learner.sees("It fails with: a leaf Variable")
    assert learner.sees("o edits the code of Update")
    await learner.press("a")
    assert isinstance(learner.app.screen, EditorScreen)
    await learner.press("escape")
    failed = LessonFailed(
        lesson="line",
        phase="Update",
        line=1,
        error=Remark("text", {"text": "RuntimeError: a leaf"}),
    )
    await learner.hears(failed)
    assert learner.sees("line 1 of your code: RuntimeError", "error")
    assert not learner.sees("line.md", "error")


@pytest.mark.app(first=with_exercises(PREDICT, REPAIR))
async def test_without_an_exercise_its_keys_say_how_to_begin_one(learner: Learner) -> None:
    await learner.press("h")
    assert learner.sees("You are not in an exercise · a begins one", "status")
    assert learner.sees("a exercise", "footer")
    await learner.press("8")
    assert learner.sees("◇  1  prediction     What is the gradient of w")
    assert learner.sees("a begins exercise 1 · A chooses one", "exercise-keys")
    assert not any(isinstance(c, StepPhase) for c in learner.engine.sent)


# ── In the text ─────────────────────────────────────────────────────────────────────


def attempt(state: Any = "asking", **more: Any) -> Attempt:
    return Attempt(PREDICT, 1, 1, state, Wants.NUMBER, PREDICT.ask, asks_what_comes=True, **more)


async def test_the_text_of_the_lesson_shows_where_exercises_stand_and_what_is_done() -> None:
    """It does not tell what is asked before it is answered."""
    pane = FormulaPane(id="formula", ascii_only=False)
    lesson = with_exercises(PREDICT, REPAIR, CHOOSE)
    async with running(OnePane(pane, replace(view(frame(0, 0)), lesson=lesson))) as app:
        assert "◇ Exercise 1: prediction · a\n" in app.text
        pane.results = {"first": "done", "fix": "tried"}
        assert "✓ Exercise 1: prediction · done\n" in app.text
        assert "· Exercise 2: repair · tried · a\n" in app.text
        assert app.text.endswith("◇ Exercise 3: choice")
        await app.show(view(frame(2, 1)))  # the loss of epoch 1 is still there
        for now, told in ((None, "= 30"), (attempt(), "= □"), (attempt("wrong"), "= 30")):
            pane.attempt = now
            assert told in app.text
            assert ("= 30" in app.text) == (told == "= 30")


# ── Lines ───────────────────────────────────────────────────────────────────────────


def text(of: Attempt, width: int = 78, picked: int = -1) -> str:
    return "\n".join(row.plain.rstrip() for p in parts(of, picked, width, str) for row in p.lines)


def test_a_condition_is_not_yet_met_and_the_keys_that_may_be_used_are_named() -> None:
    before = Attempt(REACH, 1, 1, "asking", Wants.GOAL, REACH.ask)
    assert "not known yet" in text(before)
    assert "✗ not yet" in text(replace(before, is_met=False))
    assert "You may change the learning rate ([ ] l)" in text(before)
    assert "✓ Done." in text(replace(before, is_met=True, state="done"))


def test_how_near_a_goal_is_stands_below_it_and_python_does_not() -> None:
    near = comparison_state("losses[-1] < 10", False, 16, 10)
    far = comparison_state("diverged", True)
    asked = Attempt(REACH, 1, 1, "asking", Wants.GOAL, REACH.ask, is_met=False, marks=((near,),))
    assert "Goal: ✗ not yet\n  ✗ loss of the last epoch: 16, should be below 10\n" in text(asked)
    assert REACH.condition not in text(asked)
    rows = text(asked, 24).split("\n")
    assert "    below 10" in rows
    assert max(map(len, rows[1:])) <= 24
    either = replace(asked, marks=((near,), (far,)))
    assert "Goal: ✗ not yet · one of these two ways is enough" in text(either)
    assert "\n    or\n" in text(either)
    assert "last epoch" not in text(replace(either, is_met=True))


@doing(REACH)
async def test_a_value_that_may_not_be_changed_is_not_asked_for(learner: Learner) -> None:
    await learner.press("a")
    assert learner.session.notice.code == "goal_not_reached"
    for key, dialogs in (("w", 0), ("l", 1)):
        await learner.press(key)
        opened = [screen for screen in learner.app.screen_stack if isinstance(screen, Ask)]
        assert len(opened) == dialogs, key
        assert (learner.session.notice.code == "change_is_fixed") == (not dialogs)


@doing(replace(REACH, ask=" ".join(f"word{i}" for i in range(300))))
async def test_while_a_goal_is_not_met_its_figures_do_not_move_what_is_being_read(
    learner: Learner,
) -> None:
    text = learner.app.screen.query_one("#exercise-text")
    text.scroll_to(y=0, animate=False, immediate=True)
    await learner.press("s")
    assert learner.attempt.marks[0][0].now is not None
    assert text.scroll_offset.y == 0


def said(markdown: str) -> Reply:
    return Reply("lesson", {"markdown": markdown})


def test_the_explanation_follows_the_reply_and_hints_come_after() -> None:
    done = attempt("done", reply=said("It is −30."), explain="Because.", hints=("Look.",))
    assert text(done).endswith("✓ Right. It is −30.\nBecause.\nHint 1: Look.")
    assert "a^[[31m" in text(attempt(reply=said("a\x1b[31m"))), "it is data"
    played = Attempt(AUTOGRAD, 2, 4, "asking", Wants.NUMBER, "How fast?")
    played = replace(played, question_number=2, question_count=5)
    assert text(played).startswith("Exercise 2 of 4 · backward pass · question 2 of 5\n")


@pytest.mark.parametrize("wants", Wants)
def test_a_mark_is_only_for_what_was_judged(wants: Wants) -> None:
    told = Attempt(CHOOSE, 1, 1, "asking", wants, "", reply=said("It can't be set up."))
    assert "▸ It can't be set up." in text(told)
    wrong = text(replace(told, was_right=False))
    assert ("✗ Not right. It can't" in wrong) == wants.is_answer
    assert ("✗ Not yet. It can't" in wrong) == (not wants.is_answer)


def test_a_reply_of_several_lines_keeps_to_the_width_and_code_stands_below_its_word() -> None:
    long = Attempt(REPAIR, 1, 1, "asking", Wants.CODE, "", reply=said("word " * 40))
    long = replace(long, solution=Reply("code", {"code": REPAIR.solution_code}))
    assert all(len(row) <= 50 for row in text(long, 50).split("\n"))
    code = REPAIR.solution_code.splitlines()[0]
    assert f"Solution:\n  {code}" in text(long, 50)


def test_a_solution_shows_its_working_in_numbers() -> None:
    leaves = tuple(Value((x,), (), "float32") for x in (0.0, 0.002, -3260.4))
    right = Reply("expected", {"value": Value((6.5208,), (), "float32"), "working": leaves})
    now = Attempt(WORKED, 1, 1, "wrong", Wants.NUMBER, "", tries=1, solution=right)
    for ascii_only, shown in ((False, "0 − 0.002 · (−3260.4)"), (True, "0 - 0.002 * (-3260.4)")):
        *_, last = parts(now, -1, 78, inline_formulas(ascii_only))
        assert [row.plain.rstrip() for row in last.lines] == [f"Solution: {shown} = 6.5208"]


@pytest.mark.parametrize("width", [20, 40, 78])
@pytest.mark.parametrize("state", ["opening", "asking", "judging", "wrong", "done"])
def test_the_line_of_keys_fits_and_ends_with_a_whole_key(width: int, state: str) -> None:
    now = keys_line(attempt(state, tries=1), False, width, (), {})
    assert now.cell_length <= width
    whole = keys_line(attempt(state, tries=1), False, 200, (), {}).plain.split(" · ")
    shown = [key for key in now.plain.split(" · ") if key]
    assert shown == whole[: len(shown)]


def test_the_list_names_the_state_in_a_word_and_fits() -> None:
    row: Content = exercise_row(3, REACH, "skipped", 60, str)
    assert row.plain.startswith("–  3  goal")
    assert row.plain.endswith("skipped")
    assert row.cell_length <= 60


@doing(PREDICT)
async def test_a_short_question_leaves_its_rows_to_the_formula(learner: Learner) -> None:
    """In a small terminal; a long reply takes them back."""
    pane, formula = learner.app.screen.query_one("#exercise"), learner.pane("formula")
    rows = (pane.size.height, formula.size.height)
    assert len(learner.pane("exercise-text").lines) <= BRIEF
    await learner.press("9", "9", "enter", "h", "h")
    assert len(learner.pane("exercise-text").lines) > BRIEF
    assert (pane.size.height, formula.size.height) == (rows[0] + 3, rows[1] - 3)


@pytest.mark.app(first=with_exercises(PREDICT), keys="s")
async def test_an_exercise_that_begins_puts_the_timeline_away(learner: Learner) -> None:
    """Typed behind a fork, `a` and `t` leave no line of the lesson's run beside the field."""
    learner.engine.holds = True
    await learner.press("f", "a", "t")
    learner.engine.release()
    await learner.settle()
    assert learner.session.attempt is not None
    assert not learner.shows("timeline")
    assert learner.field.has_focus
