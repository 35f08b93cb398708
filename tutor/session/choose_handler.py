"""The handler of questions with several answers to choose from."""

from __future__ import annotations

from typing import Any

from tutor.lesson.exercise import Choose
from tutor.session.attempt import Reply
from tutor.session.exercise_handler import ExerciseHandler, read_choice


class ChooseHandler(ExerciseHandler[Choose]):
    """The handler of a Choose: one of several answers is right; each has its own reply."""

    wants = "choice"

    def __init__(self, exercise: Choose, *context: Any) -> None:
        super().__init__(exercise, *context)
        self.set(choices=tuple(choice.text for choice in exercise.choices))

    def solution(self) -> Reply:
        """The right choice."""
        number, right = next((n, c) for n, c in enumerate(self.exercise.choices, 1) if c.is_right)
        return Reply("lesson", {"markdown": right.text, "number": number})

    def answer(self, text: str) -> None:
        """Say whether it is this one, and why not."""
        index = read_choice(text, len(self.exercise.choices))
        if index is None:
            self.reject(text, "no_choice", count=len(self.exercise.choices))
            return
        choice = self.exercise.choices[index]
        self.count_try()
        self.set(answer=choice.text)
        reply = Reply("lesson", {"markdown": choice.reply})
        if choice.is_right:
            self.succeed(reply)
        else:
            self.set(reply=reply)
