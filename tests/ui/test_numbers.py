"""The table of numbers."""

from typing import Any

import pytest
from msgspec.structs import replace

from tutor.protocol.frame import NONE, Frame, Position, RankFigures, Remark, Value
from tutor.protocol.inspections import OtherRunState
from tutor.session.run_view import Inspections, RunView
from tutor.ui.panes.numbers import NumbersPane, parameter_lines, rows

from .fake_engine import Simulated, scalar
from .lessons import lesson

ROW = (1.0, 2.5, -3.25, 4.0)


def frame(step: int = 5, **more: object) -> Frame:
    return replace(replace(Simulated(), epoch=1, step=step).frame(), **more)


def shown(
    now: Frame,
    before: Frame | None = None,
    width: int = 78,
    then: OtherRunState | None = None,
    **more: Any,
) -> list[str]:
    pane = NumbersPane(id="numbers")
    told = {"frame": now, "before": before, "inspections": Inspections(then=then), **more}
    view = RunView(lesson(), "autograd", "cpu", 20, **told)
    pane.set_reactive(NumbersPane.view, view)
    return [content.plain.rstrip() for content in pane.build(width)]


def test_the_gradient_right_now_is_shown_only_where_it_differs() -> None:
    assert [row.name for row in rows(frame(4), None)] == ["loss", "w", "  gradient"]
    assert [row.name for row in rows(frame(5), None)][3] == "  left over"
    assert shown(frame(2))[3].split() == ["gradient", "None"], "none yet, which is not zero"


def test_figures_that_are_not_those_of_the_step_before_are_named_by_their_epoch() -> None:
    places = [(1, 3), (1, 5), (0, 0), (3, 5), (1, 4)]
    headings = []
    for now, before in ((1, 0), (1, 2), (0, 3), (4, 0)):
        frames = [frame(at=Position(*places[i])) for i in (now, before)]
        headings.append(" ".join(shown(*frames)[0].split()))
    names = ("was", "epoch 0", "epoch 3", "was")
    assert headings == [f"now {name} change" for name in names]
    later = shown(frame(at=Position(1, 3)), frame(at=Position(1, 4)))
    assert later[0].split() == ["now", "later", "change"]
    following = shown(frame(at=Position(2, 1)), frame(at=Position(1, 5)))
    assert following[0].split() == ["now", "was", "change"]


def test_after_a_change_of_mode_the_old_gradient_is_not_compared() -> None:
    before = replace(frame(4), mode="manual")
    found = {row.name: row.was for row in rows(frame(5), before)}
    assert found["loss"] is None
    assert found["  gradient"] is None
    assert found["w"] == scalar(0.3)


def test_the_loss_of_report_is_not_compared_with_that_of_a_batch() -> None:
    losses = [frame(5, loss_phase=phase) for phase in ("Loss", "Report")]
    for now in losses:
        for before in losses:
            found = {row.name: row.was for row in rows(now, before)}
            assert (found["loss"] is None) == (now is not before)
            assert found["  gradient"] is not None


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


NAN = Value((float("nan"),), (), "float32")


@pytest.mark.parametrize(
    ("at", "batches", "diverged_at", "is_rate"),
    [
        (Position(1, 2), 1, None, False),  # in the first batch, before any update
        (Position(1, 5), 1, 1, False),
        (Position(60, 5), 1, 1, False),
        (Position(60, 5), 1, 12, True),
        (Position(60, 15), 3, 1, True),  # several updates were made before the epoch's loss
        (Position(5, 3), 1, None, True),
    ],
)
def test_the_advice_fits_what_is_not_finite(
    at: Position, batches: int, diverged_at: int | None, is_rate: bool
) -> None:
    """A loss that never was finite is no matter of the learning rate."""
    now = frame(at=at, loss=NAN, diverged=True, batches=batches)
    text = " ".join(line.strip() for line in shown(now, diverged_at=diverged_at))
    assert ("Lower the learning rate" in text) == is_rate
    assert ("a lower learning rate does not help" in text) != is_rate
    assert (f"from epoch {diverged_at} on" in text) == (is_rate and diverged_at is not None)


def test_what_is_not_finite_is_named() -> None:
    late = frame(at=Position(60, 5), diverged=True, values={"w": NAN})
    assert shown(late)[0].startswith("w is no longer finite")
    both = shown(replace(late, loss=NAN))
    assert both[0].startswith("The loss is no longer finite")
    assert "NaN" in " ".join(both)


def test_what_has_no_number_shows_its_text() -> None:
    lines = shown(frame(watched={"layer": Value((), (), "text", "Linear(1, 1)")}, loss=NONE))
    assert lines[-1].split(maxsplit=1) == ["layer", "Linear(1, 1)"]


def marked(lines: list[str]) -> list[str]:
    return [text[2:].split()[0] for text in lines if text.startswith("┃")]


def test_the_rows_that_the_last_step_has_changed_are_marked() -> None:
    assert marked(shown(frame(2), frame(1))) == ["loss"]
    assert marked(shown(frame(3), frame(2))) == ["gradient"]
    assert marked(shown(frame(4), frame(3))) == ["w"]
    assert marked(shown(frame(1))) == []
    reset = shown(frame(5), frame(4))
    assert marked(reset) == ["left"], "the gradient left over, not the one that was used"
    assert reset[-1].split() == ["┃", "left", "over", "0", "−30", "▲30"]


def test_what_cannot_be_compared_leaves_no_empty_brackets() -> None:
    nan = float("nan")
    before = frame(values={"w": Value((1.0, 2.0), (2,), "float32")})
    some = frame(values={"w": Value((1.5, nan), (2,), "float32")})
    none = frame(values={"w": Value((nan, nan), (2,), "float32")})
    assert shown(some, before)[2].endswith("[▲0.5000  –]")
    assert shown(none, before)[2].endswith("[1  2]")


