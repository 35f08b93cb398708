"""The doctor's findings: one mistake in training code, its evidence, and a way to fix it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Evidence: TypeAlias = bool | int | float | str | tuple[int, ...]
"""A number, a shape, or a short text such as `None`."""


class CodeFix(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one place of the code, and the loss of a fork in which it is made."""

    line: int
    """Line in the file: the first that is replaced, or the one that the code is put beside."""
    end_line: int
    """The last line that is replaced."""
    code: str
    """The new lines, without the indentation of the place."""
    place: Literal["instead", "before", "after"] = "instead"
    epochs: int = 0
    """The epoch of both losses; 0: the fork was not run."""
    loss_with: float | None = None
    """None where the fork's loss is no single number."""
    loss_without: float | None = None
    """The same of the code as it is; None also where it raises an error before that epoch."""


class DoctorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake that a rule has seen in a run; `tutor.wording.findings` has the words."""

    code: str
    line: int
    """Line in the file; 0 where no line is known."""
    variable: str
    """As the code says it: `w`, `model.fc.weight`, `y_pred`."""
    numbers: dict[str, Evidence]
    """The evidence, at least two numbers."""
    lesson: str
    """The slug of the shipped lesson that explains it; empty where none does."""
    exercise: str = ""
    """An exercise of that lesson that reproduces it."""
    fix: CodeFix | None = None


class ForkLosses(msgspec.Struct, frozen=True, kw_only=True):
    """The losses of a fork in which several fixes are made at once."""

    fixes: int
    epochs: int
    loss_with: float
    loss_without: float | None = None
    """None where the code raises an error before that epoch."""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that the doctor found in one run."""

    findings: tuple[DoctorFinding, ...] = ()
    """By line."""
    together: ForkLosses | None = None
    """All fixes at once, where there are several: one mistake may hide what fixing another does."""
    taught: int = 0
    """Findings that are left out because the lesson teaches them."""
    epochs: int = 0
    """The epochs that were examined phase by phase."""
    is_complete: bool = True
    """Whether the examination came to its end: nothing stopped it, and the code raised nothing."""
    failed: tuple[str, ...] = ()
    """The rules that the code's objects made raise an error, each with it."""
