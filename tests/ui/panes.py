"""An app that shows one pane alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from msgspec.structs import replace
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.reactive import var

from tutor.protocol.frame import Frame
from tutor.session.run_view import RunView
from tutor.ui.lines import LinesPane

from .fake_engine import Simulated
from .lessons import lesson


def frame(epoch: int, step: int, mode: str = "autograd") -> Frame:
    return replace(Simulated(), epoch=epoch, step=step, mode=mode).frame()


LESSON = lesson()


def view(now: Frame, before: Frame | None = None, **more: Any) -> RunView:
    return RunView(LESSON, now.mode, "cpu", 20, frame=now, before=before, **more)


class OnePane(App[None]):
    """The pane fills the screen; its border takes the first row."""

    CSS = "LinesPane { border-top: solid $foreground; padding: 0 1; scrollbar-size: 0 0; }"
    view: var[RunView | None] = var(None)
    pilot: Pilot[None]

    def __init__(self, pane: LinesPane, first: RunView) -> None:
        super().__init__()
        self.animation_level = "none"
        self.pane = pane
        self.set_reactive(OnePane.view, first)

    def compose(self) -> ComposeResult:
        yield self.pane.data_bind(OnePane.view)

    def on_mount(self) -> None:
        self.pane.focus()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def show(self, view: RunView | None) -> None:
        """Show another moment."""
        self.view = view
        await self.pilot.pause()

    @property
    def text(self) -> str:
        return "\n".join(content.plain for content in self.pane.lines)

    @property
    def screen_rows(self) -> list[str]:
        """What really stands on the screen, below the border."""
        rows = self.screen._compositor.render_strips()
        return ["".join(segment.text for segment in row).rstrip() for row in rows][1:]


AnyApp = TypeVar("AnyApp", bound=OnePane)


@asynccontextmanager
async def running(
    app: AnyApp, *keys: str, size: tuple[int, int] = (60, 40)
) -> AsyncIterator[AnyApp]:
    """The app on a screen of this size, after these keys."""
    async with app.run_test(size=size) as app.pilot:
        await app.press(*keys)
        await app.pilot.pause()
        yield app
