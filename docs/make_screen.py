"""Makes README's pictures of the screen, from the real app on its engine.

python docs/make_screen.py
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tutor.engine.client import EngineClient
from tutor.lesson.document import read
from tutor.lesson.library import headlines, shipped_folder
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.lesson.trust import trust
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.source import read_script
from tutor.session.run_view import Start
from tutor.ui.app import TutorApp

DOCS = Path(__file__).parent
SIZE = (120, 36)
KEYS = ("s", "s", "s", "s", "s", "s", "space", "space", "space")
"""Six epochs, and three phases more: the next one is the update, or the gradient of the script."""


async def picture(lesson: Lesson, mode: str) -> str:
    """The screen after KEYS, as SVG without the fonts that it would fetch from elsewhere."""
    engine = EngineClient()
    app = TutorApp(
        engine, headlines, lambda _: lesson, first=lesson.path, start=Start(mode), ascii_only=False
    )
    async with app.run_test(size=SIZE) as pilot:
        for key in ("", *KEYS):
            if key:
                await pilot.press(key)
            await pilot.pause(0.5)
            while app.session.view is None or app.session.view.frame is None:
                await pilot.pause(0.1)
            while app.session.is_running:
                await pilot.pause(0.1)
        await pilot.pause(1)
        svg = app.export_screenshot(title="tutor")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def script() -> Lesson:
    """The script of the second picture, which ships with the tutor: it may run here."""
    source = read_script(DOCS / "train.py")
    lesson = lesson_of_script(source, outline_of(source.text), ScriptOptions())
    trust(lesson)
    return lesson


if __name__ == "__main__":
    line = read(shipped_folder() / "line-through-origin.md")
    (DOCS / "screen.svg").write_text(asyncio.run(picture(line, "autograd")))
    (DOCS / "script.svg").write_text(asyncio.run(picture(script(), "model")))
