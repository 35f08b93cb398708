"""All modes from the same parameters, batch by batch beside a run that they leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests import shipped as lessons
from tutor.analysis.finite_differences import gradients_by_differences, probes_at_batches
from tutor.analysis.mode_comparison import ModeLockstep
from tutor.lesson.document import parse
from tutor.protocol.frame import NONE, Remark
from tutor.protocol.inspections import FINITE_DIFFERENCE, ModeComparison, ParameterComparison
from tutor.training.devices import use_one_thread
from tutor.training.program import Program, programs_of
from tutor.training.run import Run
from tutor.wording.remarks import gradient_standing

FRONT = """---
title: A test
summary: A test.
parameters: [w]
learning_rate: 0.01
epochs: 10
---
"""

MANUAL = {
    "Setup": "x = np.array([1.0, 2.0, 3.0], dtype=np.float32)\nw = np.float32(0.5)",
    "Predict": "y_pred = w * x",
    "Loss": "loss = ((y_pred - 2 * x) ** 2).mean()",
    "Gradient": "dw = (2 * x * (y_pred - 2 * x)).mean()",
    "Update": "w -= learning_rate * dw",
    "Reset": "",
}
AUTOGRAD = {
    "Setup": "x = torch.tensor([1.0, 2.0, 3.0])\nw = torch.tensor(0.5, requires_grad=True)",
    "Predict": "y_pred = w * x",
    "Loss": "loss = ((y_pred - 2 * x) ** 2).mean()",
    "Gradient": "loss.backward()",
    "Update": "with torch.no_grad():\n    w -= learning_rate * w.grad",
    "Reset": "w.grad.zero_()",
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As the tutor itself computes; several would wait for each other on a busy machine."""
    use_one_thread()


def programs(tmp_path: Path, **modes: Mapping[str, str]) -> dict[str, Program]:
    """A lesson in these modes: MANUAL or AUTOGRAD, but for the phases that are given."""
    text = FRONT
    usual = {"manual": MANUAL}
    code = {mode: {**usual.get(mode, AUTOGRAD), **phases} for mode, phases in modes.items()}
    for phase in AUTOGRAD:
        text += f"## {phase}\n"
        for mode, phases in code.items():
            if phases[phase]:
                text += f"```python {mode}\n{phases[phase]}\n```\n"
    return programs_of(parse(text, tmp_path / "test.md"))


def compared(
    made: Mapping[str, Program], epochs: int = 1, lead: str = "autograd", patience: int = 1
) -> list[ModeComparison]:
    """What is found in each of the first epochs."""
    run, lockstep = side_by_side(made, lead, patience)
    found = []
    for epoch in range(1, epochs + 1):
        run.run_to(epoch)
        found.append(one(lockstep, run))
    return found


def side_by_side(
    made: Mapping[str, Program], lead: str = "autograd", patience: int = 1
) -> tuple[Run, ModeLockstep]:
    """A run in one mode, and the modes that are compared beside it."""
    run = Run(made, lead)
    return run, ModeLockstep(made, "cpu", run.learning_rate, 0, patience=patience)


def one(lockstep: ModeLockstep, run: Run) -> ModeComparison:
    found = lockstep.compare(run.standpoint(), run.at.epoch)
    assert found is not None
    return found


def remarks(found: ModeComparison) -> dict[str, tuple[Remark, ...]]:
    return {row.parameter: row.remarks for row in found.parameters}


def codes(found: ModeComparison) -> dict[str, list[str]]:
    return {name: [remark.code for remark in them] for name, them in remarks(found).items()}


def number(row: ParameterComparison, mode: str) -> float:
    (gradient,) = row.gradients[mode].data
    return gradient


# ── The shipped lessons ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("slug", "factor"), [("sum-or-mean", 4.0), ("twenty-points", 20.0)], ids=str
)
def test_the_published_gradient_by_hand_is_told_as_a_sum(slug: str, factor: float) -> None:
    for found in compared(lessons.programs(slug), epochs=3):
        (remark,) = remarks(found)["w"]
        assert (remark.code, remark.values["reason"], remark.modes) == (
            "factor",
            "sum",
            ("manual",),
        )
        assert remark.values["factor"] == pytest.approx(factor)
        assert found.parameters[0].ratio == {"manual": factor}


