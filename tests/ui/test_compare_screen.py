"""The compare screen: every mode's gradient side by side, and in words how they agree."""

from __future__ import annotations

import math
import re

import msgspec
import numpy as np
import pytest

from tutor.analysis.finite_differences import ModeGradient, Slopes
from tutor.analysis.gradient_diagnosis import diagnose
from tutor.protocol.commands import Inspect
from tutor.protocol.events import InspectionReady
from tutor.protocol.frame import NONE, Remark, Value
from tutor.protocol.inspections import FINITE_DIFFERENCE, ModeComparison, ParameterComparison
from tutor.session.run_view import Inspections, Notice, RunView
from tutor.ui.screens.compare import COMPARE_COMMANDS, SHARED, CompareScreen, ComparisonPane
from tutor.ui.screens.lesson import LessonScreen

from .conftest import LARGE, SMALL, Learner, doing
from .exercises import PREDICT
from .fake_engine import Simulated, scalar
from .lessons import lesson

SUM = "manual is 4 times autograd: a sum where the mean was meant"
HELD = Remark("held", {"parameters": ["b"], "leader": "manual"}, modes=("model",))
KINK = {"index": [], "left": 0.0, "right": 1.0, "taken": [0.0, 1.0], "more": 0}
TOO_LARGE = Remark(
    "factor", {"factor": 4.0, "measure": "autograd", "reason": "sum"}, modes=("manual",)
)
MODES = ("manual", "autograd", "optimizer", "model", FINITE_DIFFERENCE)


def array(shape: tuple[int, ...], *numbers: float) -> Value:
    return Value(numbers, shape, "float32")


def agreeing(name: str, right: Value, **more: object) -> ParameterComparison:
    told: dict[str, object] = {
        "gradients": dict.fromkeys(MODES, right),
        "ratio": dict.fromkeys(MODES[2:-1], 1.0),
        "largest": 3.1e-9,
        "remarks": (Remark("agree", {"rounding": 1e-7, "dtype": "float32"}),),
        "agrees": True,
        "standing": dict.fromkeys(MODES[:-1], "right"),
    }
    return ParameterComparison(parameter=name, **{**told, **more})  # type: ignore[arg-type]


def differing(name: str, right: Value, manual: Value, **more: object) -> ParameterComparison:
    """All modes agree but manual, in its first element."""
    told: dict[str, object] = {
        "gradients": {**dict.fromkeys(MODES, right), "manual": manual},
        "largest": 0.5,
        "remarks": (Remark("others_agree"),),
        "agrees": False,
        "is_equal": False,
        "standing": {**dict.fromkeys(MODES[:-1], "right"), "manual": "wrong"},
        "apart": {"manual": (0,)},
    }
    return agreeing(name, right, **{**told, **more})


def one_parameter() -> ParameterComparison:
    """A sum where the mean was meant, in a lesson of one parameter and four modes."""
    found = differing(
        "w", scalar(-30.0), scalar(-120.0), largest=90.0, remarks=(TOO_LARGE,),
        ratio={"manual": 4.0, "optimizer": 1.0, "model": 1.0},
    )  # fmt: skip
    gradients = {**found.gradients, FINITE_DIFFERENCE: scalar(-30.00001)}
    return msgspec.structs.replace(found, gradients=gradients)


def xor(batch: int = 1) -> ModeComparison:
    return ModeComparison(
        epoch=3,
        batch=batch,
        leader="autograd",
        parameters=(
            agreeing("w1", array((2, 2), 0.0, 0.0, 0.0243612, -0.0973)),
            agreeing("b1", array((2,), 0.0243612, 0.0)),
            agreeing("w2", array((2, 1), 0.0487, 0.0)),
            agreeing("b2", array((1,), 0.2436112)),
        ),
    )


def sure_slopes(number: float) -> Slopes:
    """Finite differences without rounding errors."""
    nothing = np.array(np.nan)
    return Slopes(np.array(number), np.array(1e-10), nothing, nothing, np.array(1.0), (1, 1))


def comparison(
    *parameters: ParameterComparison, epoch: int = 3, remarks: tuple[Remark, ...] = ()
) -> ModeComparison:
    return ModeComparison(
        epoch=epoch, batch=0, leader="autograd", parameters=parameters, remarks=remarks
    )


def view_of(seen: ModeComparison | None, epoch: int = 3, batches: int = 1) -> RunView:
    frame = msgspec.structs.replace(Simulated(epoch=epoch, step=3).frame(), batches=batches)
    inspections = Inspections(comparison=seen)
    return RunView(lesson(), "autograd", "cpu", 20, frame=frame, inspections=inspections)


WIDTH = 78
"""The columns of the pane in a small terminal."""


def shown(
    seen: ModeComparison | None, *, width: int = WIDTH, epoch: int = 3, batches: int = 1
) -> list[str]:
    """All lines of the pane, also those that have to be scrolled to."""
    pane = ComparisonPane(id="comparison")
    pane.set_reactive(ComparisonPane.view, view_of(seen, epoch, batches))
    lines = pane.build(width)
    assert max(content.cell_length for content in lines) <= width
    return [content.plain for content in lines]


