"""The sentences for what the engine has to say; `test_inspections.py` looks for every code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.ui.lessons import lesson
from tutor.protocol.events import GRADIENT_CHECK, LessonPart, ProcessEnded
from tutor.protocol.frame import Remark
from tutor.wording.engine_remarks import abort_text, engine_remark_text, place_text, process_end


@pytest.mark.parametrize(
    ("remark", "text"),
    [
        (Remark("text", {"text": "a\x1b[2J\nb"}), "a^[[2J b"),
        (
            Remark("no_device", {"device": "cuda:9", "available": ["cpu", "mps"]}),
            "there is no device 'cuda:9'; available: cpu, mps",
        ),
        (
            Remark("no_element", {"name": "w1", "index": [0, 2], "last": [1, 1]}),
            "w1 has no element [0, 2]: indices begin at 0, and its last is [1, 1]",
        ),
        (
            Remark("element_set", {"name": "w1", "index": [0, 1], "value": -0.75}),
            "w1[0, 1] is −0.75 now",
        ),
        (Remark("element_set", {"name": "w", "index": [], "value": 2.0}), "w is 2 now"),
        (
            Remark("bad_rate", {"rate": float("nan")}),
            "a learning rate must be a positive number, at most a million, not NaN",
        ),
        (
            Remark("exited", {"status": 4, "phase": "Predict"}),
            "the process exited with status 4 while Predict ran",
        ),
        (
            Remark("ended_unclean", {"reason": Remark("thread_left", {"name": "ticker"})}),
            "the thread ticker did not end: its process was ended",
        ),
    ],
)
def test_a_remark_is_one_safe_line(remark: Remark, text: str) -> None:
    assert engine_remark_text(remark) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (("text", {"text": "ValueError: a\nb"}), "Loss raised ValueError: a b"),
        (
            ("called_exit", {"text": "SystemExit: 3", "status": "3", "on_rank": 1}),
            "Loss raised SystemExit: the code called exit(3) (on rank 1)",
        ),
        (
            ("rank_ended", {"rank": 1, "how": ["killed", {"signal": "SIGKILL"}]}),
            "Loss raised RankEnded: rank 1 is gone: the process was ended by SIGKILL",
        ),
        (
            ("waits_for_ranks", {"rank": 0, "operation": "all_reduce", "done": [1, 2]}),
            "Loss raised Deadlock: rank 0 waits in all_reduce, which rank 1 and rank 2 did not "
            "call",
        ),
        (
            ("ranks_wait", {"waits": [[0, "reduce", "Update", None], [1, "barrier", "", 12]]}),
            "Loss raised Deadlock: rank 0 waits in reduce of Update; rank 1 waits in barrier on "
            "line 12",
        ),
        (
            ("ranks_apart", {"places": [
                [0, "at_epoch_end", {"epoch": 2, "steps": 3}],
                [1, "reaches_phase", {"phase": "Loss", "line": 3, "steps": 2}]]}),
            "Loss raised RanksApart: rank 0 is at the end of epoch 2, after 3 steps, rank 1 "
            "reaches Loss on line 3 after 2 steps; all ranks must reach the same phases",
        ),
        (
            ("loops_apart", {"epoch": 3, "has_ended": [False, True]}),
            "Loss raised RanksApart: after epoch 3, the loop continues on rank 0, and ends on "
            "rank 1",
        ),
    ],
)  # fmt: skip
def test_the_error_of_a_lessons_code_is_said(error: tuple[str, dict[str, Any]], text: str) -> None:
    assert engine_remark_text(Remark("phase_raised", {"phase": "Loss", "error": error})) == text


def test_an_error_that_met_no_line_of_the_lesson_is_the_codes() -> None:
    values = {"place": "a.md", "phase": "", "mode": "manual", "error": ["code_stopped", {}]}
    assert engine_remark_text(Remark("lesson_raised", values)).startswith(
        "a.md: the code in mode manual"
    )


@pytest.mark.parametrize(
    ("restarting", "can_restart", "end"),
    [
        (True, False, "; it starts again"),
        (False, True, "; it does not start again by itself"),
        (False, False, ""),
    ],
)
def test_the_end_of_a_process_says_whether_it_starts_again(
    restarting: bool, can_restart: bool, end: str
) -> None:
    remark = Remark("killed", {"signal": "SIGKILL", "phase": ""})
    ended = ProcessEnded(remark=remark, restarting=restarting, can_restart=can_restart)
    assert process_end(ended) == f"the process was ended by SIGKILL{end}"


def test_a_command_that_a_lesson_ended_says_how() -> None:
    assert abort_text(Remark("too_long", {"seconds": 60.0})) == ("did not finish within 60 s")
    assert abort_text(Remark("exited", {"status": 3})) == (
        "ended its process, which exited with status 3"
    )


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (LessonPart(), "a.md:"),
        (LessonPart(3, mode="manual", phase="Loss"), "a.md:3: mode manual, Loss"),
        (LessonPart(3, mode="m", phase=GRADIENT_CHECK), "a.md:3: mode m, the gradient"),
        (LessonPart(1, mode="m", epochs=20), "a.md:1: mode m, a run of 20 epochs"),
        (LessonPart(3, mode="m", expression="f(5)"), "a.md:3: mode m, the value of f(5)"),
        (LessonPart(3, exercise="first"), "a.md:3: exercise first"),
        (
            LessonPart(3, exercise="x", key="code", phase="Loss"),
            "a.md:3: exercise x, its code: Loss",
        ),
        (LessonPart(3, exercise="x", expression="w"), "a.md:3: exercise x, the value of w"),
    ],
)
def test_a_part_of_a_lesson_is_named_with_its_place(part: LessonPart, text: str) -> None:
    assert place_text(replace(lesson(), path=Path("a.md")), part) == text
