"""Tables of text: columns as wide as their cells, in the layout that there is room for."""

from tutor.plain import cell_width
from tutor.wording.layout import WIDEST, columns, first_fitting


def test_columns_are_as_wide_as_their_widest_cell_and_the_last_one_widens_none() -> None:
    rows = [("run", "loss", "from"), ("数 fast", "0.25", ""), ("B", "−1", "a long remark")]
    assert columns(rows) == [
        "run      loss  from",
        "数 fast  0.25",
        "B        −1    a long remark",
    ]
    assert columns([("1", "x"), ("12", "y")], to_the_right=(0,)) == [" 1  x", "12  y"]


def test_a_very_long_cell_moves_the_rest_of_its_own_row_only() -> None:
    long = "w" * (WIDEST + 1)
    assert columns([("a", "b", "c"), (long, "b", "c")]) == ["a  b  c", f"{long}  b  c"]


def test_the_first_layout_that_fits_is_taken_and_the_last_one_if_none_does() -> None:
    tried: list[str] = []

    def width_of(layout: str) -> int:
        tried.append(layout)
        return cell_width(layout)

    layouts = ("a wide one", "a less", "tiny", "t")
    assert first_fitting(layouts, width_of, 6) == "a less"
    assert tried == ["a wide one", "a less"]
    assert first_fitting(layouts, width_of, 0) == "t"
