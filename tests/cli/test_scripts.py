"""A learner's own script on the command line: `tutor run`, `tutor inspect`, and refusals."""

from __future__ import annotations

import argparse
import io
import json
import runpy
import subprocess
import sys
from argparse import Namespace
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.cli.conftest import Tutor
from tests.terminal import TUTOR
from tutor.cli import _split, opening, scripts
from tutor.cli.parsers import make_parser
from tutor.engine.command_client import CommandClient
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.protocol.frame import Position, RunRecipe
from tutor.script.lesson import in_other_run
from tutor.script.loops import outline_of
from tutor.script.source import read_script
from tutor.session.bookmark import LearnersRun, UnfinishedRun, key_of
from tutor.session.progress_writer import ProgressWriter

SCRIPT = """import argparse
import torch

options = argparse.ArgumentParser()
options.add_argument("--epochs", type=int, default=4)
options = options.parse_args()
torch.manual_seed(0)
x = torch.randn(6, 1)
w = torch.zeros(1, 1, requires_grad=True)


def train(epochs):
    for epoch in range(epochs):
        loss = ((x @ w - 2 * x) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w.sub_(0.1 * w.grad)
        w.grad = None
        print("epoch", epoch, end="; ")
        print(loss.item())


train(options.epochs)
with open("weights.txt", "w") as file:
    file.write(str(w.item()))
print("done", w.item())
"""


