"""The drawings of the plot pane: what is drawn, what is said of it, and that it fits."""

import math
import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tutor.protocol.frame import Change, Curve, Position
from tutor.protocol.inspections import DataPlot, PlanePlot
from tutor.ui.lines import CURVE, PLAIN, VALUE
from tutor.ui.panes import batch_plots, epoch_curves
from tutor.ui.panes.canvas import (
    Canvas,
    Drawing,
    Note,
    Pen,
    ScalarField,
    Scale,
    Sheet,
    clipped,
    scale_over,
)
from tutor.ui.panes.epoch_curves import EpochCurves, change_marks, ghosts_of, legend, nearest
from tutor.ui.themes import to_ascii
from tutor.wording.number_format import number

from . import plots

SMALL, LARGE, NARROW = Sheet(78, 7), Sheet(58, 9), Sheet(40, 7)
IN_ASCII = Sheet(78, 7, ascii_only=True)
MANY = EpochCurves(plots.falling(200, 0.03, here=120), plots.CHANGES, plots.GHOSTS)

DRAWINGS: dict[str, Callable[[Sheet], Drawing]] = {
    "loss": lambda sheet: epoch_curves.draw(EpochCurves(plots.falling(200, 0.03)), True, sheet),
    "many runs": lambda sheet: epoch_curves.draw(MANY, True, sheet),
    "linear": lambda sheet: epoch_curves.draw(MANY, False, sheet),
    "data": lambda sheet: batch_plots.draw_data(plots.data(), sheet),
    "slope": lambda sheet: batch_plots.draw_slope(plots.slope(), sheet),
    "contour": lambda sheet: batch_plots.draw_contours(plots.contour(), sheet),
    "plane": lambda sheet: batch_plots.draw_plane(plots.plane(), sheet),
}


def text_of(drawing: Drawing) -> str:
    return "\n".join(content.plain for content in drawing.lines)


def lines_of(drawing: Drawing) -> list[str]:
    return [content.plain for content in drawing.lines]


def of_losses(*losses: float, log: bool = False, sheet: Sheet = SMALL) -> Drawing:
    return epoch_curves.draw(EpochCurves(plots.curve(*losses)), log, sheet)


# ── All of them ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(78, 6), (78, 7), (58, 9), (40, 5), (20, 4), (118, 20)], ids=str)
def test_a_drawing_fills_its_room_and_no_more(size: tuple[int, int]) -> None:
    for (kind, draw), ascii_only in product(DRAWINGS.items(), (False, True)):
        drawn = draw(Sheet(*size, ascii_only=ascii_only))
        assert len(drawn.lines) == size[1], kind
        assert max(content.cell_length for content in drawn.lines) <= size[0], kind


@pytest.mark.parametrize("kind", DRAWINGS)
def test_a_drawing_says_when_it_has_no_room_and_is_readable_in_ascii(kind: str) -> None:
    assert lines_of(DRAWINGS[kind](Sheet(15, 3))) == ["No room for the plot."]
    drawn = text_of(DRAWINGS[kind](IN_ASCII))
    assert not any(0x2580 <= ord(c) < 0x25A0 or ord(c) >= 0x2800 for c in drawn)
    assert "?" not in to_ascii(drawn)


# ── Canvas, scale, field ────────────────────────────────────────────────────────────


def test_a_diagonal_goes_through_the_corners_of_its_cells() -> None:
    canvas = Canvas(2, 1, ascii_only=False)
    canvas.line([(0.0, 0.0), (1.0, 1.0)], Pen(PLAIN))
    assert canvas.row(0).plain == "⡠⠊"


def test_a_line_is_broken_where_there_is_no_number_and_a_lone_point_can_be_seen() -> None:
    canvas = Canvas(9, 1, ascii_only=True)
    canvas.line([(0.0, 0), (0.25, 0), (0.5, math.nan), (0.75, 0), (1.0, math.nan)], Pen(PLAIN))
    assert canvas.row(0).plain == "***   *  "


def test_what_is_drawn_last_lies_on_top() -> None:
    canvas = Canvas(3, 1, ascii_only=False)
    canvas.line([(0.0, 0.5), (1.0, 0.5)], Pen(PLAIN))
    canvas.mark((0.5, 0.5), "●", CURVE)
    assert canvas.row(0).plain[1] == "●"
    assert canvas.style_at((1, 0)) is CURVE


