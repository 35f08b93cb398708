"""The table of numbers."""

from dataclasses import replace

import msgspec
import pytest

from tutor.training.frame import NONE, Frame, Value
from tutor.ui.panes.numbers import NumbersPane, rows

from .fake_engine import Simulated, scalar

ROW = (1.0, 2.5, -3.25, 4.0)


def frame(step: int = 5, **more: object) -> Frame:
    return msgspec.structs.replace(replace(Simulated(), epoch=1, step=step).frame(), **more)


def shown(now: Frame, before: Frame | None = None, width: int = 78) -> list[str]:
    from tutor.ui.moment import Moment

    from .lessons import lesson

    pane = NumbersPane(id="numbers")
    pane.set_reactive(
        NumbersPane.moment, Moment(lesson(), "autograd", "cpu", 20, frame=now, before=before)
    )
    return [content.plain.rstrip() for content in pane.build(width)]


def test_the_gradient_right_now_is_shown_only_where_it_differs() -> None:
    assert [row.name for row in rows(frame(4), None)] == ["loss", "w", "  gradient"]
    assert [row.name for row in rows(frame(5), None)][3] == "  right now"


def test_no_gradient_yet_is_none_and_not_zero() -> None:
    lines = shown(frame(2))
    assert lines[3].split() == ["gradient", "None"]


def test_after_a_change_of_mode_the_old_gradient_is_not_compared() -> None:
    before = msgspec.structs.replace(frame(4), mode="manual")
    found = {row.name: row.was for row in rows(frame(5), before)}
    assert found["loss"] is None
    assert found["  gradient"] is None
    assert found["w"] == scalar(0.3)


def test_watched_expressions_follow_under_their_labels() -> None:
    lines = shown(frame(watched={"[red]sum\x1b": scalar(2.0)}))
    assert lines[-1].split() == ["[red]sum^[", "2"]


@pytest.mark.parametrize(("width", "columns"), [(78, "now was change"), (50, "now change")])
def test_matrices_stand_in_the_columns_and_give_up_one_where_it_is_narrow(
    width: int, columns: str
) -> None:
    now = frame(values={"w": Value(ROW, (2, 2), "float32")})
    before = frame(values={"w": Value((1.0, 2.0, 3.0, 4.0), (2, 2), "float32")})
    lines = shown(now, before, width)
    assert " ".join(lines[0].split()) == columns
    assert "[ 1      2.500]" in lines[2]
    assert "▲0.5000" in lines[2]
    assert "▼6.250" in lines[3]
    assert max(map(len, lines)) <= width


def test_an_array_too_wide_for_the_columns_takes_no_column_from_the_others() -> None:
    parts = Value(tuple(-1000.123 * i for i in range(1, 9)), (8,), "float32")
    lines = shown(frame(watched={"parts": parts}), frame(watched={"parts": parts}), 50)
    assert lines[0].split() == ["now", "was", "change"]
    assert "".join(lines[5:]).count("−") == 8
    assert max(map(len, lines)) <= 50


def test_a_run_that_diverged_says_so_first() -> None:
    lines = shown(frame(diverged=True, loss=Value((float("nan"),))))
    assert lines[0].startswith("The run has diverged")
    assert "NaN" in " ".join(lines)


def test_what_has_no_number_shows_its_text() -> None:
    lines = shown(frame(watched={"layer": Value((), (), "text", "Linear(1, 1)")}, loss=NONE))
    assert lines[-1].split(maxsplit=1) == ["layer", "Linear(1, 1)"]
