"""Plays the curriculum in a pseudo-terminal at 80×24, by the keys and by what stands on the screen.

    python -m benchmarks.curriculum_terminal [LESSON …]

Every exercise is answered by its solution: numbers by the one that the screen shows after a
wrong answer, choices and signs by trying, settings and code as the lesson's file has them.
Prints the lessons, the exercises and the time; ends with status 1 if one could not be done.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.curriculum import FAR_OFF, number_of, questions_of
from benchmarks.home import own_home
from tests.terminal import TUTOR, Terminal
from tutor.lesson import document, library
from tutor.lesson.exercise import Choose, Exercise, Predict, Reach, Repair
from tutor.lesson.model import Lesson
from tutor.wording.feedback import element

_TITLE = re.compile(r"Exercise (\d+) of (\d+)")
_DONE = re.compile(r"✓ (?:done$|Done|Right)", re.MULTILINE)
_SOLUTION = re.compile(r"Solution: (.*?)\n\s*(?:\n|▶|Your answer)", re.DOTALL)
_PLAIN_WORDS = re.compile(r"(?<![^ ])[A-Za-z]+(?: [a-z]+){1,4}(?![^ .,:;])")
"""Some words in a row, without markup."""
SELECT_ALL = "\x1b[18~"
"""F7, by which Textual's editor selects all its text: a paste replaces that."""

MOST_SEEDS = 50
"""A seed can't be typed: the learner draws one after the other."""

MOST_ANSWERS = 60
"""More has no exercise: whoever needs so many is stuck."""


class Learner:
    """Whoever sits at the terminal, with one lesson open."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def play(self, exercise: Exercise, number: int) -> None:
        """Do the exercise that is on. Raises AssertionError if the screen doesn't follow."""
        self._wait(lambda: self._number == number and not self._is_busy)
        if isinstance(exercise, Reach):
            self._reach(exercise)
        elif isinstance(exercise, Repair):
            self._repair(exercise)
        elif isinstance(exercise, Choose) or getattr(exercise, "form", "") == "choice":
            self._pick_choices(exercise)
        else:
            self._wait(lambda: self._is_typing)
            is_sign = isinstance(exercise, Predict) and exercise.form == "sign"
            self._type_answers("0" if is_sign else FAR_OFF)
        self._wait(lambda: self._is_done)

    def go_on(self) -> None:
        """To the next exercise, or out of the last."""
        self._press("a")

    # ── By kind ─────────────────────────────────────────────────────────────────────

    def _type_answers(self, wrong: str) -> None:
        """Something wrong; then, question by question, what is shown as the solution."""
        self._answer(wrong)
        for _ in range(MOST_ANSWERS):
            if self._is_done:
                return
            if not self._is_typing:  # it is asked again, with other numbers
                self._press("a")
                self._wait(lambda: self._is_typing and "✗" not in self._text)
            self._answer(self._solution())

    def _solution(self) -> str:
        self._press("escape")  # and a pause: with the next key it would be one with Alt
        self._wait(lambda: not self._is_typing)
        self._press("H")
        self._wait(lambda: _SOLUTION.search(self._text))
        shown = _SOLUTION.search(self._text)
        assert shown is not None
        words = {"positive": "+", "negative": "-", "zero": "0"}
        self._press("a")
        self._wait(lambda: self._is_typing)
        word = number_of(" ".join(shown[1].split())).split()[0]
        return words.get(word, word.rstrip(":,"))

    def _answer(self, text: str) -> None:
        self._press(*text)
        self._wait(lambda: f"Your answer: {text}" in self._text)
        self._press("enter")
        self._wait(lambda: self._is_judged(text))

    def _is_judged(self, text: str) -> bool:
        """Whether the reply is there. The field goes before: a key then would stop the check."""
        has_reply = self._is_typing or self._is_done or "✗" in self._text
        return has_reply and not self._is_busy and f"Your answer: {text}" not in self._text

    def _pick_choices(self, exercise: Exercise) -> None:
        for choice in "123456789":
            reply = _reply(exercise, int(choice))
            for _ in range(questions_of(exercise)):
                self._press(choice)
                self._wait(lambda choice=choice: f"▶ {choice}  " in self._text)
                self._press("enter")  # the reply to another choice may still be there
                self._wait(lambda reply=reply: self._is_done or self._is_told(reply))
                if self._is_done:
                    return
                if not isinstance(exercise, Choose):  # it is asked again, with other numbers
                    self._press("a")
                    self._wait(lambda: "✗ Not" not in self._text and not self._is_busy)

    def _reach(self, exercise: Reach) -> None:
        solution = exercise.solution
        if solution.mode is not None:
            for _ in range(9):
                if f" {solution.mode} · " in self._terminal.lines[0]:
                    break
                before = self._terminal.lines[0]
                self._press("g")
                self._wait(lambda before=before: self._terminal.lines[0] != before)
        if solution.learning_rate is not None:
            self._press("l")
            self._wait(lambda: "Learning rate (now" in self._text)
            self._press(*["backspace"] * 20, *repr(solution.learning_rate), "enter")
        for setting in solution.settings:
            self._press("w")
            self._wait(lambda: "(now" in self._text)
            self._press(*f"{element(setting)} = {setting.value!r}", "enter")
        for _ in range(MOST_SEEDS if solution.seed is not None else 1):
            if solution.seed is not None:
                self._press("S")
            self._press("j")
            self._wait(lambda: "Jump to" in self._text)
            self._press(*str(solution.epochs), "enter")
            there = f"epoch {solution.epochs} of"
            self._wait(lambda there=there: self._is_done or there in self._terminal.lines[0])
            self._terminal.settle(0.5)
            if self._is_done:
                return

    def _repair(self, exercise: Repair) -> None:
        self._press("o")
        self._wait(lambda: "Your code of" in self._text)
        self._press(SELECT_ALL)
        self._press(f"\x1b[200~{exercise.solution_code}\x1b[201~")
        self._press("\x13")

    # ── Keys and screen ─────────────────────────────────────────────────────────────

    @property
    def _text(self) -> str:
        return self._terminal.text()

    @property
    def _is_typing(self) -> bool:
        return "▶ Your answer:" in self._text and not self._is_busy

    @property
    def _is_done(self) -> bool:
        return _DONE.search(self._text) is not None

    @property
    def _is_busy(self) -> bool:
        return "is being set up" in self._text or "is being checked" in self._text

    def _is_told(self, words: str) -> bool:
        """Whether the reply to a wrong choice is there, and not that to the one before."""
        return words != "" and "✗ Not" in self._text and words in " ".join(self._text.split())

    @property
    def _number(self) -> int:
        title = _TITLE.search(self._text)
        return int(title[1]) if title else 0

    def _press(self, *keys: str) -> None:
        self._terminal.press(*keys)
        self._terminal.settle(0.15)

    def _wait(self, true: object) -> None:
        assert callable(true)
        self._terminal.wait_until(true)