coordinates = st.floats(-1e6, 1e6)
points = st.tuples(coordinates, coordinates)


@given(points, points)
@settings(max_examples=50)
def test_a_line_is_cut_off_at_the_edges(
    start: tuple[float, float], end: tuple[float, float]
) -> None:
    found = clipped(start, end)
    if all(0 <= x <= 1 for x in (*start, *end)):
        assert found is not None
    if found is not None:
        assert all(0 <= x <= 1 for point in found for x in point)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite, st.floats(), st.booleans())
@example(0.0, 1.6520284068281464e-126, 2.969840125552488e182, False)
@example(0.0, 5e-324, 5e-324, False)
@settings(max_examples=100)
def test_a_scale_puts_each_number_between_its_ends_inside_and_all_others_nowhere_wrong(
    a: float, b: float, value: float, log: bool
) -> None:
    low, high = min(a, b), max(a, b)
    scale = Scale(low, high, log and low > 0)
    place = scale.of(value)
    if low <= value <= high:
        assert -1e-9 <= place <= 1 + 1e-9
    assert not math.isinf(place)


def test_numbers_that_differ_by_rounding_alone_are_one() -> None:
    assert scale_over([1e30, 1e30 * (1 + 1e-14)]) == Scale(1e30, 1e30)
    assert scale_over([math.nan, math.inf]) is None


def test_a_field_is_bilinear_between_its_points_and_itself_at_them() -> None:
    field = ScalarField((0.0, 1.0, 4.0), (0.0, 2.0), ((0.0, 1.0, 4.0), (2.0, 3.0, 6.0)))
    assert field.sampled(((0.0, 0.5, 3.0, 4.0), (2.0, 1.0)), Scale(0, 1), Scale(0, 1)) == [
        [2.0, 2.5, 5.0, 6.0],
        [1.0, 1.5, 4.0, 5.0],
    ]


@pytest.mark.parametrize(("low", "high"), [(0.2474, 0.2481), (0.33, 0.330004), (-7.0001, -7.0)])
def test_the_numbers_at_a_narrow_axis_differ(low: float, high: float) -> None:
    for log in (False, True):
        if low > 0 or not log:
            labels = [text for _, text in Scale(low, high, log).ticks()]
            assert len(set(labels)) == 3


def test_on_a_linear_axis_next_to_nothing_is_nothing() -> None:
    assert Scale(2e-12, 10.0).ticks((0.0, 1.0)) == ((0.0, "0"), (1.0, "10"))
    assert Scale(2e-12, 10.0, log=True).ticks((0.0,)) == ((0.0, "2.0e−12"),)


def test_in_a_legend_a_long_name_gives_way_to_its_number() -> None:
    note = Note("●", VALUE, "parameters_of_the_model", "−8.4249")
    assert note.fitted(18).plain == "● paramet… −8.4249"
    assert Note("●", VALUE, "w", "0.3").fitted(18).plain == "● w 0.3"
    assert Note("●", VALUE, "数" * 20, "0.3").fitted(18).cell_length <= 18


# ── Loss by epoch ───────────────────────────────────────────────────────────────────


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
        (1.7976931348623157e308, 5e-324),
        (1e30, 1e30 * (1 + 1e-14)),
        (3.0, 1.0, 0.0),
    ],
)
def test_any_curve_is_drawn_or_it_is_said_why_not(losses: tuple[float, ...]) -> None:
    for ascii_only, log in product((False, True), repeat=2):
        lines = lines_of(of_losses(*losses, log=log, sheet=Sheet(50, 8, ascii_only)))
        if len(lines) == 1:
            assert log
            assert min(losses) <= 0
            assert lines[0].startswith("A log scale needs numbers above 0")
        else:
            assert len(lines) == 8
            point = "O" if ascii_only else "●"
            assert point in "".join(lines) or not math.isfinite(losses[-1])


