import math

import pytest

from tutor.training.frame import Change, Curve, Position
from tutor.ui import chart


def curve(*losses: float, here: int | None = None) -> Curve:
    epochs = tuple(range(1, len(losses) + 1))
    return Curve(epochs, losses, losses, len(losses), here or len(losses))


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize(
    "losses",
    [
        (1.0,),
        (2.0, 2.0, 2.0),
        (0.0, 0.0),
        (1.0, math.nan, 3.0),
        (1.0, math.inf),
        (1e308, 1e-308),
        (-1e308, 1e308),
        (5e-324, 1.0),
        (1e30, 1e30 * (1 + 1e-14)),
    ],
)
def test_any_curve_is_drawn_as_rows_of_the_same_width(
    losses: tuple[float, ...], ascii_only: bool
) -> None:
    drawn = chart.draw(curve(*losses), (), 50, 8, ascii_only)
    assert len(drawn.rows) == 8
    assert {len(row) for row in drawn.rows} == {50}
    assert drawn.gaps == sum(not math.isfinite(x) for x in losses)


def test_a_curve_of_nan_alone_is_not_drawn_but_counted() -> None:
    assert chart.draw(curve(math.nan, math.nan), (), 50, 8, False) == chart.Chart((), "", 2)


def test_a_pane_without_room_gets_no_chart() -> None:
    assert chart.draw(curve(1.0, 2.0), (), 10, 2, False).rows == ()


def test_the_scale_is_logarithmic_where_the_loss_falls_far_and_says_so() -> None:
    assert chart.draw(curve(1.0, 0.001), (), 50, 8, False).scale == "log scale"
    assert chart.draw(curve(1.0, 0.5), (), 50, 8, False).scale == "linear scale"
    assert chart.draw(curve(1.0, -0.001), (), 50, 8, False).scale == "linear scale"


def test_the_place_where_we_are_and_the_place_of_a_change_are_marked() -> None:
    losses = [1 - i / 200 for i in range(100)]
    change = Change(Position(50, 1), mode="manual")
    plain = chart.draw(curve(*losses, here=25), (), 60, 8, True).rows
    marked = chart.draw(curve(*losses, here=25), (change,), 60, 8, True).rows
    assert sum(row.count("O") for row in plain) == 1
    spots = {
        i
        for before, after in zip(plain[:-2], marked[:-2], strict=True)
        for i, pair in enumerate(zip(before, after, strict=True))
        if pair[0] != pair[1] == "│"
    }
    assert len(spots) == 1
    assert 28 <= spots.pop() <= 36


def test_the_ascii_chart_draws_its_curve_with_stars() -> None:
    rows = chart.draw(curve(3.0, 2.0, 1.0), (), 50, 8, True).rows
    assert sum(row.count("*") for row in rows) > 20


def test_where_the_loss_is_infinite_no_point_is_drawn() -> None:
    rows = chart.draw(curve(1.0, 2.0, math.inf), (), 50, 8, True).rows
    assert not any("O" in row for row in rows)