def _reply(exercise: Exercise, choice: int) -> str:
    """Words by which the reply to a wrong choice is known; empty for the right one."""
    if not isinstance(exercise, Choose):
        return "✗ Not right."
    chosen = exercise.choices[choice - 1]
    words = _PLAIN_WORDS.search(" ".join(chosen.reply.split()))
    return "" if chosen.is_right else words[0] if words else "✗ Not right."


def play(lesson: Lesson, home: Path) -> list[str]:
    """Play a lesson in a terminal of its own; what could not be done."""
    env = {"XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    with Terminal([str(TUTOR), lesson.slug], 80, 24, env) as terminal:
        terminal.wait_for("next: ▶")
        terminal.press("a")
        learner = Learner(terminal)
        for number, exercise in enumerate(lesson.exercises, 1):
            try:
                learner.play(exercise, number)
            except AssertionError as error:
                return [f"{lesson.path}:{exercise.line}: {exercise.id}: {error}"]
            learner.go_on()
        terminal.wait_for("exercises are done")
    return []


def main() -> int:
    """Play what the command line names; all shipped lessons if it names none."""
    names = sys.argv[1:] or [h.slug for h in library.headlines() if h.shipped]
    begun, stuck, count = time.perf_counter(), list[str](), 0
    with tempfile.TemporaryDirectory() as home:
        for name in names:
            lesson, started = document.read(library.find(name)), time.perf_counter()
            found = play(lesson, Path(home))
            stuck += found
            count += len(lesson.exercises)
            verdict = "stuck" if found else f"{len(lesson.exercises)} exercises"
            print(f"{name:24}{verdict:16}{time.perf_counter() - started:6.1f} s", flush=True)
    print("\n".join(stuck), file=sys.stderr)
    seconds = time.perf_counter() - begun
    print(f"\n{len(names)} lessons, {count} exercises at 80×24 in {seconds:.0f} s")
    return 1 if stuck else 0


if __name__ == "__main__":
    with own_home():
        sys.exit(main())
