"""An engine without a process and without torch: a small simulated run of y = 2x.

Answers at once, unless it is told to hold its answers back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from tutor.errors import EngineError
from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    Command,
    DeleteRun,
    EvaluateExpressions,
    Examine,
    FindLocalGradients,
    Fork,
    FramePainted,
    Inspect,
    OpenLesson,
    Pause,
    RenameRun,
    Restart,
    RunTo,
    Seek,
    SetElement,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
)
from tutor.protocol.events import (
    CommandRefused,
    DoctorReportReady,
    EngineReady,
    Event,
    ExpressionsEvaluated,
    FrameShown,
    LessonFailed,
    LocalGradientsFound,
    OutputPrinted,
    ProcessEnded,
    StoppedAt,
)
from tutor.protocol.frame import (
    EPOCH_END,
    NONE,
    Change,
    Curve,
    Frame,
    Position,
    Remark,
    RunRecipe,
    Value,
    devices_of,
)
from tutor.protocol.inspections import DoctorReport, LocalGradients, RunInfo

LOOP = ("Predict", "Loss", "Gradient", "Update", "Reset")
X = (1.0, 2.0, 3.0, 4.0)


def scalar(x: float) -> Value:
    return Value((x,), (), "float32")


class Simulated(msgspec.Struct, frozen=True):
    """Where the simulated run stands: plain arithmetic, done again for each place."""

    mode: str = "autograd"
    learning_rate: float = 0.01
    epoch: int = 0
    step: int = 0

    def weight(self, updates: int) -> float:
        w = 0.0
        for _ in range(updates):
            if math.isfinite(w):
                w -= self.learning_rate * self.gradient(w)
        return w

    @staticmethod
    def gradient(w: float) -> float:
        # Not sum(): its last bit differs between versions of Python.
        return math.fsum(2 * x * (w * x - 2 * x) for x in X) / len(X)

    @staticmethod
    def loss(w: float) -> float:
        try:
            return math.fsum((w * x - 2 * x) ** 2 for x in X) / len(X)
        except OverflowError:
            return math.inf

    def forward(self) -> Simulated:
        if self.epoch == 0 or self.step == len(LOOP):
            return replace(self, epoch=self.epoch + 1, step=1)
        return replace(self, step=self.step + 1)

    def back(self) -> Simulated:
        if self.step > 1:
            return replace(self, step=self.step - 1)
        if self.epoch > 1:
            return replace(self, epoch=self.epoch - 1, step=len(LOOP))
        return replace(self, epoch=0, step=0)

    def end_of(self, epoch: int) -> Simulated:
        return replace(self, epoch=epoch, step=len(LOOP) if epoch else 0)

    def frame(self, device: str = "cpu") -> Frame:
        done = LOOP[self.step - 1] if self.step else "Setup"
        old = self.weight(max(0, self.epoch - 1))
        w = self.weight(self.epoch) if self.step >= 4 else old
        has_loss, has_gradient = self.epoch > 1 or self.step >= 2, self.epoch > 1 or self.step >= 3
        at = old if self.step >= 2 or not self.epoch else self.weight(max(0, self.epoch - 2))
        at_g = old if self.step >= 3 or not self.epoch else self.weight(max(0, self.epoch - 2))
        loss = scalar(self.loss(at)) if has_loss else NONE
        gradient = scalar(self.gradient(at_g)) if has_gradient else NONE
        zeroed = self.step == 5 or (has_gradient and self.step < 3)
        return Frame(
            at=Position(self.epoch, self.step),
            steps=len(LOOP),
            batch=0,
            batches=1,
            phase=done,
            next_phase=LOOP[self.step % len(LOOP)],
            mode=self.mode,
            device=device,
            learning_rate=self.learning_rate,
            seed=0,
            loss=loss,
            values={"w": scalar(w)},
            gradients={"w": gradient},
            gradients_now={"w": scalar(0.0) if zeroed else gradient},
            watched={},
            boxed={"Predict": {"w": scalar(w), "x[3]": scalar(4.0)}, "Loss": {"loss": loss}},
            diverged=not math.isfinite(w) or not loss.is_finite,
        )

    def evaluated(self, expression: str) -> Value:
        """An exercise's expression, where the run stands."""
        frame = self.frame()
        names = {
            "w": frame.values["w"].data[0],
            "loss": frame.loss.data[0] if frame.loss.data else None,
            "gradient": {"w": frame.gradients["w"].data[0]} if frame.gradients["w"].data else {},
            "epoch": self.epoch,
            "learning_rate": self.learning_rate,
            "mode": self.mode,
        }
        try:
            found = eval(expression, names)
        except TypeError as error:  # a number is compared with None
            return Value((), (), "text", f"TypeError: {error}")
        if found is None:
            return NONE
        if isinstance(found, str):
            return Value((), (), "str", found)
        return Value((float(found),), (), type(found).__name__)

    def curve(self) -> Curve | None:
        epochs = tuple(range(1, self.epoch + 1))
        losses = tuple(self.loss(self.weight(e - 1)) for e in epochs)
        return Curve(epochs, losses, losses, self.epoch, self.epoch) if epochs else None


