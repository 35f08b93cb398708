"""Each prediction of a number shows how it is worked out, or is listed here with the reason."""

from __future__ import annotations

import pytest

from tests.lessons.runs import exercise, names_of
from tutor.lesson.exercise import Predict

WITHOUT: dict[str, str] = {
    "overwritten/count-the-changes": "it is counted, not calculated",
    "registered/how-many": "it is counted, not calculated",
    "vanishing/slope": "the question gives the output that the phase is yet to compute",
}
"""By lesson and exercise: the reason why there is no working."""

NUMBERS = [name for name in names_of(Predict) if exercise(name, Predict).form == "number"]


def test_the_list_names_exercises_that_exist() -> None:
    assert set(WITHOUT) <= set(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_worked_out_or_there_is_a_reason(name: str) -> None:
    assert bool(exercise(name, Predict).working) != (name in WITHOUT)
