"""What the lessons on autograd's confusions say of PyTorch: its very words, and its figures.

What is claimed is done. That broken code raises the words of its exercise is what `tutor check`
proves of every repair; here, where and when it stops.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests import shipped
from tests.lessons.runs import a_run, repair_run
from tutor.lesson.exercise import Predict
from tutor.protocol.frame import Element
from tutor.training.exercises import start_of
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import programs_of
from tutor.training.run import Run

CONFUSIONS = {
    slug: shipped.lesson(slug)
    for slug in (
        "chain-of-three",
        "forgotten-zero",
        "leaf-in-place",
        "lost-leaf",
        "backward-twice",
        "before-backward",
        "detach",
        "cpu-and-gpu",
    )
}


def weights(run: Run, epochs: int) -> list[float]:
    """What `w` is after each epoch."""
    return [run.step_epoch().values["w"].data[0] for _ in range(epochs)]


def gradients(run: Run, epochs: int) -> list[float]:
    """What the update of each epoch uses."""
    return [run.step_epoch().gradients["w"].data[0] for _ in range(epochs)]


def a_leaf(value: float = 1.0) -> torch.Tensor:
    return torch.tensor(value, requires_grad=True)


# ── PyTorch's words ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("where", "phase", "line", "epoch"),
    [
        ("leaf-in-place/without-no-grad", "Update", 1, 1),
        ("leaf-in-place/no-negative-price", "Update", 3, 1),
        ("lost-leaf/a-new-w", "Update", 1, 2),
        ("lost-leaf/a-plain-w", "Gradient", None, 2),
        ("backward-twice/twice-as-fast", "Gradient", 2, 1),
        ("backward-twice/water-that-stays", "Gradient", None, 2),
        ("before-backward/looked-too-early", "Gradient", 1, 1),
        ("cpu-and-gpu/leaf-that-travelled", "Update", None, 1),
        ("lost-leaf/lost-in-setup", "Update", None, 1),
    ],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_it_stops_where_and_when_the_lesson_says(
    where: str, phase: str, line: int | None, epoch: int
) -> None:
    run = repair_run(where)
    with pytest.raises(LessonRaised) as raised:
        run.run_to(epoch)
    assert run.at.epoch >= epoch - 1
    assert raised.value.phase == phase
    if line:
        assert raised.value.line == line


def test_pytorch_warns_of_the_lost_leaf_in_the_words_of_the_lesson() -> None:
    quoted = "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed"
    prose = " ".join(CONFUSIONS["lost-leaf"].source.split())
    assert quoted in prose
    with pytest.warns(UserWarning, match=quoted) as caught:
        assert (a_leaf() * 2).grad is None
    assert "use .retain_grad()" in str(caught[0].message)


def test_a_start_made_small_is_no_leaf() -> None:
    assert not (torch.randn(3, requires_grad=True) * 0.1).is_leaf


def test_with_32_bits_gradcheck_is_wrong_by_several_percent() -> None:
    def numerical(dtype: torch.dtype) -> float:
        w = torch.tensor(1.3, dtype=dtype)
        f = [v * v * v for v in (w + 1e-6, w - 1e-6)]
        return float(f[0] - f[1]) / 2e-6

    assert 0.02 < abs(numerical(torch.float32) / 5.07 - 1) < 0.1
    assert abs(numerical(torch.float64) / 5.07 - 1) < 1e-8


# ── None, 0 and sums ────────────────────────────────────────────────────────────────


def test_without_the_zero_the_weight_swings_through_its_goal() -> None:
    assert weights(a_run("forgotten-zero", "autograd"), 5) == [2.0, 5.0, 7.5, 8.25, 6.875]
    assert gradients(a_run("forgotten-zero", "autograd"), 4) == [-8.0, -12.0, -10.0, -3.0]
    assert weights(a_run("forgotten-zero", "manual"), 3) == [2.0, 3.0, 3.5]
    assert weights(a_run("forgotten-zero", "optimizer"), 3) == [2.0, 3.0, 3.5]


def test_a_smaller_rate_makes_the_swing_longer() -> None:
    def turns(rate: float) -> int:
        seen = weights(a_run("forgotten-zero", "autograd", rate=rate), 120)
        goal = [weight > 4 for weight in seen]
        return sum(one is not other for one, other in pairwise(goal))

    assert turns(0.25) > turns(0.05) > turns(0.01) > 2


def test_momentum_and_the_noise_of_batches_do_not_rest_at_the_goal_either() -> None:
    momentum = Run(shipped.programs("momentum"), "manual")
    for number, goal in enumerate((3.0, 0.4)):
        momentum.set(element=Element("w", (number,), goal - 0.2))
    distances = [abs(momentum.step_epoch().values["w"].data[1] - 0.4) for _ in range(20)]
    assert max(distances[distances.index(min(distances)) :]) > 2 * min(distances)
    batches = Run(shipped.programs("mini-batches"))
    best = batches.evaluate(["float((x * y).sum() / (x * x).sum())"])[0].data[0]
    batches.set(element=Element("w", (), best))
    assert abs(batches.step_epoch().values["w"].data[0] - best) > 0.001


@pytest.mark.parametrize("rate", [0.25, 0.05, 0.01])
def test_a_smaller_rate_does_not_cure_a_forgotten_zero(rate: float) -> None:
    run = a_run("forgotten-zero", "autograd", rate=rate)
    run.run_to(400)
    losses = run.history.losses.numbers()
    assert losses.max() < 10**2
    assert losses[-100:].max() > 3**2


def test_a_forgotten_zero_does_not_even_rest_at_the_goal() -> None:
    assert weights(a_run("forgotten-zero", "autograd", rate=0.5), 2) == [4.0, 8.0]


def test_an_optimizer_leaves_none_alone_and_moves_a_zero_if_it_has_momentum() -> None:
    w = a_leaf()
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    (w * w).backward()
    optimizer.step()
    optimizer.zero_grad()
    assert w.grad is None
    before = w.item()
    optimizer.step()
    assert w.item() == before
    w.grad = torch.tensor(0.0)
    optimizer.step()
    assert w.item() != before


def test_the_gradient_is_none_then_a_number_then_a_zero() -> None:
    run, found = a_run("before-backward", "autograd"), []
    for _ in range(7):
        data = run.step_phase().gradients_now["w"].data
        found.append(data[0] if data else None)
    assert found == [None, None, -16.0, -16.0, 0.0, 0.0, 0.0]


def test_a_leaf_gets_a_gradient_only_if_it_requires_one() -> None:
    run = a_run("leaf-in-place", "autograd")
    run.run_to(1)
    leaves = run.evaluate(["x.is_leaf and y.is_leaf and w.is_leaf"])
    assert leaves[0].data == (1.0,)
    grads = run.evaluate(["x.grad is None and y.grad is None and w.grad is not None"])
    assert grads[0].data == (1.0,)


# ── Leaves ──────────────────────────────────────────────────────────────────────────


def test_a_lost_leaf_whose_gradient_is_retained_drags_a_growing_record_along() -> None:
    w, lengths = a_leaf(), []
    for _ in range(4):
        ((2 * w - 6) ** 2).backward()
        assert w.grad is not None
        w = w - 0.01 * w.grad
        w.retain_grad()
        lengths.append(_length(w))
    assert lengths == [2, 3, 4, 5]


def _length(tensor: torch.Tensor) -> int:
    node, count = tensor.grad_fn, 0
    while node is not None:
        count, node = count + 1, node.next_functions[0][0] if node.next_functions else None
    return count


def test_a_second_name_sees_what_is_done_in_place_and_not_a_new_tensor() -> None:
    w = torch.tensor(3.0)
    v = w
    w -= 1
    assert v is w
    w = w - 1
    assert v.item() == 2.0


def test_a_tensors_place_and_type_are_changed_by_making_a_result() -> None:
    leaf = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    assert leaf.to("cpu") is leaf
    cast = leaf.to(torch.float32)
    assert not cast.is_leaf
    assert type(cast.grad_fn).__name__ == "ToCopyBackward0"
    later = torch.tensor(1.0, dtype=torch.float64).to(torch.float32).requires_grad_()
    assert later.is_leaf


def test_a_matrix_product_refuses_two_types_and_elementwise_operations_convert() -> None:
    x = torch.ones(3, 1)
    assert (x * x.double()).dtype == torch.float64
    with pytest.raises(RuntimeError, match="same dtype"):
        x.T @ x.double()
    with pytest.raises(RuntimeError, match="same dtype"):
        torch.nn.Linear(1, 1)(x.double())
    assert np.array([0.5, 1.0]).dtype == np.float64


@pytest.mark.parametrize(
    ("weight", "data", "loss"),
    [
        (torch.float32, torch.float64, torch.float64),
        (torch.float64, torch.float32, torch.float32),
        (torch.float16, torch.float32, torch.float32),
    ],
)
def test_a_gradient_has_the_type_of_its_leaf(
    weight: torch.dtype, data: torch.dtype, loss: torch.dtype
) -> None:
    w = torch.tensor(1.0, dtype=weight, requires_grad=True)
    found = ((w * torch.ones(3) - torch.ones(3, dtype=data)) ** 2).mean()
    assert found.dtype == loss
    found.backward()
    assert w.grad is not None
    assert w.grad.dtype == weight


def test_a_module_changes_its_own_parameters() -> None:
    model = torch.nn.Linear(1, 1)
    weight = model.weight
    model.double()
    assert model.weight is weight
    assert weight.is_leaf
    assert weight.dtype == torch.float64


def test_only_a_single_number_on_the_cpu_may_meet_another_device() -> None:
    there = torch.ones(2, device="meta")
    assert (torch.tensor(2.0) * there).device == there.device
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(2) * there


# ── Records ─────────────────────────────────────────────────────────────────────────


def test_a_record_that_is_kept_and_read_again_doubles_the_gradient() -> None:
    w = a_leaf()
    loss = (w - 3) ** 2
    loss.backward(retain_graph=True)
    once = float(w.grad)  # type: ignore[arg-type]
    loss.backward()
    assert float(w.grad) == 2 * once  # type: ignore[arg-type]


def _changed_in_place(cut: Callable[[torch.Tensor], torch.Tensor]) -> float:
    w = a_leaf(3.0)
    y = w * w
    loss = y**2
    cut(y).zero_()
    loss.backward()
    assert w.grad is not None
    return w.grad.item()


def test_what_is_changed_behind_data_makes_a_wrong_gradient_and_no_error() -> None:
    assert _changed_in_place(lambda y: y.data) == 0.0
    assert _changed_in_place(lambda y: y.clone().detach()) == 108.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        _changed_in_place(lambda y: y.detach())


def test_an_uncut_teacher_moves_toward_the_student() -> None:
    run = repair_run("detach/respect", 12)
    assert run.frame().watched["teacher"].data == pytest.approx((2.5,))
    assert run.frame().values["w"].data == pytest.approx((2.5,))


# ── The graph by hand ───────────────────────────────────────────────────────────────


def test_where_two_roads_meet_their_gradients_add_up() -> None:
    run = a_run("chain-of-three", "autograd")
    for _ in range(3):
        frame = run.step_phase()
    assert frame.watched["dL/db"].data == (16.0,)
    assert frame.watched["dL/da"].data == (8 * 3 + 16.0,)
    assert frame.gradients["w"].data == (80.0,)


def test_the_modes_of_the_chain_see_the_same_on_the_way_back() -> None:
    by_hand, autograd = a_run("chain-of-three", "manual"), a_run("chain-of-three", "autograd")
    for _ in range(5):
        one, other = by_hand.step_epoch(), autograd.step_epoch()
        for label, value in one.watched.items():
            assert value.data == pytest.approx(other.watched[label].data, rel=1e-5)


# ── What a question says in numbers ─────────────────────────────────────────────────


def test_a_question_begins_where_its_own_numbers_say() -> None:
    """A question that says `$w = 2$` (or "the weight is 5") is asked where `w` is that."""
    for lesson, predict, ask, stage, said in SAYING:
        place = start_of(lesson, predict, stage=stage)
        run = Run.from_recipe(programs_of(place.lesson), place.recipe, place.at)
        assert run.frame().values["w"].data == (said,), (lesson.slug, predict.id, ask)
    assert len(SAYING) > 15


def _weight_said(ask: str) -> float | None:
    for words in ("$w = ", "weight is ", "tap to $w = "):
        _, found, rest = ask.partition(words)
        if found:
            digits = rest.lstrip()
            end = next((i for i, c in enumerate(digits) if c not in "-.0123456789"), len(digits))
            return float(digits[:end].rstrip("."))
    return None


SAYING = [
    (lesson, exercise, ask, stage, said)
    for lesson in CONFUSIONS.values()
    for exercise in lesson.exercises
    if isinstance(exercise, Predict)
    for ask, stage in [
        (exercise.ask, exercise.stage),
        *((again.ask, again.stage) for again in exercise.again),
    ]
    if (said := _weight_said(ask)) is not None
]
"""The questions that name the weight they begin with."""