@pytest.mark.parametrize(
    ("slug", "lead"),
    [
        *((slug, "autograd") for slug in ("one-weight", "thermometer", "xor", "two-workers")),
        ("ddp", "model"),
    ],
)
def test_in_the_other_lessons_all_modes_agree(slug: str, lead: str) -> None:
    """On several ranks in the gradient of rank 0's own loss, whichever mode takes the mean."""
    made = lessons.programs(slug)
    for found in compared(made, epochs=3, lead=lead):
        assert [row.agrees for row in found.parameters] == [True] * len(found.parameters)
        assert all(of_one == ["agree"] for of_one in codes(found).values())


def test_a_mode_with_a_parameter_of_its_own_is_another_function() -> None:
    made = lessons.programs("line-through-origin")
    for found in compared(made, epochs=3):
        assert codes(found) == {
            "w": ["agree", "another_function"],
            "b": ["only", "agrees_with_differences"],
        }
        assert remarks(found)["w"][1].values == {"more": ["b"], "less": []}
        assert all(row.agrees for row in found.parameters)
        held = Remark("held", {"parameters": ["b"], "leader": "autograd"}, ("model",))
        assert found.remarks == (held,)
    shown = compared(made, epochs=1)[0].parameters[0].gradients["model"]
    led = compared(made, epochs=1, lead="model")[0]
    assert led.remarks == ()
    assert shown.shape == ()  # as autograd's w, though the model's is a matrix


def test_the_first_epoch_has_the_published_gradients() -> None:
    row = compared(lessons.programs("sum-or-mean"))[0].parameters[0]
    assert {m: number(row, m) for m in row.gradients} == {
        "manual": -120.0, "autograd": -30.0, FINITE_DIFFERENCE: -30.0}  # fmt: skip


# ── ModeLockstep ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("patience", [1, 3])
def test_a_mode_that_forgets_its_reset_shows_the_gradients_added_up(
    tmp_path: Path, patience: int
) -> None:
    made = programs(tmp_path, manual={}, autograd={}, model={"Reset": "pass"})
    found = compared(made, epochs=3)
    right = [number(f.parameters[0], "autograd") for f in found]
    summed = [number(f.parameters[0], "model") for f in found]
    assert summed == pytest.approx(np.cumsum(right), rel=1e-6)
    assert codes(found[0]) == {"w": ["agree"]}
    assert codes(found[2]) == {"w": ["factor", "others_agree"]}
    assert remarks(found[2])["w"][0].values["reason"] == "added_up"


def test_with_patience_a_jump_shows_what_going_there_by_epochs_does(tmp_path: Path) -> None:
    made = programs(tmp_path, autograd={}, model={"Reset": "pass"})
    third = compared(made, epochs=3)[2]
    run, lockstep = side_by_side(made, patience=2)
    run.run_to(1)
    one(lockstep, run)
    run.run_to(3)
    jumped = one(lockstep, run)
    assert number(jumped.parameters[0], "model") == number(third.parameters[0], "model")
    assert remarks(jumped) == remarks(third)


def test_a_jump_back_begins_anew(tmp_path: Path) -> None:
    made = programs(tmp_path, autograd={}, model={"Reset": "pass"})
    run, lockstep = side_by_side(made)
    for epoch in (1, 2, 3):
        run.run_to(epoch)
        one(lockstep, run)
    run.seek(1)
    assert number(one(lockstep, run).parameters[0], "model") == number(
        one(lockstep, run).parameters[0], "autograd"
    )


def test_the_leader_that_forgets_its_reset_is_accused_itself(tmp_path: Path) -> None:
    made = programs(tmp_path, manual={}, autograd={"Reset": "pass"})
    second = compared(made, epochs=2)[1]
    assert codes(second) == {"w": ["factor", "others_agree"]}
    wrong = remarks(second)["w"][0]
    assert wrong.modes == ("autograd",)
    assert (wrong.values["measure"], wrong.values["reason"]) == (FINITE_DIFFERENCE, "added_up")


