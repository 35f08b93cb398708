"""Exercises as lines."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from tests.aloud.listening import answer_to, said
from tests.teaching.test_coach import AUTOGRAD, CHOOSE, PICK, PREDICT, REACH, REPAIR, SIGN, Notebook
from tutor.aloud.attempts import news
from tutor.lesson.exercise import Exercise
from tutor.teaching.attempt import Attempt, Wants


def told(*lines: str, **options: object) -> str:
    exercises = (PREDICT, SIGN, PICK, REACH, REPAIR, CHOOSE)
    return answer_to(*lines, exercises=exercises, **options)


def test_an_exercise_is_told_with_where_its_run_stands():
    text = told("a")
    assert text.startswith("Exercise 1 of 6, first: predict what comes.")
    stands, asked = text.index("The run stands in epoch 1, after Loss."), text.index("What is")
    assert stands < asked
    assert text.endswith("Type a number.")


def test_they_are_listed_with_what_was_done():
    text = told("a", "k", "leave", "exercises")
    assert "Exercise 1, first: predict what comes; skipped." in text
    assert "Exercise 5, mend: mend the code; not begun." in text


def test_the_next_phase_waits_for_the_answer():
    assert "An answer is awaited. Type a number." in told("a", "next")
    assert "First say what you expect." in told("a", "s")


def test_hints_come_one_at_a_time_and_the_solution_after_a_try():
    assert told("a", "hint") == "Hint 1 of 2: Look at w."
    assert told("a", "hint", "h") == "Hint 2 of 2: Think."
    assert told("a", "solution") == "Try it once; then the solution can be seen."


@pytest.mark.parametrize("line", ["hint", "answer 3", "edit", "skip", "leave", "solution"])
def test_without_an_exercise_that_is_told(line: str):
    assert told(line) == "No exercise is on. Type exercise to begin one."


def test_choices_are_picked_by_their_number():
    text = told("a choose")
    assert "1: Not so\n2: So\nType the number of your answer." in text
    assert told("a choose", "1").startswith("Not right. No: look again.")
    assert told("a choose", "2").startswith("Right.\nBecause the mean divides by N.")
    assert "That has been answered. Type next to go on." in told("a choose", "2", "2")


def test_an_exercise_is_begun_by_its_number_too_and_an_unknown_one_told():
    assert told("a 6").startswith("Exercise 6 of 6, choose")
    assert "There is no exercise foo." in told("a foo")


def test_code_is_typed_up_to_a_single_dot(tmp_path: Path):
    assert "Line 1: w += learning_rate * w.grad" in told("a mend")
    notebook = Notebook()
    text = said("a mend", "edit", "w -= (", ".", exercises=(REPAIR,), notebook=notebook)
    assert "Line 1 is not Python" in text
    assert notebook.drafts["mend"] == "w -= (\n"
    file = tmp_path / "mended.py"
    file.write_text("w = (\n")
    assert "Line 1 is not Python" in told("a mend", f"edit {file}")
    assert "can't be read" in told("a mend", "edit no/such/file.py")
    assert "it stays as it was" in said("a mend", "edit", ".", exercises=(REPAIR,))


def test_code_that_ends_with_the_input_is_taken_as_it_is():
    assert "Line 1 is not Python" in said("a mend", "edit", "w -= (", exercises=(REPAIR,))


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
    keys = BrokenOff("a mend\nedit\nw -= 1\nw += 1\n", "code\ncode update\nwhere\n")
    text = said(exercises=(REPAIR,), notebook=notebook, keyboard=keys, is_attended=True)
    off = text.index("\nBroken off: the lines you typed are kept, and nothing was checked.")
    assert notebook.drafts["mend"] == "w -= 1\nw += 1\n"
    after = text[off:]
    assert "Line 1: w -= 1\nLine 2: w += 1" in after
    assert "Code: w += learning_rate * w.grad" in after
    assert "Exercise 1 of 1 is on: mend." in after


def test_ctrl_c_before_the_first_line_of_code_changes_nothing():
    notebook = Notebook()
    keys = BrokenOff("a mend\nedit\n", "code\n")
    text = said(exercises=(REPAIR,), notebook=notebook, keyboard=keys)
    assert "Broken off: the code stays as it was." in text
    assert text.rstrip().endswith("Line 1: w += learning_rate * w.grad")
    assert "mend" not in notebook.drafts


def test_of_a_goal_it_is_told_what_may_be_changed():
    text = told("a reach")
    assert "You may change the learning rate." in text
    assert "Not by the gradient mode" in told("a reach", "g")


def test_of_a_goal_that_is_not_reached_it_is_told_what_is_lacking():
    text = told("a reach", "s")
    assert "Not yet: the goal is not reached here.\nLoss: 30, should be below 10." in text


def test_leaving_goes_back_to_the_lesson():
    assert told("s", "a", "leave").startswith("Back in the lesson.\nThe run stands at the end of")


def test_a_wrong_answer_is_told_with_what_can_be_done():
    asked = Attempt(PREDICT, 1, 1, "asking", "number", "What is it?", hints=("Look.",))
    wrong = Attempt(
        PREDICT, 1, 1, "wrong", "number", "What is it?", reply="It is $-30$.", tries=1,
        hints=("Look.",),
    )  # fmt: skip
    assert list(news(wrong, asked)) == [
        "Not right. It is minus 30.",
        "Type next to be asked again, hint for a hint, or solution.",
    ]
    again = Attempt(PREDICT, 1, 1, "asking", "number", "And now?", tries=1, hints=("Look.",))
    assert list(news(again, wrong, ["w is 1."])) == ["w is 1.", "And now?", "Type a number."]
    assert list(news(again, again)) == []


@pytest.mark.parametrize(
    ("exercise", "old", "new", "said"),
    [
        (PREDICT, {}, {"state": "done", "reply": "It is 4."}, "Right. It is 4."),
        (REACH, {}, {"state": "done"}, "Right: the goal is reached."),
        (REPAIR, {}, {"reply": "It diverges."}, "Not yet. It diverges."),
        (REPAIR, {"reply": "It diverges."}, {"reply": "It diverges."}, "Not yet. It diverges."),
        (AUTOGRAD, {}, {"reply": "It is not 3.", "was_right": False}, "Not yet. It is not 3."),
        (AUTOGRAD, {}, {"reply": "2 is right.", "was_right": True}, "2 is right."),
    ],
)
def test_an_answer_is_told_with_whether_it_is_right(
    exercise: Exercise, old: dict[str, object], new: dict[str, object], said: str
):
    wants: Wants = "condition" if exercise is REACH else "number"
    asked = replace(Attempt(exercise, 1, 1, "asking", wants, "What?"), **old)  # type: ignore[arg-type]
    judged = replace(asked, tries=1, **new)  # type: ignore[arg-type]
    assert next(news(judged, asked)) == said


def test_what_can_not_be_read_is_neither_right_nor_wrong():
    asked = Attempt(PREDICT, 1, 1, "asking", "number", "What?", tries=1)
    assert list(news(replace(asked, reply="Type a number."), asked)) == ["Type a number."]


def test_the_solution_after_a_wrong_answer_does_not_judge_it_again():
    wrong = Attempt(PREDICT, 1, 1, "wrong", "number", "What?", reply="It is 3.", tries=1)
    assert list(news(replace(wrong, solution="3"), wrong)) == ["The solution: 3"]


def test_signs_may_be_typed_as_words():
    assert "Type plus, minus or zero." in told("a sign")
    assert "I can't read" not in told("a sign", "minus")
    assert "Type +, - or 0" in told("a sign", "many")
