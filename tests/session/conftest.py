"""A simulated engine for who speaks to one without a screen."""

from __future__ import annotations

import pytest

from tests.ui.fake_engine import FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()
