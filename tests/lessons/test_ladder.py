"""Who does what, in every lesson: the table that the published notebooks arrive at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import shipped

HAND, PYTORCH = True, False
PUBLISHED = {
    "manual": {"Predict": HAND, "Gradient": HAND, "Loss": HAND, "Update": HAND},
    "autograd": {"Predict": HAND, "Gradient": PYTORCH, "Loss": HAND, "Update": HAND},
    "optimizer": {"Predict": HAND, "Gradient": PYTORCH, "Loss": PYTORCH, "Update": PYTORCH},
    "model": {"Predict": PYTORCH, "Gradient": PYTORCH, "Loss": PYTORCH, "Update": PYTORCH},
}


@pytest.mark.parametrize("path", shipped.ORIGINALS, ids=lambda path: path.stem)
def test_the_ladder_of_a_shipped_lesson_is_the_published_one(path: Path) -> None:
    """Of its modes that are rungs: two lessons compare something else (`raw`, `float32`)."""
    lesson = shipped.read_once(path)
    ladder = {row.phase: dict(row.by_hand) for row in lesson.ladder()}
    for phase, by_hand in ladder.items():
        rungs = {mode: hand for mode, hand in by_hand.items() if mode in PUBLISHED}
        assert rungs == {mode: PUBLISHED[mode][phase] for mode in rungs}
    assert set(ladder) == set(PUBLISHED["manual"])
