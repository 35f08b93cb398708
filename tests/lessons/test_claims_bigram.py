"""What the lesson on bigrams claims, computed with its own code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import shipped
from tests.lessons.runs import a_run, repair_run

each_mode = pytest.mark.parametrize("mode", shipped.lesson("bigram").modes)


@each_mode
def test_training_ends_at_the_loss_by_counting_and_never_below(mode: str) -> None:
    run = a_run("bigram", mode)
    run.run_to(60)
    text = "lalalaalaoolooalalall"
    pairs = [text[i : i + 2] for i in range(len(text) - 1)]
    counted = -np.mean([np.log(pairs.count(p) / text[:-1].count(p[0])) for p in pairs])
    assert run.frame().watched["loss by counting"].data[0] == pytest.approx(counted)
    losses = run.history.losses.numbers()
    assert losses[-1] == pytest.approx(counted, abs=1e-5)
    assert losses.min() > counted - 1e-6


@each_mode
def test_the_trained_probabilities_are_the_shares_of_the_counts(mode: str) -> None:
    run = a_run("bigram", mode)
    run.run_to(100)
    w = torch.tensor(run.frame().values["w"].data).reshape(3, 3)
    shares = torch.tensor([[1, 6, 1], [6, 1, 1], [1, 1, 2]]) / torch.tensor([[8], [8], [4]])
    assert torch.allclose(torch.softmax(w, 1), shares, atol=1e-3)


def test_the_resumed_run_has_the_very_numbers_of_the_one_without_a_break() -> None:
    whole, resumed = a_run("bigram", "optimizer"), a_run("bigram", "model")
    for epoch in range(1, 21):
        one, other = whole.step_epoch(), resumed.step_epoch()
        assert one.values["w"].data == other.values["w"].data
        assert other.watched["resumed"].data == (float(epoch >= 5),)
    assert resumed.seek(3).watched["resumed"].data == (0.0,)


def test_without_the_velocity_the_losses_differ_from_epoch_7_on() -> None:
    whole, broken = a_run("bigram", "optimizer"), repair_run("bigram/resume")
    same = [
        whole.step_epoch().loss.data[0] == pytest.approx(broken.step_epoch().loss.data[0])
        for _ in range(12)
    ]
    assert same == [True] * 6 + [False] * 6


def test_the_logit_of_a_pair_that_never_occurs_falls_without_end() -> None:
    w, shares, seen = np.zeros(3), np.array([0.5, 0.5, 0]), []
    for epoch in range(1, 10_001):
        p = np.exp(w) / np.exp(w).sum()
        w -= p - shares  # the gradient of cross-entropy by the logits
        if epoch in (10, 100, 1000, 10_000):
            seen.append(w[2])
    assert all(np.diff(seen) < -1)
    assert p[2] > 0


def test_a_one_hot_row_times_the_matrix_is_a_row_of_it() -> None:
    model, x = torch.nn.Embedding(3, 3), torch.tensor([2, 0, 1])
    assert torch.equal(torch.nn.functional.one_hot(x, 3).float() @ model.weight, model(x))
