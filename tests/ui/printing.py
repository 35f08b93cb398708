"""A simulated engine whose lesson prints a line in each phase."""

from __future__ import annotations

from msgspec.structs import replace

from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    Command,
    Restart,
    Seek,
    StepEpoch,
    StepPhase,
)
from tutor.protocol.events import FrameShown, OutputPrinted, StoppedAt
from tutor.protocol.frame import Remark

from .fake_engine import LOOP, FakeEngine, Simulated


class PrintingEngine(FakeEngine):
    """It prints what runs for the first time or is stepped; going anywhere else is silent."""

    _has_run_again = False

    def _answer(self, number: int, command: Command) -> None:
        before, self._has_run_again = self.at, False
        match command:
            case StepPhase():
                self._print(before, before.forward())
            case StepEpoch():
                ended = before.epoch == 0 or before.step == len(LOOP)
                self._print(before, before.end_of(before.epoch + ended))
            case Seek(epoch=epoch, step=None) if epoch > self.furthest:
                self._print(before, before.end_of(epoch))
            case Restart():
                self.tell(OutputPrinted(text="setup\n"))
            case BackPhase() | BackEpoch() | Seek():
                self._has_run_again = True
        super()._answer(number, command)

    def shown(
        self, answers: int = 0, note: Remark | None = None, stopped: StoppedAt | None = None
    ) -> FrameShown:
        """The present frame, with what its epoch has printed where it has run again."""
        event = super().shown(answers, note, stopped)
        if not answers or not self._has_run_again:
            return event
        return replace(event, printed=_lines(self.at.end_of(max(self.at.epoch - 1, 0)), self.at))

    def _print(self, at: Simulated, to: Simulated) -> None:
        self.tell(OutputPrinted(text=_lines(at, to)))


def _lines(at: Simulated, to: Simulated) -> str:
    text = ""
    while at != to:
        at = at.forward()
        text += f"{at.epoch}.{at.step}\n"
    return text
