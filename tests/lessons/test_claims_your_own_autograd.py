"""The engine of the lesson on your own autograd, run on random graphs against PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests import shipped
from tests.lessons.runs import a_run

SLUG = "your-own-autograd"
GRAPHS = 60

OPERATIONS: tuple[Callable[[Any, Any], Any], ...] = (
    lambda one, other: one + other,
    lambda one, other: one - other,
    lambda one, other: one * other,
    lambda one, _: one.square(),
)


def code_of(phase: str, mode: str) -> str:
    found = shipped.lesson(SLUG).phase(phase)
    assert found is not None
    return "\n".join(fence.code for fence in found.fences(mode))


@functools.cache
def engine() -> dict[str, Any]:
    """What the lesson's Setup defines: `Node` and `in_order`."""
    namespace: dict[str, Any] = {"np": np, "torch": torch}
    exec(code_of("Setup", "engine"), namespace)
    return namespace


def graph(seed: int, leaf: Callable[[float], Any]) -> tuple[list[Any], Any]:
    """Four leaves, and the end of a random graph of twelve operations and a sum of all nodes."""
    random = np.random.default_rng(seed)
    leaves = [leaf(value) for value in random.uniform(-1, 1, 4)]
    made = list(leaves)
    for _ in range(12):
        one, other = (made[i] for i in random.integers(len(made), size=2))
        made.append(OPERATIONS[random.integers(len(OPERATIONS))](one, other))
    return leaves, functools.reduce(lambda total, node: total + node, made)


def gradients(seed: int, mode: str) -> list[float]:
    """The gradients of the leaves by the lesson's code of that mode."""
    leaves, top = graph(seed, engine()["Node"])
    exec(code_of("Gradient", mode), {**engine(), "top": top, "w_node": leaves[0]})
    return [leaf.grad for leaf in leaves]


def gradients_by_pytorch(seed: int) -> list[float]:
    def leaf(value: float) -> torch.Tensor:
        return torch.tensor(value, dtype=torch.float64, requires_grad=True)

    leaves, top = graph(seed, leaf)
    top.backward()
    return [leaf.grad.item() for leaf in leaves]


def test_on_random_graphs_the_engine_is_right_and_the_recursion_mostly_counts_twice() -> None:
    wrong = []
    for seed in range(GRAPHS):
        expected = gradients_by_pytorch(seed)
        assert gradients(seed, "engine") == pytest.approx(expected, rel=1e-9, abs=1e-9)
        wrong.append(gradients(seed, "recursive") != pytest.approx(expected, rel=1e-6))
    assert np.mean(wrong) > 0.9


def test_each_node_comes_once_and_after_its_sources() -> None:
    _, top = graph(0, engine()["Node"])
    order = engine()["in_order"](top, [])
    assert len(order) == len(set(order)) > 16
    for place, node in enumerate(order):
        assert {source for source, _ in node.edges} <= set(order[:place])


def test_thirty_sums_have_31_nodes_and_two_to_the_30_paths() -> None:
    node = engine()["Node"](1)
    for _ in range(30):
        node = node + node
    assert len(engine()["in_order"](node, [])) == 31
    assert node.value == 2**30, "each path adds 1"


def test_the_recursion_comes_to_the_same_weight_with_a_wrong_gradient() -> None:
    first = {}
    for mode in ("engine", "recursive", "autograd"):
        run = a_run(SLUG, mode)
        first[mode] = run.step_epoch().gradients["w"].data
        run.run_to(20)
        assert run.frame().values["w"].data == pytest.approx((0.5,), abs=0.01)
    assert first == {"engine": (80.0,), "recursive": (128.0,), "autograd": (80.0,)}


def test_the_engine_has_about_thirty_lines() -> None:
    code = code_of("Setup", "engine") + "\n" + code_of("Gradient", "engine")
    lines = [line for line in code.splitlines() if line.strip()]
    assert 28 <= len(lines) - 2 <= 32, "without the two that set the data"
