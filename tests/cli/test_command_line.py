"""The command line without a screen: what it prints, where, and its exit status."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.cli.conftest import ClientHere, Tutor
from tests.terminal import TUTOR
from tests.training.conftest import lesson_text
from tutor.cli import opening, running
from tutor.cli.parsers import COMMANDS, make_parser
from tutor.cli.running import comparison_writer
from tutor.errors import LessonError
from tutor.protocol.frame import NONE, Remark, Value
from tutor.protocol.inspections import ModeComparison, ParameterComparison
from tutor.ui.app import TutorApp
from tutor.ui.settings import Settings, SettingsFile, settings_file


def test_help_shows_an_example_for_each_command(tutor: Tutor) -> None:
    text = tutor("--help").stdout
    for example in ("xor", "list", "run", "export", "check", "new", "devices"):
        assert f"  tutor {example}" in text
    for command in ("list", "run", "export", "check", "new", "devices"):
        assert f"example:\n  tutor {command}" in tutor(command, "--help").stdout


def test_help_fits_into_80_columns(tutor: Tutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    commands = [[], *([command] for command in COMMANDS if command != "engine")]
    commands += [["progress", action] for action in ("export", "import", "reset")]
    for command in commands:
        lines = tutor(*command, "--help").stdout.splitlines()
        assert [line for line in lines if len(line) > 80] == []


def test_version_is_that_of_the_distribution(tutor: Tutor) -> None:
    assert tutor("--version").stdout == f"tutor {version('gradient-tutor')}\n"


def test_python_runs_the_package_as_the_command() -> None:
    command = (sys.executable, "-m", "tutor", "--version")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"tutor {version('gradient-tutor')}\n"


def test_a_line_of_json_for_each_epoch(tutor: Tutor) -> None:
    done = tutor(
        "run", "line-through-origin", "--mode", "autograd", "--epochs", "2", "--format", "jsonl"
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["epoch"], first["loss"], first["gradients"]) == (1, 30.0, {"w": -30.0})
    assert first["values"]["w"] == pytest.approx(0.3)
    assert second["loss"] == 21.674999237060547
    assert done.returncode == 0


def test_csv_has_a_column_for_each_element_and_a_row_for_every_kth_epoch(tutor: Tutor) -> None:
    done = tutor(
        "run", "xor", "--mode", "model", "--epochs", "7", "--every", "3", "--format", "csv"
    )
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["epoch"] for row in rows] == ["3", "6", "7"]
    assert {"w1[0,1]", "gradient of w2[1,0]", "b2[0]"} <= set(rows[0])


def test_text_is_for_people(tutor: Tutor) -> None:
    done = tutor("run", "one-weight", "--epochs", "1")
    assert done.stdout.split() == ["epoch", "1", "loss", "1", "w", "1.5", "gradient", "-2"]


def test_what_diverges_is_valid_json_all_the_same(tutor: Tutor) -> None:
    done = tutor("run", "line-through-origin", "--learning-rate", "10", "--epochs", "60",
                 "--every", "20", "--format", "jsonl")  # fmt: skip
    losses = [json.loads(line)["loss"] for line in done.stdout.splitlines()]
    assert losses[-1] in ("NaN", "Infinity")
    assert done.returncode == 0


def test_text_tells_a_large_parameter_by_its_shape_and_a_few_figures(
    tutor: Tutor, home: Path
) -> None:
    path = home / "large.md"
    setup = "w = torch.full((30, 40), 2.0, requires_grad=True)\nx = 1.0"
    path.write_text(lesson_text(Setup=setup, Predict="y_pred = (w * x).sum()"))
    done = tutor("run", str(path), "--trust", "--epochs", "1")
    (line,) = done.stdout.splitlines()
    assert len(line) < 250
    assert "(30×40: mean " in line


def test_a_seed_that_the_lesson_sets_itself_is_told(tutor: Tutor, home: Path) -> None:
    path = home / "seeded.md"
    path.write_text(lesson_text(Setup="torch.manual_seed(1)\nw = torch.rand(1)\nw.requires_grad_()"
                                "\nx = 1.0"))  # fmt: skip
    with_seed = tutor("run", str(path), "--trust", "--epochs", "1", "--seed", "5")
    assert "sets a seed" in with_seed.stderr
    without = tutor("run", str(path), "--trust", "--epochs", "1")
    assert without.stderr == ""
    assert with_seed.stdout == without.stdout
    assert "seed" not in tutor("run", "one-weight", "--epochs", "1", "--seed", "5").stderr


def test_a_lesson_file_may_end_in_capital_letters(tutor: Tutor, home: Path) -> None:
    path = home / "MINE.MD"
    path.write_text(lesson_text())
    assert tutor("run", str(path), "--trust", "--epochs", "1").returncode == 0


# ── Comparing ───────────────────────────────────────────────────────────────────────


def test_compare_has_a_line_of_json_for_each_epoch_and_parameter(tutor: Tutor) -> None:
    done = tutor("run", "sum-or-mean", "--compare", "--epochs", "2", "--format", "jsonl")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {
        "epoch": 1,
        "parameter": "w",
        "gradients": {"manual": -120.0, "autograd": -30.0, "finite_difference": -30.0},
        "ratio": {"manual": 4.0},
        "verdict": "manual is 4 times autograd: a sum where the mean was meant",
    }
    assert second["gradients"]["autograd"] == -25.5  # the run goes on by autograd's
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (16, f"[{', '.join(['0'] * 16)}]"),
        (17, f"[{', '.join(['0'] * 8)}, ... 17 elements]"),
        (100, f"[{', '.join(['0'] * 8)}, ... 100 elements]"),
    ],
)
def test_a_large_gradient_is_cut_to_what_can_be_compared_by_eye(size: int, shown: str) -> None:
    row = ParameterComparison(
        parameter="w",
        gradients={"manual": Value((0.0,) * min(size, 16), (size,), "float32"), "autograd": NONE},
        ratio={},
        largest=0.0,
        remarks=(Remark("agree"),),
        agrees=True,
    )
    held = Remark("held", {"parameters": ["b"], "leader": "manual"}, modes=("model",))
    found: list[str] = []
    write = comparison_writer("text", found.append)
    for epoch in (1, 2):
        write(
            ModeComparison(
                epoch=epoch, batch=0, leader="manual", parameters=(row,), remarks=(held,)
            )
        )
    assert "".join(found).splitlines() == [
        "(in model b is held at its value in Setup: manual has none)",
        *("epoch 1, w: agree", f"    manual    {shown}", "    autograd  None"),
        *("epoch 2, w: agree", f"    manual    {shown}", "    autograd  None"),
    ]


def test_compare_goes_on_by_the_mode_that_is_named(tutor: Tutor) -> None:
    done = tutor("run", "sum-or-mean", "--compare", "--mode", "manual", "--epochs", "2",
                 "--format", "jsonl")  # fmt: skip
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["gradients"]["autograd"] == pytest.approx(-12.0)


@pytest.mark.parametrize("form", ["text", "jsonl", "csv"])
def test_the_doctor_reports_after_the_figures(tutor: Tutor, form: str) -> None:
    done = tutor("run", "forgotten-zero", "--mode", "autograd", "--epochs", "1", "--doctor",
                 "--format", form)  # fmt: skip
    assert done.returncode == 0
    if form == "jsonl":
        found = json.loads(done.stdout.splitlines()[-1])["finding"]
        assert (found["code"], found["numbers"]["used"]) == ("gradients_not_reset", -12)
        assert found["fix"]["loss_with"] < found["fix"]["loss_without"]
    else:
        text = done.stderr if form == "csv" else done.stdout
        assert "`w.grad = None`" in text
        assert ("`" in done.stdout) == (form == "text")


SCRIPT = """import torch
x = torch.tensor([1.0, 2.0, 3.0])
w = torch.tensor(0.5, requires_grad=True)
for epoch in range(12):
    loss = ((w * x - 2 * x) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        w -= 0.05 * w.grad
"""


def test_the_doctor_reports_on_a_script(tutor: Tutor, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    done = tutor("run", str(path), "--trust", "--epochs", "1", "--doctor", "--format", "jsonl")
    found = json.loads(done.stdout.splitlines()[-1])["finding"]
    assert (found["code"], found["line"]) == ("gradients_not_reset", 6)
    assert found["fix"]["loss_with"] < found["fix"]["loss_without"]
    assert path.read_text() == SCRIPT


def test_modes_that_are_runs_of_their_own_are_not_compared(tutor: Tutor) -> None:
    done = tutor("run", "scaling-inputs", "--compare")
    assert done.returncode == 2
    assert done.stderr == (
        "tutor: each mode of scaling-inputs is a run of its own: leave out --compare\n"
    )


def test_compare_in_csv_is_in_long_form(tutor: Tutor) -> None:
    done = tutor("run", "xor", "--compare", "--epochs", "4", "--every", "2", "--format", "csv")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert {row["epoch"] for row in rows} == {"2", "4"}
    modes = ("manual", "autograd", "optimizer", "model", "finite_difference")
    assert [row["mode"] for row in rows if (row["epoch"], row["parameter"], row["element"]) == (
        "2", "w1", "0,1")] == list(modes)  # fmt: skip
    assert {row["ratio"] for row in rows if row["mode"] == "manual"} == {"1.0"}


def test_compare_in_text_begins_with_the_verdict(tutor: Tutor) -> None:
    lines = tutor("run", "one-weight", "--compare", "--epochs", "1").stdout.splitlines()
    assert lines[0] == "epoch 1, w: agree"
    assert [line.split() for line in lines[1:]] == [
        ["manual", "-2"], ["autograd", "-2"], ["finite", "difference", "-2"]]  # fmt: skip


def test_compare_leaves_the_figures_clean_of_what_the_lesson_prints(
    tutor: Tutor, home: Path
) -> None:
    path = home / "mine.md"
    path.write_text(lesson_text(Gradient="import os\nos.write(1, b'here\\n')\nloss.backward()"))
    done = tutor("run", str(path), "--trust", "--compare", "--epochs", "1", "--format", "jsonl")
    assert json.loads(done.stdout)["verdict"] == "agrees with finite differences"
    assert done.stderr == "here\n"  # once: the run's own, not that of the modes beside it


def test_compare_of_what_diverges_is_valid_json(tutor: Tutor) -> None:
    done = tutor("run", "line-through-origin", "--compare", "--lr", "10", "--epochs", "60",
                 "--every", "60", "--format", "jsonl")  # fmt: skip
    first = json.loads(done.stdout.splitlines()[0])
    assert first["gradients"]["autograd"] == "NaN"
    assert first["verdict"].startswith("not finite")
    assert "not finite from epoch" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "nonsuch"], 1, "no lesson is named `nonsuch`"),
        (["run", "thermometre"], 1, "thermometer"),
        (["run", "xor", "--mode", "magic"], 2, "available: manual, autograd, optimizer, model"),
        (["run", "xor", "--device", "cuda:5"], 2, "available: cpu"),
        (["run", "xor", "--epochs", "-3"], 2, "-3 is not a whole number from 1"),
        (["run", "xor", "--epochs", "1" * 30], 2, "is not a whole number from 1"),
        (["run", "xor", "--seed", "9" * 30], 2, "is not a whole number from 0"),
        (["run", "xor", "--learning-rate", "nan"], 2, "a positive number"),
        (["run", "xor", "--format", "xml"], 2, "xml"),
        (["run", "xor", "--nproc", "2"], 2, "--nproc"),
        (["run", "xor", "--", "--lr", "3"], 2, "--"),
        (["xor", "--loop", "2", "--plain"], 2, "--loop"),
        (["inspect", "xor.md", "--here"], 2, "--here"),
        (["train.py", "--device", "cuda"], 2, "--device"),
        (["train.py", "--plain", "--exercise", "shape"], 2, "--exercise"),
        (["run"], 2, "LESSON"),
        (["list", "nonsuch"], 2, "see tutor list --help"),
        (["run", "/"], 1, "folder"),
        (["run", "no-such-file.md"], 1, "no-such-file.md"),
        ([], 1, "needs a terminal"),
        (["xor"], 1, "needs a terminal"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_status(
    tutor: Tutor, arguments: list[str], status: int, message: str
) -> None:
    done = tutor(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.startswith("tutor: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("command", [["run"], ["export", "-o", "figures.csv"]])
def test_a_mode_that_is_not_there_is_refused_before_torch_is_loaded(
    tutor: Tutor, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClientHere, "do", None)
    assert tutor(*command, "xor", "--mode", "magic").returncode == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.md", b"", "empty"),
        ("latin.md", "---\ntitle: Müller\n---\n".encode("latin-1"), "UTF-8"),
        ("huge.md", b"x" * (2 * 2**20), "huge.md"),
    ],
    ids=["empty", "not UTF-8", "huge"],
)
def test_a_file_that_is_no_lesson_is_one_clear_line(
    tutor: Tutor, home: Path, name: str, content: bytes, message: str
) -> None:
    path = home / name
    path.write_bytes(content)
    done = tutor("run", str(path), "--trust")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert message in done.stderr


def test_all_faults_of_a_file_are_told_at_once(tutor: Tutor, home: Path) -> None:
    path = home / "bad.md"
    path.write_text(lesson_text(Loss="", Predict="y_pred = = w").replace("epochs", "epocks"))
    done = tutor("run", str(path), "--trust")
    places = [
        line.removeprefix(f"tutor: {path}:").split(":")[0] for line in done.stderr.splitlines()
    ]
    assert done.returncode == 1
    assert len(places) >= 3
    assert all(place.isdecimal() for place in places)


def test_an_untrusted_lesson_does_not_run_unasked(tutor: Tutor, home: Path) -> None:
    path = home / "mine.md"
    path.write_text(lesson_text(Setup="print('ran')\nw = torch.tensor(1.0, requires_grad=True)"))
    refused = tutor("run", str(path))
    assert refused.returncode == 1
    assert "ran" not in refused.stdout + refused.stderr
    assert "--trust" in refused.stderr


def test_a_lesson_that_raises_names_its_place_after_the_figures_until_then(
    tutor: Tutor, home: Path
) -> None:
    path = home / "mine.md"
    third = "if n == 3: raise ValueError('three')"
    setup = "n = 0\nx = torch.ones(3)\nw = torch.tensor(0.0, requires_grad=True)"
    path.write_text(lesson_text(Setup=setup, Reset=f"w.grad.zero_()\nn += 1\n{third}"))
    line = path.read_text().splitlines().index(third) + 1
    done = tutor("run", str(path), "--trust")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == (
        f"tutor: {path}:{line}: Reset in mode autograd raised ValueError: three\n"
    )


def test_debug_lets_the_traceback_through(tutor: Tutor) -> None:
    with pytest.raises(LessonError):
        tutor("run", "nonsuch", "--debug")


def test_devices_lists_the_cpu(tutor: Tutor) -> None:
    listed = json.loads(tutor("devices", "--json").stdout)
    assert listed[0]["name"] == "cpu"
    assert tutor("devices").stdout.startswith("cpu")


@pytest.mark.parametrize("size", ["99999999", "-3", "many", ""])
def test_a_size_that_no_terminal_has_is_not_believed(
    tutor: Tutor, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.setenv(name, size)
    tutor("--help")
    assert not {"COLUMNS", "LINES"} & os.environ.keys()


@pytest.mark.parametrize(
    ("settled", "option", "takes"),
    [
        (True, [], True),
        (True, ["--no-mouse"], False),
        (False, [], False),
        (False, ["--mouse"], True),
    ],
)
def test_an_option_says_whose_the_mouse_is_before_the_settings_do(
    home: Path, monkeypatch: pytest.MonkeyPatch, settled: bool, option: list[str], takes: bool
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    SettingsFile(settings_file()).keep(Settings(mouse=settled))
    asked = []
    monkeypatch.setattr(TutorApp, "run", lambda _, mouse: asked.append(mouse))
    opening._open_app(Mock(), Mock(), make_parser().parse_args(["open", *option]))
    assert asked == [takes]


PRESSED_TWICE = """
import atexit, signal, sys
from tutor.cli import main, opening

def pressed(options):
    signal.raise_signal(signal.SIGINT)

atexit.register(signal.raise_signal, signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
opening.open_command, sys.argv = pressed, ["tutor"]
sys.exit(main())
"""


def test_ctrl_c_again_while_it_ends_is_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", PRESSED_TWICE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_host_may_stand_before_the_command(
    tutor: Tutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: list[str | None] = []
    monkeypatch.setattr(running, "connect_as_asked", lambda options: hosts.append(options.on))
    for words in (("--on", "box", "run"), ("--on=box", "run"), ("run", "--on", "box"), ("run",)):
        assert tutor(*words, "one-weight", "--epochs", "1").returncode == 0
    assert hosts == ["box", "box", "box", None]


def test_a_check_names_the_machine_whose_device_it_was_on(tutor: Tutor) -> None:
    done = tutor("check", "one-weight", "--device", "cpu", "--on", "box")
    assert done.stdout.splitlines()[-1].endswith("of box")


def test_a_host_is_refused_where_nothing_is_computed_and_named_where_a_device_is_missing(
    tutor: Tutor,
) -> None:
    for words in (
        ("--on", "box", "list"),
        ("export", "xor", "--on", "box"),
        ("--on", "box", "new"),
    ):
        done = tutor(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "--on" in done.stderr
    missing = tutor("check", "one-weight", "--on", "box", "--device", "cuda:77")
    assert missing.returncode == 2
    assert "box" in missing.stderr


def test_a_wrong_name_is_told_before_ssh_is_asked(tmp_path: Path) -> None:
    ssh = {"TUTOR_SSH": f"touch {tmp_path / 'asked'}"}
    done = subprocess.run(
        [TUTOR, "run", "--on", "box", "no-such-lesson"],
        env={**os.environ, **ssh}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "no-such-lesson" in done.stderr
    assert not (tmp_path / "asked").exists()


IN_TURN = """
import io, sys, tutor.cli.opening, tutor.plain_mode
from contextlib import redirect_stdout
print(*sys.modules)
import tutor.export, tutor.cli.writing
with redirect_stdout(io.StringIO()):
    tutor.cli.main(['why', 'Target 5 is out of bounds.'])
print(*sys.modules)
"""


def test_commands_without_a_run_load_neither_torch_nor_the_screen() -> None:
    """Plain mode, exported scripts and `tutor why` need nothing that loads slowly."""
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN], capture_output=True, text=True, check=True
    )
    plain_mode, in_all = (set(line.split()) for line in done.stdout.splitlines())
    assert "tutor.plain_mode" in plain_mode
    assert not plain_mode & {"numpy", "rich", "sqlite3", "tutor.formula.commands"}
    assert {"tutor.export.formats", "tutor.cli.why"} <= in_all
    assert not in_all & {"torch", "numpy", "textual"}
