import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color

from tutor.ui.themes import AsciiOnly, is_ascii_only, to_ascii


@pytest.mark.parametrize(
    ("environ", "ascii_only"),
    [
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "C.utf8"}, False),
        ({"LC_CTYPE": "UTF-8"}, False),
        ({"LANG": "C"}, True),
        ({"LANG": "POSIX"}, True),
        ({}, True),
        ({"LANG": "de_DE.ISO-8859-1@euro"}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "de_DE.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "", "LC_CTYPE": ""}, False),
    ],
)
def test_the_locale_says_which_characters_there_are(
    environ: dict[str, str], ascii_only: bool
) -> None:
    assert is_ascii_only(environ) is ascii_only


def test_a_locale_that_python_itself_has_put_there_does_not_count() -> None:
    assert is_ascii_only({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, utf8_mode=True)
    assert not is_ascii_only({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, utf8_mode=False)
    assert not is_ascii_only({"LANG": "xx_XX.UTF-8", "LC_CTYPE": "C.UTF-8"}, utf8_mode=True)


def test_lines_arrows_and_bars_have_ascii_shapes() -> None:
    assert to_ascii("┌─┐│═▶▲▼●█░…") == "+-+|=>^vO#.~"


def test_letters_lose_their_hats_and_wide_ones_keep_their_width() -> None:
    assert to_ascii("ŷé数") == "ye??"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf"])))
def test_the_filter_lets_only_ascii_out_and_keeps_every_cell_in_place(text: str) -> None:
    (segment,) = AsciiOnly().apply([Segment(text)], Color(0, 0, 0))
    assert segment.text.isascii()
    assert len(segment.text) == sum(map(cell_len, text))