def test_losses_that_are_not_finite_are_left_out_which_is_told() -> None:
    assert lines_of(of_losses(math.nan, math.inf)) == ["No finite loss so far."]
    assert lines_of(of_losses(1.0, math.nan, 2.0))[0] == "NaN or inf left out"
    lone = [*[math.nan] * 20, 3.0, *[math.nan] * 19]
    assert text_of(of_losses(*lone)).count("•") == 1
    assert text_of(of_losses(*lone, sheet=IN_ASCII)).count("*") == 1


def test_no_line_is_drawn_over_epochs_without_a_loss() -> None:
    losses = [1.0] * 30 + [math.nan] * 30 + [1.0] * 30
    row = next(line for line in lines_of(of_losses(*losses, sheet=IN_ASCII)) if "**" in line)
    assert len(row[8:].rstrip().split()) == 2


def test_a_column_with_a_number_and_an_infinity_shows_the_number() -> None:
    curve = Curve((1, 11), (5.0, 4.0), (5.0, math.inf), 20, 5)
    lines = lines_of(epoch_curves.draw(EpochCurves(curve), False, IN_ASCII))
    assert sum(line.count("*") for line in lines) > 20
    assert lines[-2].startswith("     4┤")


@pytest.mark.parametrize(
    ("losses", "log"),
    [((1.0, 0.001), True), ((1.0, 0.5), False), ((1.0, -0.001), False), ((1.0, 0.01, 0.0), True)],
)
def test_the_scale_is_logarithmic_where_the_loss_falls_far(
    losses: tuple[float, ...], log: bool
) -> None:
    assert epoch_curves.is_log(EpochCurves(plots.curve(*losses))) is log


def test_the_title_says_which_scale_and_which_epoch() -> None:
    assert of_losses(3.0, 1.0, log=True).title == "loss by epoch, log scale · ● epoch 2"
    assert "linear scale" in of_losses(3.0, 1.0).title


def test_a_changed_setting_is_a_numbered_mark_at_its_epoch() -> None:
    losses = [1 - i / 200 for i in range(100)]
    change = Change(Position(50, 1), mode="manual")
    drawn = epoch_curves.draw(EpochCurves(plots.curve(*losses), (change,)), False, IN_ASCII)
    words, *plot = lines_of(drawn)
    assert words == "1 = manual in epoch 50"
    spots = {row.index("|", 8) for row in plot if "|" in row[8:]}
    assert len(spots) == 1
    spot = spots.pop()
    assert plot[0][spot] == "1"
    assert 7 + 33 <= spot <= 7 + 37


def test_all_that_was_changed_in_one_epoch_is_one_mark() -> None:
    words = [mark.words for mark in change_marks(plots.CHANGES)]
    assert words[:4] == ["lr 0.02", "manual, lr 0.03", "cuda", "w[0, 1] = 0.5"]
    assert words[4] == "seed 7"


def test_of_many_marks_the_nearest_are_explained_and_the_others_counted() -> None:
    marks = change_marks(plots.CHANGES)
    shown, text = nearest(marks, 62, 66)
    assert text == "3 = cuda in epoch 60 · 4 = w[0, 1] = 0.5 in epoch 64 · and 5 more"
    assert [mark.number for mark in shown] == [3, 4]
    assert nearest(marks, 62, 200)[0] == marks
    assert nearest(marks, 21, 8)[1] == "1 = lr …"


def test_each_ghost_has_the_letter_of_its_run_and_is_named() -> None:
    """Whatever it is called: another run's name may begin with its letter."""
    runs = [plots.run("Cfast", plots.curve(1.0), letter="A"),
            plots.run("C", plots.curve(1.0))]  # fmt: skip
    assert [ghost.in_short for ghost in ghosts_of(runs)] == ["A = Cfast", "C = autograd lr 0.01"]
    assert [str(ghost) for ghost in ghosts_of(plots.GHOSTS)] == [
        "A = manual lr 0.01",
        "H = high rate autograd lr 0.05",
        "L = low rate autograd lr 0.002",
    ]
    found = ghosts_of(plots.GHOSTS)
    assert legend(found, 58) == "A = manual lr 0.01 · H = high rate · L = low rate"
    assert legend(found, 30) == "A = man… · H = hig… · L = low…"
    assert legend(found, 5) == "A H L"


