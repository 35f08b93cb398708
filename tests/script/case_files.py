"""The test set of scripts and notebooks in `cases`, and what the tutor must say of each.

Beside each `NAME.py` or `NAME.ipynb` stands `NAME.yaml`:

    arguments: ['--epochs', '4']   what the script gets after `--`
    needs: [pandas]                packages without which the case is skipped
    note: …                        why an expectation is as it is
    loops:                         the training loops, in the file's order
      - line: 12                   lines are those of the file; of a notebook those of its code
                                 cells, each below a line that is its heading
        function: train            "" at the file's top level
        mode: autograd
        loss: loss
        prediction: y_pred         "" if the loss compares no name with the target
        parameters: [w, b]         expressions that are true where the loop stands
        epochs: [5]                how often the loop runs, each time that the script reaches it
        changed: [params]          what the code changes, where it is the list of the parameters
        phases:                    in the order in which a batch runs them
          - [Predict, 14, 15]      from the first line to the last
    refused: {code: package_missing, line: 2}   instead of loops: what only a run can find

A person has read the script and written this: it is no output of the tutor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tutor.lesson.model import Lesson, ScriptOptions
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.outline import Outline
from tutor.script.program import ScriptOpener
from tutor.script.source import ScriptSource, read_script
from tutor.training.program import Program

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class ExpectedLoop:
    """A training loop as `inspect` must describe it."""

    line: int
    function: str
    mode: str
    loss: str
    prediction: str
    parameters: tuple[str, ...]
    epochs: tuple[int, ...]
    phases: tuple[tuple[str, int, int], ...]
    changed: tuple[str, ...] = ()
    repeated_by: tuple[int, ...] = ()


@dataclass(frozen=True)
class Case:
    """A script of the test set."""

    path: Path
    loops: tuple[ExpectedLoop, ...]
    refused: dict[str, Any] | None
    arguments: tuple[str, ...]
    needs: tuple[str, ...]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages it needs that are not installed."""
        return tuple(name for name in self.needs if find_spec(name) is None)

    @cached_property
    def source(self) -> ScriptSource:
        """The file as the tutor reads it. Raises ScriptError."""
        return read_script(self.path)

    @cached_property
    def outline(self) -> Outline:
        """What the tutor finds in it."""
        return outline_of(self.source.text)

    def opened(self, number: int = 1) -> tuple[Lesson, dict[str, Program]]:
        """The lesson of one of its loops, and the program that runs to there."""
        options = ScriptOptions(loop=number, arguments=self.arguments)
        lesson = lesson_of_script(self.source, self.outline, options)
        loop = self.outline.loops[number - 1]
        return lesson, {loop.mode: ScriptOpener(lesson, loop).program}

    def python(self) -> str:
        """The code as Python: of a notebook that of its code cells, magics as comments."""
        text = self.path.read_text(encoding="utf-8")
        if self.path.suffix != ".ipynb":
            return text
        cells = [c["source"] for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
        code = "\n".join(f"# cell {n}\n" + "".join(cell) for n, cell in enumerate(cells, 1))
        lines = (line.replace("%time ", "") for line in code.split("\n"))
        return "\n".join("#" + line if line.startswith(("%", "!")) else line for line in lines)


def read_case(expected: Path) -> Case:
    """The case whose expectations stand in this YAML file."""
    data = yaml.load(expected.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}
    (path,) = (
        p for p in (expected.with_suffix(".py"), expected.with_suffix(".ipynb")) if p.exists()
    )
    return Case(
        path=path,
        loops=tuple(_loop(loop) for loop in data.get("loops", ())),
        refused=data.get("refused"),
        arguments=tuple(data.get("arguments", ())),
        needs=tuple(data.get("needs", ())),
    )


def _loop(data: dict[str, Any]) -> ExpectedLoop:
    lists = {
        name: tuple(data[name])
        for name in ("parameters", "epochs", "changed", "repeated_by")
        if name in data
    }
    phases = tuple((name, first, last) for name, first, last in data["phases"])
    return ExpectedLoop(**{**data, **lists, "phases": phases})


ALL = tuple(read_case(path) for path in sorted(CASES.glob("*.yaml")))
STEPPED = tuple(case for case in ALL if not case.refused)
REFUSED = tuple(case for case in ALL if case.refused)
