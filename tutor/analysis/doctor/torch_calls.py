"""The calls of PyTorch that a lesson's code makes, recorded while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode

import tutor
from tutor.analysis.graph_recorder import frame_within, tensors_in
from tutor.training.time_limit import VALUE_OF

ANNOUNCED = ("backward", "optimizer.step")
"""Calls that rules are told of just before and just after they are made."""

LOSS_FUNCTIONS = frozenset(
    {"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
    | {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "gaussian_nll_loss"}
    | {"hinge_embedding_loss", "multi_margin_loss", "poisson_nll_loss"}
)
"""Calls that compare an output with a target."""

MOST_CALLS = 5_000
"""Calls of one step that are kept; a step that makes more is not looked at beyond them."""


@dataclass(frozen=True, slots=True)
class TorchCall:
    """One call of a torch function, of a tensor's method, or of an optimizer's step."""

    name: str
    """`cross_entropy`, `backward`, `sub`, `optimizer.step`; without underscores at its ends."""
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    result: Any
    line: int
    """The innermost line of the lesson's file that it came from."""

    def argument(self, position: int, name: str) -> Any:
        """An argument by its position (a method's tensor is the first) or by its name, or None."""
        if position < len(self.arguments):
            return self.arguments[position]
        return self.keywords.get(name)

    @property
    def things(self) -> tuple[Any, ...]:
        """All arguments."""
        return (*self.arguments, *self.keywords.values())

    def tensors(self) -> Iterator[torch.Tensor]:
        """The tensors among its arguments, also in lists and dicts."""
        return tensors_in(self.things)


_KINDS = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "truediv": "div",
          "radd": "add", "rsub": "sub", "rmul": "mul", "rtruediv": "div", "rpow": "pow",
          "ipow": "pow"}  # fmt: skip


class CallRecorder(TorchFunctionMode):
    """Records the calls of each step, while it is entered.

    It is `paused` while code runs that is no step of the run.
    """

    def __init__(self, filename: str) -> None:
        """`filename` is the code's."""
        super().__init__()
        self.filename = filename
        self.calls: list[TorchCall] = []
        self.before: Callable[[TorchCall], object] = lambda call: None
        """Called before each backward and each optimizer's step, whose `result` is None yet."""
        self.after: Callable[[TorchCall], object] = lambda call: None
        """Called after each of them."""
        self.followers: list[Callable[..., object]] = []
        """Called with each call of the code that has been made, recorded or not: with the function,
        its arguments, its keywords, and the result."""
        self.is_paused = self._is_recording = False
        self.failed: TorchCall | None = None
        """The first call of this step that raised."""
        self._step_line: int | None = None
        """The line of the optimizer's step that is being made, whose own calls are not recorded."""
        self._has_raised = False
        """Whether a call has raised: later calls come from the run's return to an earlier state."""

    @contextmanager
    def recording(self) -> Iterator[list[TorchCall]]:
        """Record anew, until the `with` ends."""
        self.calls, self._has_raised, self.failed, self._step_line = [], False, None, None
        self._is_recording = True
        hooks = (
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        )
        try:
            yield self.calls
        finally:
            self._is_recording = False
            for hook in hooks:
                hook.remove()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing meanwhile."""
        before, self.is_paused = self.is_paused, True
        try:
            yield
        finally:
            self.is_paused = before

    @property
    def _is_on(self) -> bool:
        """Whether a call that comes now is recorded."""
        is_open = self._is_recording and not (self.is_paused or self._has_raised)
        return is_open and len(self.calls) < MOST_CALLS

    def _announce(self, name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        """Tell the listeners of a call that is about to be made."""
        if name in ANNOUNCED and self._is_on and (line := self._line()):
            with self.paused():
                self.before(TorchCall(name, arguments, keywords, None, line))

    def _add(self, name: str, arguments: tuple[Any, ...], keywords: Any, result: Any) -> None:
        """Record a call that was made."""
        if self._is_on and (line := self._line()) not in (0, self._step_line):
            call = TorchCall(name, arguments, keywords, result, line)
            self.calls.append(call)
            if name in ANNOUNCED:
                with self.paused():
                    self.after(call)

    def _fail(self, name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        """Record a call that has raised, and none after it."""
        if self._is_on:
            self.failed = TorchCall(name, arguments, keywords, None, self._line())
        self._has_raised = True

    def _line(self) -> int:
        """The innermost line of the lesson's file on the stack; 0 if none of its code runs.

        The expressions in its formulas are no code that trains.
        """
        frame = frame_within(self.filename)
        if frame is None or frame.f_code.co_name.startswith(VALUE_OF):
            return 0
        return frame.f_lineno

    def _before_step(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        self._announce("optimizer.step", tuple(arguments), keywords)  # it is the first of them
        self._step_line = self._line()

    def _after_step(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        self._step_line = None
        self._add("optimizer.step", tuple(arguments), keywords, None)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, and record it."""
        keywords = kwargs or {}
        is_unseen = self.is_paused or not (self._is_on or self.followers)
        if is_unseen or _is_tutors(sys._getframe(1), self.filename):
            return func(*args, **keywords)
        name = _call_name(func)
        self._announce(name, args, keywords)
        try:
            result = func(*args, **keywords)
        except BaseException:
            self._fail(name, args, keywords)
            raise
        for follow in self.followers:
            follow(func, args, keywords, result)
        self._add(name, args, keywords, result)
        return result


_TUTOR = str(Path(tutor.__file__).parent)


def _is_tutors(frame: FrameType, filename: str) -> bool:
    """Whether code of the tutor, which reads values beside the run, makes a call."""
    caller = frame.f_code.co_filename
    return caller.startswith(_TUTOR) and caller.endswith(".py") and caller != filename


def _call_name(func: Any) -> str:
    name = str(getattr(func, "__name__", ""))
    if name in ("__get__", "__set__", "__delete__"):  # `Tensor.grad.__get__`: an attribute
        attribute = getattr(getattr(func, "__self__", None), "__name__", "")
        return f"{name.strip('_')} {attribute}"
    name = name.strip("_")
    return _KINDS.get(name, name)
