"""Exercises are proven by playing them; the broken ones beside these tests fail as is expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.conftest import FRONT, lesson_text
from tutor.lesson.document import parse, read
from tutor.lesson.model import Lesson
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import programs_of
from tutor.validation.exercise_check import check_exercises
from tutor.validation.lesson_check import check
from tutor.wording.check_findings import check_line

FOLDER = Path(__file__).parents[1] / "broken_exercises"
BROKEN = sorted(FOLDER.glob("*.md"))

SETUP = "x, y = torch.tensor(2.0), torch.tensor(6.0)\nw = torch.tensor(0.5, requires_grad=True)"
LOSS = "loss = (y_pred - y) ** 2"
SOUND = """
```yaml exercise
id: a
kind: predict
at: 1 gradient
ask: "?"
answer: gradient["w"]
wrong:
  - {value: '-gradient["w"]', reply: The sign.}
hints: [h]
explain: e
```
```yaml exercise
id: b
kind: reach
may: [learning_rate]
ask: "?"
condition: losses[-1] < 1e-6
solution: {learning_rate: 0.125, epochs: 3}
hints: [h]
explain: e
```
```yaml exercise
id: c
kind: repair
phase: Update
code: |
  print("the broken code is heard")
  w = w - learning_rate * w.grad
solution: |
  with torch.no_grad():
      w -= learning_rate * w.grad
symptom: {error: has no attribute 'zero_'}
epochs: 5
condition: losses[-1] < losses[0]
ask: "?"
hints: [h]
explain: e
```
```yaml exercise
id: d
kind: autograd
ask: "?"
hints: [h]
explain: e
```
```yaml exercise
id: e
kind: choose
ask: "?"
choices:
  - {text: One, right: true}
  - {text: Two, reply: No.}
hints: [h]
explain: e
```
"""


def lesson(exercises: str, **phases: str) -> Lesson:
    text = lesson_text(FRONT, **{"Setup": SETUP, "Loss": LOSS, **phases})
    return parse(f"{text}\n{exercises}", Path("test.md"))


def found(path: Path) -> list[str]:
    broken = read(path)
    findings = check_exercises(broken, programs_of(broken))
    return [check_line(finding).removeprefix(f"{FOLDER}/") for finding in findings]


def test_each_broken_exercise_has_its_expected_lines() -> None:
    assert len(BROKEN) > 40
    assert {p.stem for p in BROKEN} == {p.stem for p in FOLDER.glob("*.expected")}


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_what_is_wrong_with_an_exercise_is_told_on_its_line(path: Path) -> None:
    assert found(path) == path.with_suffix(".expected").read_text("utf-8").splitlines()


def test_a_sound_exercise_of_each_kind_is_proven_and_its_code_is_not_heard(
    capfd: pytest.CaptureFixture[str],
) -> None:
    sound = lesson(SOUND)
    assert len(sound.exercises) == 5
    assert not list(check_exercises(sound, programs_of(sound)))
    assert "broken code" not in capfd.readouterr().out


def test_all_that_is_wrong_is_told_at_once_by_check() -> None:
    twice = lesson(SOUND.replace("'-gradient", "'gradient").replace("losses[-1] < 1e-6", "w < 3"))
    assert [finding.remark.code for finding in check(twice)] == ["wrong_is_right", "met_at_start"]


def test_a_mode_that_does_not_run_is_told_once() -> None:
    (finding,) = check(lesson(SOUND, Predict="y_pred = nobody"))
    assert finding.remark.modes == ("autograd",)
    assert finding.remark.values["phase"] == "Predict"
    assert finding.remark.values["error"][1]["text"].startswith("NameError")


def test_who_stops_a_proof_stops_all_of_it() -> None:
    sound = lesson(SOUND)
    stopped = lesson(SOUND, Predict="raise KeyboardInterrupt\ny_pred = w * x")
    with pytest.raises(LessonRaised, match="code_stopped"):
        list(check_exercises(sound, programs_of(stopped)))
