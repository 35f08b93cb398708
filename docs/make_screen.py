"""Makes docs/screen.svg, README's picture of the screen, from the real app on its engine.

python docs/make_screen.py
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tutor.engine.client import EngineClient
from tutor.lesson.document import read
from tutor.lesson.library import headlines, shipped_folder
from tutor.session.run_view import Start
from tutor.ui.app import TutorApp

SIZE = (120, 36)
KEYS = ("s", "s", "s", "s", "s", "s", "space", "space", "space")
"""Six epochs, and three phases more: the next one is the update."""


async def picture() -> str:
    """The screen after KEYS, as SVG without the fonts that it would fetch from elsewhere."""
    engine = EngineClient()
    lesson = read(shipped_folder() / "line-through-origin.md")
    app = TutorApp(engine, headlines, read, first=lesson, start=Start("autograd"), ascii_only=False)
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


if __name__ == "__main__":
    Path(__file__).with_name("screen.svg").write_text(asyncio.run(picture()))
