"""Exercises as lines."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.plain_mode.listening import Finishing, answer_to, said
from tests.session.test_exercise_controller import (
    AUTOGRAD,
    CHOOSE,
    PICK,
    PREDICT,
    REACH,
    REPAIR,
    SIGN,
    Notebook,
)
from tests.ui.exercises import WORKED, comparison_state
from tests.ui.fake_engine import FakeEngine
from tutor.lesson.exercise import Exercise
from tutor.plain_mode.exercise_text import ANSWERS, failure, news, still_to_reach
from tutor.protocol.events import LessonFailed
from tutor.protocol.frame import Remark, Value
from tutor.protocol.inspections import LocalGradientQuestion, LocalGradients
from tutor.session.attempt import Attempt, Reply, Wants
from tutor.session.exercise_controller import HANDLERS
from tutor.session.journal import Draft

ANSWERED = "You have already answered this question."


def told(*lines: str, **options: object) -> str:
    exercises = (PREDICT, SIGN, PICK, REACH, REPAIR, CHOOSE)
    return answer_to(*lines, exercises=exercises, **options)


def test_each_sort_of_answer_has_words() -> None:
    assert set(ANSWERS) == set(Wants)


def test_an_exercise_is_told_with_where_its_run_stands():
    text = told("a")
    assert text.startswith("Exercise 1 of 6, first: predict what comes next.")
    stands, asked = text.index("The run is in epoch 1, after Loss."), text.index("What is")
    assert stands < asked
    assert text.endswith("Type a number.")


def test_they_are_listed_with_what_was_done():
    text = told("a", "k", "leave", "exercises")
    assert "Exercise 1, first: predict what comes next; skipped." in text
    assert "Exercise 5, fix: fix the code; not begun." in text


def test_the_next_phase_waits_for_the_answer():
    awaited = told("a", "next")
    assert awaited.startswith("Answer the question first. What is the gradient of w")
    assert awaited.endswith("Type a number. Or type hint, skip or leave.")
    assert "First say what you expect." in told("a", "s")


def test_hints_come_one_at_a_time_and_the_solution_after_a_try():
    assert told("a", "hint") == "Hint 1 of 2: Look at w."
    assert told("a", "hint", "h") == "Hint 2 of 2: Think."
    assert told("a", "solution") == "Try once to unlock the solution."


@pytest.mark.parametrize("line", ["hint", "answer 3", "edit", "skip", "leave", "solution"])
def test_without_an_exercise_that_is_told(line: str):
    assert told(line) == "You are not in an exercise. Type exercise to begin one."


def test_a_number_that_no_choice_has_is_refused_however_long_it_is():
    assert told("a choose", "1" * 5000) == told("a choose", "3")


def test_choices_are_picked_by_their_number():
    text = told("a choose")
    assert "1: Not so\n2: So\nType the number of your answer." in text
    assert told("a choose", "1").startswith("Not right. No: look again.")
    assert told("a choose", "2").startswith("Right.\nBecause the mean divides by N.")
    assert "You have already answered this question. Type next to continue." in told(
        "a choose", "2", "2"
    )


def test_an_exercise_is_begun_by_its_number_too_and_an_unknown_one_told():
    assert told("a 6").startswith("Exercise 6 of 6, choose")
    assert "There is no exercise foo." in told("a foo")


def test_code_is_typed_up_to_a_single_dot(tmp_path: Path):
    assert "Line 1: w += learning_rate * w.grad" in told("a fix")
    notebook = Notebook()
    text = said("a fix", "edit", "w -= (", ".", exercises=(REPAIR,), notebook=notebook)
    assert "Line 1 is not Python" in text
    assert notebook.drafts["fix"].code == "w -= (\n"
    file = tmp_path / "fixed.py"
    file.write_text("w = (\n")
    assert "Line 1 is not Python" in told("a fix", f"edit {file}")
    for name in ("no/such/file.py", "~no-such-user/file.py", "a\0b"):
        assert "can't be read" in told("a fix", f"edit {name}")
    assert "stays as it was" in said("a fix", "edit", ".", exercises=(REPAIR,))


def test_code_that_the_input_ends_before_its_dot_is_kept_and_not_judged():
    notebook = Notebook()
    text = said("a fix", "edit", "w -= 1", exercises=(REPAIR,), notebook=notebook)
    assert "the lines you typed are kept, and nothing was checked" in text
    assert "Not yet" not in text
    assert notebook.drafts["fix"].code == "w -= 1\n"


def test_after_code_that_is_no_python_it_is_told_what_stands_and_what_is_kept():
    text = told("a fix", "edit", "w -= (", ".")
    assert "The run still uses the previous code. Yours is saved as a draft." in text
    again = told("a fix", "edit", "w -= (", ".", "edit", "w -= (", ".")
    assert "Line 1 is not Python" in again


def test_code_from_elsewhere_is_told_and_agreed_to():
    notebook = Notebook()
    notebook.drafts["fix"] = Draft("w -= 7\n", is_own=False)
    shown = said("a fix", "code", exercises=(REPAIR,), notebook=notebook)
    assert "has not been run" in shown
    assert "Line 1: w -= 7" in shown or "Code: w -= 7" in shown
    assert not notebook.drafts["fix"].is_own
    said("a fix", "agree", exercises=(REPAIR,), notebook=notebook)
    assert notebook.drafts["fix"].is_own
    assert "needs your agreement" in told("a fix", "agree")


class BrokenOff(io.StringIO):
    """Ctrl+C comes once, when all up to here has been typed; then the rest."""

    def __init__(self, typed: str, rest: str) -> None:
        super().__init__(typed + rest)
        self._until: int | None = len(typed)

    def readline(self, size: int | None = -1, /) -> str:
        if self.tell() == self._until:
            self._until = None
            raise KeyboardInterrupt
        return super().readline(size)


def test_ctrl_c_breaks_off_the_code_that_is_typed_and_keeps_its_lines():
    notebook = Notebook()
    keys = BrokenOff("a fix\nedit\nw -= 1\nw += 1\n", "code\ncode update\nwhere\n")
    text = said(exercises=(REPAIR,), notebook=notebook, keyboard=keys, is_attended=True)
    off = text.index("\nStopped: the lines you typed are kept, and nothing was checked.")
    assert notebook.drafts["fix"].code == "w -= 1\nw += 1\n"
    after = text[off:]
    assert "Line 1: w -= 1\nLine 2: w += 1" in after
    assert "Code: w += learning_rate * w.grad" in after
    assert "You are in exercise 1 of 1: fix." in after


def test_ctrl_c_before_the_first_line_of_code_changes_nothing():
    notebook = Notebook()
    keys = BrokenOff("a fix\nedit\n", "code\n")
    text = said(exercises=(REPAIR,), notebook=notebook, keyboard=keys)
    assert "Stopped: the code stays as it was." in text
    assert "Line 1: w += learning_rate * w.grad" in text[text.index("Stopped:") :]
    assert "fix" not in notebook.drafts


def test_of_a_goal_it_is_told_what_may_be_changed():
    text = told("a reach")
    assert "You may change the learning rate." in text
    assert "The gradient mode is fixed in this exercise" in told("a reach", "g")


def test_of_a_goal_that_is_not_reached_it_is_told_what_is_lacking():
    text = told("a reach", "s")
    assert "The goal is not reached here.\nLoss: 30, should be below 10." in text


def test_a_number_where_none_is_asked_for_is_answered_with_what_to_do():
    assert told("a reach", "5") == ANSWERS[Wants.GOAL].how
    assert told("a fix", "-2") == ANSWERS[Wants.CODE].how


def test_leaving_goes_back_to_the_lesson():
    assert told("s", "a", "leave").startswith("Back in the lesson.\nThe run is at the end of")


def reply(markdown: str) -> Reply:
    return Reply("lesson", {"markdown": markdown})


DIVERGES = reply("It diverges.")


def test_a_wrong_answer_is_told_with_what_can_be_done():
    asked = Attempt(
        PREDICT, 1, 1, "asking", Wants.NUMBER, "What is it?", asks_what_comes=True,
        hints=("Look.",),
    )  # fmt: skip
    wrong = replace(asked, state="wrong", reply=reply("It is $-30$."), tries=1)
    assert list(news(wrong, asked)) == [
        "Not right. It is minus 30.",
        "Type next to be asked again, hint for a hint, or solution.",
    ]
    again = replace(asked, ask="And now?", tries=1)
    assert list(news(again, wrong, ["w is 1."])) == ["w is 1.", "And now?", "Type a number."]
    assert list(news(again, again)) == []


@pytest.mark.parametrize(
    ("exercise", "old", "new", "said"),
    [
        (PREDICT, {}, {"state": "done", "reply": reply("It is 4.")}, "Right. It is 4."),
        (REACH, {}, {"state": "done", "is_met": True}, "Done: the goal is reached."),
        (REPAIR, {}, {"reply": DIVERGES, "was_right": False}, "Not yet. It diverges."),
        (
            REPAIR,
            {"reply": DIVERGES, "was_right": False},
            {"reply": DIVERGES},
            "Not yet. It diverges.",
        ),
        (
            AUTOGRAD,
            {},
            {"reply": reply("It is not 3."), "was_right": False},
            "Not right. It is not 3.",
        ),
        (AUTOGRAD, {}, {"reply": reply("2 is right."), "was_right": True}, "2 is right."),
    ],
)
def test_an_answer_is_told_with_whether_it_is_right(
    exercise: Exercise, old: dict[str, object], new: dict[str, object], said: str
):
    wants = HANDLERS[type(exercise)].wants  # type: ignore[attr-defined]
    asked = replace(Attempt(exercise, 1, 1, "asking", wants, "What?"), **old)  # type: ignore[arg-type]
    judged = replace(asked, tries=1, **new)  # type: ignore[arg-type]
    assert next(news(judged, asked)) == said


def test_what_can_not_be_read_is_neither_right_nor_wrong():
    asked = Attempt(PREDICT, 1, 1, "asking", Wants.NUMBER, "What?", tries=1)
    assert list(news(replace(asked, reply=reply("Type a number.")), asked)) == ["Type a number."]


def test_the_solution_after_a_wrong_answer_does_not_judge_it_again():
    wrong = Attempt(PREDICT, 1, 1, "wrong", Wants.NUMBER, "What?", reply=reply("It is 3."), tries=1)
    right = Reply("expected", {"value": Value((3.0,), (), "float32"), "working": ()})
    shown = replace(wrong, solution=right)
    said = [
        "The solution: 3",
        "Type next to be asked again, hint for a hint, or solution.",
    ]
    assert list(news(shown, wrong)) == said
    assert list(news(shown, shown, kind="solution")) == said


def test_the_working_of_a_solution_is_told_in_words():
    leaves = tuple(Value((x,), (), "float32") for x in (0.0, 0.002, -3260.4))
    right = Reply("expected", {"value": Value((6.5208,), (), "float32"), "working": leaves})
    shown = Attempt(WORKED, 1, 1, "wrong", Wants.NUMBER, "What?", tries=1, solution=right)
    words = "0 minus 0.002 times (minus 3260.4) equals 6.5208"
    assert f"The solution: {words}" in list(news(shown, None))


def test_the_solution_names_the_number_of_a_choice_and_what_to_do_now():
    asked = Attempt(CHOOSE, 1, 1, "asking", Wants.CHOICE, "Which?", choices=("No", "So", "So not"))
    right = Reply("lesson", {"markdown": "So not", "number": 3})
    assert list(news(replace(asked, solution=right), asked)) == [
        "The solution: number 3, So not",
        "Type its number as your answer, or type skip.",
    ]


def test_the_error_of_the_given_code_is_told_with_its_line_and_as_often_as_it_is_asked():
    assert "It fails with: a leaf Variable." in told("a fix")
    for line in ("next", "code", "where"):
        engine = FakeEngine()
        engine.fails_at = "Loss"
        text = said("a fix", "next", "next", line, exercises=(REPAIR,), engine=engine)
        code = "loss = ((y_pred - y) ** 2).mean()"
        failed = f"Loss failed at {code}: ZeroDivisionError: division by zero."
        assert text.count(failed) == 2
    assert text.count("Type edit to fix it.") == 1


def test_an_error_in_the_learners_code_is_told_with_that_line():
    failed = LessonFailed(
        lesson="line", phase="Update", line=1, error=Remark("text", {"text": "NameError: q"})
    )
    attempt = Attempt(REPAIR, 1, 1, "asking", Wants.CODE, "Fix it.", code="w -= q\n")
    assert failure(failed, attempt) == (
        "Update failed on line 1 of the code to fix, w -= q: NameError: q."
    )


@pytest.mark.parametrize(
    "lines",
    [("a choose", "9"), ("a choose", "1", "solution"), ("a choose",), ("restart",), ("lr 0.01",),
     ("a", "x")],
)  # fmt: skip
def test_the_same_once_more_gets_an_answer_too(lines: tuple[str, ...]):
    assert told(*lines, lines[-1])


def test_of_a_goal_it_is_told_at_the_end_of_an_epoch_or_when_asked_that_it_is_not_reached():
    missed = "The goal is not reached here."
    assert missed not in told("a reach", "next")
    assert missed not in told("a reach", "lr 0.02")
    assert missed in told("a reach", "s")
    assert missed in told("a reach", "s", "where")


def test_who_plays_autograd_hears_operations_in_words_and_the_present_question_again():
    steps = [
        LocalGradientQuestion(
            asks="local", output="(a - y) ** 2", input="a - y", values={}, expected=3.0
        ),
        LocalGradientQuestion(asks="total", output="", input="(x * w)[1]", values={}, expected=6.0),
    ]

    def after(*lines: str) -> str:
        engine = Finishing()
        engine.local = LocalGradients(questions=tuple(steps))
        return said("a", *lines, exercises=(AUTOGRAD,), engine=engine)

    first = "Here u = a minus y and v = the square of (a minus y). How fast does v change with u?"
    assert first in after()
    assert after("7").count(first) == 2
    assert after("7", "solution", "next").count(first) == 4
    assert "What is the gradient of the loss with respect to number 2 of (x times w)?" in after("3")


def test_a_skip_can_be_taken_back() -> None:
    assert "Unskip takes that back." in told("a", "skip")
    assert "Exercise 1 of" in told("a", "skip", "unskip")
    assert "No exercise of this lesson is skipped." in told("unskip")


def test_choices_and_numbers_may_be_typed_in_wide_digits():
    assert told("a choose", "２").startswith("Right.")
    assert told("ｊ ３").startswith("The run is at the end of epoch 3.")


def test_another_answer_to_what_has_been_answered_is_told_how_to_go_on():
    assert told("a", "7", "-2") == f"{ANSWERED} Type next to be asked again."


def test_signs_may_be_typed_as_words():
    assert "Type plus, minus or zero." in told("a sign")
    assert "I can't read" not in told("a sign", "minus")
    assert "Type +, - or 0" in told("a sign", "many")


@pytest.mark.parametrize(
    ("condition", "start"),
    [
        ("w * 5 + b < 2", "w"),
        ("losses[:9].min() < 2", "Lowest"),
        ("abs(losses - 16).max() < 2", "Largest"),
    ],
)
def test_a_variable_keeps_its_small_letter_at_the_start_of_a_sentence(condition: str, start: str):
    attempt = Attempt(
        REACH,
        1,
        1,
        "asking",
        "condition",
        "",
        marks=((comparison_state(condition, False, 3, 2),),),
    )
    assert next(still_to_reach(attempt)).startswith(start)
