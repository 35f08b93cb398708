"""What each plot costs: the time to draw it, and the bytes on the line from step to step.

    python -m benchmarks.plots [DRAWS]

Drawn from canned plots at the pane's size in 80×24 and 120×36. The bytes are those that a
terminal gets while the pane alone is shown and moves on by one step; ratios are to the loss
by epoch in the same run.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import ClassVar

from msgspec.structs import replace
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.reactive import var

from benchmarks.home import own_home
from tests.terminal import Terminal
from tests.ui import plots
from tests.ui.fake_engine import Simulated
from tests.ui.lessons import lesson
from tutor.session.run_view import Inspections, RunView
from tutor.ui.panes.plot import PLOT_KINDS, PlotPane

SIZES = (("80×24", (78, 8)), ("120×36", (58, 10)))
"""The terminal, and the room inside the pane there."""

SILENCE = 0.15
"""Seconds without a byte after which the pane stands."""

STEPS = 12


def _view(step: int, **more: object) -> RunView:
    frame = replace(Simulated(), epoch=step + 1, step=5).frame()
    told: dict[str, object] = {"frame": frame, **more}
    return RunView(lesson(), "autograd", "cpu", 20, **told)  # type: ignore[arg-type]


def _loss(step: int) -> RunView:
    return _view(step, curve=plots.falling(100 + step, 0.02))


def _runs(step: int) -> RunView:
    curve = plots.falling(100 + step, 0.02)
    return _view(step, curve=curve, changes=plots.CHANGES, runs=plots.GHOSTS)


def _back(step: int) -> RunView:
    return _view(step, curve=plots.falling(100, 0.02, here=100 - step))


def _data(step: int) -> RunView:
    return _view(step, inspections=Inspections(plot=plots.data(w=1.0 + 0.05 * step)))


def _slope(step: int) -> RunView:
    return _view(step, inspections=Inspections(plot=plots.slope(w=0.1 * step)))


def _contour(step: int) -> RunView:
    return _view(step, inspections=Inspections(plot=plots.contour(steps=1 + step)))


def _plane(step: int) -> RunView:
    return _view(step, inspections=Inspections(plot=plots.plane(slope=2.0 + 0.3 * step)))


CASES: dict[str, tuple[int, Callable[[int], RunView]]] = {
    "loss": (0, _loss),
    "loss, three ghosts, marks": (0, _runs),
    "loss, back an epoch": (0, _back),
    "data": (2, _data),
    "landscape, one parameter": (3, _slope),
    "landscape, two": (3, _contour),
    "plane": (4, _plane),
}
"""By name: which of the pane's kinds it is, and what is told at each step."""


class OnePane(App[None]):
    """The pane alone; space goes on by one step."""

    CSS = "Screen, PlotPane { background: $background; color: $foreground; }"
    BINDINGS: ClassVar[list[BindingType]] = [("space", "step", "Step")]
    view: var[RunView | None] = var(None)

    def __init__(self, case: str, room: tuple[int, int]) -> None:
        super().__init__()
        self._kind, self._told = CASES[case]
        self._room = room
        self._step = 0
        self.theme = "ansi-dark"  # as the tutor's: colours of the terminal cost few bytes

    def compose(self) -> ComposeResult:
        """The pane in the size that it has beside the others."""
        pane = PlotPane(id="plot", ascii_only=False).data_bind(OnePane.view)
        pane.styles.width, pane.styles.height = self._room
        pane.styles.scrollbar_size_horizontal = pane.styles.scrollbar_size_vertical = 0
        pane.turn(self._kind)
        yield pane

    def on_mount(self) -> None:
        """Begin at the first step."""
        self.view = self._told(self._step)

    def action_step(self) -> None:
        """Go on."""
        self._step += 1
        self.view = self._told(self._step)


def draw_time(case: str, room: tuple[int, int], draws: int) -> float:
    """Median milliseconds of the processor for the pane's lines, whatever the neighbours do."""
    kind, told = CASES[case]
    pane = PlotPane(id="plot", ascii_only=False)
    pane.turn(kind)
    times = []
    for i in range(draws):
        pane.set_reactive(PlotPane.view, told(i % STEPS))
        started = time.process_time()
        pane.drawn(*room)
        times.append(time.process_time() - started)
    return statistics.median(times) * 1000


def bytes_a_step(case: str, size: str) -> float:
    """Median bytes from one step to the next."""
    columns, rows = map(int, size.split("×"))
    argv = [sys.executable, "-m", "benchmarks.plots", "show", case, size]
    sizes = []
    with Terminal(argv, columns, rows) as terminal:
        terminal.wait_for(f"{CASES[case][0] + 1}/{len(PLOT_KINDS)}")
        quiet(terminal)
        for _ in range(STEPS):
            before = len(terminal.raw)
            terminal.press("space")
            quiet(terminal)
            sizes.append(len(terminal.raw) - before)
        terminal.press("ctrl+q")
    return statistics.median(sizes)


def quiet(terminal: Terminal) -> None:
    """Wait until no more bytes come."""
    while terminal.read(SILENCE):
        pass


def main() -> None:
    """Print a table for each size."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for size, room in SIZES:
        print(f"{size}, pane of {room[0]}×{room[1]}: ms a draw, bytes a step")
        base_ms, base_bytes = 0.0, 0.0
        for case in CASES:
            ms, sent = draw_time(case, room, draws), bytes_a_step(case, size)
            base_ms, base_bytes = base_ms or ms, base_bytes or sent
            print(
                f"  {case:<28} {ms:6.2f} ms ({ms / base_ms:4.1f}×)"
                f"  {sent:6.0f} bytes ({sent / base_bytes:4.1f}×)"
            )
        print()


if __name__ == "__main__":
    with own_home():
        if sys.argv[1:2] == ["show"]:
            OnePane(sys.argv[2], dict(SIZES)[sys.argv[3]]).run()
        else:
            main()
