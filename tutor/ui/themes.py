"""The characters and colours of the terminal: filters, themes, and the app that has them.

A theme gives the sixteen colours that text styles and `tutor.tcss` use.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, TerminalTheme
from textual.app import App, SystemCommand
from textual.color import Color
from textual.filter import LineFilter, Monochrome, NoColor
from textual.screen import Screen
from textual.theme import BUILTIN_THEMES, Theme

from tutor.session.run_view import Notice
from tutor.ui.settings import THEMES, SettingsFile, ThemeName

if TYPE_CHECKING:
    from textual.command import Provider

_STAND_INS = {
    "▶": ">", "▸": ">", "►": ">", "→": ">", "⇒": ">", "◀": "<", "◂": "<", "←": "<",
    "▲": "^", "↑": "^", "▼": "v", "↓": "v", "↪": "\\", "●": "O", "•": "*", "◆": "*",
    "✗": "!", "✓": "+", "◇": "o", "·": "-", "−": "-", "–": "-", "—": "-", "×": "x", "…": "~",
    "‘": "'", "’": "'", "“": '"', "”": '"', "│": "|", "┃": "|", "║": "|", "┆": "|",
    "┊": "|", "╎": "|", "═": "=", "━": "=", "█": "#", "░": ".", "▒": ":", "▓": "#",
    "≤": "<", "≥": ">", "≈": "~", "∞": "8", "√": "V", "∑": "S", "∂": "d",
    "°": "o",
}  # fmt: skip
"""The ASCII substitutes for characters, of the same width in cells."""

_BOX_DRAWING = range(0x2500, 0x2580)
_DASHES = "─━┄┅┈┉╌╍╴╶╸╺╼╾"
_BRAILLE = range(0x2800, 0x2900)
_BLOCKS = range(0x2580, 0x25A0)


def is_ascii_only(environ: Mapping[str, str], utf8_mode: bool = False) -> bool:
    """Whether the locale that the environment names can show ASCII only.

    The order is the C library's (LC_ALL, LC_CTYPE, LANG), and no locale is the C locale.
    Python rewrites LC_CTYPE when it starts in the C locale (PEP 538) and turns its UTF-8
    mode on; with `utf8_mode` that rewritten value is looked through.
    """
    name = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "C"
    if utf8_mode and not environ.get("LC_ALL") and environ.get("LC_CTYPE") == "C.UTF-8":
        name = environ.get("LANG") or "C"
    codeset = (name.partition(".")[2] or name).partition("@")[0]
    return codeset.lower().replace("-", "") != "utf8"


@lru_cache(4096)
def _in_ascii(character: str) -> str:
    """ASCII of the character's width: its substitute, its letter without accent, or `?`."""
    if found := _STAND_INS.get(character):
        return found
    code, width = ord(character), cell_len(character)
    if code in _BOX_DRAWING:
        return "-" if character in _DASHES else "+"
    if code in _BRAILLE:
        return " " if code == _BRAILLE.start else "*"
    if code in _BLOCKS:
        return "#"
    letters = "".join(c for c in unicodedata.normalize("NFKD", character) if c.isascii())
    return letters if letters and len(letters) == width else "?" * width


def to_ascii(text: str) -> str:
    """The text in ASCII, as many cells wide as before."""
    return text if text.isascii() else "".join(c if c.isascii() else _in_ascii(c) for c in text)


class NoControls(LineFilter):
    """A filter that removes control characters from the text of every widget.

    They have no width, so that the line stays as wide as it was laid out. What Textual itself
    tells the terminal is a segment with a control of its own.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The line without control characters."""
        for segment in segments:
            if not (segment.control or segment.text.isprintable()):
                break
        else:
            return segments  # as nearly always
        return [
            s if s.control or s.text.isprintable() else Segment(_without_controls(s.text), s.style)
            for s in segments
        ]


def _without_controls(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c) != "Cc" or c == "\n")


