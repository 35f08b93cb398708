"""The table of the doctor's rules."""

from __future__ import annotations

from tutor.analysis.doctor.lost_leaf import LostLeafRule
from tutor.analysis.doctor.reset import MissingResetRule
from tutor.analysis.doctor.rule import DoctorRule

RULES: tuple[type[DoctorRule], ...] = (
    MissingResetRule,
    LostLeafRule,
)
"""In the order in which they are asked: of two findings on one line the first comes first."""
