"""Exercises as plain frozen data, once their blocks have been read.

An expression here is Python, to be evaluated in the run that the exercise is done in; besides the
lesson's own names it may read those in EXERCISE_NAMES.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias, get_args

import msgspec

from tutor.lesson import working

EXERCISE_NAMES = (
    "epoch",
    "losses",
    "was",
    "gradient",
    "gradient_now",
    "learning_rate",
    "mode",
    "diverged",
)
"""The names that an exercise's expression may read besides the lesson's names.

`losses`: the loss of each whole epoch so far, a float64 array; `was[name]`: a parameter as it
was when the batch began; `gradient[name]`: as the update uses it; `gradient_now[name]`: as it
is this very moment, None where there is none; `diverged`: whether a loss or a parameter is not
finite.
"""


class StartPlace(msgspec.Struct, frozen=True):
    """The phase before which a run is to stand."""

    epoch: int = 0
    phase: str = ""
    """The phase that comes next; empty (with epoch 0) is the start, Setup alone has run."""
    batch: int = 1
    """Counted from 1, as it is shown."""


class Setting(msgspec.Struct, frozen=True):
    """One number of a parameter, set before the first epoch: `w: 3`, `W[0,1]: 0.5`."""

    parameter: str
    index: tuple[int, ...]
    """() for a single number."""
    value: float


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """The run that an exercise begins with. Every exercise begins with one of its own."""

    mode: str
    learning_rate: float | None = None
    """None: the lesson's own."""
    seed: int = 0
    settings: tuple[Setting, ...] = ()
    at: StartPlace = StartPlace()


class Wrong(msgspec.Struct, frozen=True):
    """A wrong answer that the author expects, and the reply to it."""

    value: str
    """An expression: the number that this mistake leads to."""
    reply: str


class Again(msgspec.Struct, frozen=True):
    """The question with other numbers, asked after a wrong answer.

    All but `stage` is as in the exercise where the author says nothing else.
    """

    stage: Stage
    ask: str
    hints: tuple[str, ...]
    explain: str
    wrong: tuple[Wrong, ...] = ()


class Choice(msgspec.Struct, frozen=True):
    """One answer to pick."""

    text: str
    is_right: bool = False
    reply: str = ""
    """The reply to a learner who picks it."""


class Symptom(msgspec.Struct, frozen=True):
    """The symptom of broken code: an error with these words, or a condition that holds."""

    error: str = ""
    condition: str = ""
    line: int = 0


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """A solution of an exercise of the kind `reach`: from the start, with these settings."""

    epochs: int
    mode: str | None = None
    learning_rate: float | None = None
    seed: int | None = None
    settings: tuple[Setting, ...] = ()


class _Exercise(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that all kinds of exercises share. Text is Markdown with inline `$formulas$`."""

    id: str
    """Letters, digits and -; once in a lesson."""
    line: int
    """1-based line of the fence that opens its block."""
    lines: Mapping[str, int]
    """The line of each key; of its parts too, as `wrong.0.reply` and `set.w`."""
    ask: str
    hints: tuple[str, ...]
    """At least one; shown one at a time."""
    explain: str
    """Shown after success, never before."""
    stage: Stage

    def expressions(self) -> Iterator[tuple[str, str]]:
        """The expressions that are evaluated in its run, each with its key."""
        yield from ()


Form: TypeAlias = Literal["number", "sign", "choice"]
"""The form of the answer to a Predict; `session.attempt.Wants` has each of them, too."""


class Predict(_Exercise, frozen=True, kw_only=True, tag="predict"):
    """A prediction of the next phase's result (`stage.at.phase`), made before it runs."""

    answer: str
    """Evaluated after the phase: a number, or (with choices) the key of the right one."""
    form: Form = "number"
    tolerance: float = 0.01
    """Relative to the answer; where the answer is 0, absolute."""
    choices: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Key → text, for the form `choice`."""
    working: str = ""
    """The calculation that gives a number as the answer, evaluated before the phase."""
    wrong: tuple[Wrong, ...] = ()
    again: tuple[Again, ...] = ()
    """Never empty: where the author says nothing, one epoch later."""

    def asked_in(self, round_: int) -> Predict:
        """The question after this number of wrong answers: each in turn, then from the first."""
        index = round_ % (1 + len(self.again))
        if not index:
            return self
        again = self.again[index - 1]
        return msgspec.structs.replace(
            self,
            stage=again.stage,
            ask=again.ask,
            hints=again.hints,
            explain=again.explain,
            wrong=again.wrong,
        )

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Its answer, and the numbers that it comes from or is mistaken for."""
        yield "answer", self.answer
        for leaf in working.leaves(self.working) if self.working else ():
            yield "working", leaf
        for number, wrong in enumerate(self.wrong):
            yield f"wrong.{number}.value", wrong.value
        for at, again in enumerate(self.again):
            for number, wrong in enumerate(again.wrong):
                if (key := f"again.{at}.wrong.{number}.value") in self.lines:
                    yield key, wrong.value


class Reach(_Exercise, frozen=True, kw_only=True, tag="reach"):
    """Change the permitted settings until a condition over the run holds."""

    condition: str
    """Evaluated wherever the run comes to rest."""
    may: tuple[str, ...]
    """Permitted changes, of `learning_rate`, `mode`, `device`, `values`, `seed`."""
    solution: Solution

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Its condition."""
        yield "condition", self.condition


class Repair(_Exercise, frozen=True, kw_only=True, tag="repair"):
    """Code with a real mistake takes the place of a phase's; the learner fixes it."""

    phase: str
    code: str
    """The code with the mistake."""
    solution_code: str
    symptom: Symptom
    condition: str
    """An expression that is true after `epochs` epochs with the code fixed."""
    epochs: int

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Its condition, and that of its symptom."""
        yield "condition", self.condition
        if self.symptom.condition:
            yield "symptom.condition", self.symptom.condition


class Backpropagate(_Exercise, frozen=True, kw_only=True, tag="autograd"):
    """Fill in the local gradients of the graph of this step, node by node."""

    tolerance: float = 0.01


class Choose(_Exercise, frozen=True, kw_only=True, tag="choose"):
    """Pick one of several answers."""

    choices: tuple[Choice, ...]


Exercise: TypeAlias = Predict | Reach | Repair | Backpropagate | Choose
"""The kinds of exercises. `KIND_KEYS` and `wording.notices.KIND_WORDS` have an entry for each."""

EXERCISE_KINDS: Mapping[str, type[Exercise]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(Exercise)
}
"""The kinds by their name in a lesson file, which is the tag of the struct."""

MAY_CHANGE = ("learning_rate", "mode", "device", "values", "seed")


def kind_of(exercise: Exercise) -> str:
    """The name of its kind in a lesson file."""
    return str(exercise.__struct_config__.tag)
