"""Plays the whole curriculum without a screen: every exercise, answered by its solution.

    python -m benchmarks.curriculum [LESSON …] [--lang LANG]

The way is a learner's: a session on the real engine; first a wrong answer where one can be
typed, then the solution that is shown for it. Prints the lessons, the exercises by kind and
the time; ends with status 1 if one could not be done.
"""

from __future__ import annotations

import argparse
import queue
import re
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.home import own_home
from tests.waiting import PATIENCE
from tutor.engine.client import EngineClient
from tutor.lesson import document, library
from tutor.lesson.exercise import Exercise, Predict, Reach, Repair, kind_of
from tutor.lesson.model import Lesson
from tutor.protocol.commands import RunTo, SetElement, SetLearningRate, Switch
from tutor.protocol.events import Event
from tutor.protocol.frame import Element
from tutor.session.attempt import Attempt, Wants
from tutor.session.session import Session
from tutor.wording.feedback import reply_markdown, solution_markdown

MOST_SEEDS = 50
"""Where a seed is to be found, so many are tried."""

FAR_OFF = "123456789"
"""A number that is the answer to no question."""


@dataclass(slots=True)
class Played:
    """What was played, and what could not be done."""

    lessons: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    stuck: list[str] = field(default_factory=list)


class Player:
    """A learner without a screen."""

    def __init__(self, engine: EngineClient) -> None:
        self._events: queue.Queue[Event] = queue.Queue()
        self.session = Session(engine)
        engine.start(self._events.put)

    def settle(self) -> None:
        """Hear what the engine says until nothing is awaited any more."""
        while self.session.is_waiting or not self._events.empty():
            event = self._events.get(timeout=PATIENCE)
            if self.session.receive(event):
                self.session.frame_painted()

    def play(
        self, lesson: Lesson, ids: Collection[str] | None = None
    ) -> Iterator[tuple[Exercise, str]]:
        """Each exercise, or those of `ids`, with what kept it from being done; "" if it was."""
        self.session.open(lesson)
        self.settle()
        for exercise in (e for e in lesson.exercises if ids is None or e.id in ids):
            self.session.controller.begin(exercise.id)
            self.settle()
            yield exercise, self._play(exercise)
        self.session.controller.leave()
        self.settle()

    def _play(self, exercise: Exercise) -> str:
        attempt = self.session.attempt
        if attempt is None or attempt.state != "asking":
            return f"it is not asked: {attempt}"
        if isinstance(exercise, Reach):
            self._reach(exercise)
        elif isinstance(exercise, Repair):
            self.session.controller.edit(exercise.solution_code)
            self.settle()
        elif attempt.wants is Wants.NUMBER:
            self._by_solution()
        else:
            self._by_trying(exercise, attempt)
        attempt = self.session.attempt
        assert attempt is not None
        if attempt.state == "done" and attempt.explain:
            return ""
        return reply_markdown(attempt) or "not met"

    def _reach(self, exercise: Reach) -> None:
        solution = exercise.solution
        if solution.mode is not None:
            self.session.request(Switch(mode=solution.mode))
        if solution.learning_rate is not None:
            self.session.request(SetLearningRate(value=solution.learning_rate))
        for setting in solution.settings:
            element = Element(setting.parameter, setting.index, setting.value)
            self.session.request(SetElement(element=element))
        self.settle()
        self._run_to(solution.epochs)
        if solution.seed is not None:
            self._by_luck(solution.epochs)

    def _by_luck(self, epochs: int) -> None:
        """With one new seed after the other, as a learner does, who can't choose one."""
        for _ in range(MOST_SEEDS):
            if self.session.attempt is None or self.session.attempt.state == "done":
                return
            self.session.new_seed()
            self.settle()
            self._run_to(epochs)

    def _run_to(self, epoch: int) -> None:
        self.session.request(RunTo(epoch=epoch))
        self.settle()

    def _by_solution(self) -> None:
        """A number that is wrong; then, question by question, the one that is shown as right."""
        self._say(FAR_OFF)
        while (attempt := self.session.attempt) and attempt.state != "done":
            if attempt.state == "wrong":
                self.session.controller.go_on()
                self.settle()
            tries = attempt.tries
            self.session.controller.show_solution()
            self.settle()
            shown = solution_markdown(self.session.attempt) if self.session.attempt else ""
            self._say(number_of(shown))
            if self.session.attempt and self.session.attempt.tries == tries:
                return

    def _by_trying(self, exercise: Exercise, attempt: Attempt) -> None:
        """Every answer that there is, each to every question, until it is the right one."""
        answers = [str(i + 1) for i in range(len(attempt.choices))] or ["+", "-", "0"]
        for answer in answers:
            for _ in range(questions_of(exercise)):
                self._say(answer)
                if self.session.attempt and self.session.attempt.state == "wrong":
                    self.session.controller.go_on()
                    self.settle()

    def _say(self, text: str) -> None:
        if self.session.attempt and self.session.attempt.state == "asking":
            self.session.controller.answer(text)
            self.settle()


def number_of(solution: str) -> str:
    """The number in a solution that may show its working: `3 · 2 = 6`, or in LaTeX."""
    return re.split(r" (?:=|≈|\\approx) ", solution)[-1].strip("$")


def questions_of(exercise: Exercise) -> int:
    """How many questions come in turn."""
    return 1 + len(exercise.again) if isinstance(exercise, Predict) else 1


@contextmanager
def player() -> Iterator[Player]:
    """A player on an engine of its own."""
    engine = EngineClient()
    try:
        yield Player(engine)
    finally:
        engine.close()


def play(lessons: list[Lesson], out: Player) -> Played:
    """Play these lessons, and print a line for each."""
    played = Played()
    for lesson in lessons:
        started = time.perf_counter()
        kinds: Counter[str] = Counter()
        for exercise, why in out.play(lesson):
            kinds[kind_of(exercise)] += 1
            if why:
                played.stuck.append(f"{lesson.path}:{exercise.line}: {exercise.id}: {why}")
        played.lessons += 1
        played.kinds += kinds
        seconds = time.perf_counter() - started
        print(f"{lesson.slug:24}{in_words(kinds):56}{seconds:6.2f} s", flush=True)
    return played


def in_words(kinds: Counter[str]) -> str:
    """`2 predict, 1 repair`."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "no exercises"


def main() -> int:
    """Play what the command line names; all shipped lessons if it names none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lessons", nargs="*")
    parser.add_argument("--lang", default="en")
    options = parser.parse_args()
    names = options.lessons or [h.slug for h in library.headlines(options.lang) if h.shipped]
    lessons = [document.read(library.find(name, options.lang)) for name in names]
    started = time.perf_counter()
    with player() as learner:
        played = play(lessons, learner)
    for line in played.stuck:
        print(line, file=sys.stderr)
    total = sum(played.kinds.values())
    print(f"\n{played.lessons} lessons, {total} exercises ({in_words(played.kinds)})")
    print(f"{time.perf_counter() - started:.1f} s, PyTorch's loading among them")
    return 1 if played.stuck else 0


if __name__ == "__main__":
    with own_home():
        sys.exit(main())
