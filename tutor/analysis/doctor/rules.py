"""The table of the doctor's rules."""

from __future__ import annotations

from tutor.analysis.doctor.accumulation import AccumulationRule
from tutor.analysis.doctor.broadcast import BroadcastRule
from tutor.analysis.doctor.connection import GradientRule
from tutor.analysis.doctor.data_gradients import DataGradientRule
from tutor.analysis.doctor.divergence import DivergenceRule
from tutor.analysis.doctor.double_activation import DoubleActivationRule
from tutor.analysis.doctor.evaluation import EvaluationRule
from tutor.analysis.doctor.hand_gradient import HandGradientRule
from tutor.analysis.doctor.held_parameters import HeldParametersRule
from tutor.analysis.doctor.kept_graph import KeptGraphRule
from tutor.analysis.doctor.layer_gradients import LayerGradientRule
from tutor.analysis.doctor.loss_arguments import LossArgumentsRule
from tutor.analysis.doctor.lost_leaf import LostLeafRule
from tutor.analysis.doctor.not_finite import NotFiniteRule
from tutor.analysis.doctor.reset import MissingResetRule
from tutor.analysis.doctor.reset_order import ResetOrderRule
from tutor.analysis.doctor.rule import DoctorRule
from tutor.analysis.doctor.scheduler_order import SchedulerOrderRule
from tutor.analysis.doctor.seeds import SeedRule

RULES: tuple[type[DoctorRule], ...] = (
    MissingResetRule,
    ResetOrderRule,
    LostLeafRule,
    BroadcastRule,
    GradientRule,
    HeldParametersRule,
    DoubleActivationRule,
    HandGradientRule,
    KeptGraphRule,
    DivergenceRule,
    EvaluationRule,
    NotFiniteRule,
    SchedulerOrderRule,
    LossArgumentsRule,
    DataGradientRule,
    LayerGradientRule,
    AccumulationRule,
    SeedRule,
)
"""In the order in which they are asked: of two findings on one line the first comes first.

NotFiniteRule goes back in the run: rules that look at the same whole epochs come before it.
"""
