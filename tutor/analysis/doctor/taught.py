"""The mistakes that shipped lessons teach: the doctor keeps silent about them there."""

from __future__ import annotations

from collections.abc import Mapping

from tutor.lesson.model import Lesson
from tutor.protocol.findings import DoctorFinding
from tutor.protocol.frame import RunRecipe

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
"""By lesson and mode: the code of each finding that it makes on purpose, and the reason."""


def is_taught(lesson: Lesson, recipe: RunRecipe, finding: DoctorFinding) -> bool:
    """Whether the lesson makes this mistake on purpose in the recipe's mode."""
    return finding.code in TAUGHT.get((lesson.slug, recipe.mode), {})
