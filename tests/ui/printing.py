"""A simulated engine whose lesson prints a line in each phase."""

from __future__ import annotations

from tutor.protocol.messages import Command, OutputPrinted, Restart, Seek, StepEpoch, StepPhase

from .fake_engine import LOOP, FakeEngine, Simulated


class PrintingEngine(FakeEngine):
    """It prints what runs for the first time or is stepped; going anywhere else is silent."""

    def _answer(self, number: int, command: Command) -> None:
        before = self.at
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
        super()._answer(number, command)

    def _print(self, at: Simulated, to: Simulated) -> None:
        text = ""
        while at != to:
            at = at.forward()
            text += f"{at.epoch}.{at.step}\n"
        self.tell(OutputPrinted(text=text))
