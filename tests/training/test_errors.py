"""A lesson that goes wrong costs nothing but a message, and the message says where."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tutor.errors import Refused
from tutor.protocol.frame import Remark
from tutor.training.lesson_error import LessonRaised
from tutor.training.playback import Playback
from tutor.training.run import Run
from tutor.wording.engine_remarks import engine_remark_text

from .conftest import PLAIN, lesson_text


def line_of(text: str, piece: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if piece in line)


def test_an_error_names_lesson_phase_line_and_message(start: Callable[..., Run]) -> None:
    run = start(Loss="loss = ((y_pred - 2 * x) ** 2).mean()\nboom = 1 / 0")
    run.step_phase()
    with pytest.raises(LessonRaised) as caught:
        run.step_phase()
    error = caught.value
    said = Remark("text", {"text": "ZeroDivisionError: division by zero"})
    assert (error.lesson, error.phase, error.line, error.error) == ("test", "Loss", 22, said)
    told = engine_remark_text(Remark.of(error))
    assert told.endswith(f"test.md:22: Loss in mode autograd raised {said.values['text']}")


def test_a_huge_text_of_an_error_is_cut_and_it_is_said_on_one_line(
    start: Callable[..., Run],
) -> None:
    run = start(Predict="raise ValueError('line\\n' * 10**6)")
    with pytest.raises(LessonRaised) as caught:
        run.step_phase()
    error = caught.value
    line = engine_remark_text(Remark.of(error))
    for told in (error.error.values["text"], line):
        assert len(told) < 3000
        assert told.endswith("characters left out)")
    assert len(line.splitlines()) == 1


def test_an_error_inside_a_function_names_its_line_and_the_phase_that_called(
    start: Callable[..., Run],
) -> None:
    run = start(
        Setup="x = torch.ones(3)\nw = torch.tensor(1.0, requires_grad=True)\n"
        "def forward(x):\n    return w * x * missing",
        Predict="y_pred = forward(x)",
    )
    with pytest.raises(LessonRaised) as caught:
        run.step_phase()
    assert (caught.value.phase, caught.value.line) == ("Predict", 13)


def test_after_an_error_the_run_stands_at_the_last_good_frame(start: Callable[..., Run]) -> None:
    run = start(Gradient="loss.backward()\nif w > 1: raise ValueError('enough')")
    frames = [run.frame(), *(run.step_phase() for _ in range(7))]
    with pytest.raises(LessonRaised, match="enough"):
        run.step_phase()
    assert run.frame() == frames[-1]
    assert run.furthest == run.at
    assert run.back() == frames[-2]


def test_a_run_that_nobody_uses_on_does_not_go_back_after_an_error(
    start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = start(Gradient="loss.backward()\nif w > 1: raise ValueError('enough')").programs
    replays: list[object] = []
    monkeypatch.setattr(Playback, "replay", lambda *given, **_: replays.append(given))
    for is_kept in (False, True):
        with pytest.raises(LessonRaised, match="enough"):
            Run(programs, is_kept=is_kept).run_to_without_frame(10)
        assert bool(replays) is is_kept


def test_an_error_in_a_long_run_leaves_the_last_whole_epoch(start: Callable[..., Run]) -> None:
    run = start(
        Setup="n = 0\nx = torch.ones(3)\nw = torch.tensor(0.0, requires_grad=True)",
        Update="n += 1\nif n == 50: raise ValueError('fifty')",
    )
    with pytest.raises(LessonRaised, match="fifty"):
        run.run_to(100)
    assert run.at.epoch == 49
    assert run.last_epoch == 49
    with pytest.raises(LessonRaised, match="fifty"):
        run.step_epoch()
    assert run.frame().phase == "Gradient", "the phases before the error are good frames"


def test_a_setup_that_fails_gives_no_run(start: Callable[..., Run]) -> None:
    with pytest.raises(LessonRaised, match="NameError") as raised:
        start(Setup="w = undefined")
    assert (raised.value.phase, raised.value.mode) == ("Setup", "autograd")


def test_a_parameter_that_was_deleted_again_is_named(start: Callable[..., Run]) -> None:
    with pytest.raises(Refused, match=r"setup_unbound: .*\['w'\]"):
        start(Setup="x = torch.ones(3)\nw = torch.tensor(1.0)\ndel w")


def test_an_expression_that_fails_is_told_in_its_place(start: Callable[..., Run]) -> None:
    front = "---\ntitle: T\nsummary: T.\nparameters: [w]\nwatch:\n  tenth: x[10]\n---\n"
    frame = start(front).frame()
    assert frame.watched["tenth"].text.startswith("IndexError")


def test_a_tensor_in_mid_graph_has_no_gradient_and_no_warning(
    start: Callable[..., Run], recwarn: pytest.WarningsRecorder
) -> None:
    run = start(Setup="x = torch.ones(3)\nw = torch.tensor(1.0, requires_grad=True) * 1")
    assert run.frame().gradients_now["w"].text == "None"
    assert not recwarn.list


def test_the_same_code_on_another_line_names_its_own_line(start: Callable[..., Run]) -> None:
    """Compiled code is kept, but only for the place where it stood."""
    for more in ("", "\nmore = 1\nmore = 2"):
        phases = {"Setup": PLAIN["Setup"] + more, "Predict": "y_pred = x\ny_pred[9]"}
        with pytest.raises(LessonRaised) as caught:
            start(**phases).step_phase()
        assert caught.value.line == line_of(lesson_text(**phases), "y_pred[9]")
