"""The text that a run has printed, as far as the place where it stands.

The engine is silent while code runs again only to get somewhere. The history keeps the text at the
places that were shown, so that going back takes later lines away.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from tutor.plain import plain
from tutor.protocol.commands import Command, Restart, Seek, SelectRun
from tutor.protocol.events import FrameShown
from tutor.protocol.frame import EPOCH_END, Position

MAX_LINES = 500
MAX_COLUMNS = 2000
"""Characters that are kept of one line."""
MAX_PLACES = 200
"""Places of one run whose text is kept."""
MAX_CHARACTERS = 4_000_000
"""Characters of all texts kept of one run; lines that several of them share count each time."""

_DECORATION = re.compile(r"\x1b\[[0-9;:]*[mK]")
"""Escape sequences that set a colour, or erase what follows in a line."""

PrintedPlace: TypeAlias = tuple[Position, bool]
"""A position, and whether the rest of a script has run there, too."""


class PrintedText(msgspec.Struct, frozen=True):
    """The last lines that the lesson printed; the last of them may still grow."""

    lines: tuple[str, ...] = ()
    left_out: int = 0
    """Characters that were dropped."""
    gap: int | None = None
    """The number of lines after which some may be missing: they were not printed again."""
    is_raw: bool = False
    r"""Whether colours and text that a `\r` has overwritten are shown, too, as `^[` and `^M`."""
    _open: str = ""
    """The line that no newline has ended yet, unescaped."""

    def followed_by(self, text: str, left_out: int = 0) -> PrintedText:
        """The text with more at its end, safe to show."""
        *ended, last = (self._open + text.replace("\r\n", "\n")).split("\n")
        lines = [*self.lines, *(self._bounded(line) for line in ended)]
        too_many = max(len(lines) - MAX_LINES, 0)
        dropped = sum(len(line) + 1 for line in lines[:too_many])
        return replace(
            self,
            lines=tuple(lines[too_many:]),
            left_out=self.left_out + left_out + dropped,
            gap=None if self.gap is None or self.gap < too_many else self.gap - too_many,
            _open=(last if self.is_raw else _as_it_stands(last))[: MAX_COLUMNS + 1],
        )

    def with_gap(self) -> PrintedText:
        """The text at a place after which more was printed that is not known."""
        return replace(self, lines=self.shown, gap=len(self.shown), _open="")

    @property
    def shown(self) -> tuple[str, ...]:
        """The lines, with the last, unfinished one."""
        return (*self.lines, self._bounded(self._open)) if self._open else self.lines

    @property
    def size(self) -> int:
        """Characters in it."""
        return sum(map(len, self.lines)) + len(self._open)

    def _bounded(self, line: str) -> str:
        if not self.is_raw:
            line = _as_it_stands(line).rstrip("\r")
        text = plain(line[:MAX_COLUMNS])
        return text + " …" if len(line) > MAX_COLUMNS else text


def _as_it_stands(line: str) -> str:
    r"""The part of a line that no `\r` has overwritten, without colours, as in a terminal.

    A `\r` at its end stays: the next character overwrites the line.
    """
    if "\x1b" in line:
        line = _DECORATION.sub("", line)
    written = line.rstrip("\r")
    if len(written) == len(line):
        return line[line.rfind("\r") + 1 :]
    return written[written.rfind("\r") + 1 :] + "\r"


class _RunTexts:
    """The texts of one run at the places that were shown, in their order."""

    def __init__(
        self, places: Iterable[PrintedPlace] = (), texts: Iterable[PrintedText] = ()
    ) -> None:
        self._places, self._texts = list(places), list(texts)
        self._size = sum(text.size for text in self._texts)

    def keep(self, place: PrintedPlace, text: PrintedText) -> None:
        """Keep a text, unless this place has one already, or lines are missing in it."""
        at = bisect_left(self._places, place)
        if text.gap is not None or self._places[at : at + 1] == [place]:
            return
        self._places.insert(at, place)
        self._texts.insert(at, text)
        self._size += text.size
        while len(self._places) > (2 if self._size > MAX_CHARACTERS else MAX_PLACES):
            older = slice(1, max(len(self._places) // 2, 2), 2)
            self._size -= sum(text.size for text in self._texts[older])
            del self._places[older], self._texts[older]

    def exactly_at(self, place: PrintedPlace) -> PrintedText | None:
        """The text at a place; None if it is not known."""
        at = bisect_left(self._places, place)
        return self._texts[at] if self._places[at : at + 1] == [place] else None

    def cut_after(self, place: PrintedPlace) -> _RunTexts:
        """The texts up to a place, of another run that shares them."""
        count = bisect_right(self._places, place)
        return _RunTexts(self._places[:count], self._texts[:count])

    def after_epoch_before(self, place: PrintedPlace, printed: str | None) -> PrintedText | None:
        """The text at a place in an epoch that has `printed` this; None if one is not known."""
        before = self.exactly_at((Position(place[0].epoch - 1, EPOCH_END), False))
        if printed is None or before is None or place[1]:
            return None
        return self.exactly_at(place) or before.followed_by(printed)

    def until(
        self, place: PrintedPlace, known: tuple[PrintedPlace, PrintedText] | None = None
    ) -> PrintedText:
        """The text of the last known place that is not later, with a gap if more was printed.

        `known`: a text besides those that are kept.
        """
        exact = self.exactly_at(place)
        if exact is not None:
            return exact
        count = bisect_right(self._places, place)
        text = self._texts[count - 1] if count else PrintedText()
        if known and known[0] <= place and (not count or self._places[count - 1] <= known[0]):
            text = known[1]
        after = self._texts[count] if count < len(self._texts) else None
        is_all = not text.shown if after is None else after == text
        return text if is_all or text.gap == len(text.shown) else text.with_gap()


class RunOutput:
    """The output of all runs of a lesson, kept at the places that were shown."""

    def __init__(self) -> None:
        self.here = PrintedText()
        """The output up to the place where the run stands."""
        self.all = PrintedText(is_raw=True)
        """All output in the order that it came, going back or not."""
        self._runs: dict[str, _RunTexts] = {}
        self._last: _Shown | None = None
        self._set_aside: tuple[PrintedText, dict[str, _RunTexts], _Shown | None] | None = None
        """The output of the run that is set aside until an exercise is over."""

    def add(self, text: str, left_out: int = 0) -> None:
        """Add output that has just come."""
        self.here = self.here.followed_by(text, left_out)
        self.all = self.all.followed_by(text, left_out)

    def begin_anew(self) -> None:
        """Forget the output: the lesson begins again."""
        self.here, self.all = PrintedText(), PrintedText(is_raw=True)
        self._runs, self._last = {}, None

    def change_run(self, *, sets_runs_aside: bool) -> None:
        """Turn to another run: set the open one aside, or resume the one that was set aside."""
        resumed = self._set_aside
        if sets_runs_aside:
            self._set_aside = resumed or (self.here, self._runs, self._last)
        if sets_runs_aside or resumed is None:
            self._runs, self._last = {}, None
        else:
            (self.here, self._runs, self._last), self._set_aside = resumed, None

    def follow(self, event: FrameShown, command: Command | None) -> None:
        """Go to the place that is shown now; `command` is the command that the event answers."""
        # By the letter: the learner may give a run another name.
        run = next((info.letter or info.name for info in event.runs if info.is_current), "")
        at = event.frame.at
        end = Position(at.epoch, EPOCH_END) if event.frame.is_epoch_end else at
        place = (end, event.frame.is_over)
        if isinstance(command, Restart):
            self._runs.pop(run, None)
        elif self._last is not None:
            self.here = self._text_at(run, place, event, command, self._last)
        self._last = run, place, event
        there = {info.letter or info.name for info in event.runs} | {run}
        self._runs = {name: texts for name, texts in self._runs.items() if name in there}
        self._runs.setdefault(run, _RunTexts()).keep(place, self.here)

    def _text_at(
        self,
        run: str,
        place: PrintedPlace,
        event: FrameShown,
        command: Command | None,
        last: _Shown,
    ) -> PrintedText:
        last_run, last_place, last_event = last
        texts = self._runs.get(run)
        if texts is None and isinstance(command, SelectRun):  # it has not been shown before
            return PrintedText().with_gap() if self.here.shown else self.here
        if texts is None:  # a fork
            self._runs[run] = self._runs.get(last_run, _RunTexts()).cut_after(place)
            return self.here
        if run != last_run:
            return texts.until(place)
        if event.recipe.changes != last_event.recipe.changes:
            texts = self._runs[run] = texts.cut_after(place)
        if place == last_place:
            return self.here
        if place < last_place or _is_silent(command, last_event.last_epoch):
            known = (last_place, self.here) if place > last_place else None
            return texts.after_epoch_before(place, event.printed) or texts.until(place, known)
        return texts.exactly_at(place) or self.here


_Shown: TypeAlias = tuple[str, PrintedPlace, FrameShown]
"""A run's letter, the place that was shown, and the event."""


def _is_silent(command: Command | None, last_epoch: int) -> bool:
    """Whether a command has only run again what had run before."""
    if not isinstance(command, Seek):
        return False
    return command.epoch - (command.step != EPOCH_END) <= last_epoch
