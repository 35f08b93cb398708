"""Text without blanks is wrapped, too: rows fit, and no row begins with a closing mark."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content

from tutor.ui.prose import prose_lines, wrap
from tutor.ui.text_styles import CODE, line


def rows(text: str, width: int) -> list[str]:
    return [row.plain for row in wrap(Content(text), width)]


def test_a_row_may_end_between_two_wide_characters() -> None:
    assert rows("损失和梯度", 4) == ["损失", "和梯", "度"]


def test_no_row_begins_with_a_closing_mark_or_ends_with_an_opening_one() -> None:
    assert rows("损失，梯度。", 6) == ["损失，", "梯度。"]
    assert rows("它说（损失）", 6) == ["它说", "（损", "失）"]
    assert rows("一二三。", 6) == ["一二", "三。"]


def test_words_and_numbers_stay_whole_among_wide_characters() -> None:
    assert rows("学习率 0.25 太大", 10) == ["学习率", "0.25 太大"]
    assert rows("用backward求", 10) == ["用backward", "求"]


def test_a_word_wider_than_a_row_is_folded() -> None:
    assert rows("用zero_grad清零", 6) == ["用", "zero_g", "rad", "清零"]


def test_styles_stay_on_their_words() -> None:
    wrapped = wrap(line("权重 ", ("w", CODE), " 太大"), 5)
    assert [row.plain for row in wrapped] == ["权重", "w 太", "大"]
    assert [row.plain[s.start : s.end] for row in wrapped for s in row.spans] == ["w"]


def test_text_with_blanks_only_is_wrapped_as_it_always_was() -> None:
    text = "one two  three-four five."
    assert rows(text, 9) == [row.plain for row in Content(text).wrap(9)]


def test_the_end_of_a_line_in_the_source_is_no_blank_between_wide_characters() -> None:
    shown = prose_lines("损失，\n梯度\n`w` and\nmore", 40, str)
    assert [row.plain for row in shown] == ["损失，梯度 w and more"]


@given(st.text(alphabet="损失，。（）“” aw1.", min_size=1), st.integers(4, 12))
def test_nothing_is_dropped_and_every_row_fits(text: str, width: int) -> None:
    wrapped = wrap(Content(text), width)
    assert all(row.cell_length <= width for row in wrapped)
    assert "".join("".join(r.plain for r in wrapped).split()) == "".join(text.split())