class AsciiOnly(LineFilter):
    """A filter that turns all text into ASCII: borders, markers and lessons alike."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The line, cell for cell, in ASCII."""
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]


_Colour = tuple[int, int, int]


class ThemeStyle(msgspec.Struct, frozen=True):
    """One theme, as Textual needs it."""

    title: str
    """The theme's name for the learner."""
    theme: Theme
    palette: TerminalTheme | None = None
    """The values of the sixteen colours; None leaves them to the terminal."""
    is_black_and_white: bool = False


def _rgb(colour: str) -> _Colour:
    value = int(colour.removeprefix("#"), 16)
    return value >> 16, value >> 8 & 255, value & 255


def _look(
    name: str,
    title: str,
    *,
    dark: bool,
    paper: str,
    ink: str,
    colours: str,
    is_black_and_white: bool = False,
) -> ThemeStyle:
    """`colours`: black, red, green, yellow, blue, magenta, cyan and white."""
    _, red, green, yellow, blue, _, cyan, _ = colours.split()
    theme = Theme(
        name,
        primary=blue,
        secondary=cyan,
        warning=yellow,
        error=red,
        success=green,
        accent=green,
        foreground=ink,
        background=paper,
        surface=paper,
        panel=paper,
        boost=paper,
        dark=dark,
        text_alpha=1.0,
        variables={
            "block-cursor-foreground": paper,
            "block-cursor-background": ink,
            "block-cursor-text-style": "bold",
            "input-cursor-foreground": paper,
            "input-cursor-background": ink,
            "input-cursor-text-style": "none",
            "input-selection-background": ink,
            "input-selection-foreground": paper,
            "border": green,
            "border-blurred": ink,
        },
    )
    eight = [_rgb(c) for c in colours.split()]
    palette = TerminalTheme(_rgb(paper), _rgb(ink), eight, eight)
    return ThemeStyle(title, theme, palette, is_black_and_white)


_BLACK, _WHITE = "#000000", "#ffffff"

LOOKS: Mapping[ThemeName, ThemeStyle] = {
    "terminal": ThemeStyle("terminal: its own colours", BUILTIN_THEMES["ansi-dark"]),
    "dark": _look(
        "dark",
        "dark: light text on a dark background",
        dark=True,
        paper="#16181d",
        ink="#e8e8e8",
        colours="#8a8f98 #ff9590 #8fdc9c #ecc57f #93bbff #dfa8f0 #84d8e6 #e8e8e8",
    ),
    "light": _look(
        "light",
        "light: dark text on a light background",
        dark=False,
        paper="#fbfbf8",
        ink="#1d2025",
        colours="#1d2025 #a81e17 #17602a #6d4500 #0b4bb3 #74189a #00545f #5c6068",
    ),
    "contrast": _look(
        "contrast",
        "high contrast: white on black, no colours",
        dark=True,
        paper=_BLACK,
        ink=_WHITE,
        colours=" ".join([_WHITE] * 8),
        is_black_and_white=True,
    ),
}


_MOUSE_HELP = {
    "terminal": "To select text, from the next start (this time: tutor --no-mouse)",
    "tutor": "To scroll panes and choose, from the next start",
}


