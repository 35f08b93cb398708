"""The files and calls of `tutor` that one key press passes in the app's process.

    python -m benchmarks.calls [LESSON] [--files]

From the key `s` or `space` to the repaint of all panes, counted by `sys.setprofile`, at 80×24 and
at 120×36, some epochs after the start. `--files` lists how often each function is called.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.home import own_home
from tutor import errors
from tutor.engine.client import EngineClient
from tutor.lesson import library
from tutor.lesson.document import read
from tutor.session.run_view import Start
from tutor.ui.app import TutorApp
from tutor.ui.screens import base

TUTOR = str(Path(errors.__file__).parent)

PRESSES = 15
"""How often the key is pressed; the press with the median number of calls counts."""

QUIET = 0.2
"""Seconds without a call into `tutor` after which all panes are repainted."""

Calls = Counter[tuple[str, str]]
"""Calls by file and function."""


async def calls_of(key: str, lesson: str, size: tuple[int, int]) -> Calls:
    """The calls of a key press in the middle of several, some epochs after the beginning."""
    path = library.find(lesson)
    base.PULSE = 1000.0  # the checks of a clock are not part of a key press
    app = TutorApp(
        EngineClient(), (), read, first=read(path), start=Start(mode="autograd"), ascii_only=False
    )
    presses = []
    async with app.run_test(size=size) as pilot:
        for pressed in (*"ssss", "space", "space", *[key] * PRESSES):
            presses.append(await counted_press(app, pilot, pressed))
    return sorted(presses[-PRESSES:], key=lambda calls: calls.total())[PRESSES // 2]


async def counted_press(app: TutorApp, pilot: Any, key: str) -> Calls:
    """Press a key once nothing waits, and count until nothing has been called for a while."""
    while app.session.view is None or app.session.view.frame is None or app.session.is_waiting:
        await asyncio.sleep(QUIET)
    await asyncio.sleep(3 * QUIET)
    calls: Calls = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(TUTOR):
            calls[frame.f_code.co_filename[len(TUTOR) + 1 :], frame.f_code.co_qualname] += 1

    sys.setprofile(count)
    try:
        await pilot.press(key)
        before = -1
        while before != calls.total():
            before = calls.total()
            await asyncio.sleep(QUIET)
    finally:
        sys.setprofile(None)
    return calls


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    lesson = words[0] if words else "thermometer"
    for size in ((80, 24), (120, 36)):
        for key in ("space", "s"):
            calls = asyncio.run(calls_of(key, lesson, size))
            files = len({file for file, _ in calls})
            print(f"{size[0]}×{size[1]}, {lesson}, {key}: {files} files, {calls.total()} calls")
            if "--files" in sys.argv:
                for (file, function), count in calls.most_common():
                    print(f"    {count:5} {file} {function}")


if __name__ == "__main__":
    with own_home():
        main()
