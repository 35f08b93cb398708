"""The table of the doctor's rules."""

from __future__ import annotations

from tutor.analysis.doctor.broadcast import BroadcastRule
from tutor.analysis.doctor.connection import GradientRule
from tutor.analysis.doctor.double_activation import DoubleActivationRule
from tutor.analysis.doctor.hand_gradient import HandGradientRule
from tutor.analysis.doctor.held_parameters import HeldParametersRule
from tutor.analysis.doctor.kept_graph import KeptGraphRule
from tutor.analysis.doctor.lost_leaf import LostLeafRule
from tutor.analysis.doctor.reset import MissingResetRule
from tutor.analysis.doctor.rule import DoctorRule

RULES: tuple[type[DoctorRule], ...] = (
    MissingResetRule,
    LostLeafRule,
    BroadcastRule,
    GradientRule,
    HeldParametersRule,
    DoubleActivationRule,
    HandGradientRule,
    KeptGraphRule,
)
"""In the order in which they are asked: of two findings on one line the first comes first."""