def row(lines: list[str], label: str) -> str:
    return next(found for found in lines if found.startswith(f"  {label}"))


# ── What is compared ────────────────────────────────────────────────────────────────


def test_a_parameter_has_a_row_for_each_mode_and_for_the_finite_difference() -> None:
    lines = shown(comparison(one_parameter()))
    assert f"w  ✗ {SUM}" in lines
    assert "   largest difference 90" in lines
    table = lines[lines.index("   largest difference 90") + 1 :]
    assert [found[2:21].strip() for found in table] == [*MODES[:-1], "finite difference"]
    points = [found.index(digits) for found, digits in
              zip(table, ("120", "30", "30", "30", "30.0000"), strict=True)]  # fmt: skip
    assert points == [points[0], *[points[0] + 1] * 4]
    assert "✗ −120" in table[0]
    assert table[0].endswith("4 times autograd")
    assert table[2].endswith("right")


@doing(PREDICT)
async def test_gradients_are_compared_and_the_code_examined_only_after_the_answer(
    learner: Learner,
) -> None:
    await learner.press("escape")  # the field
    for key in ("c", "exclamation_mark"):
        await learner.press(key)
        assert isinstance(learner.app.screen, LessonScreen)
        assert learner.session.notice == Notice("answer_first", kind="refused")
    await learner.press("a", *"-30", "enter", "c")
    assert isinstance(learner.app.screen, CompareScreen)


@pytest.mark.app(first=msgspec.structs.replace(lesson(), comparable=False))
async def test_modes_that_are_runs_of_their_own_are_not_laid_side_by_side(learner: Learner) -> None:
    await learner.press("c")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.app.screen.notice == Notice("no_comparison", kind="no_effect")


def test_one_parameter_fits_a_small_terminal_and_a_network_of_two_layers_a_large_one() -> None:
    assert len(shown(comparison(one_parameter()))) <= SMALL[1] - 4
    assert len(shown(xor(), batches=4, width=LARGE[0] - 2)) <= LARGE[1] - 4


def test_an_array_has_a_column_for_each_element() -> None:
    lines = shown(xor(), batches=4)
    assert lines[0].startswith("Epoch 3, batch 2 of 4")
    assert "✓ All agree" in lines[0]
    assert "[0, 0]  [0, 1]    [1, 0]     [1, 1]" in "\n".join(lines)
    assert row(lines, "manual").split() == ["manual", "0", "0", "0.024361", "−0.097300"]
    assert sum("✓ agree except for float32 rounding" in found for found in lines) == 4


def test_the_elements_that_differ_are_marked_and_come_first_where_room_is_scarce() -> None:
    numbers = [i * 0.01 for i in range(1, 65)]
    wrong = [*numbers[:60], numbers[60] + 0.5, *numbers[61:]]
    right = array((8, 8), *numbers)
    compared = differing("w1", right, array((8, 8), *wrong), apart={"manual": (60,)})
    lines = shown(comparison(compared))
    assert "✗ 1.11" in row(lines, "manual")
    assert row(lines, "manual").count("✗") == 1
    assert "✗" not in row(lines, "finite")
    assert any("[7, 4]" in found for found in lines)
    assert any("more elements" in found for found in lines)
    every = {"manual": tuple(range(64))}
    halved = differing("w1", array((8, 8), *[0.5] * 64), array((8, 8), *[0.25] * 64), apart=every)
    counted = next(found for found in shown(comparison(halved)) if "more elements" in found)
    assert re.search(r"… (\d+) more elements, \1 of which differ", counted)


def test_a_kink_is_no_error() -> None:
    kink = differing(
        "w",
        scalar(1.0),
        scalar(0.0),
        remarks=(Remark("kink", KINK, ("manual", "autograd")),),
        agrees=True,
        standing=dict.fromkeys(MODES[:-1], "right"),
        apart={},
    )
    lines = shown(comparison(kink))
    assert "All agree" not in lines[0]
    assert "All are right, though not equal: w" in lines[0]
    assert any(found.startswith("w  ✓ on a kink") for found in lines)
    assert "✗" not in "\n".join(lines)
    assert "differs" not in "\n".join(lines)


def test_the_mode_that_is_wrong_is_marked_whichever_it_is() -> None:
    """Autograd too: the marks, the words beside them and the sentence are of one diagnosis."""
    said = diagnose(
        "w",
        [
            ModeGradient("manual", np.array(-27.0), np.array(-27.0)),
            ModeGradient("autograd", np.array(-81.0), np.array(-81.0), old=np.array(-54.0)),
        ],
        sure_slopes(-27.0),
    )
    gradients = {
        "manual": scalar(-27.0),
        "autograd": scalar(-81.0),
        FINITE_DIFFERENCE: scalar(-27.0),
    }
    compared = msgspec.structs.replace(said, gradients=gradients)
    lines = shown(comparison(compared))
    assert "✗ Not all are right: w" in lines[0]
    assert any("✗ autograd is 3 times finite differences" in found for found in lines)
    assert "✗ −81" in row(lines, "autograd")
    assert row(lines, "autograd").endswith("3 times finite differences")
    assert "✗" not in row(lines, "manual")
    assert row(lines, "manual").endswith("right")