@pytest.fixture
def script(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    path = home / "train.py"
    path.write_text(SCRIPT)
    return path


def test_a_run_prints_figures_and_beside_them_what_python_prints(
    tutor: Tutor, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script.parent / "weights.txt").write_text("mine")
    done = tutor("run", str(script), "--trust", "--format", "jsonl", "--", "--epochs", "3")
    kept = (script.parent / "weights.txt").read_text()
    monkeypatch.setattr(sys, "argv", [script.name, "--epochs", "3"])
    plain = io.StringIO()
    with redirect_stdout(plain):
        runpy.run_path(str(script), run_name="__main__")
    assert done.stderr == plain.getvalue()
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [f["epoch"] for f in figures] == [1, 2, 3]
    assert f"done {figures[-1]['values']['w'][0][0]}" in plain.getvalue()
    assert kept == "mine", "nothing of the learner's is overwritten"


def test_without_figures_the_output_is_what_python_prints(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than is kept between two epochs, and a loop whose end nobody knows before."""
    monkeypatch.chdir(home)
    (home / "mine.py").write_text(
        "import os, sys\n"
        "w, n = 0.0, 0\n"
        "print('a\\tb', end='')\n"
        "while abs(w - 3) > 0.5:\n"
        "    loss = (w - 3) ** 2\n"
        "    dw = 2 * (w - 3)\n"
        "    w -= 0.1 * dw\n"
        "    print('x' * 20_000, loss)\n"
        "    print('y' * 20_000, 'é')\n"
        "    print('w is', w, file=sys.stderr)\n"
        "    os.write(2, b'progress')\n"
        "print('behind the loop', w)\n"
    )
    done, plain = (
        subprocess.run(command, capture_output=True, text=True, check=True)
        for command in (
            (TUTOR, "run", "mine.py", "--trust", "--format", "none"),
            (sys.executable, "mine.py"),
        )
    )
    assert done.stderr == plain.stderr
    assert done.stdout == plain.stdout


def test_inspect_tells_what_is_understood(tutor: Tutor, script: Path) -> None:
    done = tutor("inspect", str(script), "--trust", "--json")
    found = json.loads(done.stdout)
    assert found["refused"] is None
    assert found["loops"] == [
        {
            "line": 13,
            "place": "train.py:13",
            "function": "train",
            "mode": "autograd",
            "parameters": ["w"],
            "loss": "loss",
            "prediction": "",
            "batches": 1,
            "repeated_by": [],
            "phases": [
                {"name": "Loss", "lines": [14, 14]},
                {"name": "Gradient", "lines": [15, 15]},
                {"name": "Update", "lines": [16, 17]},
                {"name": "Reset", "lines": [18, 18]},
                {"name": "Report", "lines": [19, 20]},
            ],
            "ran": True,
            "not_run": None,
        }
    ]
    assert (found["examined"], found["findings"]) == (1, [])


STEPS = """\
    loss = (w - 3) ** 2
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    w.grad = None
"""
LOOPS = f"""\
import torch

def fit(w):
  for epoch in range(2):
{STEPS}
first = torch.zeros(1, requires_grad=True)
fit(first)
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    y_pred = model(torch.ones(3, 1))
    loss = torch.nn.functional.mse_loss(y_pred, torch.zeros(3, 1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
UNUSED = f"""\
def unused(w):
  for epoch in range(2):
{STEPS}
if 1 > 2:
    unused(None)
"""


def test_inspect_tells_all_loops_and_which_of_them_ran(tutor: Tutor, home: Path) -> None:
    """The first one is never come to, so the second is examined."""
    mine = home / "mine.py"
    mine.write_text(LOOPS.replace("def fit", f"{UNUSED}def fit"))
    for chosen, examined in ((), 2), (("--loop", "3"), 3):
        done = tutor("inspect", str(mine), "--trust", "--json", *chosen)
        found = json.loads(done.stdout)
        assert (done.returncode, found["refused"], found["examined"]) == (0, None, examined)
        loops = found["loops"]
        assert [(loop["function"], loop["ran"]) for loop in loops] == [
            ("unused", False), ("fit", True), ("", True),
        ]  # fmt: skip
        assert loops[2]["parameters"] == ["model.weight", "model.bias"]
        assert loops[0]["phases"][0]["name"] == "Loss", "known from the code alone"
        assert "line 4" in loops[0]["not_run"]
    assert tutor("inspect", str(mine), "--loop", "1").returncode == 1
    assert json.loads(tutor("inspect", str(mine), "--loop", "1", "--json").stdout)["refused"]


SWEEP = f"""\
import torch

def fit(w):
  for epoch in range(2):
{STEPS}
for seed in range(2):
    for fold in range(3):
        w = torch.zeros(1, requires_grad=True)
        fit(w)
"""


def test_inspect_names_the_loops_that_repeat_a_training_loop(tutor: Tutor, home: Path) -> None:
    mine = home / "mine.py"
    mine.write_text(SWEEP)
    done = tutor("inspect", str(mine), "--trust")
    assert all(place in done.stdout for place in ("line 11", "line 12"))
    (loop,) = json.loads(tutor("inspect", str(mine), "--json").stdout)["loops"]
    assert (loop["line"], loop["repeated_by"]) == (4, [11, 12])


def test_inspect_waits_a_while_for_a_loop_behind_the_examined_one(
    tutor: Tutor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = home / "mine.py"
    mine.write_text(LOOPS.replace("model =", "import time\ntime.sleep(600)\nmodel ="))
    monkeypatch.setattr(scripts, "FIRST_BATCH_SECONDS", 1.0)
    monkeypatch.setattr(scripts, "CommandClient", CommandClient)  # a process that is ended
    done = tutor("inspect", str(mine), "--trust", "--json")
    found = json.loads(done.stdout)
    last = found["loops"][1]
    assert (found["examined"], last["ran"], last["parameters"]) == (1, False, [])
    assert "--loop" in last["not_run"]


def test_inspect_says_like_the_doctor_how_much_was_found(tutor: Tutor, script: Path) -> None:
    inspected = tutor("inspect", str(script), "--trust").stdout.splitlines()
    doctor = tutor("run", str(script), "--doctor").stdout.splitlines()
    assert inspected[-1] == doctor[-1]
    assert doctor[-2].startswith("epoch"), "nothing was found"


def test_a_loop_without_a_loss_is_told_to_people(
    tutor: Tutor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = home / "mine.py"
    loop = "x = 5.0\nfor i in range(3):\n    {}x -= 0.1 * x\n"
    for code, is_told in (("", True), ("loss = x**2 / 2\n    ", False)):
        mine.write_text(loop.format(code))
        with monkeypatch.context() as context:
            quiet = tutor("run", str(mine), "--trust", "--format", "jsonl")
            context.setattr(sys.stderr, "isatty", lambda: True)
            told = tutor("run", str(mine), "--format", "jsonl")
        assert quiet.stderr == ""
        assert ("loss" in told.stderr) == is_told
        assert json.loads(told.stdout.splitlines()[0])["gradients"] == {"x": 5.0}


def test_a_script_runs_only_after_it_has_been_trusted(tutor: Tutor, script: Path) -> None:
    done = tutor("run", str(script))
    assert done.returncode == 1
    assert "--trust" in done.stderr
    assert done.stdout == ""


def test_what_can_not_be_stepped_costs_one_line_with_its_place(tutor: Tutor, home: Path) -> None:
    wrong = home / "wrong.py"
    cases = [
        ("for i in range(3:\n", ":1:"),
        ("print(1)\n", "no training loop"),
        ("", "empty"),
        ("from sklearn.svm import SVC\nclf = SVC()\nclf.fit([[0]], [1])\n", ":3:"),
    ]
    for text, part in cases:
        wrong.write_text(text)
        for command in ("open", "run", "inspect"):
            done = tutor(command, str(wrong), *(["--plain"] if command == "open" else []))
            assert done.returncode == 1
            assert done.stderr.count("\n") == 1
            assert part in done.stderr
    assert json.loads(tutor("inspect", str(wrong), "--json").stdout)["refused"]
    missing = tutor("run", "missing.py")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert missing.stderr.startswith("tutor: missing.py: "), "named as it was typed"


def test_a_loop_that_is_not_there_is_wrong_usage(tutor: Tutor, script: Path) -> None:
    assert tutor("run", str(script), "--loop", "2", "--trust").returncode == 2
    assert tutor("inspect", "xor").returncode == 2


def test_arguments_after_two_dashes_are_the_scripts() -> None:
    assert _split(["run", "t.py", "--epochs", "2", "--", "--lr", "1"]) == (
        ["run", "t.py", "--epochs", "2"],
        ["--lr", "1"],
    )
    assert _split(["why", "--", "-x"]) == (["why", "--", "-x"], [])


FAULTY = """import torch

torch.manual_seed(0)
x, y = torch.randn(6, 3), torch.tensor([0.0, 1, 2, 0, 1, 2])
model = torch.nn.Linear(3, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.parametrize("command", [("run", "--doctor"), ("inspect",)])
def test_the_doctor_says_why_a_script_raises(
    tutor: Tutor, script: Path, command: tuple[str, ...]
) -> None:
    script.write_text(FAULTY)
    done = tutor(*command, str(script), "--trust")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "cross_entropy(model(x), y.long())" in said
    assert "RuntimeError: expected" in done.stderr


def test_the_loop_is_chosen_from_a_list(
    tutor: Tutor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = home / "two.py"
    step = "    dw = 2 * (w - 3)\n    w -= 0.1 * dw\n"
    two.write_text(f"w = 0.0\nfor i in range(2):\n{step}for j in range(3):\n{step}")
    done = tutor("run", str(two), "--trust", "--format", "csv")
    assert "--loop" in done.stderr, "without a terminal the first is taken, and the choice named"
    assert len(done.stdout.splitlines()) == 3
    second = tutor("run", str(two), "--loop", "2", "--format", "csv")
    assert len(second.stdout.splitlines()) == 4
    answers = io.StringIO("2\nx\n")
    for stream in (answers, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", answers)
    asked = tutor("run", str(two), "--format", "csv")
    assert len(asked.stdout.splitlines()) == 4
    assert tutor("run", str(two)).returncode == 2


def test_the_loop_that_a_script_was_left_in_is_offered(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two = home / "two.py"
    step = "    dw = 2 * (w - 3)\n    w -= 0.1 * dw\n"
    two.write_text(f"w = 0.0\nfor i in range(2):\n{step}for j in range(3):\n{step}")
    given = ["open", str(two)]
    options = make_parser().parse_args(given, argparse.Namespace(arguments=[]))
    journal = ProgressWriter(home / "progress.db")
    for stream in (answers := io.StringIO("\n\n"), sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", answers)
    for left in (1, 2):
        lesson = scripts.chosen_lesson(options, journal)
        assert lesson.script is not None
        assert lesson.script.loop == left
        second = replace(lesson.script, loop=2)
        run = UnfinishedRun(recipe=RunRecipe("manual", "cpu", 0.1, 0), at=Position(7, 0))
        paused = LearnersRun(replace(lesson, script=second), run)
        journal.save_bookmark(paused.bookmark())
    journal.close()
    assert "epoch 7" in capsys.readouterr().err


def test_torchrun_has_a_value_for_every_option_of_open(script: Path) -> None:
    """It runs the same function: an option without one would end it with an AttributeError."""
    as_one, as_ranks = (
        vars(make_parser().parse_args([command, str(script)])) for command in ("open", "torchrun")
    )
    assert as_ranks.keys() == as_one.keys()
    assert {name for name in as_one if as_ranks[name] != as_one[name]} == {"command", "nproc"}


@pytest.mark.parametrize("option", ["--nproc", "--nproc_per_node", "--nproc-per-node"])
def test_torchrun_opens_a_script_on_ranks_as_a_run_of_its_own(script: Path, option: str) -> None:
    parser = make_parser()

    def lesson_of(*given: str) -> Lesson:
        options = parser.parse_args(given, argparse.Namespace(arguments=[]))
        return scripts.chosen_lesson(options)

    alone, two = lesson_of("open", str(script)), lesson_of("torchrun", str(script))
    three = lesson_of("torchrun", option, "3", str(script))
    assert [lesson.workers for lesson in (alone, two, three)] == [1, 2, 3]
    assert len({key_of(lesson) for lesson in (alone, two, three)}) == 3
    assert in_other_run(three, two.script) == two
    for wrong in ((option, "5", str(script)), ("xor",)):
        with pytest.raises(SystemExit):
            parser.parse_args(("torchrun", *wrong))


def test_a_script_that_can_not_start_is_refused_with_its_line(tutor: Tutor, home: Path) -> None:
    mine = home / "mine.py"
    loop = "w = 0.0\nfor i in range(2):\n    dw = 2 * (w - 3)\n    w -= 0.1 * dw\n"
    for line, part in (("import no_such_package_x", "no-such-package-x"), ("input()", "input()")):
        mine.write_text(f"{line}\n{loop}")
        done = tutor("inspect", str(mine), "--trust", "--json")
        assert done.returncode == 1
        refused = json.loads(done.stdout)["refused"]
        assert f"{mine}:1:" in refused
        assert part in refused


def test_commands_for_lessons_name_those_for_scripts(tutor: Tutor, script: Path) -> None:
    assert "tutor inspect" in tutor("check", str(script)).stderr
    exported = tutor("export", str(script))
    assert exported.returncode == 2
    assert "tutor run" in exported.stderr


def test_a_script_that_has_changed_is_read_again(script: Path) -> None:
    options = ScriptOptions(loop=2, arguments=("--epochs", "3"))
    first = opening._read(script, options)
    assert first.script is not None
    assert (first.script.loop, first.script.arguments) == (1, ("--epochs", "3"))
    script.write_text(SCRIPT.replace("0.1", "0.2"))
    assert opening._read(script, ScriptOptions()).digest != first.digest


def test_a_script_that_is_opened_later_takes_its_modules_to_another_machine(script: Path) -> None:
    script.with_name("own_part.py").write_text("x = 1\n")
    script.write_text(f"import own_part\n{SCRIPT}")
    for host, taken in (("", None), ("far-machine", {"own_part.py": b"x = 1\n"})):
        lesson = opening._read(script, opening._for_scripts(Namespace(on=host)))
        assert lesson.script is not None
        assert lesson.script.modules == taken


def test_an_error_in_a_notebook_names_its_cell_and_tutor_why(
    tutor: Tutor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    setup = "import torch\nw = torch.ones(2, requires_grad=True)"
    loop = "for i in range(3):\n    loss = w * 2\n    loss.backward()\n    w.data -= w.grad"
    cells = [{**code, "source": source} for source in (setup, loop)]
    book = home / "fit.ipynb"
    book.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells})
    )
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    done = tutor("inspect", str(book), "--trust")
    assert done.returncode == 1
    assert f"{book} [2]:3: Gradient raised RuntimeError: grad can be" in done.stderr
    assert "tutor why" in done.stderr
    assert "the first batch" in done.stderr, "a terminal is told what runs"


def test_the_question_for_a_loop_can_be_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "two.py"
    loop = "w = 0.0\nfor i in range(2):\n    dw = 2 * (w - 3)\n    w -= 0.1 * dw\n"
    path.write_text(loop * 2)
    source = read_script(path)
    loops = outline_of(source.text).loops
    monkeypatch.setattr(scripts, "is_attended", lambda: True)
    monkeypatch.setattr(scripts, "answer_to", lambda _: "q")
    with pytest.raises(SystemExit) as left:
        scripts._asked_loop(source, loops, None)
    assert left.value.code == 0
    monkeypatch.setattr(scripts, "answer_to", lambda _: "2")
    assert scripts._asked_loop(source, loops, None) == 2
