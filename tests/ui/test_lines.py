"""Only what has changed is painted again, and all of that."""

from hypothesis import given, settings
from hypothesis import strategies as st
from textual.content import Content

from tutor.ui.lines import PLAIN, VALUE, changed_cells, line

pieces = st.tuples(
    st.text(st.sampled_from("ab ŷ数▲"), max_size=4),
    st.sampled_from([PLAIN, VALUE]),
)
contents = st.lists(pieces, max_size=4).map(lambda found: line(*found))


def cells(content: Content, width: int) -> list[tuple[str, object]]:
    """What stands in each cell, blanks to the right of the line included."""
    found: list[tuple[str, object]] = []
    for strip_text, style in content.render():
        for character in strip_text:
            wide = Content(character).cell_length
            found += [(character, style)] * wide if wide else []
    return found + [(" ", None)] * (width - len(found))


@given(contents, contents)
@settings(max_examples=60)
def test_what_is_not_painted_again_is_the_same_as_before(old: Content, new: Content) -> None:
    width = 2 + max(old.cell_length, new.cell_length)
    start, end = changed_cells(old, new)
    before, after = cells(old, width), cells(new, width)
    for i, (a, b) in enumerate(zip(before, after, strict=True)):
        if not start <= i < end:
            assert a[0] == b[0]
            assert a[1] == b[1] or not a[1] or not b[1]


def test_one_changed_digit_is_one_cell_and_another_style_or_length_is_a_change() -> None:
    assert changed_cells(line("w  0.300"), line("w  0.305")) == (7, 8)
    assert changed_cells(line("w 0.300"), line("w")) == (2, 7)
    assert changed_cells(line("w ", "3"), line("w ", ("3", VALUE))) == (2, 3)
