"""Markdown as lines, also without blanks: nothing is dropped or wider than its pane."""

from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content

from tutor.ui.lines import CODE, line
from tutor.ui.prose import prose_lines, wrap


def shown(markdown: str, width: int = 40) -> list[str]:
    return [c.plain for c in prose_lines(markdown, width, lambda latex: f"<{latex}>")]


def test_paragraphs_are_wrapped_and_stand_apart() -> None:
    assert shown("one two three\nfour\n\nfive", 10) == ["one two", "three four", "", "five"]


def test_lists_have_bullets_numbers_and_hanging_indents() -> None:
    assert shown("- one two three\n- four\n  1. a\n  2. b", 10) == [
        "• one two",
        "  three",
        "• four",
        "  1. a",
        "  2. b",
    ]


def test_inline_formulas_are_drawn_and_code_stays_as_it_is() -> None:
    assert shown("weight $w_1$ is `w[0]`") == ["weight <w_1> is w[0]"]


def test_a_short_inline_formula_stays_on_one_line_and_a_long_one_is_wrapped() -> None:
    (first, second) = prose_lines("the sum of $a + b$ is", 14, str)
    assert (first.plain, second.plain) == ("the sum of", "a + b is")
    assert [second.plain[s.start : s.end] for s in second.spans] == ["a + b"]
    assert shown("die Summe 数 von $a + b$", 16)[-1].startswith("<a + b>")
    assert shown("x $1 + 2 + 3 + 4 + 5 + 6$", 16) == ["x <1 + 2 + 3 + 4", "+ 5 + 6>"]


def test_emphasis_and_links_show_their_words() -> None:
    (shown,) = prose_lines("*a* **b** [c](https://d.e)", 40, str)
    assert shown.plain == "a b c"
    assert [shown.plain[s.start : s.end] for s in shown.spans] == ["a", "b"]


def test_what_looks_like_textual_markup_is_text() -> None:
    assert shown("[bold]no[/bold] [red]") == ["[bold]no[/bold] [red]"]
    assert shown("<b>x</b>\n\n<div>y</div>") == ["<b>x</b>", "", "<div>y</div>"]
    assert shown("a\x1b[31mb") == ["a^[[31mb"]


def test_a_table_keeps_its_cells_in_columns() -> None:
    rows = shown("| a | b |\n|---|---|\n| one | two |\n")
    assert [row.split("│")[0].strip() for row in rows] == ["a", "one"]
    assert [row.split("│")[1].strip() for row in rows] == ["b", "two"]


def test_a_quote_and_an_indented_block_are_set_off() -> None:
    assert shown("> said\n\n    x = 1\n") == ["│ said", "", "  x = 1"]


words = st.text(st.sampled_from("abc ŷ数*_`$[]<>#-1.\n"), max_size=60)


@given(words)
def test_no_line_is_wider_than_its_pane_and_no_word_is_lost(text: str) -> None:
    lines = prose_lines(text, 24, str)
    assert all(content.cell_length <= 24 for content in lines)
    if "[" not in text and "<" not in text:
        shown = {c for content in lines for c in content.plain}
        assert {c for c in text if c in "abcŷ数"} <= shown


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
