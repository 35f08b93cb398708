"""`tutor check`: what it checks, in which languages, and what it says of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Tutor
from tests.training.conftest import FRONT, lesson_text
from tutor.validation import lesson_check


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shipped lessons: `a` in English and Chinese, `b` in English."""
    folder = tmp_path / "lessons"
    (folder / "zh").mkdir(parents=True)
    (folder / "a.md").write_text(lesson_text())
    (folder / "zh" / "a.md").write_text(lesson_text(FRONT.replace("A test", "一个测试")))
    (folder / "b.md").write_text(lesson_text())
    monkeypatch.setattr("tutor.lesson.library.shipped_folder", lambda: folder)
    return folder


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lessons are read and compared, but not run."""
    monkeypatch.setattr(lesson_check, "findings", lambda *_: ())


def line_of(path: Path, piece: str) -> int:
    text = path.read_text()
    return text[: text.index(piece)].count("\n") + 1


def checked(text: str) -> list[str]:
    return [line.split("(")[0].strip() for line in text.splitlines()]


def test_a_lesson_is_checked_whatever_its_path(tutor: Tutor, home: Path) -> None:
    folder = os.path.join(os.fsencode(home), b"a folder\xff")
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes no such name")
    path = Path(os.fsdecode(os.path.join(folder, b"b \xfe.md")))
    path.write_text(lesson_text())
    done = tutor("check", "--trust", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok  b ")


def test_check_checks_a_lesson_or_says_what_is_wrong(tutor: Tutor, home: Path) -> None:
    good, bad = home / "good.md", home / "bad.md"
    good.write_text(lesson_text())
    bad.write_text(lesson_text(Gradient="loss.backward()\nw.grad *= 2"))
    done = tutor("check", str(good), str(bad), "--trust")
    assert done.returncode == 1
    assert done.stdout.startswith("ok  good  (autograd; 0 exercises; ")
    line = line_of(bad, "## Gradient")
    assert (
        f"{bad}:{line}: mode autograd: the gradient differs from that of finite diff" in done.stderr
    )


def test_ctrl_c_while_a_lesson_runs_ends_the_command(tutor: Tutor, home: Path) -> None:
    path = home / "endless.md"
    path.write_text(lesson_text(Predict="raise KeyboardInterrupt"))
    for options in ([], ["--watch"]):
        done = tutor("check", str(path), "--trust", *options)
        where = f"{path}:{line_of(path, 'raise')}: mode autograd, Predict"
        assert (done.returncode, done.stderr) == (130, f"tutor: stopped at {where}\n")
        assert "ok" not in done.stdout


@pytest.mark.usefixtures("unchecked")
def test_what_is_shipped_is_checked_in_all_languages_or_in_the_one(
    tutor: Tutor, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checked(tutor("check").stdout) == ["ok  a", "ok  zh/a", "ok  b"]
    assert checked(tutor("check", "--lang", "zh").stdout) == ["ok  zh/a"]
    assert checked(tutor("check", "a").stdout) == ["ok  a", "ok  zh/a"]
    assert checked(tutor("check", "a", "--lang", "en").stdout) == ["ok  a"]
    assert checked(tutor("check", "zh/a").stdout) == ["ok  zh/a"]  # by the name that is printed
    both = tutor("check", str(shelf / "a.md"), str(shelf / "zh" / "a.md"))
    assert checked(both.stdout) == ["ok  a", "ok  zh/a"]  # and neither twice
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")  # the author's own language changes nothing
    assert checked(tutor("check").stdout) == ["ok  a", "ok  zh/a", "ok  b"]


@pytest.mark.usefixtures("unchecked")
def test_a_lesson_that_is_not_there_in_a_language_is_told(tutor: Tutor, shelf: Path) -> None:
    done = tutor("check", "b", "a", "--lang", "zh")
    assert (done.returncode, checked(done.stdout)) == (1, ["ok  zh/a"])
    assert done.stderr == "tutor: b is not available in zh, only in en\n"
    (shelf / "zh" / "a.md").unlink()
    assert "there are no lessons in zh" in tutor("check", "--lang", "zh").stderr


@pytest.mark.usefixtures("unchecked")
def test_a_translation_with_other_code_fails_on_its_own_line(tutor: Tutor, shelf: Path) -> None:
    chinese = shelf / "zh" / "a.md"
    chinese.write_text(chinese.read_text().replace("y_pred = w * x", "y_pred = x * w"))
    done = tutor("check", "a")
    line, there = line_of(chinese, "y_pred = x"), line_of(shelf / "a.md", "y_pred = w")
    assert done.returncode == 1
    assert done.stderr == (
        f"tutor: {chinese}:{line}: fence 1 of Predict is not as in {shelf}/a.md:{there}; "
        "make it the same\n"
    )
    (shelf / "a.md").write_text("---\n")
    assert f"{shelf}/a.md can't be read as a lesson" in tutor("check", str(chinese)).stderr


def test_code_that_is_checked_is_not_run_once_more_for_a_translation(
    tutor: Tutor, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    monkeypatch.setattr(
        lesson_check, "findings", lambda lesson, *_: checked.append(lesson.language) or ()
    )
    chinese = shelf / "zh" / "a.md"
    tutor("check", "a")
    assert checked == ["en"]
    tutor("check", str(chinese))
    assert checked == ["en", "zh"], "nobody has checked the original"
    chinese.write_text(chinese.read_text() + "\n## 结束\n$$\\foo$$\n")
    assert "\\foo can't be drawn" in tutor("check", "a").stderr
    assert checked == ["en", "zh", "en"]
    chinese.write_text(chinese.read_text().replace("w * x", "x * w"))
    tutor("check", "a")
    assert checked[3:] == ["en", "zh"]


def test_a_translation_of_what_fails_fails_too(tutor: Tutor, shelf: Path) -> None:
    for path in (shelf / "a.md", shelf / "zh" / "a.md"):
        path.write_text(path.read_text().replace("y_pred = w * x", "y_pred = 1 / 0"))
    done = tutor("check", "a")
    assert done.stdout == ""
    assert done.stderr.count("ZeroDivisionError") == 2


@pytest.mark.usefixtures("unchecked")
def test_a_prerequisite_that_is_no_lesson_or_leads_back_is_told_with_its_line(
    tutor: Tutor, shelf: Path
) -> None:
    for name, builds_on in (("b", "[a, ay]"), ("c", "[d]"), ("d", "[c]")):
        front = FRONT.removesuffix("---\n") + f"builds_on: {builds_on}\n---\n"
        (shelf / f"{name}.md").write_text(lesson_text(front))
    line = line_of(shelf / "b.md", "builds_on")
    done = tutor("check", "b", "c")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"tutor: {shelf}/b.md:{line}: it builds on `ay`, which is not a lesson; did you mean `a`?",
        f"tutor: {shelf}/c.md:{line}: it builds on itself: c → d → c; "
        "take one of these out of `builds_on`",
    ]


@pytest.mark.usefixtures("unchecked")
def test_a_lesson_of_ones_own_may_build_on_the_one_beside_it(
    tutor: Tutor, shelf: Path, home: Path
) -> None:
    (home / "first.md").write_text(lesson_text())
    front = FRONT.removesuffix("---\n") + "builds_on: [first, a]\n---\n"
    (home / "second.md").write_text(lesson_text(front))
    assert tutor("check", str(home / "second.md"), "--trust").returncode == 0


@pytest.mark.usefixtures("unchecked")
def test_a_translation_of_nothing_or_in_the_originals_words_is_told(
    tutor: Tutor, shelf: Path
) -> None:
    exercise = """
