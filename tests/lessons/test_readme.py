"""What README shows and the architecture names is there, and as they say."""

from __future__ import annotations

import re
from pathlib import Path

from tutor.analysis.doctor.examination import examine
from tutor.engine.open_runs import programs_for
from tutor.lesson.document import parse
from tutor.lesson.exercise import EXERCISE_KINDS
from tutor.lesson.model import ScriptOptions
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.program import script_programs
from tutor.script.source import ScriptSource
from tutor.training.run import Run
from tutor.ui.commands import LESSON_COMMANDS
from tutor.validation.lesson_check import check
from tutor.wording.doctor_findings import finding_text

README = Path(__file__).parents[2] / "README.md"


def test_the_lesson_in_the_readme_is_proved_like_any_other() -> None:
    found = re.search(r"^````markdown\n(.*?)^````$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found
    lesson = parse(found[1], Path("readme.md"))
    assert check(lesson) == ()


def test_the_keys_in_the_readme_are_those_of_the_app() -> None:
    table = README.read_text().split("## Keys")[1].split("\n## ")[0]
    shown = {key.lower() for key in re.findall(r"`([^`]+)`", table)}
    missing = {c.key_label for c in LESSON_COMMANDS if c.key_label.lower() not in shown}
    assert not missing


def test_the_readme_describes_every_kind_of_exercise() -> None:
    table = README.read_text().split("\n| kind | ")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [*EXERCISE_KINDS]


def test_the_doctor_says_of_the_readmes_script_what_the_readme_shows() -> None:
    shown = README.read_text().split("## Your own script")[1].split("```text\n")[1].split("```")[0]
    code = (README.parent / "docs" / "train.py").read_text()
    assert code.count("optimizer.zero_grad()") == 1
    code = "".join(line for line in code.splitlines(True) if "zero_grad" not in line)
    source = ScriptSource(path=Path("train.py"), text=code, digest="")
    lesson = lesson_of_script(source, outline_of(code), ScriptOptions())
    programs = script_programs(lesson)
    report = examine(lesson, Run(programs).recipe, programs=programs, compiled=programs_for)
    assert _without_digits(" ".join(map(finding_text, report.findings))) == _without_digits(shown)


def _without_digits(text: str) -> str:
    """The words alone: another CPU may compute another last digit."""
    return " ".join(re.sub(r"[−-]?[\d.]+(e[−-]?\d+)?", "#", text).split())


def test_the_files_and_names_in_the_architecture_are_there() -> None:
    """Each path in it is a file's or a folder's, and each name stands somewhere in the code."""
    root = Path(__file__).parents[2]
    told = set(re.findall(r"`([^`\n]+)`", (root / "docs/architecture.md").read_text("utf-8")))
    files = [p for folder in ("tutor", "tests", "benchmarks") for p in (root / folder).rglob("*")]
    words = {
        word
        for file in files
        if file.suffix in (".py", ".toml", ".tcss")
        for word in re.findall(r"\w+", file.read_text("utf-8"))
    }
    known = {file.name for file in files}
    paths = {name for name in told if re.fullmatch(r"[\w./-]+(\.(py|md|toml|tcss)|/)", name)}
    lost = [p for p in paths if not any((root / at / p).exists() for at in (".", "tutor"))]
    assert [p for p in lost if p not in known and "CODE" not in p] == []
    names = {n.removesuffix("(…)") for n in told if re.fullmatch(r"[A-Za-z_][\w.]*(\(…\))?", n)}
    assert len(names) > 100
    assert {name for name in names - paths if not words.issuperset(name.split("."))} == set()


def test_what_the_architecture_puts_into_a_file_is_defined_there() -> None:
    """A name with a file in brackets behind it: `Run` (`training/run.py`)."""
    root = Path(__file__).parents[2]
    text = (root / "docs/architecture.md").read_text("utf-8")
    named = re.findall(r"`([A-Za-z_][\w.]*)(?:\([^`]*\))?`\s*\(\s*`([\w/]+\.py)`", text)
    assert len(named) > 50
    lost = set()
    for name, file in named:
        (path,) = {*root.glob(file), *(root / "tutor").rglob(file)}
        last = name.rpartition(".")[2]
        defined = rf"(def|class) {last}\b|^ *(self\.)?{last}\b *[:=]"
        if not re.search(defined, path.read_text("utf-8"), re.MULTILINE):
            lost.add((name, file))
    assert lost == set()