class BlackAndWhite(LineFilter):
    """White on black, and black on white where text is reversed: nothing is tinted.

    Words that are dimmed elsewhere are slanted here: that takes no contrast away.
    """

    _INK = Style(color=_WHITE, bgcolor=_BLACK, dim=False)
    _SLANTED = Style(italic=True)

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The line in two colours."""
        return [
            Segment(text, style and self._style(text, style), control)
            for text, style, control in segments
        ]

    def _style(self, text: str, style: Style) -> Style:
        has_words = any(character.isalpha() for character in text)  # not the lines of a tree
        slanted = self._SLANTED if style.dim and has_words else Style.null()
        return style + slanted + self._INK


def _command_search() -> type[Provider]:
    from tutor.ui.screens.dialogs import CommandSearch  # noqa: PLC0415 - when it is first opened

    return CommandSearch


class ThemedApp(App[None]):
    """An app with themes. Subclasses define `tell`."""

    ansi_theme: TerminalTheme = DEFAULT_TERMINAL_THEME
    """The values of the terminal's sixteen colours in this theme: Textual asks at every line."""

    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_command_search}

    def __init__(
        self, settings: SettingsFile, theme: ThemeName | None, *, ascii_only: bool
    ) -> None:
        """Prepare the app. `theme` replaces the saved theme for this session only."""
        super().__init__()
        self.settings = settings
        # Made once: Textual remembers what a filter has made of a line by the filter's identity.
        ascii_filters = [AsciiOnly()] if ascii_only else []
        self._characters: Sequence[LineFilter] = (NoControls(), *ascii_filters)
        self._look: ThemeName = "terminal"
        self._colours: Sequence[LineFilter] = ()
        for look in LOOKS.values():
            self.register_theme(look.theme)
        self._wear(theme or settings.settings.theme)
        self.stylesheet.set_variables(self.get_css_variables())
        self._is_first_theme = True

    def refresh_css(self, animate: bool = True) -> None:
        """Parse the stylesheet again for a new theme.

        The call for the first theme does nothing: its variables were set before the stylesheet was
        parsed, and to parse it twice would take a twentieth of the start.
        """
        if not self._is_first_theme:
            super().refresh_css(animate)
        self._is_first_theme = False

    def tell(self, notice: Notice) -> None:
        """Show a one-line message on the current screen."""
        raise NotImplementedError

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's line filters, plus ours for no colour and for ASCII where they are needed."""
        filters = [f for f in super().get_line_filters() if not isinstance(f, Monochrome | NoColor)]
        return [*self._colours, *filters, *self._characters]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: the commands of the screen, the owner of the mouse, and the themes."""
        for command in getattr(screen, "commands", ()):
            if command.name != "palette":
                act = partial(self.call_next, screen.run_action, command.action)
                title = f"{command.label} ({command.key_label})"
                yield SystemCommand(title, command.help, act)
        for owner, help_text in _MOUSE_HELP.items():
            take = partial(self.take_mouse, owner == "tutor")
            yield SystemCommand(f"Mouse for the {owner}", help_text, take)
        for name, look in LOOKS.items() if not self.no_color else ():
            take_theme = partial(self.action_take_theme, name)
            yield SystemCommand(f"Theme {name}", look.title.capitalize(), take_theme)

    def action_turn_theme(self) -> None:
        """Change to the next theme."""
        self.action_take_theme(THEMES[(THEMES.index(self._look) + 1) % len(THEMES)])

    def action_take_theme(self, name: ThemeName) -> None:
        """Use this theme now and save it in the settings."""
        if self.no_color:
            self.tell(Notice("no_colours", kind="no_effect"))
            return
        self._wear(name)
        self.settings.keep(msgspec.structs.replace(self.settings.settings, theme=name))
        if not self.settings.trouble:
            self.tell(Notice("theme_taken", {"title": LOOKS[name].title}))

    def take_mouse(self, takes: bool) -> None:
        """Set whether the app or the terminal handles the mouse."""
        self.settings.keep(msgspec.structs.replace(self.settings.settings, mouse=takes))
        if not self.settings.trouble:
            self.tell(Notice("mouse", {"whose": "tutor" if takes else "terminal"}))

    def _wear(self, name: ThemeName) -> None:
        """Apply a theme; without colours always `terminal`, which sets no colour."""
        self._look = "terminal" if self.no_color else name
        look = LOOKS[self._look]
        is_plain = look.is_black_and_white
        self._colours = (NoColor(),) if self.no_color else (BlackAndWhite(),) if is_plain else ()
        self.ansi_theme = look.palette or self.ansi_theme_dark
        self.theme = look.theme.name
