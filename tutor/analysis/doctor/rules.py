"""The table of the doctor's rules, and the mistakes that shipped lessons teach."""

from __future__ import annotations

from collections.abc import Mapping

from tutor.analysis.doctor.divergence import DivergenceRule
from tutor.analysis.doctor.evaluation import EvaluationRule
from tutor.analysis.doctor.hand_gradient import HandGradientRule
from tutor.analysis.doctor.held_parameters import HeldParametersRule, LostLeafRule
from tutor.analysis.doctor.kept_graph import DataGradientRule, KeptGraphRule
from tutor.analysis.doctor.layer_gradients import GradientRule, LayerGradientRule
from tutor.analysis.doctor.loss_arguments import (
    BroadcastRule,
    DoubleActivationRule,
    LossArgumentsRule,
)
from tutor.analysis.doctor.not_finite import NotFiniteRule
from tutor.analysis.doctor.reset import AccumulationRule, MissingResetRule, ResetOrderRule
from tutor.analysis.doctor.rule import DoctorRule
from tutor.analysis.doctor.scheduler_order import SchedulerOrderRule
from tutor.analysis.doctor.seeds import SeedRule
from tutor.lesson.model import Lesson
from tutor.protocol.frame import RunRecipe
from tutor.protocol.inspections import DoctorFinding

RULES: tuple[type[DoctorRule], ...] = (
    MissingResetRule, ResetOrderRule, LostLeafRule, BroadcastRule, GradientRule,
    HeldParametersRule, DoubleActivationRule, HandGradientRule, KeptGraphRule, DivergenceRule,
    EvaluationRule, NotFiniteRule, SchedulerOrderRule, LossArgumentsRule, DataGradientRule,
    LayerGradientRule, AccumulationRule, SeedRule,
)  # fmt: skip
"""The rules in the order in which they are asked, and findings on one line are shown.

NotFiniteRule goes back in the run: rules that look at the same whole epochs come before it.
"""

TAUGHT: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("broadcasting", "manual"): {
        "broadcast_in_loss": "the lesson is about a column minus a flat array",
    },
    ("broadcasting", "autograd"): {
        "broadcast_in_loss": "the lesson is about a column minus a flat array",
    },
    ("forgotten-zero", "autograd"): {
        "gradients_not_reset": "the lesson is about what happens without the reset",
    },
    ("registered", "forgotten"): {
        "tensor_not_registered": "the mode is the one in which the model forgets its bias",
    },
}
"""The codes of the findings that a lesson makes on purpose, with the reason, by lesson and mode.

The doctor keeps silent about them there.
"""


def is_taught(lesson: Lesson, recipe: RunRecipe, finding: DoctorFinding) -> bool:
    """Whether the lesson makes this mistake on purpose in the recipe's mode."""
    return finding.code in TAUGHT.get((lesson.slug, recipe.mode), {})
