"""The distribution as a stranger gets it: a wheel, an empty environment, another folder."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.forked_commands import ROOT
from tutor.lesson.library import headlines


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("gradient_tutor-*.whl")
    return wheel


def test_a_wheel_in_an_empty_environment_in_another_folder_has_every_lesson_and_runs(
    wheel: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    # Its dependencies are lent by this environment; the tutor itself is the wheel's.
    (site,) = venv.glob("lib/python*/site-packages")
    (dependencies,) = [p for p in sys.path if Path(p, "textual").is_dir()]
    (site / "dependencies.pth").write_text(dependencies)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--python", str(venv)]
    install = ["install", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run([*pip, *install], check=True, timeout=300)
    where = tmp_path / "elsewhere"
    where.mkdir()

    def printed(*arguments: str) -> str:
        command = [venv / "bin" / "tutor", *arguments]
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    listed = json.loads(printed("list", "--json"))
    shipped = {h.slug: h.languages for h in headlines()}
    assert {lesson["slug"]: tuple(lesson["languages"]) for lesson in listed} == shipped
    checked = printed("check", "one-weight").splitlines()
    assert [line.split()[1] for line in checked] == ["one-weight", "zh/one-weight"]


def test_the_wheel_says_what_it_is_and_carries_its_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        told = archive.read(metadata).decode()
    assert "tutor/py.typed" in names
    assert "Classifier: Environment :: Console" in told
    assert "Keywords: autograd" in told
