"""The inspections of a run in words."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.plain_mode.listening import Finishing, answer_to, said
from tests.ui.exercises import AUTOGRAD, PREDICT
from tests.ui.fake_engine import Simulated, scalar
from tests.ui.lessons import lesson
from tests.ui.plots import contour, curve, data, gradient_norm, plane, slope
from tests.ui.test_compare_screen import comparison, one_parameter, xor
from tests.ui.test_graph_pane import line_graph, node
from tests.ui.test_lists import REPORT
from tutor.lesson.exercise import Stage, StartPlace
from tutor.plain_mode import CommandReader, LessonSource, spoken_inspections
from tutor.protocol.commands import (
    Command,
    DeleteRun,
    Examine,
    Fork,
    Inspect,
    RenameRun,
    SelectRun,
    WriteSeries,
)
from tutor.protocol.events import InspectionReady
from tutor.protocol.frame import NONE, Curve, Position, Remark, Value
from tutor.protocol.inspections import (
    AutogradGraph,
    LocalGradientQuestion,
    NoPlot,
    PlotData,
    PlotKind,
    RunInfo,
    VariableInfo,
)
from tutor.session.journal import Journal
from tutor.session.run_view import RunView, Start

INFO = VariableInfo(
    name="w",
    value=scalar(0.3),
    type="torch.Tensor",
    device="cpu",
    requires_grad=True,
    is_leaf=True,
    gradient=NONE,
)
PLOT_DATA: dict[PlotKind, PlotData] = {
    "data": data(),
    "landscape": slope(),
    "plane": NoPlot(why=Remark("features_for_plane", {"count": 1})),
    "gradient-norm": gradient_norm(30.0, 20.0, 25.5),
}


class Inspecting(Finishing):
    """An engine with prepared inspections."""

    def _answer(self, number: int, command: Command) -> None:
        super()._answer(number, command)
        if isinstance(command, Inspect):
            self.tell(
                InspectionReady(
                    at=self._here(),
                    run="A",
                    variable=replace(INFO, name=command.name) if command.name else None,
                    graph=replace(line_graph()) if command.graph else None,
                    comparison=comparison(one_parameter()) if command.compare else None,
                    plot=replace(PLOT_DATA[command.plot]) if command.plot else None,
                )
            )


def looked(*lines: str) -> str:
    return answer_to(*lines, engine=Inspecting())


# ── Variables ───────────────────────────────────────────────────────────────────────


def test_what_is_asked_for_is_in_no_graph_and_no_plot_before_the_answer():
    at_start = Stage(mode="autograd", at=StartPlace(1, "Predict"))
    asked = replace(PREDICT, stage=at_start, answer="loss", again=(), wrong=())
    looks = (("graph", "Value"), ("plot data", "y_pred is"), ("compare", "manual"))
    for line, told in looks:
        before, after = (
            answer_to(*lines, line, engine=Inspecting(), exercises=(asked,))
            for lines in (["a"], ["a", "3"])
        )
        assert told not in before.replace("Leaf w. Value", "")
        assert told in after


@pytest.mark.parametrize("command", ["formula loss", "read loss"])
def test_a_formula_does_not_tell_the_number_that_is_asked_for(command: str):
    at_loss = Stage(mode="autograd", at=StartPlace(2, "Loss"))
    asked = replace(PREDICT, stage=at_loss, answer="loss", again=(), wrong=())
    assert "30" in looked("next 6", command), "the loss of the epoch before"
    assert "30" not in answer_to("a", command, engine=Inspecting(), exercises=(asked,))


def test_inside_tells_the_facts_of_a_name():
    assert looked("inside w").splitlines() == [
        "w: torch.Tensor, float32, on cpu.",
        "Its value is 0.3.",
        "It is a leaf. requires_grad is True: backward fills its grad.",
        "Its gradient is None: there is none yet, which is not the same as 0.",
    ]
    assert looked("inside").startswith("Inside what? Type inside and a name, like inside w.")


@pytest.mark.parametrize(
    ("info", "line"),
    [
        (
            VariableInfo(name="q", remark=Remark("unknown_name")),
            "q has no value: nothing has this name here.",
        ),
        (VariableInfo(name="n", value=scalar(2.0)), "Autograd does not track it."),
        (
            replace(INFO, is_leaf=False, grad_fn="MulBackward0"),
            "It is not a leaf. requires_grad is True; grad_fn is MulBackward0.",
        ),
        (replace(INFO, gradient=scalar(-2.0)), "Its gradient is -2."),
    ],
)
def test_what_a_variable_is_to_autograd(info: VariableInfo, line: str):
    assert line in list(spoken_inspections.variable(info))


# ── The graph ───────────────────────────────────────────────────────────────────────


def test_the_graph_is_told_in_the_order_of_backward():
    text = looked("graph")
    assert text.startswith("The graph of this step has 4 operations and 1 leaf.")
    assert "Operation 2, PowBackward0, computes the square of operation 3. Inputs: " in text
    assert "Operation 3, SubBackward0, computes y_pred minus y. Inputs: operation 4." in text
    assert text.endswith("backward has not run in this step.")
    assert "Gradient: " not in text


def test_gradients_of_the_graph_are_told_once_backward_has_run():
    text = looked("next 3", "graph")
    assert "Leaf w. Value: 0. Gradient: -30. grad: before None, now -30." in text
    assert "backward has not run" not in text


def test_the_graph_hides_what_an_exercise_asks_for():
    frame = replace(Simulated(), epoch=1, step=2).frame()
    asked = LocalGradientQuestion(
        asks="local", output="(y_pred - y) ** 2", input="y_pred", values={}, expected=1.0, order=1
    )
    lines = list(spoken_inspections.graph(line_graph(), lesson(), frame, asked.known))
    assert [("Gradient: " in line) for line in lines[1:4]] == [True, True, False]
    text = answer_to("a autograd", "graph", engine=Inspecting(), exercises=(AUTOGRAD,))
    assert "Gradient: " not in text


def test_inputs_are_found_past_the_parts_of_a_composed_call():
    part = replace(node(1, "T", "", 2), within=0)
    graph = AutogradGraph(
        nodes=(node(0, "Linear", "linear(x, w)", 1), part, node(2, "Leaf", "w", name="w", old=NONE))
    )
    frame = Simulated().frame()
    lines = list(spoken_inspections.graph(graph, lesson(), frame, 0))
    assert "Operation 1, Linear, computes linear(x, w). Inputs: w." in lines


def test_inputs_without_a_name_are_named_by_their_numbers():
    leaf = node(4, "Leaf", "w", name="w", old=NONE, order=9)
    graph = AutogradGraph(
        nodes=(
            node(0, "Add", "(…) + (…) * z", 1, 2, 3),
            node(1, "Mul", "w * x", 4),
            node(2, "Pow", "(…) ** 2", 4),
            node(3, "Exp", "exp(w)", 4, name="z"),
            leaf,
        )
    )
    lines = list(spoken_inspections.graph(graph, lesson(), Simulated().frame(), 0))
    assert "computes operation 2 plus (operation 3 times z)." in lines[1]
    assert "computes the square of an earlier result." in lines[3]


def test_why_there_is_no_graph_is_told_without_a_key():
    frame = replace(Simulated(), mode="manual").frame()
    why = AutogradGraph(remarks=(Remark("not_all_seen"),))
    assert list(spoken_inspections.graph(why, lesson(), frame, 0)) == [
        "A gradient by hand has no graph.",
        "Type mode autograd to let PyTorch compute the gradient.",
    ]
    by_hand_alone = replace(lesson(), modes=("manual",))
    assert list(spoken_inspections.graph(why, by_hand_alone, frame, 0)) == [
        "A gradient by hand has no graph."
    ]
    (line,) = spoken_inspections.graph(why, lesson(), Simulated().frame(), 0)
    assert line == "Parts of it could not be examined."


# ── All modes ───────────────────────────────────────────────────────────────────────


def test_compare_tells_each_gradient_once_with_the_modes_that_found_it():
    lines = looked("compare").splitlines()
    assert "Not all are right: w." in lines
    assert "The run follows the gradient of autograd." in lines
    assert "The largest difference is 90." in lines
    assert "By manual: -120; 4 times autograd." in lines
    assert "By autograd, optimizer and model: -30; right." in lines


def test_compare_has_no_sign_that_a_screen_reader_leaves_out():
    factor = Remark("factor", {"factor": -4.0, "measure": "autograd"}, ("manual",))
    wrong = replace(one_parameter(), ratio={"manual": -4.0}, remarks=(factor,))
    view = RunView(lesson(), "manual", "cpu", 20, frame=Simulated().frame())
    text = "\n".join(spoken_inspections.comparison(comparison(wrong), view))
    assert text.count("-4 times autograd") == 2
    assert text.isascii()


def test_compare_names_the_batch_and_says_what_agrees():
    view = RunView(lesson(), "manual", "cpu", 20, frame=Simulated().frame())
    lines = list(spoken_inspections.comparison(xor(), view))
    assert any(line.startswith("By manual, autograd, optimizer, model and") for line in lines)


def test_modes_that_are_runs_of_their_own_are_not_compared():
    with_own_runs = replace(lesson(), comparable=False)
    out = io.StringIO()
    source = LessonSource(lambda name: with_own_runs, lambda: ())
    lines = io.StringIO("compare\n")
    CommandReader(Inspecting(), Journal(), source, lines, out).read("line", Start())
    assert "each mode is a run of its own" in out.getvalue()


# ── Plots ───────────────────────────────────────────────────────────────────────────


def test_plot_tells_every_plot_there_is_and_one_by_its_name():
    text = looked("epoch 3", "plot")
    assert "The loss by epoch: from 30 in epoch 1 to 15.6602 in epoch 3." in text
    assert "It was lowest in epoch 3: 15.6602.\nIt was highest in epoch 1: 30." in text
    assert "The data and the model: 7 points, x from 1 to 8." in text
    assert "The loss for w from -1 to 5." in text
    assert "a plane takes two" not in text
    assert looked("plot plane") == "each sample has 1 input, and a plane takes two."
    assert looked("plot data") in looked("plot")
    assert looked("plot pie") == (
        "There is no plot pie; available: loss, data, landscape, plane and gradient-norm."
    )
    assert looked("plot loss") == "There is no loss to plot yet: no epoch has ended."


@pytest.mark.parametrize(
    ("plot", "lines"),
    [
        (data(), ["At x = 1: y is 2.8, y_pred is 2.2.", "The largest error is 5.7, at x = 6.5."]),
        (
            slope(),
            [
                "In this range it is lowest near w = 2: 0.",
                "The run is at w = 0.3, where the loss is 21.675.",
                "The slope there is -25.5: the loss falls as w grows.",
                "The update leads to w = 0.555, where the loss is 15.6602.",
            ],
        ),
        (
            slope(slope=None, next_at=None, next_loss=None),
            ["The slope is not known yet: no gradient has been computed in this step."],
        ),
        (slope(axis="along_x"), ["The loss for along_x from"]),
        (slope(axis=""), ["The loss along the gradient, at distances from"]),
        (slope(is_done=True), ["The update led to w = 0.555, where the loss is 15.6602."]),
        (
            contour(),
            [
                "The loss for w from -1 to 5 and b from -6 to 6.",
                "In this range it is lowest near w = 2, b = -1.2: 0.1.",
                "It came from w = 0, b = 4.",
                "The gradient there is 1 and 1.",
                "The update leads to w = 0.850339, b = 2.27743.",
            ],
        ),
        (
            gradient_norm(30.0, 20.0, 25.5),
            [
                "The norm of the gradient by epoch: from 30 in epoch 1 to 25.5 in epoch 3.",
                "It was lowest in epoch 2: 20.",
                "It was highest in epoch 1: 30.",
            ],
        ),
        (
            gradient_norm(30.0, 20.0, last_epoch=900),
            ["It was computed for 2 epochs of 900."],
        ),
        (gradient_norm(math.nan), ["The norm of the gradient by epoch: it was never finite."]),
        (
            plane(),
            [
                "It goes from 0.0179862 to 0.999665.",
                "At x[0] = 0, x[1] = 1: the target is 1, o2 is about 0.982.",
            ],
        ),
    ],
)
def test_a_plot_in_words(plot: PlotData, lines: list[str]):
    told = list(spoken_inspections.plot(plot))
    for line in lines:
        assert any(each.startswith(line) for each in told), told


def test_a_loss_that_is_not_finite_is_left_out_of_the_lowest():
    lines = list(spoken_inspections.loss_curve(curve(4.0, float("nan"), 2.0)))
    assert "It was lowest in epoch 3: 2." in lines
    assert list(spoken_inspections.loss_curve(curve(float("inf")))) == [
        "The loss by epoch: it was never finite."
    ]
    (none,) = spoken_inspections.loss_curve(curve(float("nan")), has_loss=False)
    assert "no loss" in none


def test_a_thinned_loss_names_all_epochs_of_a_column():
    """Each column has the least and greatest loss of three epochs, but of no single one."""
    thinned = Curve(epochs=(1, 4), low=(1.0, 5.0), high=(9.0, 7.0), last_epoch=6, here=6)
    told = " ".join(spoken_inspections.loss_curve(thinned))
    assert "epochs 1 to 3: 1." in told
    assert "epochs 1 to 3: 9." in told
    assert "in epoch 1" not in told
    assert "in epoch 6" not in told


# ── Runs ────────────────────────────────────────────────────────────────────────────


def kinds(*lines: str) -> list[Command]:
    engine = Inspecting()
    said(*lines, engine=engine)
    changes = Fork | SelectRun | RenameRun | DeleteRun
    return [command for command in engine.sent if isinstance(command, changes)]


def test_runs_are_listed_and_named_by_name_or_letter():
    assert "There is one run. Type fork" in looked("runs")
    text = looked("s", "fork", "runs rename b fast", "runs")
    assert text.startswith("Run A, this run: mode autograd, learning rate 0.01, seed 0, 1 epoch, ")
    assert "Run fast, letter B: " in text
    forked = RunInfo(name="C", mode="manual", device="cpu", learning_rate=0.1, seed=0, last_epoch=0,
                     loss=float("nan"), forked_at=Position(3, 0), letter="C")  # fmt: skip
    line, _ = spoken_inspections.runs([forked])
    assert line == "Run C: mode manual, learning rate 0.1, seed 0, 0 epochs, forked in epoch 3."


def test_a_run_is_resumed_renamed_and_deleted():
    sent = kinds("fork", "runs go b", "runs rename B fast", "runs delete fast")
    assert [type(command) for command in sent] == [Fork, SelectRun, RenameRun, DeleteRun]
    assert [getattr(command, "name", "") for command in sent] == ["", "B", "B", "fast"]


@pytest.mark.parametrize(
    ("typed", "reply"),
    [
        ("runs go A", "You are already in run A."),
        ("runs go Z", "There is no run Z; available: A."),
        ("runs rename A", "Type runs alone for the list"),
        ("runs rename A 1234567890123", "A run's name can have at most 12"),
        ("runs burn A", "Type runs alone for the list"),
    ],
)
def test_a_run_that_can_not_be_meant_is_refused(typed: str, reply: str):
    assert looked(typed).startswith(reply)
    assert kinds(typed) == []


# ── Files ───────────────────────────────────────────────────────────────────────────


def test_export_writes_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert looked("export script").endswith("line-autograd.py")
    assert looked(f"export notebook {tmp_path / 'a b.ipynb'}").endswith("a b.ipynb")
    assert {file.name for file in tmp_path.iterdir()} == {"line-autograd.py", "a b.ipynb"}
    assert "already exists" in looked("export script line-autograd")
    assert looked("export script b.ipynb") == "The name of a script file ends in .py."
    assert looked("export") == "Type export, then script, notebook or figures, then a file."
    assert "There is no folder" in looked("export script nowhere/a.py")


def test_figures_are_written_by_the_engine(tmp_path: Path):
    engine = Inspecting()
    said(f"export figures {tmp_path}/f", engine=engine)
    (command,) = (c for c in engine.sent if isinstance(c, WriteSeries))
    assert command.path == f"{tmp_path}/f.csv"


# ── While it is computed ────────────────────────────────────────────────────────────


def test_nothing_is_computed_any_more_once_it_has_been_told():
    engine = Inspecting()
    said("graph", "compare", "inside w", "plot", "next", engine=engine)
    looks = [command for command in engine.sent if isinstance(command, Inspect)]
    last = looks[-1]
    assert (last.columns, last.plot, last.name, last.graph, last.compare) == (
        0,
        None,
        "",
        False,
        False,
    )


class Silent(Finishing):
    """An engine that computes an inspection forever."""

    busy = 0.0

    def _answer(self, number: int, command: Command) -> None:
        super()._answer(number, command)
        self.busy = 100.0 if isinstance(command, Inspect) and command.graph else 0.0

    def busy_for(self) -> float:
        return self.busy


def test_an_inspection_that_never_comes_is_given_up():
    text = answer_to("graph", engine=Silent())
    assert "It was not computed." in text


def test_a_value_without_numbers_has_no_gradient_line():
    info = VariableInfo(name="model", value=Value((), (), "text", "Line()"), type="Line")
    assert list(spoken_inspections.variable(info)) == ["model: Line.", "Its value is Line()."]


def test_the_doctor_tells_its_findings_and_the_result() -> None:
    engine = Finishing()
    engine.report = REPORT
    told = answer_to("doctor", engine=engine)
    assert all(part in told for part in ("Line 12", "w.grad = None", "31.25", "b[0]"))
    assert "`" not in told
    assert told.isascii(), "a screen reader leaves out other signs than ASCII's"
    assert [c.with_taught for c in engine.sent if isinstance(c, Examine)][-1:] == [False]
    said("doctor all", engine=engine)
    assert [c.with_taught for c in engine.sent if isinstance(c, Examine)][-1:] == [True]