def test_numbers_that_differ_do_not_stand_below_the_word_agree() -> None:
    """A mode that is another function is right, and its number is another."""
    own = agreeing("w", scalar(-25.5))
    other = msgspec.structs.replace(
        own,
        gradients={**own.gradients, "model": scalar(-29.06)},
        remarks=(Remark("another_function", {"more": ["b"], "less": []}, ("model",)),),
        is_equal=False,
        standing={**own.standing, "model": "other"},
    )
    lines = shown(comparison(other))
    assert "All agree" not in lines[0]
    assert "All are right, though not equal: w" in lines[0]
    assert row(lines, "model").endswith("right for its own function")
    assert row(lines, "autograd").endswith("right")
    missing = row(shown(comparison(differing("w", scalar(0.0), NONE))), "manual")
    assert missing.split() == ["manual", "None", "no", "gradient"], "which is not zero"


def test_finite_differences_of_a_sample_are_named_so_beside_the_table() -> None:
    half = agreeing("w", array((2,), 1.0, 2.0))
    words = Value((), (), "text", "64 of 1000 elements checked")
    half = msgspec.structs.replace(half, gradients={**half.gradients, FINITE_DIFFERENCE: words})
    lines = shown(comparison(half))
    assert row(lines, "finite").split() == ["finite", "difference", *words.text.split()]
    assert "[0]  [1]" in "\n".join(lines)


def test_a_gradient_that_is_no_number_is_shown_as_such() -> None:
    compared = differing(
        "w",
        scalar(math.inf),
        scalar(math.nan),
        remarks=(Remark("none_finite"),),
        largest=math.nan,
        standing=dict.fromkeys(MODES[:-1], "unknown"),
        apart={},
    )
    lines = shown(comparison(compared))
    assert "✗ Not finite: w" in lines[0]
    assert "NaN" in row(lines, "manual")
    assert "inf" in row(lines, "autograd")


def test_words_from_a_lesson_are_no_escape_sequence() -> None:
    said = (Remark("raised", {"error": ["text", {"text": "a\x1b]0;b"}]}, ("manual",)),)
    strange = msgspec.structs.replace(one_parameter(), parameter="w\x1b[31m", remarks=said)
    remarks = (Remark("text", {"text": "c\x1b[2J"}),)
    assert "".join(shown(comparison(strange, remarks=remarks))).isprintable()


# ── Which place it is ───────────────────────────────────────────────────────────────


def test_a_comparison_that_the_run_has_left_behind_says_so() -> None:
    assert shown(None) == ["comparing …"]
    old = shown(comparison(one_parameter(), epoch=12), epoch=40)
    assert old[0].startswith("Epoch 12 (the run is at epoch 40)")
    assert "stands" not in (shown(comparison(one_parameter())))[0]


def test_the_summary_names_who_does_not_agree_and_whose_gradient_leads() -> None:
    both = comparison(agreeing("b", scalar(1.0)), one_parameter(), remarks=(HELD,))
    lines = shown(both)
    assert lines[0].startswith("Epoch 3 · ✗ Not all are right: w · the run follows the gradient of")
    assert lines[1] == "in model b is held at its value in Setup: manual has none"


# ── Keys ────────────────────────────────────────────────────────────────────────────


@pytest.mark.app(keys=["s", "c"])
async def test_the_run_is_stepped_by_the_lessons_own_keys(learner: Learner) -> None:
    """The screen asks for comparisons while it is there, and no longer."""
    engine = learner.engine
    assert isinstance(learner.app.screen, CompareScreen)
    assert learner.text("agreement") == "comparing …"
    assert learner.sees("c lesson", "footer")
    sent = len(engine.sent)
    await learner.press("space", "s", "b", "B", "g", "[")
    kinds = [kind for kind in engine.kinds()[sent:] if kind != "FramePainted"]
    assert kinds == [
        "StepPhase", "StepEpoch", "BackPhase", "BackEpoch", "Switch", "SetLearningRate"
    ]  # fmt: skip
    await learner.press("x")
    assert learner.session.notice.code == "nothing_running"
    found = comparison(one_parameter())
    at = engine.at.frame().at
    await learner.hears(InspectionReady(at=at, run="A", comparison=found))
    assert learner.sees(SUM, "agreement")
    assert learner.pane("agreement").scrollable_content_region.width == WIDTH
    await learner.press("l")
    assert not isinstance(learner.app.screen, CompareScreen), "a learning rate can be typed"
    await learner.press("escape")
    assert isinstance(learner.app.screen, CompareScreen)
    for key in ("c", "escape"):
        await learner.press(key)
        assert isinstance(learner.app.screen, LessonScreen)
        await learner.press("c")
    looks = [command.compare for command in engine.sent if isinstance(command, Inspect)]
    assert looks[-5:] == [True, False, True, False, True]


def test_a_key_does_one_thing_only() -> None:
    keys = [key for command in COMPARE_COMMANDS for key in command.keys]
    assert len(keys) == len(set(keys))
    assert set(SHARED) <= {command.name for command in COMPARE_COMMANDS}