@pytest.mark.parametrize("sheet", [SMALL, IN_ASCII, LARGE])
def test_ghosts_are_told_apart_without_colour(sheet: Sheet) -> None:
    words, *_ = lines_of(epoch_curves.draw(MANY, True, sheet))
    assert all(name in words for name in ("A = manual", "H = high rate", "L = low rate"))
    canvas = text_of(epoch_curves.draw(EpochCurves(MANY.curve, (), MANY.runs), True, sheet)).split(
        "\n", 1
    )[1]
    assert all(canvas.count(letter) >= 2 for letter in "AHL")


def test_a_run_that_is_shorter_than_a_ghost_ends_where_it_ends() -> None:
    ghost = plots.run("A", plots.falling(100, 0.01))
    drawn = lines_of(
        epoch_curves.draw(EpochCurves(plots.falling(50, 0.01), (), (ghost,)), False, IN_ASCII)
    )
    assert drawn[-1].endswith("100")
    assert max(row.rfind("*") for row in drawn[1:]) <= 7 + 36
    assert max(row.rfind("A") for row in drawn[1:]) >= 75


# ── Data ────────────────────────────────────────────────────────────────────────────


def test_each_residual_goes_from_its_point_to_the_line() -> None:
    plot = DataPlot(
        input="x",
        target="y",
        prediction="y_pred",
        xs=(0.0, 1.0, 2.0),
        targets=(0.0, 10.0, 2.0),
        predictions=(0.0, 1.0, 2.0),
        line_xs=(0.0, 2.0),
        line=(0.0, 2.0),
    )
    rows = lines_of(batch_plots.draw_data(plot, Sheet(60, 12, ascii_only=True)))
    column = rows[0].index("O")
    assert [row[column] for row in rows[:11]] == ["O", *"||||||||", "*", " "]


def test_the_data_are_explained() -> None:
    text = text_of(batch_plots.draw_data(msgspec.structs.replace(plots.data(), loss=2.345), SMALL))
    assert all(word in text for word in ("● y", "⠒ y_pred", "│ residual", "loss 2.345"))
    assert text.count("●") == 1 + len(plots.XS)
    assert "⠒ y_pred not finite" in text_of(batch_plots.draw_data(plots.data(w=math.nan), SMALL))


# ── Landscape ───────────────────────────────────────────────────────────────────────


def test_the_landscape_says_its_numbers() -> None:
    text = text_of(batch_plots.draw_slope(plots.slope(), SMALL))
    for words in ("● w 0.3", "loss 21.675", "· slope −25.5", "○ next 0.555"):
        assert words in text
    assert "○ now 0.555" in text_of(batch_plots.draw_slope(plots.slope(is_done=True), SMALL))
    summed = text_of(batch_plots.draw_slope(plots.slope(slope=4 * -25.5), SMALL))
    assert "gradient −102" in summed
    assert "the curve's −25.5" in summed
    early = text_of(
        batch_plots.draw_slope(plots.slope(slope=None, next_at=None, next_loss=None), SMALL)
    )
    assert "no gradient yet" in early
    assert not {"·", "○"} & {*early}, "nor a tangent"


def test_the_tangent_lies_below_a_bowl_and_falls_where_the_slope_is_negative() -> None:
    rows = lines_of(batch_plots.draw_slope(plots.slope(w=0.0), Sheet(78, 20, ascii_only=True)))
    dots = [(x, y) for y, row in enumerate(rows[:19]) for x, c in enumerate(row[7:54]) if c == "."]
    assert len(dots) > 5
    assert [y for _, y in sorted(dots)] == sorted(y for _, y in dots)
    for x, y in dots:
        above = [row[7 + x] for row in rows[:y]]
        assert any(c in "*Oo" for c in above)


def test_a_step_out_of_the_window_is_an_arrow_at_its_edge() -> None:
    rows = lines_of(batch_plots.draw_slope(plots.slope(w=4.0, rate=0.2), SMALL))
    assert any(row[7] == "←" for row in rows)


def test_the_direction_of_a_slice_and_its_batch_stand_in_the_title() -> None:
    plot = plots.slope(axis="", batch=1)
    drawn = batch_plots.draw_slope(plot, SMALL)
    assert drawn.title == "landscape: loss along the gradient, batch 2"
    assert "● here 0.3" in text_of(drawn)


