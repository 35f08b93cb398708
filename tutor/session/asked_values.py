"""The values in a phase's formulas that stay in view while its result is asked for."""

from __future__ import annotations

import re

from tutor.lesson.code_checks import bound_in
from tutor.lesson.model import UPDATE, DisplayFormula, Section
from tutor.session.attempt import Attempt, asks_what_comes
from tutor.session.run_view import RunView

_READ = re.compile(r"([^\W\d]\w*)(\[-?\d+(, ?-?\d+)*\])*(\.item\(\))?")
"""A value of a variable, or of an element of it."""


def shown_values(
    block: DisplayFormula, attempt: Attempt | None, section: Section, view: RunView
) -> tuple[str, ...]:
    """The expressions of a formula that may be shown: all, unless its phase's result is asked for.

    Then only what stands before the formula's last `=`, and what only reads a variable that the
    phase leaves as it is.
    """
    if not is_asked_for(attempt, section, view):
        return block.boxed
    lesson, mode, phase = view.lesson, view.mode, section.phase or ""
    bound = bound_in(lesson.sections, phase, mode)
    changed = {*(bound or ()), *(lesson.parameters[mode] if phase == UPDATE else ())}
    count = block.latex.rpartition("=")[0].count(r"\boxed")
    before = block.boxed[:count] if count < len(block.boxed) else ()
    reads = ((e, _READ.fullmatch(e)) for e in block.boxed)
    given = {e for e, read in reads if read and read[1] not in changed and bound is not None}
    return tuple(e for i, e in enumerate(block.boxed) if i < len(before) or e in given)


def is_asked_for(attempt: Attempt | None, section: Section, view: RunView) -> bool:
    """Whether an open question asks for the result of this section's phase."""
    return asks_what_comes(attempt) and bool(section.phase) and section.phase == view.next_phase
