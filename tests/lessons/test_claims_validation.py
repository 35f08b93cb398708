"""What the lesson on validation claims, computed with its own code."""

from __future__ import annotations

import numpy as np
import pytest

from tests import shipped
from tests.lessons.runs import a_run
from tutor.training.run import Run


def measured(run: Run, epochs: int) -> np.ndarray:
    """Both weights, the training loss and the validation loss after each epoch."""
    found = []
    for _ in range(epochs):
        frame = run.step_epoch()
        losses = (frame.watched[f"{name} loss"].data[0] for name in ("training", "validation"))
        found.append([*frame.values["w"].data, *losses])
    return np.array(found)


@pytest.mark.parametrize("mode", shipped.lesson("validation").modes)
def test_the_training_loss_falls_in_each_epoch_and_the_validation_loss_turns(mode: str) -> None:
    run = a_run("validation", mode)
    _, _, training, validation = measured(run, 60).T
    assert (np.diff(training) < 0).all()
    assert training[-1] < 0.01
    assert 1 + validation.argmin() == run.frame().watched["best epoch"].data[0] == 7
    assert (np.diff(validation)[:6] < 0).all()
    assert (np.diff(validation)[6:] > 0).all()
    assert validation[6] == pytest.approx(1.54, abs=0.005)
    assert validation[-1] == pytest.approx(4.6, abs=0.05)
    assert run.evaluate(["float((y_val**2).mean())"])[0].data == (5.0,)


def test_the_first_weight_keeps_80_percent_and_the_second_95() -> None:
    first, second, *_ = measured(a_run("validation", "manual"), 20).T
    epochs = np.arange(1, 21)
    assert first == pytest.approx(2 - 2 * 0.8**epochs, rel=1e-4)
    assert second == pytest.approx(2 - 2 * 0.95**epochs, rel=1e-4)
    assert [first[i] for i in (1, 2, 18, 19)] == pytest.approx(
        [0.72, 0.976, 1.971, 1.977], abs=1e-3
    )
    assert [second[i] for i in (1, 2, 18, 19)] == pytest.approx(
        [0.195, 0.285, 1.245, 1.283], abs=1e-3
    )


def test_for_new_houses_the_best_weights_are_2_and_0_and_for_the_training_set_2_and_2() -> None:
    run = a_run("validation", "manual")
    x, y, x_val, y_val = (np.array(v.data) for v in run.evaluate(["x", "y", "x_val", "y_val"]))
    for inputs, prices, best in ((x, y, [2, 2]), (x_val, y_val, [2, 0])):
        assert np.linalg.lstsq(inputs.reshape(4, 2), prices, rcond=None)[0] == pytest.approx(best)


@pytest.mark.parametrize(("rate", "is_early"), [(0.005, False), (0.02, True), (0.05, True)])
def test_a_larger_rate_has_its_best_epoch_earlier(rate: float, is_early: bool) -> None:
    run = a_run("validation", "manual", rate=rate)
    run.run_to(60)
    assert (run.frame().watched["best epoch"].data[0] <= 20) is is_early