def test_comparing_twice_at_one_place_says_the_same(tmp_path: Path) -> None:
    made = programs(tmp_path, manual={}, autograd={}, model={"Reset": "pass"})
    run, lockstep = side_by_side(made)
    seen = []
    for _ in range(8):  # phase by phase through two epochs
        run.step_phase()
        seen.append((run.at.epoch, number(one(lockstep, run).parameters[0], "model")))
    assert len({value for epoch, value in seen if epoch == 1}) == 1
    assert len(set(seen)) == 2


def test_before_the_first_step_it_shows_the_gradient_to_come(tmp_path: Path) -> None:
    made = programs(tmp_path, manual={}, autograd={}, model={"Reset": "pass"})
    run, lockstep = side_by_side(made)
    before = one(lockstep, run)
    run.run_to(1)
    after = one(lockstep, run)
    assert before.epoch == after.epoch == 1
    assert [number(before.parameters[0], m) for m in made] == [
        number(after.parameters[0], m) for m in made
    ]


def test_batches_follow_each_other_through_warm_up_and_epochs() -> None:
    made = lessons.programs("xor")
    run, lockstep = side_by_side(made)
    places = []
    for _ in range(22):
        run.step_phase()
        found = one(lockstep, run)
        places.append((found.epoch, found.batch))
        assert all(row.agrees for row in found.parameters)
    assert list(dict.fromkeys(places)) == [(0, 0), (1, 0), (1, 1), (1, 2), (1, 3)]


def test_the_run_and_its_random_numbers_are_left_alone(tmp_path: Path) -> None:
    noisy = {"Predict": "y_pred = w * x + torch.randn(3)"}
    made = programs(tmp_path, autograd=noisy, model=noisy)
    alone, watched = Run(made, "autograd"), []
    frames = [alone.step_phase() for _ in range(10)]
    run, lockstep = side_by_side(made)
    for _ in range(10):
        watched.append(run.step_phase())
        assert one(lockstep, run).parameters[0].agrees
    assert watched == frames


# ── What may go wrong ───────────────────────────────────────────────────────────────


def test_a_mode_that_raises_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    made = programs(
        tmp_path, manual={"Gradient": "dw = 1.0\nraise ValueError('three')"}, autograd={}
    )
    for found in compared(made, epochs=2):
        (raised,) = remarks(found)["w"]
        assert (raised.code, raised.modes) == ("raised", ("manual",))
        assert raised.values["error"] == ("text", {"text": "ValueError: three"})
        assert raised.values["phase"] == "Gradient"
        assert raised.values["line"]
        assert found.parameters[0].gradients["manual"] == NONE
        assert number(found.parameters[0], FINITE_DIFFERENCE) == pytest.approx(
            number(found.parameters[0], "autograd")
        )


def test_a_setup_that_raises_is_told_too(tmp_path: Path) -> None:
    made = programs(tmp_path, manual={"Setup": "w = np.float32(1 // 0)"}, autograd={})
    raised = remarks(compared(made)[0])["w"][0]
    assert raised.values["error"][1]["text"].startswith("ZeroDivisionError")


def test_a_gradient_that_the_code_forgets_is_told(tmp_path: Path) -> None:
    made = programs(
        tmp_path, manual={"Gradient": "if not w:\n    dw = 0.0", "Update": "pass"}, autograd={}
    )
    missing = Remark("no_variable", {"parameter": "w"}, ("manual",))
    assert remarks(compared(made)[0]) == {"w": (missing,)}


def test_another_loss_is_told_as_such(tmp_path: Path) -> None:
    made = programs(
        tmp_path,
        manual={
            "Loss": "loss = ((y_pred - 2 * x) ** 2).sum()",
            "Gradient": "dw = (2 * x * (y_pred - 2 * x)).sum()",
        },
        autograd={},
    )
    ((wrong,),) = remarks(compared(made)[0]).values()
    assert (wrong.code, wrong.modes) == ("factor_of_another_loss", ("manual",))
    assert wrong.values["measure"] == "autograd"
    numbers = [wrong.values[key] for key in ("factor", "loss", "right_loss")]
    assert numbers == pytest.approx([3.0, 31.5, 10.5])


