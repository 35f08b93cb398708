"""The distribution as a stranger gets it: a wheel, an empty environment, a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.terminal import TUTOR
from tests.training.conftest import lesson_text
from tutor.lesson.library import headlines

SHIPPED = {h.slug: h.languages for h in headlines()}


def test_a_wheel_in_an_empty_environment_in_another_folder_has_every_lesson_and_runs(
    tmp_path: Path,
) -> None:
    root = Path(__file__).parents[2]
    wheels, venv = tmp_path / "wheels", tmp_path / "venv"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = ["wheel", str(root), "--no-deps", "--no-build-isolation", "-w", str(wheels)]
    subprocess.run([*pip, *build], check=True, timeout=300)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    # Its dependencies are lent by this environment; the tutor itself is the wheel's.
    (site,) = venv.glob("lib/python*/site-packages")
    (dependencies,) = [p for p in sys.path if Path(p, "textual").is_dir()]
    (site / "dependencies.pth").write_text(dependencies)
    (wheel,) = wheels.glob("gradient_tutor-*.whl")
    install = ["--python", str(venv / "bin" / "python"), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, *install, str(wheel)], check=True, timeout=300)
    command = str(venv / "bin" / "tutor")
    where = tmp_path / "elsewhere"
    where.mkdir()
    listed = subprocess.run(
        [command, "list", "--json"], cwd=where, capture_output=True, text=True, check=True
    )
    assert {lesson["slug"]: tuple(lesson["languages"]) for lesson in json.loads(listed.stdout)} == (
        SHIPPED
    )
    proven = [command, "check", "one-weight"]
    done = subprocess.run(proven, cwd=where, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["one-weight", "zh/one-weight"]


def test_what_a_lesson_prints_goes_to_standard_error_and_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "mine.md"
    path.write_text(lesson_text(Predict="print('\\x1b[31mred')\ny_pred = w * x"))
    command = [str(TUTOR), "run", str(path), "--trust", "--epochs", "1", "--format", "jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout)["epoch"] == 1
    assert done.stderr == "^[[31mred\n"


def test_the_wheel_says_what_it_is_and_carries_its_types(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = ["wheel", str(root), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*pip, *build], check=True, timeout=300)
    (wheel,) = tmp_path.glob("gradient_tutor-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        told = archive.read(metadata).decode()
    assert "tutor/py.typed" in names
    assert "Classifier: Environment :: Console" in told
    assert "Keywords: autograd" in told
