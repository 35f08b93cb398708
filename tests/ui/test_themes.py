"""The themes, readable with and without colour, and remembered; characters in ASCII."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from tutor.cli.parsers import make_parser
from tutor.ui.app import TutorApp
from tutor.ui.settings import THEMES, Settings, SettingsFile
from tutor.ui.themes import LOOKS, AsciiOnly, is_ascii_only, to_ascii

from .conftest import MakeApp, at_screen

Colour = tuple[int, int, int]

AA, AAA = 4.5, 7.0
"""https://www.w3.org/TR/WCAG22/#contrast-minimum and #contrast-enhanced"""


def contrast(one: Colour, other: Colour) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@lru_cache
def luminance(colour: Colour) -> float:
    parts = [part / 255 for part in colour]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_measure_of_contrast_is_right() -> None:
    assert contrast((255, 255, 255), (0, 0, 0)) == pytest.approx(21)
    assert contrast((0x77, 0x77, 0x77), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def painted(app: TutorApp) -> list[Segment]:
    """What goes out to the terminal."""
    strips = app.screen._compositor.render_strips()
    return [segment for strip in strips for segment in strip]


def triplets(segment: Segment) -> tuple[Colour | None, Colour | None]:
    """The colours of letters and ground, where they are not the terminal's."""
    style = segment.style or Style.null()
    ink = style.color and style.color.triplet
    paper = style.bgcolor and style.bgcolor.triplet
    return (tuple(ink) if ink else None, tuple(paper) if paper else None)


def assert_readable(segment: Segment, theme: str, has_colour: bool) -> None:
    """A theme leaves no colour to the terminal; without colours all are left to it."""
    ink, paper = triplets(segment)
    if theme == "terminal" or not has_colour:
        assert (ink, paper) == (None, None), segment
        colour = segment.style.color if segment.style else None
        assert has_colour or colour is None or colour.is_default, segment
    elif segment.text.strip():
        assert ink is not None, segment
        assert paper is not None, segment
        assert contrast(ink, paper) >= (AAA if theme == "contrast" else AA), segment


@pytest.mark.parametrize(
    ("theme", "has_colour"), [*((theme, True) for theme in THEMES), ("dark", False)]
)
async def test_every_word_can_be_read_and_no_theme_marks_focus_and_choice_by_colour_alone(
    make_app: MakeApp, theme: str, has_colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a lesson, a question and the menu."""
    if not has_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    app = make_app(theme=theme)
    async with at_screen(app) as learner:
        for keys, marked in (
            ("s g space 4 2", "═ 1 Formula  2 Code "),  # a double line
            ("l x enter", "esc"),
            ("escape m", "A line through"),
        ):
            await learner.press(*keys.split())
            segments = painted(app)
            for segment in segments:
                assert_readable(segment, theme, has_colour)
            assert marked in "".join(segment.text for segment in segments)
        row = next(s for s in segments if "A line through" in s.text)
        assert row.style is not None
        assert row.style.reverse


async def test_a_key_goes_through_the_themes_tells_each_and_keeps_it(
    make_app: MakeApp, tmp_path: Path
) -> None:
    """Whose the mouse is is settled by a command, and no theme forgets it."""
    file = tmp_path / "config" / "settings.json"
    app = make_app(menu=True, settings=SettingsFile(file))
    async with at_screen(app) as learner:
        grounds = []
        for name in (*THEMES[1:], THEMES[0]):
            await learner.press("T")
            assert f"Theme {name}" in learner.text("status").replace("high ", "")
            assert SettingsFile(file).settings == Settings(theme=name)
            grounds.append(triplets(painted(app)[0])[1])
        assert len(set(grounds)) == len(THEMES), "each looks its own way at once"
        commands = {c.title: c.callback for c in app.get_system_commands(app.screen)}
        commands["Mouse for the terminal"]()
        await learner.settle()
        assert learner.sees("the mouse belongs to the terminal", "status")
        await learner.press("T")
        assert SettingsFile(file).settings == Settings(theme=THEMES[1], mouse=False)
        commands["Mouse for the tutor"]()
        assert SettingsFile(file).settings.mouse


async def test_what_was_chosen_is_worn_the_next_time_unless_another_is_asked_for(
    make_app: MakeApp, tmp_path: Path
) -> None:
    file = tmp_path / "settings.json"
    SettingsFile(file).keep(Settings(theme="light"))
    assert make_app(settings=SettingsFile(file)).theme == "light"
    assert make_app(settings=SettingsFile(file), theme="contrast").theme == "contrast"
    assert SettingsFile(file).settings.theme == "light", "the command line's is for once"


async def test_without_colours_the_key_says_why_nothing_changes(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app(menu=True)
    async with at_screen(app) as learner:
        await learner.press("T")
        assert learner.sees("NO_COLOR is set", "status")


@pytest.mark.parametrize("damage", [b"", b"{", b'{"theme": "pink"}', b"\xff\xfe", b"[1]"])
def test_damaged_settings_are_told_and_not_used(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "settings.json"
    file.write_bytes(damage)
    found = SettingsFile(file)
    assert found.settings == Settings()
    assert str(file) in found.trouble
    assert "\n" not in found.trouble
    found.keep(Settings(theme="dark"))
    assert not found.trouble
    assert SettingsFile(file).settings.theme == "dark"


def test_settings_of_a_later_version_are_used_as_far_as_they_are_known(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"theme": "dark", "font": "large"}')
    assert SettingsFile(file).settings.theme == "dark"


async def test_settings_that_can_not_be_written_hold_and_are_told(
    make_app: MakeApp, tmp_path: Path
) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    app = make_app(menu=True, settings=SettingsFile(tmp_path / "blocked" / "settings.json"))
    async with at_screen(app) as learner:
        await learner.press("T")
        app._tell_trouble()
        await learner.settle()
        assert app.theme == "dark"
        assert learner.sees("not saved for the next time", "status")


def test_the_command_line_knows_the_themes(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_parser().parse_args(["open", "--theme", "light"]).theme == "light"
    with pytest.raises(SystemExit):
        make_parser().parse_args(["open", "--theme", "pink"])
    assert "pink" in capsys.readouterr().err
    assert tuple(LOOKS) == THEMES


# ── Characters ──────────────────────────────────────────────────────────────────────


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
