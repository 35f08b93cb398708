"""Markdown as lines: nothing is dropped, nothing is wider than its pane."""

from hypothesis import given
from hypothesis import strategies as st

from tutor.ui.prose import prose_lines


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
    (line,) = prose_lines("*a* **b** [c](https://d.e)", 40, str)
    assert line.plain == "a b c"
    assert [line.plain[s.start : s.end] for s in line.spans] == ["a", "b"]


def test_what_looks_like_textual_markup_is_text() -> None:
    assert shown("[bold]no[/bold] [red]") == ["[bold]no[/bold] [red]"]


def test_an_escape_in_prose_is_shown() -> None:
    assert shown("a\x1b[31mb") == ["a^[[31mb"]


def test_html_is_shown_as_its_source() -> None:
    assert shown("<b>x</b>\n\n<div>y</div>") == ["<b>x</b>", "", "<div>y</div>"]


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
