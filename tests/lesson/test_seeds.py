"""Calls that seed random number generators."""

from __future__ import annotations

import pytest

from tutor.lesson.seeds import own_seed_line, sets_a_seed


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import torch\ntorch.manual_seed(0)\ntorch.manual_seed(1)", 2),
        ("import torch\ntorch.random.manual_seed(0)", 2),
        ("import torch as th\nth.manual_seed(0)", 2),
        ("from lightning import seed_everything\nimport random\nseed_everything(3)", 3),
        ("def seed_all():\n    torch.manual_seed(0)\nx = np.random.rand(2)\nseed_all(1)", 0),
        ("import torch\nw = torch.randn(2)", 0),
        ("g = torch.Generator().manual_seed(0)\nw = torch.randn(2)", 0),
        ("import random\nrandom.seed(0)\nw = torch.randn(2)", 0),
        ("import random\ntorch.manual_seed(0)", 0),
        ("import random\nrandom.seed(0)\ntorch.manual_seed(0)", 3),
        ("torch.manual_seed(0)\nx = np.random.rand(2)", 0),
        ("torch.manual_seed(0)\nr = np.random.default_rng()", 0),
        ("torch.manual_seed(0)\nr = np.random.default_rng(1)", 1),
        ("def seed_all(n):\n    np.random.seed(n)\n    torch.manual_seed(n)\nseed_all(1)", 3),
    ],
)
def test_a_script_sets_its_own_seed_where_all_that_it_draws_is_seeded(code: str, line: int) -> None:
    assert own_seed_line(code) == line


@pytest.mark.parametrize(
    ("code", "sets_one"),
    [
        ("torch.manual_seed(0)", True),
        ("g = torch.Generator()\ng.manual_seed(2)", True),
        ("r = np.random.default_rng(0)", True),
        ("r = np.random.default_rng()", False),
        ("torch.seed()\nx = torch.randn(2)", False),
    ],
)
def test_a_lesson_sets_a_seed_by_whatever_call_is_given_one(code: str, sets_one: bool) -> None:
    assert sets_a_seed([code]) is sets_one
