"""The graph of a step shows what backward really did, in the lesson's names, and harms nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests import shipped as lessons
from tests.training.conftest import FRONT
from tutor.analysis.graph import MOST_NODES, graph_of
from tutor.lesson.model import Lesson
from tutor.protocol.frame import NO_VALUE, NONE, Remark, Value
from tutor.protocol.inspections import AutogradGraph, GraphNode
from tutor.training.lesson_error import LessonRaised
from tutor.training.loop import Loop
from tutor.training.probe import Probe, standpoint_of
from tutor.training.program import Program, programs_of
from tutor.training.set_up import set_up
from tutor.ui.panes.graph_rows import tree

W = "x = torch.tensor([1.0, 2.0, 3.0])\nw = torch.tensor(0.5, requires_grad=True)\n"


def program_of(slug: str, mode: str) -> Program:
    return lessons.programs(slug)[mode]


def loop_of(program: Program, *, epochs: int = 0, steps: int = 0) -> Loop:
    """A loop that has done so many epochs, and then so many steps of the next."""
    loop = set_up(program, "cpu", program.learning_rate, 0)
    for _ in range(epochs):
        loop.begin_epoch()
        while not loop.at_end:
            loop.run_step()
    loop.begin_epoch()
    for _ in range(steps):
        loop.run_step()
    return loop


def traced(loop: Loop) -> AutogradGraph:
    program = loop.program
    probe = Probe(program, "cpu", program.learning_rate, 0)
    return graph_of(probe, standpoint_of(loop, program.learning_rate))


Trace = Callable[..., AutogradGraph]


@pytest.fixture
def trace(write_lesson: Callable[..., Lesson]) -> Trace:
    """The graph of the first batch of a lesson made of phases given by name."""

    def of(front: str = FRONT, **phases: str) -> AutogradGraph:
        (program,) = programs_of(write_lesson(front, **phases)).values()
        return traced(loop_of(program))

    return of


def array(value: Value) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(value.data, dtype=np.float32).reshape(value.shape)


def codes(graph: AutogradGraph) -> list[str]:
    return [remark.code for remark in graph.remarks]


def raised(phase: str, error: str) -> Remark:
    return Remark("phase_raised", {"phase": phase, "error": ("text", {"text": error})})


def says(graph: AutogradGraph) -> list[str]:
    """The tree, as one reads it."""
    rows = ((row, graph.nodes[row.node]) for row in tree(graph))
    return [f"{row.prefix}{text(node)}{' ↑' if row.seen_before else ''}" for row, node in rows]


def text(node: GraphNode) -> str:
    return node.says if node.name in ("", node.says) else f"{node.name} = {node.says}"


def named(graph: AutogradGraph, name: str) -> GraphNode:
    (node,) = [node for node in graph.nodes if node.name == name]
    return node


# ── It is the real step ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("slug", [path.stem for path in lessons.ORIGINALS])
def test_what_arrives_at_the_leaves_is_the_real_gradient_bit_for_bit(slug: str) -> None:
    """In each mode in which PyTorch computes the gradient."""
    lesson = lessons.lesson(slug)
    for mode in lesson.modes:
        gradient = lesson.phase("Gradient")
        if gradient and any("backward()" in fence.code for fence in gradient.fences(mode)):
            assert_real_gradient(lessons.programs(slug)[mode])


def assert_real_gradient(program: Program) -> None:
    loop = loop_of(program, epochs=3)
    for _ in range(program.gradient_at):
        loop.run_step()
    graph = traced(loop)
    loop.run_step()
    assert loop.gradients
    assert not graph.remarks
    for name, gradient in loop.gradients.items():
        leaf = named(graph, name)
        assert leaf.new is not None
        assert leaf.old is not None
        old = np.float32(0) if leaf.old == NONE else array(leaf.old)
        real = gradient.numpy().tobytes()
        assert array(leaf.new).tobytes() == real
        assert (old + array(leaf.gradient)).astype(np.float32).tobytes() == real


@pytest.mark.parametrize("steps", range(6))
def test_the_trace_is_the_same_wherever_in_the_batch_one_stands(steps: int) -> None:
    program = program_of("xor", "autograd")
    per_batch = len(program.loop)
    there = traced(loop_of(program, epochs=1, steps=2 * per_batch + 1))
    here = traced(loop_of(program, epochs=1, steps=2 * per_batch + 1 + steps % per_batch))
    assert here.nodes == there.nodes
    assert named(here, "o2").inputs
    assert any(node.says == "x[2] @ w1" for node in here.nodes), "the batch of the standpoint"


def test_tracing_leaves_the_run_and_its_random_numbers_alone(
    write_lesson: Callable[..., Lesson],
) -> None:
    noisy = write_lesson(Predict="y_pred = w * x + torch.randn(3)")
    (program,) = programs_of(noisy).values()
    loop = loop_of(program, epochs=2, steps=2)
    before, graph = torch.get_rng_state(), traced(loop)
    assert torch.equal(torch.get_rng_state(), before)
    gradient = named(graph, "w").gradient
    loop.run_step()
    assert loop.gradients is not None
    assert gradient.data == (float(loop.gradients["w"]),), "the same noise was drawn"


def test_what_is_left_in_the_gradient_is_added_to(trace: Trace) -> None:
    graph = trace(Gradient="w.grad = torch.tensor(100.0)\nloss.backward()")
    leaf = named(graph, "w")
    assert leaf.old == Value((100.0,), (), "float32")
    assert leaf.gradient.data == (-14.0,)
    assert leaf.new == Value((86.0,), (), "float32")


def test_no_hook_stays_behind(write_lesson: Callable[..., Lesson]) -> None:
    (program,) = programs_of(write_lesson()).values()
    loop = loop_of(program)
    probe = Probe(program, "cpu", 0.1, 0)
    first = graph_of(probe, standpoint_of(loop, 0.1))
    assert graph_of(probe, standpoint_of(loop, 0.1)) == first
    assert not probe.loop.namespace["w"]._backward_hooks
    assert not torch.nn.modules.module._global_forward_hooks


# ── The way forward, in the lesson's words ──────────────────────────────────────────


def test_the_tree_of_a_lesson_reads_like_its_code() -> None:
    assert says(traced(loop_of(program_of("line-through-origin", "autograd")))) == [
        "loss = mean(…)",
        "└─ (…) ** 2",
        "   └─ y_pred - y",
        "      └─ y_pred = w * x",
        "         └─ w",
    ]


def test_two_layers_read_as_the_lesson_writes_them_whatever_pytorch_composes_them_of() -> None:
    graph = traced(loop_of(program_of("xor", "autograd")))
    assert says(graph) == [
        "loss = (…) ** 2",
        "└─ o2 - y[0]",
        "   └─ o2 = sigmoid(z2)",
        "      └─ z2 = (…) + b2",
        "         ├─ o1 @ w2",
        "         │  ├─ o1 = relu(z1)",
        "         │  │  └─ z1 = (…) + b1",
        "         │  │     ├─ x[0] @ w1",
        "         │  │     │  └─ w1",
        "         │  │     └─ b1",
        "         │  └─ w2",
        "         └─ b2",
    ]
    assert [node.op for node in graph.nodes if node.within is not None].count("MmBackward0") == 2


def test_modules_are_called_by_their_names() -> None:
    assert says(traced(loop_of(program_of("line-through-origin", "model")))) == [
        "loss = mse(y_pred, y)",
        "└─ y_pred = model.linear(x)",
        "   ├─ b",
        "   └─ w",
    ]


def test_a_tensor_unpacked_into_two_names_is_one_node_that_two_operations_use() -> None:
    graph = traced(loop_of(program_of("thermometer", "model")))
    assert says(graph)[2:] == [
        "   ├─ w * x",
        "   │  └─ w, b = unbind(params, 0)",
        "   │     └─ params",
        "   └─ w, b = unbind(params, 0) ↑",
    ]
    both = named(graph, "w, b")
    assert both.value.shape == both.gradient.shape == (2,)
    assert both.gradient == named(graph, "params").gradient


def test_every_operation_has_the_value_that_came_out_of_it(trace: Trace) -> None:
    graph = trace()
    assert {node.says: node.value.data for node in graph.nodes} == {
        "mean(…)": (10.5,),
        "(…) ** 2": (2.25, 9.0, 20.25),
        "y_pred - (2 * x)": (-1.5, -3.0, -4.5),
        "w * x": (0.5, 1.0, 1.5),
        "w": (0.5,),
    }


def test_a_name_that_has_moved_on_is_given_to_what_it_stands_for_at_last(trace: Trace) -> None:
    graph = trace(Predict="h = w * x\nh = torch.relu(h)\ny_pred = h + 1")
    assert says(graph)[3:] == [
        "      └─ y_pred = h + 1",
        "         └─ h = relu(…)",
        "            └─ w * x",
        "               └─ w",
    ]


def test_a_name_inside_a_function_never_passes_for_the_lessons_own(trace: Trace) -> None:
    net = "def net(x):\n    x = x * w\n    x = torch.relu(x)\n    h = x - 1\n    return h * 2\n"
    graph = trace(Setup=W + net, Predict="y_pred = net(x)")
    assert says(graph)[3:] == [
        "      └─ y_pred = 2 * h",
        "         └─ h = (…) - 1",
        "            └─ relu(…)",
        "               └─ x * w",
        "                  └─ w",
    ]


def test_writing_in_place_does_not_give_the_new_name_to_the_old_value(trace: Trace) -> None:
    graph = trace(Predict="y_pred = w * x\ny_pred += 1")
    assert says(graph)[3:5] == ["      └─ y_pred = y_pred += 1", "         └─ w * x"]
    values = {node.says: node.value.data for node in graph.nodes}
    assert values["w * x"] == (0.5, 1.0, 1.5)
    assert values["y_pred += 1"] == (1.5, 2.0, 2.5)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("2 - w * x", "2 - (…)"),
        ("1 / w + 0 * x", "1 / w"),
        ("2 ** w + 0 * x", "2 ** w"),
        ("(-w) * x", "-w"),
        ("w * x[1:] + 1", "w * x[1:]"),
        ("torch.add(w, x, alpha=2)", "add(w, x, alpha=2)"),
        ("(w * x).sum(dim=0, keepdim=True)", "sum(…, dim=0, keepdim=True)"),
        ("torch.nn.functional.leaky_relu(w * x)", "leaky_relu(…)"),
        ("torch.stack([w, w, w])", "stack([w, w, w])"),
        ("(w * x[:, None]).T", "(…).T"),
        ("x * w * torch.tensor(3.0)", "(…) * 3"),
    ],
)
def test_operations_are_written_as_python_writes_them(trace: Trace, code: str, text: str) -> None:
    graph = trace(Predict=f"y_pred = {code}", Loss="loss = y_pred.sum()")
    assert text in {node.says for node in graph.nodes}


def test_what_hangs_on_objects_and_lists_is_named_by_its_path(trace: Trace) -> None:
    graph = trace(
        Setup="net = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.Linear(2, 1))\n"
        "x = torch.ones(3, 1)\nw = net[0].weight",
        Predict="y_pred = net(x)",
    )
    assert {node.name for node in graph.nodes if node.is_leaf} == {
        "w",
        "net[0].bias",
        "net[1].weight",
        "net[1].bias",
    }
    assert {"net[0](x)", "net[1](…)"} <= {node.says for node in graph.nodes}


def test_an_operation_of_the_lessons_own_is_told_in_words(trace: Trace) -> None:
    cube = (
        "class Cube(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, a):\n"
        "        ctx.save_for_backward(a)\n"
        "        return a ** 3\n"
        "    @staticmethod\n"
        "    def backward(ctx, g):\n"
        "        return 3 * ctx.saved_tensors[0] ** 2 * g\n"
    )
    graph = trace(Setup=W + cube, Predict="y_pred = Cube.apply(w) * x")
    (node,) = [node for node in graph.nodes if node.op == "CubeBackward"]
    assert (node.says, node.value.data, node.gradient.data) == ("cube", (0.125,), (-17.5,))


# ── The way back ────────────────────────────────────────────────────────────────────


def test_the_order_is_that_of_backward_and_the_loss_is_the_first(trace: Trace) -> None:
    graph = trace(Predict="h = w * x\ny_pred = h * torch.sigmoid(h)")
    assert [node.id for node in graph.nodes] == list(range(len(graph.nodes)))
    assert graph.nodes[0].name == "loss"
    for node in graph.nodes:
        assert all(graph.nodes[i].order > node.order for i in node.inputs)
    assert graph.operations == len(graph.nodes)


def test_where_two_paths_meet_the_gradient_is_their_sum(trace: Trace) -> None:
    graph = trace(Predict="h = w * x\ny_pred = h * 3 + h * 4", Loss="loss = y_pred.sum()")
    assert named(graph, "h").gradient.data == (7.0, 7.0, 7.0)


def test_the_parts_of_a_call_are_one_step_of_backward() -> None:
    graph = traced(loop_of(program_of("line-through-origin", "model")))
    (part,) = [node for node in graph.nodes if node.within is not None]
    assert (part.op, part.says) == ("TBackward0", "transposed")
    assert part.order == named(graph, "y_pred").order
    assert sorted({node.order for node in graph.nodes}) == list(range(graph.operations))


def test_what_a_call_returns_is_no_mere_part_of_it(trace: Trace) -> None:
    graph = trace(
        Setup="torch.manual_seed(0)\nnet = torch.nn.MultiheadAttention(4, 1)\n"
        "x, w = torch.randn(3, 1, 4), net.in_proj_weight",
        Predict="y_pred, weights = net(x, x, x, average_attn_weights=False)",
        Loss="loss = (y_pred ** 2).mean() + weights.sum()",
    )
    for name in ("y_pred", "weights"):
        assert named(graph, name).within is None
        assert named(graph, name).says.startswith("multi_head_attention_forward(")
        assert named(graph, name).value.is_number


def test_backward_on_something_else_than_the_loss_is_what_is_shown(trace: Trace) -> None:
    graph = trace(Gradient="(loss + 0.1 * w ** 2).backward()")
    assert graph.nodes[0].says == "loss + (…)"
    assert not graph.remarks
    other = trace(Gradient="other = (w * 3) ** 2\nother.backward()")
    assert other.nodes[0].name == "other"
    assert codes(other) == ["backward_elsewhere"]


def test_two_losses_are_two_trees_and_what_arrives_is_added_up(trace: Trace) -> None:
    graph = trace(
        Gradient="extra = y_pred.sum()\nextra.backward(retain_graph=True)\nloss.backward()"
    )
    assert [row.node for row in tree(graph) if not row.prefix] == [
        named(graph, "loss").id,
        named(graph, "extra").id,
    ]
    assert graph.nodes[0].name == "loss"
    assert named(graph, "y_pred").gradient.data == (0.0, -1.0, -2.0)
    assert named(graph, "w").gradient.data == (-8.0,)
    assert graph.remarks == (Remark("backward_times", {"times": 2}),)


def test_after_a_gradient_was_emptied_only_the_last_backward_counts(trace: Trace) -> None:
    graph = trace(
        Gradient="loss.backward()\nw.grad = None\nagain = (w * x).sum()\nagain.backward()"
    )
    assert [node.name for node in graph.nodes] == ["again", "", "w"]
    assert named(graph, "w").new == Value((6.0,), (), "float32")
    assert "backward_again" in codes(graph)


def test_a_gradient_that_is_handed_back_is_not_added(trace: Trace) -> None:
    graph = trace(Gradient="(w.grad,) = torch.autograd.grad(loss, w)")
    leaf = named(graph, "w")
    assert (leaf.old, leaf.gradient.data, leaf.new) == (NONE, (-14.0,), None)
    assert codes(graph) == ["handed_back"]


def test_asked_for_the_gradient_in_the_middle_backward_goes_no_further(trace: Trace) -> None:
    graph = trace(Gradient="(g,) = torch.autograd.grad(loss, y_pred)\nw.grad = (g * x).sum()")
    assert named(graph, "y_pred").gradient.data == (-1.0, -2.0, -3.0)
    assert named(graph, "w").order == -1
    assert named(graph, "w").gradient == NO_VALUE


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_and_sparse_gradients_do_not_break_the_trace(
    trace: Trace, reentrant: bool
) -> None:
    graph = trace(
        Setup=W + "from torch.utils.checkpoint import checkpoint\n",
        Predict="y_pred = checkpoint("
        f"lambda a: torch.tanh(a * w), w * x, use_reentrant={reentrant})",
    )
    plain = trace(Predict="y_pred = torch.tanh(w * x * w)")
    assert named(graph, "w").new == named(plain, "w").new
    sparse = trace(
        Setup="w = torch.nn.Parameter(torch.ones(3, 2))\ni = torch.tensor([1, 2, 1])",
        Predict="y_pred = torch.nn.functional.embedding(i, w, sparse=True)",
        Loss="loss = y_pred.sum()",
    )
    assert named(sparse, "w").gradient.data == (0.0, 0.0, 2.0, 2.0, 1.0, 1.0)


def test_transforms_that_hide_their_tensors_do_not_make_the_lesson_fail(trace: Trace) -> None:
    slopes = "torch.func.vmap(torch.func.grad(lambda a: (a * a).sum()))(x)"
    graph = trace(Predict=f"y_pred = w * {slopes}")
    assert "phase_raised" not in codes(graph)
    assert named(graph, "w").new is not None


# ── Where there is none ─────────────────────────────────────────────────────────────


def test_by_hand_there_is_no_graph_and_the_way_to_one_is_told() -> None:
    assert traced(loop_of(program_of("xor", "manual"))) == AutogradGraph(
        remarks=(Remark("by_hand"),)
    )


def test_a_loss_that_hangs_on_nothing_is_told(trace: Trace) -> None:
    graph = trace(Gradient="if loss.requires_grad:\n    loss.backward()", Loss="loss = x.sum()")
    assert not graph.nodes
    assert codes(graph) == ["no_gradient_asked"]


def test_without_backward_the_way_forward_is_there(trace: Trace) -> None:
    graph = trace(Gradient="if False:\n    loss.backward()")
    assert graph.nodes[0].name == "loss"
    assert graph.operations == 0
    assert codes(graph) == ["only_forward"]


def test_what_the_lesson_raises_is_told_beside_what_there_is(trace: Trace) -> None:
    assert trace(Predict="y_pred = nothing * w") == AutogradGraph(
        remarks=(raised("Predict", "NameError: name 'nothing' is not defined"),)
    )
    twice = trace(Gradient="loss.backward()\nloss.backward()")
    _, values = twice.remarks[0].values["error"]
    assert "second time" in values["text"]
    assert "\n" not in values["text"]
    assert named(twice, "w").gradient.data == (-14.0,)


def test_where_predict_fails_no_graph_of_an_earlier_trace_is_shown(
    write_lesson: Callable[..., Lesson],
) -> None:
    setup = W + "class Predict:\n    fails = False"
    code = "if Predict.fails:\n    raise ValueError('again')\ny_pred = w * x"
    (program,) = programs_of(write_lesson(Setup=setup, Predict=code)).values()
    at = standpoint_of(loop_of(program), 0.1)
    probe = Probe(program, "cpu", 0.1, 0)
    assert graph_of(probe, at).nodes
    probe.loop.namespace["Predict"].fails = True
    assert graph_of(probe, at) == AutogradGraph(remarks=(raised("Predict", "ValueError: again"),))


def test_a_trace_can_be_broken_off_and_a_stop_is_passed_on(
    write_lesson: Callable[..., Lesson],
) -> None:
    endless = write_lesson(Predict="y_pred = w * x\nwhile True:\n    y_pred = y_pred + 1")
    (program,) = programs_of(endless).values()
    probe = Probe(program, "cpu", 0.1, 0)
    at = standpoint_of(loop_of(program), 0.1)
    assert not graph_of(probe, at, until=lambda: True).nodes
    stopped = write_lesson(Predict="raise KeyboardInterrupt")
    (program,) = programs_of(stopped).values()
    with pytest.raises(LessonRaised):
        traced(loop_of(program))


def test_of_a_huge_graph_the_top_is_shown_and_the_leaves_it_hangs_on(trace: Trace) -> None:
    graph = trace(
        Predict="h = w * 1\nfor _ in range(300):\n    h = torch.tanh(h * w)\ny_pred = h",
        Loss="loss = (y_pred - 1) ** 2",
    )
    assert len(graph.nodes) == MOST_NODES + 1
    assert named(graph, "w").new is not None
    assert graph.operations == MOST_NODES + 1
    assert graph.remarks == (Remark("nodes_left_out", {"count": 604 - MOST_NODES - 1}),)