def test_a_mode_keeps_the_data_of_its_own_setup(tmp_path: Path) -> None:
    halved = AUTOGRAD["Setup"].replace("3.0])", "3.0]) / 2")
    made = programs(tmp_path, autograd={}, optimizer={"Setup": halved})
    row = compared(made)[0].parameters[0]
    assert 4 * number(row, "optimizer") == pytest.approx(number(row, "autograd"))
    (wrong,) = row.remarks
    numbers = [wrong.values[key] for key in ("factor", "loss", "right_loss")]
    assert (wrong.modes, numbers) == (("optimizer",), pytest.approx([0.25, 2.625, 10.5]))


def test_at_a_kink_of_relu_both_answers_are_right(tmp_path: Path) -> None:
    at_zero = {"Predict": "y_pred = -torch.relu(-w * x)"}
    made = programs(
        tmp_path,
        manual={
            "Setup": MANUAL["Setup"].replace("0.5", "0.0"),
            "Predict": "y_pred = -np.maximum(-w * x, 0)",
            "Gradient": "dw = (2 * x * (y_pred - 2 * x)).mean()",
        },
        autograd={**at_zero, "Setup": AUTOGRAD["Setup"].replace("0.5", "0.0")},
    )
    row = compared(made)[0].parameters[0]
    assert row.agrees
    (kink,) = row.remarks
    assert (kink.code, kink.modes) == ("kink", ("manual", "autograd"))
    slopes = [kink.values["left"], kink.values["right"], *kink.values["taken"]]
    assert slopes == pytest.approx([-56 / 3, 0, -56 / 3, 0], abs=1e-3)


