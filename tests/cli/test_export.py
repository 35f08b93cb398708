"""`tutor export`: what it writes, where, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tutor
from tests.shipped import lesson
from tests.training.conftest import lesson_text
from tutor.export.code import ExportSettings
from tutor.export.formats import script

RUN = ("line-through-origin", "--mode", "manual", "--lr", "10", "--epochs", "60", "--every", "20")


def test_without_a_file_the_script_is_printed(tutor: Tutor) -> None:
    """`tests/export/test_same_figures.py` tests that it prints what `tutor run` does."""
    settings = ExportSettings(learning_rate=10.0, epochs=60, every=20)
    told = script(lesson("line-through-origin"), "manual", settings)
    assert tutor("export", *RUN).stdout == told


def test_the_extension_decides_and_the_path_is_told(tutor: Tutor, tmp_path: Path) -> None:
    for name in ("a.py", "a.ipynb", "a.csv"):
        done = tutor("export", *RUN, "-o", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (0, f"{tmp_path / name}\n")
    assert (tmp_path / "a.py").read_text() == tutor("export", *RUN).stdout
    assert json.loads((tmp_path / "a.ipynb").read_text())["nbformat"] == 4
    assert (tmp_path / "a.csv").read_text() == tutor("run", *RUN, "--format", "csv").stdout


@pytest.mark.parametrize("suffix", ["py", "ipynb", "csv"])
def test_a_file_is_replaced_only_on_demand(tutor: Tutor, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text("mine")
    refused = tutor("export", "one-weight", "-o", str(path))
    assert (refused.returncode, refused.stdout, path.read_text()) == (1, "", "mine")
    assert refused.stderr == (
        f"tutor: {path} already exists and was not changed; give --force to replace it\n"
    )
    assert tutor("export", "one-weight", "-o", str(path), "--force").returncode == 0
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "a.txt"], ".py (a script), .ipynb (a notebook) or .csv (the figures)"),
        (["-o", "py"], ".csv (the figures)"),
        (["--mode", "magic"], "available: manual, autograd"),
        (["--mode", "magic", "-o", "a.csv"], "available: manual, autograd"),
        (["--device", "gpu"], "no device is called 'gpu'"),
        (["--device", "cuda:77", "-o", "a.csv"], "available: cpu"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    tutor: Tutor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = tutor("export", "one-weight", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr
    assert not list(tmp_path.glob("a.*"))


def test_a_script_may_be_for_a_device_of_another_machine(tutor: Tutor) -> None:
    done = tutor("export", "one-weight", "--mode", "autograd", "--device", "cuda:7")
    assert '\ndevice = "cuda:7"\n' in done.stdout


def test_an_untrusted_lesson_is_not_exported_unasked(tutor: Tutor, tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_text(lesson_text())
    assert "--trust" in tutor("export", str(path)).stderr
    assert "loss.backward()" in tutor("export", str(path), "--trust").stdout


def test_a_lesson_that_raises_leaves_no_half_table(tutor: Tutor, tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    setup = "import os\nn = []\nx = torch.ones(3)\nw = x.clone().requires_grad_()"
    reset = "n += [1]\nos.write(1, b'noise')\n1 / (4 - len(n))"
    path.write_text(lesson_text(Setup=setup, Reset=reset))
    done = tutor("export", str(path), "--trust", "-o", str(tmp_path / "a.csv"))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "noise" not in done.stdout + done.stderr
    assert not (tmp_path / "a.csv").exists()
