import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tutor.plain import one_line, plain


def test_an_escape_sequence_is_shown_and_not_obeyed() -> None:
    assert plain("\x1b[31mred\x07") == "^[[31mred^G"


def test_a_mark_that_turns_the_reading_direction_is_named() -> None:
    assert plain("a\u202eb\u200b\x9b\ufeff") == "a<U+202E>b<U+200B><U+009B><U+FEFF>"


def test_half_a_surrogate_pair_is_named_so_that_it_can_be_encoded() -> None:
    assert plain("\ud800").encode() == b"<U+D800>"


def test_tabs_are_expanded_and_newlines_kept() -> None:
    assert plain("a\tb\r\nc\rd\n") == "a   b\nc^Md\n"


def test_markup_and_letters_with_hats_stay_as_they_are() -> None:
    assert plain("[bold]ŷ 数 é[/bold]") == "[bold]ŷ 数 é[/bold]"


@given(st.text())
def test_no_text_whatever_keeps_a_character_that_a_terminal_would_obey(text: str) -> None:
    shown = plain(text)
    kinds = {unicodedata.category(c) for c in shown.replace("\n", "")}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


def test_one_line_is_one_line() -> None:
    assert one_line("a\nb\r\n  c") == "a b   c"