class FakeEngine:
    """Plays the engine's part; `sent` is what it was told."""

    def __init__(self, devices: tuple[str, ...] = ("cpu",)) -> None:
        self.devices = devices
        self.sent: list[Command] = []
        self.at = Simulated()
        self.changes: tuple[Change, ...] = ()
        self.last_epoch = 0
        self.kept: tuple[RunInfo, ...] = ()
        """The runs besides the current one, which is called A."""
        self.holds = False
        """While it holds, nothing is answered."""
        self.ready_at_once = True
        self.report = DoctorReport()
        """What it says to Examine."""
        self.local = LocalGradients()
        """What it says to Derive."""
        self.fails_at: str | None = None
        """The phase that raises."""
        self.message = "ZeroDivisionError: division by zero"
        """The message of the error that it raises."""
        self.host = ""
        self.reconnected = 0
        self.refuses_connection = ""
        """Why it can't be connected to again; empty if it can."""
        self.busy = 0.0
        self.stopped = 0
        self.closed = False
        self.target: int | None = None
        self.run_number = 0
        self._on_event: Callable[[Event], object] = lambda event: None
        self._waiting: list[tuple[int, Command]] = []
        self._is_ready = False
        self._lost: Remark | None = None
        self.refuses_recipes = ""
        """Why no run can be gone on with; empty if it can."""
        self.opening = 0
        """What its events belong to: the number of the last Open that it has answered."""

    # ── The port ────────────────────────────────────────────────────────────────────

    def start(self, on_event: Callable[[Event], object]) -> None:
        self._on_event = on_event
        if self.ready_at_once:
            self.get_ready()

    def send(self, command: Command) -> int:
        self.sent.append(command)
        number = len(self.sent)
        if self.holds or not self._is_ready:
            self._waiting.append((number, command))
        else:
            self._answer(number, command)
        return number

    def busy_for(self) -> float:
        return self.busy

    def stop(self) -> None:
        self.stopped += 1

    def suspend(self) -> None:
        """There is no process."""

    def resume(self) -> None:
        """There is no process."""

    def reconnect(self) -> None:
        """Nothing to connect to; the answers are as before."""
        self.reconnected += 1
        if self.refuses_connection:
            raise EngineError("text", text=self.refuses_connection)
        self._lost = None
        self.get_ready()
        self.tell(self.shown())

    def lose(self) -> None:
        """The connection to its host is lost."""
        self._lost = Remark("connection_lost", {"host": self.host, "reason": "a cut"})
        self.tell(ProcessEnded(remark=self._lost, restarting=False))

    def close(self) -> None:
        self.closed = True

    # ── What tests ask for ──────────────────────────────────────────────────────────

    def get_ready(self) -> None:
        self._is_ready = True
        self.tell(EngineReady(torch="2.13.0", devices=self.devices))
        self.release()

    def release(self) -> None:
        self.holds = False
        waiting, self._waiting = self._waiting, []
        for number, command in waiting:
            self._answer(number, command)

    def tell(self, event: Event) -> None:
        if not event.opening and not isinstance(event, EngineReady):
            event = replace(event, opening=self.opening)
        self._on_event(event)

    def kinds(self) -> list[str]:
        return [type(command).__name__ for command in self.sent]

    def shown(
        self, answers: int = 0, remark: Remark | None = None, stopped: StoppedAt | None = None
    ) -> FrameShown:
        at = self.at
        recipe = RunRecipe(at.mode, "cpu", at.learning_rate, 0, self.changes)
        return FrameShown(
            answers=answers,
            opening=self.opening,
            frame=at.frame(),
            recipe=recipe,
            curve=at.curve(),
            last_epoch=self.last_epoch,
            runs=(self._current(), *self.kept),
            target=self.target,
            rate=120.0 if self.target else 0.0,
            remarks=(remark,) if remark else (),
            stopped=stopped,
        )

    def _current(self) -> RunInfo:
        at = self.at
        return RunInfo(
            name="A",
            letter="A",
            mode=at.mode,
            device="cpu",
            learning_rate=at.learning_rate,
            seed=0,
            last_epoch=self.last_epoch,
            loss=at.loss(at.weight(at.epoch)),
            is_current=True,
            furthest=Position(self.last_epoch, len(LOOP)),
        )

    # ── The run ─────────────────────────────────────────────────────────────────────

    def _answer(self, number: int, command: Command) -> None:
        if isinstance(command, OpenLesson):
            self.opening = command.opening or number
        if self._lost is not None:
            self.tell(CommandRefused(remark=self._lost, answers=number))
            return
        refusal = self._apply(number, command)
        self.last_epoch = max(self.last_epoch, self.at.epoch)
        if isinstance(command, FramePainted | RunTo):
            return
        if isinstance(command, EvaluateExpressions):
            values = tuple(self.at.evaluated(e) for e in command.expressions)
            self.tell(ExpressionsEvaluated(answers=number, at=self._here(), values=values))
            return
        if isinstance(command, Examine):
            self.tell(DoctorReportReady(answers=number, report=self.report))
            return
        if isinstance(command, FindLocalGradients):
            self.tell(LocalGradientsFound(answers=number, local=self.local))
            return
        if isinstance(refusal, str):
            self.tell(CommandRefused(answers=number, remark=Remark("text", {"text": refusal})))
        elif isinstance(refusal, LessonFailed):
            self.tell(refusal)
        else:
            shown = self.shown(number)
            if isinstance(command, OpenLesson) and command.before is not None:
                at = command.before
                before = replace(self.at, epoch=at.epoch, step=at.step).frame()
                shown = replace(shown, before=before)
            self.tell(shown)

    def _apply(self, number: int, command: Command) -> str | LessonFailed | None:
        at = self.at
        match command:
            case OpenLesson(recipe=RunRecipe() as recipe) if devices_of(recipe) - {*self.devices}:
                return f"there is no {max(devices_of(recipe))} here"
            case OpenLesson(recipe=RunRecipe()) if self.refuses_recipes:
                return self.refuses_recipes
            case OpenLesson(recipe=RunRecipe() as recipe):
                self.changes, self.last_epoch = recipe.changes, command.epoch
                self.at = Simulated(recipe.mode, recipe.learning_rate)
                self.at = replace(self.at, epoch=command.epoch, step=command.step or 0)
                if command.epoch and not command.step:
                    self.at = self.at.end_of(command.epoch)
            case OpenLesson():
                self.changes, self.last_epoch = (), 0
                self.at = Simulated(mode=command.mode or "autograd")
            case StepPhase():
                if at.frame().next_phase == self.fails_at:
                    return LessonFailed(
                        answers=number,
                        lesson="line",
                        phase="Loss",
                        line=31,
                        error=Remark("text", {"text": self.message}),
                    )
                self.at = at.forward()
            case StepEpoch():
                at_end = at.epoch == 0 or at.step == len(LOOP)
                self.at = at.end_of(at.epoch + 1 if at_end else at.epoch)
            case BackPhase():
                self.at = at.back()
            case BackEpoch():
                self.at = at.end_of(max(0, at.epoch - 1))
            case Seek(step=step) if step == EPOCH_END:
                self.at = at.end_of(command.epoch)
            case Seek(step=step):
                self.at = replace(at, epoch=command.epoch, step=step)
            case Restart():
                self.changes, self.last_epoch = (), 0
                self.at = replace(at, epoch=0, step=0)
            case Switch(device=str(device)) if device not in self.devices:
                return f"there is no {device} here; there is {', '.join(self.devices)}"
            case Switch():
                self.at = replace(at, mode=command.mode or at.mode)
                self._note_change(Change(self._here(), mode=command.mode, device=command.device))
            case SetLearningRate():
                self.at = replace(at, learning_rate=command.value)
                self._note_change(Change(self._here(), learning_rate=command.value))
            case SetElement():
                self._note_change(Change(self._here(), element=command.element))
            case Fork():
                kept = replace(self._current(), name="B", letter="B", is_current=False)
                self.kept = (*self.kept, kept)
            case RenameRun():
                self.kept = tuple(
                    replace(r, name=command.new) if r.name == command.name else r for r in self.kept
                )
            case DeleteRun():
                self.kept = tuple(r for r in self.kept if r.name != command.name)
            case RunTo():
                self.target, self.run_number = command.epoch, number
                self.advance(0)
            case Pause() if self.target is not None:
                self._end_run()
            case Inspect() | FramePainted() | Pause():
                pass
        return None

    def _here(self) -> Position:
        return Position(self.at.epoch, self.at.step)

    def _note_change(self, change: Change) -> None:
        self.changes = (*self.changes, change)

    def advance(self, epochs: int) -> None:
        """Let a run that is on train so many epochs and show where it is."""
        assert self.target is not None
        self.at = self.at.end_of(min(self.target, self.at.epoch + epochs))
        if self.at.epoch == self.target:
            self._end_run()
        else:
            self.tell(self.shown())

    def _end_run(self) -> None:
        self.target = None
        self.tell(self.shown(self.run_number))


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
            case Seek(epoch=epoch, step=step) if step == EPOCH_END and epoch > self.last_epoch:
                self._print(before, before.end_of(epoch))
            case Restart():
                self.tell(OutputPrinted(text="setup\n"))
            case BackPhase() | BackEpoch() | Seek():
                self._has_run_again = True
        super()._answer(number, command)

    def shown(
        self, answers: int = 0, remark: Remark | None = None, stopped: StoppedAt | None = None
    ) -> FrameShown:
        """The present frame, with what its epoch has printed where it has run again."""
        event = super().shown(answers, remark, stopped)
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
