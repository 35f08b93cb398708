"""The output up to the place where a run stands."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.session.driven import Driven
from tests.ui.fake_engine import PrintingEngine
from tests.ui.lessons import lesson
from tutor.protocol.commands import Seek, SelectRun
from tutor.protocol.events import FrameShown
from tutor.session import printed_text
from tutor.session.printed_text import MAX_COLUMNS, MAX_LINES, PrintedText, RunOutput


class Printing(Driven):
    """A session with an open lesson that prints."""

    def __init__(self) -> None:
        super().__init__(PrintingEngine(), lesson())

    def does(self, keys: str) -> str:
        """The output after keys: s, S, b, B, R, jN."""
        for key in keys.split():
            match key:
                case "s":
                    self.session.step_phase()
                case "S":
                    self.session.step_epoch()
                case "b":
                    self.session.back_phase()
                case "B":
                    self.session.back_epoch()
                case "R":
                    self.session.restart()
                case _:
                    self.session.seek(int(key[1:]))
        return shown(self.session.output.here)


def shown(text: PrintedText) -> str:
    """The lines, and `…` where some are missing."""
    lines = list(text.shown)
    if text.gap is not None:
        lines.insert(text.gap, "…")
    return " ".join(lines)


@pytest.fixture
def printing() -> Printing:
    return Printing()


@pytest.mark.parametrize(
    ("keys", "output"),
    [
        ("s s", "1.1 1.2"),
        ("s s b", "1.1"),
        ("s s b b", ""),
        ("s s b b s", "1.1"),
        ("s s b b s s s", "1.1 1.2 1.3"),
        ("S S j1", "1.1 1.2 1.3 1.4 1.5"),
        ("S s j1 j2", "1.1 1.2 1.3 1.4 1.5 2.1 2.2 2.3 2.4 2.5"),
        ("S S b", "1.1 1.2 1.3 1.4 1.5 2.1 2.2 2.3 2.4"),
        ("S S b b s", "1.1 1.2 1.3 1.4 1.5 2.1 2.2 2.3 2.4"),
        ("j2 j1", "…"),
        ("j2 b", "…"),
        ("S j3 b b s", "1.1 1.2 1.3 1.4 1.5 … 3.4"),
        ("S B S", "1.1 1.2 1.3 1.4 1.5"),
        ("s R", "setup"),
        ("s R s b", "setup"),
    ],
)
def test_the_output_is_that_up_to_the_place(printing: Printing, keys: str, output: str) -> None:
    assert printing.does(keys) == output


def test_lines_that_are_not_printed_again_are_said_to_be_missing(printing: Printing) -> None:
    assert printing.does("s S j3 b") == "1.1 1.2 1.3 1.4 1.5 …"
    assert printing.does("b") == "1.1 1.2 1.3 1.4 1.5 …"
    printing.does("B B")
    printing.does("s s")
    assert printing.does("j3") == " ".join(f"{e}.{s}" for e in (1, 2, 3) for s in range(1, 6))


def test_plain_mode_has_all_in_the_order_that_it_came(printing: Printing) -> None:
    printing.does("s s b b s")
    assert shown(printing.session.output.all) == "1.1 1.2 1.1"


# ── Several runs ─────────────────────────────────────────────────────────────────────


def a_frame(engine: PrintingEngine, run: str, *, epoch: int, runs: str = "AB") -> FrameShown:
    """The end of an epoch of a run."""
    engine.at = engine.at.end_of(epoch)
    event = engine.shown()
    info = event.runs[0]
    infos = tuple(replace(info, name=n, letter=n, is_current=n == run) for n in runs)
    return replace(event, runs=infos, last_epoch=9)


def test_each_run_has_its_own_output_and_a_fork_begins_with_that_of_its_past() -> None:
    engine, output = PrintingEngine(), RunOutput()
    for epoch in (0, 1, 2):
        output.add(f"A{epoch} ")
        output.follow(a_frame(engine, "A", epoch=epoch, runs="A"), None)
    output.follow(a_frame(engine, "A", epoch=1, runs="A"), Seek(epoch=1))
    output.follow(a_frame(engine, "B", epoch=1), None)
    output.add("B2 ")
    output.follow(a_frame(engine, "B", epoch=2), None)
    assert output.here.shown == ("A0 A1 B2 ",)
    output.follow(a_frame(engine, "A", epoch=2), SelectRun(name="A"))
    assert output.here.shown == ("A0 A1 A2 ",)
    output.follow(a_frame(engine, "B", epoch=2), SelectRun(name="B"))
    output.follow(a_frame(engine, "B", epoch=0), Seek(epoch=0))
    assert output.here.shown == ("A0 ",)
    output.follow(a_frame(engine, "C", epoch=2, runs="BC"), SelectRun(name="C"))
    assert shown(output.here) == "…"


def test_an_exercise_has_output_of_its_own_and_the_learners_comes_back() -> None:
    engine, output = PrintingEngine(), RunOutput()
    output.add("mine\n")
    output.follow(a_frame(engine, "A", epoch=1), None)
    for text in ("exercise\n", "once more\n"):
        output.change_run(sets_runs_aside=True)
        output.add(text)
        output.follow(a_frame(engine, "A", epoch=3), None)
    output.change_run(sets_runs_aside=False)
    output.follow(a_frame(engine, "A", epoch=1), None)
    assert output.here.shown == ("mine",)


def test_the_rest_of_a_script_after_its_loop_is_a_place_of_its_own() -> None:
    engine, output = PrintingEngine(), RunOutput()
    output.add("loop\n")
    end = a_frame(engine, "A", epoch=2)
    output.follow(end, None)
    output.add("DONE\n")
    output.follow(replace(end, frame=replace(end.frame, is_over=True)), None)
    assert output.here.shown == ("loop", "DONE")
    output.follow(end, None)
    assert output.here.shown == ("loop",)


@pytest.mark.parametrize(("places", "characters"), [(10, 10**6), (10**6, 3000)])
def test_the_kept_texts_are_bounded(
    places: int, characters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printed_text, "MAX_PLACES", places)
    monkeypatch.setattr(printed_text, "MAX_CHARACTERS", characters)
    engine, output = PrintingEngine(), RunOutput()
    for epoch in range(40):
        output.add(f"{'x' * 19}\n")
        output.follow(a_frame(engine, "A", epoch=epoch), None)
    texts = output._runs["A"]
    assert 2 < len(texts._places) <= places
    assert texts._size == sum(text.size for text in texts._texts) <= characters
    assert texts.exactly_at(texts._places[-1]) == output.here


# ── Lines that are written over ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        (["\rstep 1", "\rstep 2", "\n"], ("step 2",)),
        (["step 1\r", "step 2\r"], ("step 2",)),
        (["a\r", "\nb"], ("a", "b")),
        (["a\r\r\nb\r\r\n"], ("a", "b")),
        (["\x1b[31mred\x1b[0m \x1b[1;38:5:1mx\x1b", "[0m\n"], ("red x",)),
        (["50%\x1b[K\r100%\x1b[K"], ("100%",)),
        (["\x1b]0;title\x07 \x1b[2J\x1b[5A"], ("^[]0;title^G ^[[2J^[[5A",)),
        (["\x1b[\x1b[31m2J"], ("^[[2J",)),
        (["\x1b", "[2J\n"], ("^[[2J",)),
        (["loss ", "3.0\nw"], ("loss 3.0", "w")),
    ],
)
def test_a_line_is_shown_as_a_terminal_leaves_it(chunks: list[str], lines: tuple[str, ...]) -> None:
    text = PrintedText()
    for chunk in chunks:
        text = text.followed_by(chunk)
    assert text.shown == lines


def test_a_long_progress_bar_keeps_its_end() -> None:
    text = PrintedText()
    for step in range(100):
        text = text.followed_by(f"\r{step:3}% {'#' * 99}")
    assert text.shown == (f" 99% {'#' * 99}",)
    assert text.size < 200


def test_only_the_last_lines_are_kept_and_what_is_left_out_is_counted() -> None:
    printed = PrintedText().followed_by("ab\n" * (MAX_LINES + 10), left_out=5)
    assert len(printed.shown) == MAX_LINES
    assert printed.left_out == 5 + 10 * 3
    long = PrintedText()
    for _ in range(10):
        long = long.followed_by("x" * 100_000)
    assert long.shown == ("x" * MAX_COLUMNS + " …",)