def test_close_to_a_kink_the_referee_sees_the_side_that_it_stands_on(tmp_path: Path) -> None:
    near = {
        "Setup": "x = torch.tensor([1.0])\nw = torch.tensor(1e-6, requires_grad=True)",
        "Predict": "y_pred = torch.relu(w * x)",
        "Loss": "loss = ((y_pred - 3) ** 2).mean()",
    }
    row = compared(programs(tmp_path, autograd=near))[0].parameters[0]
    assert [remark.code for remark in row.remarks] == ["agrees_with_differences"]
    assert number(row, FINITE_DIFFERENCE) == pytest.approx(-6.0, rel=1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("lead", ["manual", "autograd"])
def test_a_gradient_that_is_wrong_in_its_imaginary_part_alone_is_found(
    tmp_path: Path, lead: str
) -> None:
    """The loss is |wx − t|² on average; both modes hold `w` as a complex number."""
    loss = "loss = (abs(w * x - 1j) ** 2).mean()"
    setup = "x = np.array([1.0, 2.0 - 1.0j])\nw = np.complex128(0.5 + 0.25j)"
    by_hand = "dw = (2 * np.conj(x) * (w * x - 1j)).mean()"
    automatic = {
        "Setup": "x = torch.tensor([1.0, 2.0 - 1.0j], dtype=torch.complex128)\n"
        "w = torch.tensor(0.5 + 0.25j, dtype=torch.complex128, requires_grad=True)",
        "Loss": loss,
    }
    for extra, expected in (("", ["agree"]), ("\ndw += 0.5j", ["elements"])):
        manual = {"Setup": setup, "Loss": loss, "Gradient": by_hand + extra}
        made = programs(tmp_path, manual=manual, autograd=automatic)
        found = compared(made, epochs=2, lead=lead)
        assert [codes(each)["w"][: len(expected)] for each in found] == [expected] * 2
    diagnosis = found[0].parameters[0]
    assert diagnosis.is_complex
    assert diagnosis.remarks[0].values["index"] == [1]
    assert diagnosis.apart == {"manual": (1,)}


def test_of_a_large_parameter_some_elements_are_checked(tmp_path: Path) -> None:
    large = {
        "Setup": "x = torch.linspace(0, 1, 20000)\nw = torch.zeros(20000, requires_grad=True)",
        "Loss": "loss = ((y_pred - 2 * x) ** 2).sum()",
    }
    made = programs(tmp_path, autograd=large)
    found = compared(made)[0]
    row = found.parameters[0]
    sampled = Remark("sampled", {"checked": 64, "size": 20000})
    assert codes(found) == {"w": ["agrees_with_differences", "sampled"]}
    assert row.remarks[-1] == sampled
    assert len(row.gradients["autograd"].data) == 64
    assert gradient_standing(row, FINITE_DIFFERENCE) == "64 of 20000 elements checked"
    run = Run(made)
    whole = ModeLockstep(made, "cpu", run.learning_rate, 0).compare(run.standpoint(), 0, most=20000)
    assert whole is not None
    referee = whole.parameters[0].gradients[FINITE_DIFFERENCE].data
    assert np.isfinite(referee).sum() == 64


NETWORK = {
    "Setup": """x = torch.rand(16, 3)
net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout())
w = net[0].weight
optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate, momentum=0.9)""",
    "Predict": "y_pred = net(x)",
    "Loss": "loss = ((y_pred - 2) ** 2).mean()",
    "Update": "optimizer.step()",
    "Reset": "optimizer.zero_grad()",
}
"""More than its parameters is trained, kept and drawn: bias, running means, a dropout."""


@pytest.mark.parametrize("epochs", [(1, 2, 3), (1, 5, 2, 30)], ids=["in steps", "in jumps"])
def test_what_a_mode_has_besides_its_parameters_comes_along(
    tmp_path: Path, epochs: tuple[int, ...]
) -> None:
    made = programs(tmp_path, autograd=NETWORK, model=NETWORK)
    run, lockstep = side_by_side(made)
    for epoch in epochs:
        run.seek(epoch)
        row = one(lockstep, run).parameters[0]
        assert row.remarks == (Remark("agree"),)
        assert row.largest == 0


def test_it_can_be_broken_off_and_asked_again(tmp_path: Path) -> None:
    made = programs(tmp_path, manual={}, autograd={}, model={"Reset": "pass"})
    run, lockstep = side_by_side(made)
    run.run_to(1)
    one(lockstep, run)
    run.run_to(2)
    for patience in range(4):
        asked = iter([False] * patience)
        assert lockstep.compare(run.standpoint(), 2, lambda: next(asked, True)) is None  # noqa: B023
    assert remarks(one(lockstep, run))["w"][0].values["reason"] == "added_up"


def test_a_loss_too_large_for_differences_is_told(tmp_path: Path) -> None:
    huge = {"Loss": "loss = ((y_pred - 2 * x) ** 2).mean() + 1e12"}
    made = programs(tmp_path, autograd=huge, model=huge)
    assert codes(compared(made)[0]) == {"w": ["agree", "differences_unsure"]}


def test_a_lesson_that_makes_float32_of_everything_is_refereed_more_coarsely(
    tmp_path: Path,
) -> None:
    single = {"Predict": "y_pred = w.float() * x.float()"}
    made = programs(tmp_path, manual={}, autograd=single)
    assert compared(made)[0].parameters[0].agrees


def test_the_referee_leaves_its_probe_as_it_was(tmp_path: Path) -> None:
    probe = next(probes_at_batches(programs(tmp_path, autograd={})["autograd"]))
    before = probe.loop.parameter_values()
    found = gradients_by_differences(probe, {})
    assert found["w"].slopes == pytest.approx(-14.0)
    assert probe.loop.parameter_values() == before


def test_a_sight_carries_the_referee_last(tmp_path: Path) -> None:
    comparison = compared(programs(tmp_path, manual={}, autograd={}))[0]
    assert list(comparison.parameters[0].gradients) == ["manual", "autograd", FINITE_DIFFERENCE]
    assert comparison.leader == "autograd"