# ── Contour ─────────────────────────────────────────────────────────────────────────


def test_levels_are_round_numbers_within_the_losses_and_few() -> None:
    assert batch_plots.levels_of([0.02, 450.0]) == [0.1, 1.0, 10.0, 100.0]
    assert batch_plots.levels_of([10.0, 20.0]) == [12.0, 14.0, 16.0, 18.0]
    assert batch_plots.levels_of([-1.0, 1.0, math.nan]) == [-0.5, 0.0, 0.5]


@given(st.lists(finite, min_size=1, max_size=5))
@settings(max_examples=100)
def test_levels_lie_within_any_losses(losses: list[float]) -> None:
    levels = batch_plots.levels_of(losses)
    assert len(levels) <= batch_plots.MOST_LEVELS + 1
    assert levels == sorted(set(levels))
    assert all(min(losses) < level < max(losses) for level in levels)


@pytest.mark.parametrize("sheet", [SMALL, LARGE, IN_ASCII])
def test_a_contour_shows_levels_path_point_and_next_step(sheet: Sheet) -> None:
    plot = plots.contour(steps=3, rate=0.05)
    text = text_of(batch_plots.draw_contours(plot, sheet))
    here, after, trail = "Oo+" if sheet.ascii_only else "●○•"
    assert text.count(here) == 2
    assert text.count(f"{after} ") >= 2 or text.count(after) > 3
    assert text.count(trail) > 2
    canvas = text.replace(" 0.3", "").replace(" 3.", "")
    assert canvas.count("30") >= 2


def test_without_braille_a_higher_loss_is_denser() -> None:
    rows = lines_of(
        batch_plots.draw_contours(plots.contour(steps=1), Sheet(78, 20, ascii_only=True))
    )
    density = {c: i for i, c in enumerate(batch_plots.HEIGHTS)}
    lowest = rows[11][7 + 23]
    assert density[rows[0][7 + 40]] > density[lowest]


def odd_pictures() -> Iterator[partial[Drawing]]:
    """Of a lone point, of numbers that are not finite, huge or all the same, out of the window."""
    points = {"xs": (2.0,), "targets": (4.0,), "predictions": (0.0,)}
    odd_data: list[dict[str, object]] = [
        {**points, "line_xs": (2.0,), "line": (0.0,)},
        {"xs": (3.0,) * 7},
        {"predictions": (math.nan,) * 7, "line": (math.nan,) * 60},
        {"predictions": (1e308,) * 7, "line": (-1e308,) * 60},
    ]
    slopes: list[dict[str, object]] = [
        {"at": math.nan, "loss": math.nan, "slope": math.nan, "next_at": math.nan},
        {"loss": math.inf, "slope": math.inf, "next_at": math.inf, "next_loss": math.inf},
        {"losses": (1e308,) * 60 + (-1e308,) * 61, "slope": 1e308},
        {"losses": (2.0,) * 121, "loss": 2.0, "slope": 0.0, "next_at": 0.3, "next_loss": 2.0},
        {"losses": (math.nan,) * 60 + (3.0,) + (math.inf,) * 60},
        {"next_loss": None},
    ]
    contours: list[dict[str, object]] = [
        {"losses": ((math.nan,) * 41,) * 30 + ((1.0,) * 41,)},
        {"losses": ((2.0,) * 41,) * 31},
        {"losses": ((1e308,) * 41, (-1e308,) * 41) * 15 + ((0.0,) * 41,)},
        {"at": (math.nan, math.nan), "next_at": (math.inf, 0.0), "loss": math.nan},
        {"path": (), "next_at": None, "gradient": None},
        {"at": (100.0, 100.0)},
    ]
    for more in odd_data:
        yield partial(batch_plots.draw_data, msgspec.structs.replace(plots.data(), **more))
    for more in slopes:
        yield partial(batch_plots.draw_slope, plots.slope(**more))
    for more in contours:
        yield partial(batch_plots.draw_contours, plots.contour(**more))