```yaml exercise
id: first
kind: choose
ask: Which of the two is it?
hints: [提示。]
explain: 因为 gradient descent。
choices:
  - {text: w, right: true}
  - {text: y, reply: 'Not quite, think again.'}
```
"""
    for path in (shelf / "a.md", shelf / "zh" / "a.md"):
        path.write_text(path.read_text() + exercise)
    (shelf / "zh" / "c.md").write_text(lesson_text())
    chinese, alone = shelf / "zh" / "a.md", shelf / "zh" / "c.md"
    done = tutor("check", str(chinese), str(alone))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        *(
            f"tutor: {chinese}:{line_of(chinese, said)}: this is not translated: “{said}” is word "
            f"for word that of {shelf}/a.md"
            for said in ("Which of the two is it?", "Not quite, think again.")
        ),
        f"tutor: {alone}:1: this file, in zh/, is a translation, but its original {shelf}/c.md "
        "is not there; write that lesson, or give this file the name of its original",
    ]


def test_answers_are_told_as_they_are_computed(tutor: Tutor, home: Path) -> None:
    exercise = """
```yaml exercise
id: sign-of-y
kind: predict
at: 1 predict
form: sign
ask: Which sign?
answer: y_pred.sum()
again: [{set: {w: 0}}]
hints: [h]
explain: e
```
"""
    path = home / "mine.md"
    path.write_text(lesson_text() + exercise)
    told = tutor("check", "-v", "--trust", str(path)).stdout.splitlines()
    assert told[1:] == ["    sign-of-y: +, then 0"]
    assert len(tutor("check", "--trust", str(path)).stdout.splitlines()) == 1


def test_check_on_a_device_ends_with_what_runs_there(shelf: Path, tutor: Tutor) -> None:
    done = tutor("check", "--device", "cpu")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("all 2 lessons run on cpu (")
    (shelf / "b.md").write_text(lesson_text(Gradient="loss.backward()\nw.grad *= 2"))
    done = tutor("check", "--device", "cpu")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("1 of 2 lessons run on cpu (")
    assert done.stdout.endswith(": b\n")
    assert "lessons run on" not in tutor("check").stdout


def test_check_on_a_device_that_is_not_there_is_one_message(shelf: Path, tutor: Tutor) -> None:
    done = tutor("check", "--device", "cuda:9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cuda:9" in done.stderr
    assert done.stderr.count("\n") == 1
