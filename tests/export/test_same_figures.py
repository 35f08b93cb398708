"""What is exported runs without the tutor and prints the same figures, to the digit."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from tests import shipped as lessons
from tests.export.conftest import printed_by
from tests.training.conftest import FRONT, PLAIN, lesson_text
from tutor.engine.lesson_commands import figures_writer
from tutor.export.code import ExportSettings
from tutor.export.formats import notebook, script
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson
from tutor.training.devices import use_one_thread
from tutor.training.program import programs_of
from tutor.training.run import Run
from tutor.training.series import readings

LESSONS = tuple(lessons.lesson(slug) for slug in lessons.SAMPLE)


@dataclass(frozen=True)
class Case:
    lesson: Lesson
    mode: str
    settings: ExportSettings = ExportSettings(epochs=5, every=2)  # noqa: RUF009 - it is frozen

    @property
    def name(self) -> str:
        return f"{self.lesson.slug}-{self.mode}"

    def pieces_of_notebook(self) -> list[str]:
        cells = json.loads(notebook(self.lesson, self.mode, self.settings))["cells"]
        return [cell["source"] for cell in cells if cell["cell_type"] == "code"]

    def told_by_the_tutor(self) -> str:
        out, settings = io.StringIO(), self.settings
        write = figures_writer("jsonl", out)
        run = Run(programs_of(self.lesson), self.mode, "cpu", settings.learning_rate, settings.seed)
        for reading in readings(run, settings.epochs or run.program.epochs, settings.every):
            write(reading)
        return out.getvalue()


def odd(
    name: str, front: str = FRONT, settings: ExportSettings | None = None, **phases: str
) -> Case:
    """A lesson made to be hard to export, in its one mode."""
    lesson = parse(lesson_text(front, **phases), Path(f"{name}.md"))
    return Case(lesson, lesson.modes[0], settings or ExportSettings(epochs=3))


NUMPY = {
    "Setup": "x = np.array([1.0, 2.0])\nw = 0.5",
    "Gradient": "dw = (2 * x * (y_pred - 2 * x)).mean()",
    "Update": "w -= learning_rate * dw",
    "Reset": "",
}

ODD = (
    odd(
        "names of ours are taken",
        Setup="epoch = epochs = every = 0\njson, figures, gradients = 1, 2, 3\n"
        "def plain(z):\n    return 2 * z\n" + PLAIN["Setup"],
        Predict="epoch += 1\ny_pred = w * plain(x) * (1 + 1 / epoch)",
    ),
    odd(
        "strings over several lines",
        Predict='text = """one\n  two\n"""\nmore = f"""{len(text)}\n      {device}"""\n'
        "y_pred = w * x * len(text) + len(more)\n\nif True:\n    # a comment\n    y_pred = (\n"
        "  y_pred\n        + 1)",
    ),
    odd("diverges", settings=ExportSettings(epochs=90, every=30, learning_rate=100.0)),
    odd("no reset, None before", Reset="w.grad = None", Update=PLAIN["Update"] + "\nw.grad = None"),
    odd("without reset", Reset=""),
    odd(
        "random",
        Setup="import random\nx = torch.rand(3)\nw = torch.randn(2, 3, requires_grad=True)",
        Predict="y_pred = w * x + random.random() + np.random.rand()",
        settings=ExportSettings(epochs=3, seed=2**32 + 7),
    ),
    odd("by hand on tensors", **{**NUMPY, "Setup": "x = torch.ones(2)\nw = 0.5"}),
    odd("a loss in brackets", **NUMPY, Loss="loss = ((y_pred - x) ** 2).sum(keepdims=True)"),
    odd(
        "warm-up without batches",
        FRONT.replace("epochs:", "warm_up: 2\nepochs:"),
        Predict="y_pred = w * x * (1 + batch)",
    ),
    odd(
        "batches and a report",
        FRONT.replace("epochs:", "batches: 3\nwarm_up: 1\nepochs:"),
        Predict="y_pred = w * x[batch]",
        Report="loss = (w * x).sum()",
    ),
    odd(
        "numbers of Python alone",
        **{**NUMPY, "Setup": "x = 3.0\nw = 0.5", "Gradient": "dw = 2 * x * (y_pred - 2 * x)"},
        Loss="loss = (y_pred - 2 * x) ** 2",
    ),
    odd("a loss made a float", **NUMPY, Loss="loss = float(((y_pred - x) ** 2).mean())"),
    odd(
        "a batch before there is any",
        FRONT.replace("epochs:", "batches: 2\nepochs:"),
        Setup=PLAIN["Setup"] + "\nfirst = x[batch].item()",
        Predict="y_pred = w * x[batch] + first",
    ),
    odd(
        "another alphabet",
        FRONT.replace("[w]", "[ŵ]"),
        **{name: code.replace("w", "ŵ").replace("ŵith", "with") for name, code in NUMPY.items()},
        Predict="y_pred = ŵ * x",
    ),
    odd(
        "a bfloat16",
        Setup="x = torch.ones(3, dtype=torch.bfloat16)\n"
        "w = torch.tensor(0.5, dtype=torch.bfloat16, requires_grad=True)",
    ),
    odd(
        "complex",
        Setup="x = torch.ones(2)\nw = torch.tensor(0.5 + 1j, requires_grad=True)",
        Loss="loss = ((y_pred - 2 * x).abs() ** 2).mean()",
    ),
    odd(
        "sparse beside the parameter",
        Setup="x = torch.eye(3).to_sparse()\nw = torch.ones(3, 1, requires_grad=True)",
        Predict="y_pred = torch.sparse.mm(x, w)",
        Loss="loss = ((y_pred - 2) ** 2).mean()",
    ),
    odd("not a number", Setup=PLAIN["Setup"].replace("0.5", "float('nan')")),
    odd("text as a value", **NUMPY, Predict="kind = 'a\\n\\x1b[1m\"'\ny_pred = w * x"),
)

CASES = (*(Case(lesson, mode) for lesson in LESSONS for mode in lesson.modes), *ODD)


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """By format and lesson: all run in one interpreter, since torch takes a while to load."""
    scripts = {f"{c.name}.py": [script(c.lesson, c.mode, c.settings)] for c in CASES}
    notebooks = {f"{c.name}.ipynb": c.pieces_of_notebook() for c in CASES}
    return printed_by({**scripts, **notebooks})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_script_and_notebook_print_what_the_tutor_prints(
    case: Case, printed: dict[str, str]
) -> None:
    use_one_thread()
    told = case.told_by_the_tutor()
    assert len(told.splitlines()) >= 3
    assert printed[f"{case.name}.py"] == told
    assert printed[f"{case.name}.ipynb"] == told


def test_every_mode_of_every_lesson_has_been_tried() -> None:
    assert len(CASES) - len(ODD) == sum(len(lesson.modes) for lesson in LESSONS) >= 18


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_notebook_is_one_by_the_standard(case: Case) -> None:
    content = nbformat.reads(notebook(case.lesson, case.mode), as_version=4)
    nbformat.validate(content)
    assert (content.nbformat, content.nbformat_minor) == (4, 5)
