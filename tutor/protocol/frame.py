"""Frames: one moment of a run as plain data that can be sent to another process."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from tutor.errors import CodedError
from tutor.plain import LONGEST, shortened

DEVICE_KINDS = ("cpu", "cuda", "xpu", "mps")
"""The kinds of devices, as torch names them; of cuda and xpu there may be several: `cuda:1`."""

MAX_ELEMENTS = 64
"""The number of elements of an array that a Value carries; the rest is only counted."""


class Remark(msgspec.Struct, frozen=True):
    """One statement about a run, or a refusal; `tutor.wording` has its words."""

    code: str
    values: dict[str, Any] = {}
    """Its parameters: numbers, names, and lists of them."""
    modes: tuple[str, ...] = ()
    """The gradient modes that it is about."""

    @classmethod
    def of(cls, error: Exception) -> Remark:
        """The error's own code; `text` for the words of the system, or of Python."""
        if isinstance(error, CodedError):
            return cls(error.code, error.values)
        return cls("text", {"text": shortened(str(error), 2 * LONGEST)})


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """A name's or an expression's value at one moment."""

    data: tuple[float, ...]
    """The elements in row-major order, at most MAX_ELEMENTS of them; empty if not numeric."""
    shape: tuple[int, ...] = ()
    """() for a single number."""
    dtype: str = "float"
    """float32, complex64, bool …; float and int for Python's own; none; text for all else.

    And str, where an exercise's expression is a Python string: it stands in `text`.
    """
    text: str = ""
    """The text where there are no numbers: `None`, a short repr, `complex64, shape (2,)`, or
    an error's message."""
    why: str = ""
    """The code of the reason why the tutor does not evaluate an expression; else empty."""
    mean: float | None = None
    """The mean of an array with more than MAX_ELEMENTS elements; None for all else."""
    norm: float | None = None
    """The square root of the sum of all squares of such an array."""

    @property
    def size(self) -> int:
        """The number of elements that the value really has."""
        return math.prod(self.shape)

    @property
    def is_number(self) -> bool:
        """Whether there is a number (or an array of them) to show."""
        return bool(self.data) or not (self.text or self.dtype in ("none", "text", "str"))

    @property
    def is_finite(self) -> bool:
        """False if any carried element is NaN or infinite."""
        return all(map(math.isfinite, self.data))


NONE = Value((), (), "none", "None")
"""Python's None: "no gradient yet", which is not 0."""


NO_VALUE = Value((), (), "text", "")
"""The value of an expression that has not been computed yet."""


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in a run: after `step` of the steps of `epoch`.

    Epoch 0 comes before the first epoch: its only steps are the warm-up's, if the lesson
    has one. The end of epoch e is (e, all its steps), never (e + 1, 0). Where their number does
    not matter, or is not known, it is (e, EPOCH_END): frames and changes have the number, all
    that names a place to go to, or how far a run has come, may have EPOCH_END.
    """

    epoch: int
    step: int


EPOCH_END = 2**62
"""The step of an epoch's end, whatever its number of steps."""


class RankFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of another rank than 0 at one moment, as a Frame has them for rank 0."""

    rank: int
    loss: Value
    values: dict[str, Value]
    gradients: dict[str, Value]
    gradients_now: dict[str, Value]
    gradients_before_sync: dict[str, Value]
    watched: dict[str, Value]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """All that a screen or a file shows of one moment."""

    at: Position
    steps: int
    """Steps in this epoch: batches times phases, plus one for a Report."""
    batch: int
    """Index, from 0, of the batch that the last step belonged to."""
    batches: int
    phase: str | None
    """The phase that has just run; Setup at the very start."""
    next_phase: str
    mode: str
    device: str
    """The device that the values live on."""
    learning_rate: float
    seed: int
    loss: Value
    """The last loss computed; NONE before the first."""
    loss_phase: str = ""
    """The phase that it comes from: only losses of one phase are compared."""
    values: dict[str, Value]
    """Each parameter's value."""
    gradients: dict[str, Value]
    """Each parameter's gradient as the last Gradient phase left it: what the update uses."""
    gradients_now: dict[str, Value]
    """Each parameter's gradient at this very moment (after a Reset: 0, or None)."""
    watched: dict[str, Value]
    """The lesson's `watch` expressions, by label."""
    boxed: dict[str, dict[str, Value]]
    r"""The values of `\boxed{…}`, by phase (`""` for sections that are none) and expression.

    Where a phase has run in this batch, its values stand as they were then, so that its equation
    stays true after an update. Where a phase is still to come, its values are the present ones;
    NO_VALUE stands for a value that has yet to be computed.
    """
    diverged: bool
    """Whether the loss or a parameter is NaN or infinite."""
    line: int = 0
    """The first line of the phase that has just run; 0 at the start, and for a lesson."""
    next_line: int = 0
    """The first line of the next step; 0 where that is not known yet, and for a lesson."""
    is_over: bool = False
    """Whether the script has come to its end: there is no next step."""
    gradients_before_sync: dict[str, Value] = {}
    """The gradients that this rank had before Synchronize, once that has run on several ranks."""
    ranks: tuple[RankFigures, ...] = ()
    """The figures of the ranks from 1 on; all else in a frame is of rank 0."""

    @property
    def has_loss(self) -> bool:
        """Whether a loss has been computed."""
        return self.loss != NONE

    @property
    def is_epoch_end(self) -> bool:
        """Whether all steps of the epoch have run. Epoch 0, before the first, is at its end."""
        return self.at.step >= self.steps


def is_same_frame(one: Frame, other: Frame) -> bool:
    """Whether two frames show the same to the bit; a NaN is the same as a NaN."""
    return repr(one) == repr(other)


class Element(msgspec.Struct, frozen=True):
    """One number of a parameter, set to a value of the learner's own."""

    parameter: str
    index: tuple[int, ...]
    """() for a single number."""
    value: float


class Change(msgspec.Struct, frozen=True):
    """Something the learner changed in mid-run, and where."""

    at: Position
    mode: str | None = None
    device: str | None = None
    learning_rate: float | None = None
    element: Element | None = None
    seed: int | None = None
    """The seed of all random numbers from here on."""


class RunRecipe(msgspec.Struct, frozen=True):
    """The whole recipe of a run: a replay of it gives every frame again."""

    mode: str
    device: str
    learning_rate: float
    seed: int
    changes: tuple[Change, ...] = ()


def modes_of(recipe: RunRecipe) -> set[str]:
    """All gradient modes that a run goes through."""
    return {recipe.mode, *(change.mode for change in recipe.changes if change.mode)}


def devices_of(recipe: RunRecipe) -> set[str]:
    """All devices that a run is computed on."""
    return {recipe.device, *(change.device for change in recipe.changes if change.device)}


def on_cpu(recipe: RunRecipe) -> RunRecipe:
    """The recipe with everything computed on the CPU."""
    changes = tuple(
        msgspec.structs.replace(change, device="cpu") if change.device else change
        for change in recipe.changes
    )
    return msgspec.structs.replace(recipe, device="cpu", changes=changes)


def settings_after(changes: Iterable[Change], start: RunRecipe) -> tuple[str, str, float, int]:
    """Mode, device, learning rate and seed of a recipe after these of its changes."""
    mode, device, rate, seed = start.mode, start.device, start.learning_rate, start.seed
    for change in changes:
        mode, device = change.mode or mode, change.device or device
        rate = rate if change.learning_rate is None else change.learning_rate
        seed = seed if change.seed is None else change.seed
    return mode, device, rate, seed


class Curve(msgspec.Struct, frozen=True):
    """The loss by epoch, thinned to a number of columns: least and greatest in each."""

    epochs: tuple[int, ...]
    """The first epoch of each column."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    last_epoch: int
    here: int
    """The epoch of the frame beside this curve."""
