"""From a key press to the repainted screen, and what a step costs on the line.

    python -m benchmarks.keys [PRESSES]

In a pseudo-terminal at 80×24 and 120×36: idle (a phase, an epoch, back), and while a run
is on (a pane is chosen). A repaint ends with the last byte before the line falls silent.
"""

from __future__ import annotations

import statistics
import sys
import time

from benchmarks.figures import percentile
from benchmarks.home import own_home
from tests.terminal import TUTOR, Terminal

SILENCE = 0.06
"""Seconds without a byte after which a screen is repainted. Longer than the engine takes."""


def main() -> None:
    presses = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for columns, rows in ((80, 24), (120, 36)):
        print(f"{columns}×{rows}, thermometer in autograd: ms from key to screen, bytes a key")
        command = [str(TUTOR), "thermometer", "--mode", "autograd"]
        with own_home(), Terminal(command, columns, rows) as terminal:  # each size begins anew
            terminal.wait_for("autograd", "next: ▶")
            terminal.settle()
            for label, keys in (("a phase", "space"), ("an epoch", "s"), ("back a phase", "b")):
                report(label, [idle(terminal, keys) for _ in range(presses)])
            report("a pane, while a run is on", while_running(terminal, presses))
        print()


def idle(terminal: Terminal, key: str) -> tuple[float, int]:
    """Milliseconds until the last byte that a key press brings, and how many bytes."""
    terminal.press(key)
    started, before = time.perf_counter(), len(terminal.raw)
    last = started
    while terminal.read(SILENCE if len(terminal.raw) > before else 1.0):
        last = time.perf_counter()
    return (last - started) * 1000, len(terminal.raw) - before


def while_running(terminal: Terminal, presses: int) -> list[tuple[float, int]]:
    """Choose pane 3 and pane 1 in turn while the run goes on."""
    terminal.press("j")
    terminal.wait_for("Jump to")
    terminal.press(*"9000000", "enter")
    terminal.wait_for("epochs/s")
    samples = []
    for i in range(presses):
        pane = "31"[i % 2]
        time.sleep(0.03 + 0.001 * (i % 20))  # not in step with the frames
        while terminal.read(0):
            pass
        terminal.press(pane)
        started, before = time.perf_counter(), len(terminal.raw)
        terminal.wait_until(lambda pane=pane: has_focus(terminal, pane))  # type: ignore[misc]
        samples.append(((time.perf_counter() - started) * 1000, len(terminal.raw) - before))
    terminal.press("r")
    return samples


def has_focus(terminal: Terminal, pane: str) -> bool:
    """Whether the title of this pane is drawn with the double line of the focus."""
    return any(f"═ {pane} " in line for line in terminal.lines)


def report(label: str, samples: list[tuple[float, int]]) -> None:
    times, sizes = [t for t, _ in samples], [b for _, b in samples]
    print(
        f"  {label:<28} median {statistics.median(times):6.1f}  99 % {percentile(times, 99):6.1f}"
        f"  bytes {statistics.median(sizes):6.0f}"
    )


if __name__ == "__main__":
    with own_home():
        main()