# ── Another run ─────────────────────────────────────────────────────────────────────


def other(name: str = "A", **more: object) -> OtherRunState:
    return OtherRunState(
        name=name, frame=frame(loss=scalar(12.5), values={"w": scalar(0.9)}, **more)
    )


def test_another_run_stands_beside_the_present_figures() -> None:
    """Those of a place that was left are not shown, and nothing moves."""
    fresh, stale = (shown(frame(), frame(4), then=other(at=Position(epoch, 5))) for epoch in (1, 2))
    assert fresh[0].split() == ["A", "then", "→", "now", "was", "change"]
    assert fresh[1].split() == ["loss", "12.5000", "30", "30", "="]
    assert fresh[2].split()[:3] == ["w", "0.900000", "0.300000"]
    assert fresh[0] == stale[0]
    assert not any("0.900000" in text or "12.5" in text for text in stale)
    assert [text.index("0.300000") for text in (fresh[2], stale[2])] == [fresh[2].index("0.3")] * 2


def test_a_run_that_never_came_here_says_so_first() -> None:
    then = OtherRunState(name="[b]A", frame=None, remark=Remark("came_only_to", {"epoch": 6}))
    lines = shown(frame(), then=then)
    assert lines[0] == "[b]A: has only reached epoch 6"
    assert lines[1].split() == ["now", "was", "change"]


@pytest.mark.parametrize(
    ("width", "columns"),
    [(78, "a very lo… then → now change"), (58, "a very lo… then → now")],
)
def test_beside_another_run_matrices_give_up_what_they_were(width: int, columns: str) -> None:
    matrix = {"w": Value((-0.1234, 2.5, -3.25, 4.0), (2, 2), "float32")}
    then = OtherRunState(name="a very long name", frame=frame(values=matrix))
    before = {"w": Value((1.125, 2.25, -3.5, 4.75), (2, 2), "float32")}
    lines = shown(frame(values=matrix), frame(4, values=before), width, then)
    assert " ".join(lines[0].split()) == columns
    assert lines[2].count("[−0.1234  2.500]") == 2
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("epoch", [1, 2])
def test_beside_another_run_a_row_too_wide_for_columns_has_its_figures_below(epoch: int) -> None:
    wide = Value(tuple(-1000.123 * i for i in range(1, 9)), (8,), "float32")
    other = Value(tuple(-2000.25 * i for i in range(1, 9)), (8,), "float32")
    then = OtherRunState(name="A", frame=frame(values={"w": other}, at=Position(epoch, 5)))
    lines = shown(frame(values={"w": wide}), frame(4, values={"w": wide}), 70, then)
    assert lines[0].split() == ["A", "then", "→", "now", "was", "change"]
    assert [row.split()[:2] for row in lines[2:6:2]] == [["w", "now"], ["then", "→"]]
    figures = "".join(lines[4:6]).count("−")
    assert figures == (8 if epoch == 1 else 0), "none of a place that was left, and nothing moves"
    assert max(map(len, lines)) <= 70


def ranked(step: int, gradients: tuple[float, float], **more: object) -> Frame:
    """A frame of two ranks whose gradients are these."""
    now = frame(step, **more)
    other = RankFigures(
        rank=1,
        loss=scalar(90.5),
        values={"w": scalar(0.25)},
        gradients={"w": scalar(gradients[1])},
        gradients_now={"w": scalar(gradients[1])},
        gradients_before_sync={n: scalar(-60.5) for n in now.gradients_before_sync},
        watched={},
    )
    mine = {"w": scalar(gradients[0])}
    return replace(now, gradients=mine, gradients_now=mine, ranks=(other,))


@pytest.mark.parametrize("width", [78, 40])
def test_each_rank_has_a_column(width: int) -> None:
    before = ranked(3, (-30.5, -60.5))
    now = ranked(4, (-45.5, -45.5), gradients_before_sync={"w": scalar(-30.5)})
    heading, *lines = shown(now, before, width)
    assert "now" not in heading
    if width == 78:
        assert heading.split() == ["rank", "0", "was", "rank", "1", "was"]
        figures = [x.split()[-4:] for x in lines if "gradient" in x]
        assert figures == [["−45.5000", "−30.5000", "−45.5000", "−60.5000"]]
    else:
        assert heading.split() == ["rank", "0", "rank", "1"]
        assert [x.split()[-2:] for x in lines if "gradient" in x] == [["−45.5000", "−45.5000"]]
    assert [x.split()[-2:] for x in lines if "before sync" in x] == [["−30.5000", "−60.5000"]]
    assert all(len(x) <= width for x in lines)
    wide = {"w": Value(ROW * 4, (16,), "float32")}
    other = replace(now.ranks[0], values=wide)
    text = "\n".join(shown(replace(now, values=wide, ranks=(other,)), width=width))
    assert text.count("rank 0") == text.count("rank 1") == 2, "in the heading, and at the row"


def test_parameters_that_are_single_numbers_have_gradients_with_signs() -> None:
    names = ("n.w[0]", "n.w[1]")
    now = frame(
        values={name: scalar(0.25) for name in names},
        gradients=dict(zip(names, (scalar(-0.5), scalar(0.75)), strict=True)),
        watched={},
    )
    before = replace(now, values={name: scalar(-0.25) for name in names})
    heading, *lines = (content.plain for content in parameter_lines(now, before, None, 60))
    assert not {"mean", "norm", "shape"} & {*heading.split()}
    assert [text.split()[-3:] for text in lines] == [
        ["0.2500", "▲0.5000", "−0.5000"],
        ["0.2500", "▲0.5000", "0.7500"],
    ]