@pytest.mark.parametrize("sheet", [SMALL, IN_ASCII, NARROW])
@pytest.mark.parametrize("draw", odd_pictures())
def test_an_odd_plot_is_drawn_all_the_same(draw: partial[Drawing], sheet: Sheet) -> None:
    drawn = draw(sheet)
    assert len(drawn.lines) == sheet.height
    points = text_of(drawn).count("O" if sheet.ascii_only else "●")
    assert points >= (2 if draw.func is batch_plots.draw_data else 0)


def test_a_landscape_without_a_number_says_so() -> None:
    slope = plots.slope(losses=(math.nan,) * 121, loss=math.inf)
    contour = plots.contour(losses=((math.nan,) * 41,) * 31)
    drawings = batch_plots.draw_slope(slope, SMALL), batch_plots.draw_contours(contour, SMALL)
    for drawing in drawings:
        assert lines_of(drawing) == ["No finite loss to draw here."]


# ── Plane ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sheet", [LARGE, Sheet(58, 9, ascii_only=True)])
def test_the_plane_shows_targets_shades_and_the_border_between(sheet: Sheet) -> None:
    rows = lines_of(batch_plots.draw_plane(plots.plane(), sheet))
    canvas = [row[7:38] for row in rows[:-1]]
    ones = [(x, y) for y, row in enumerate(canvas) for x, c in enumerate(row) if c == "1"]
    dense = (batch_plots.ASCII_SHADES if sheet.ascii_only else batch_plots.SHADES)[-1]
    assert len(ones) == 2
    for x, y in ones:
        assert canvas[y][x - 2] == dense
    border = {"+"} if sheet.ascii_only else {c for row in canvas for c in row if c > "\u2800"}
    assert all(border & set(row) for row in canvas)
    assert "o2 = 0.5" in "".join(rows)


def test_many_points_do_not_cover_the_plane() -> None:
    points = tuple((x / 10, y / 10, float((x + y) % 2)) for x in range(11) for y in range(0, 11, 5))
    drawn = batch_plots.draw_plane(
        msgspec.structs.replace(plots.plane(), points=points), Sheet(78, 20)
    )
    assert text_of(drawn).count("█") > 100


def test_an_output_beyond_the_targets_takes_the_last_shade() -> None:
    flat = msgspec.structs.replace(plots.plane(), outputs=((7.0,) * 31,) * 31)
    canvas = [row[7:38] for row in lines_of(batch_plots.draw_plane(flat, LARGE))[:-1]]
    assert set("".join(canvas)) == {"█", " ", "0", "1"}


@pytest.mark.parametrize("sheet", [SMALL, IN_ASCII])
def test_a_plane_with_gaps_marks_them_and_one_without_a_number_says_so(sheet: Sheet) -> None:
    plot: PlanePlot = plots.plane()
    gaps = ((math.nan,) * 31,) * 15 + plot.outputs[15:]
    assert "?" in text_of(
        batch_plots.draw_plane(msgspec.structs.replace(plot, outputs=gaps), sheet)
    )
    nothing = msgspec.structs.replace(plot, outputs=((math.nan,) * 31,) * 31)
    assert lines_of(batch_plots.draw_plane(nothing, sheet)) == ["No finite output to draw here."]


@pytest.mark.parametrize("sheet", [SMALL, IN_ASCII, LARGE])
@pytest.mark.parametrize("count", [8, 100, 400])
def test_no_target_of_the_plane_is_written_over_another(sheet: Sheet, count: int) -> None:
    """What can be read is a target, whole; the others are points. None is gone."""
    draws = random.Random(3)
    points = tuple((draws.random(), draws.random(), draws.gauss(0.0, 5.0)) for _ in range(count))
    flat = msgspec.structs.replace(plots.plane(), points=points, outputs=((-9.0,) * 31,) * 31)
    rows = lines_of(batch_plots.draw_plane(flat, sheet))
    side = 24 if sheet.width >= 70 else 20  # of the legend
    canvas = [re.split("[┤│]", row[: sheet.width - side], maxsplit=1)[1] for row in rows[:-1]]
    labels = {number(target, 2) for *_, target in points}
    found = [token for row in canvas for token in re.findall(r"[−\d.]+", row.replace("o", " "))]
    assert found or count == 400
    assert set(found) <= labels
    marks = sum(row.count("•") + row.count("o") for row in canvas)
    assert 0 < len(found) + marks <= count
