"""An exercise is passed by doing what it asks, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import shipped
from tests.lessons.cheats import cheats
from tests.lessons.runs import trial_of
from tutor.errors import RunError
from tutor.lesson.exercise import Reach, Repair
from tutor.protocol.frame import Element
from tutor.training.exercises import holds
from tutor.training.run import Run
from tutor.validation.exercise_check import ExerciseTrial

Way = Callable[[Run], object]


def is_met(slug: str, name: str, *ways: Way) -> bool:
    trial = trial_of(f"{slug}/{name}")
    assert isinstance(trial.exercise, Reach)
    run = trial.begin(trial.exercise.stage)
    for way in ways:
        way(run)
    return holds(*run.evaluate([trial.exercise.condition]))


def is_fixed(slug: str, name: str, old: str, new: str) -> bool:
    """Whether it counts as fixed with this much of the solution changed."""
    trial = trial_of(f"{slug}/{name}")
    assert isinstance(trial.exercise, Repair)
    code = trial.exercise.solution_code.replace(old, new)
    assert not old or code != trial.exercise.solution_code
    return passes(trial, code)


def passes(trial: ExerciseTrial, code: str) -> bool:
    """Whether a repair is passed with this code."""
    exercise = trial.exercise
    assert isinstance(exercise, Repair)
    try:
        run = trial.from_the_start(exercise.stage, exercise.epochs, code)
    except RunError:
        return False
    return holds(*run.evaluate([exercise.condition]))


def epochs(count: int) -> Way:
    return lambda run: run.run(count)


def rate(number: float) -> Way:
    return lambda run: run.set(learning_rate=number)


def put(name: str, number: float) -> Way:
    return lambda run: run.set(element=Element(name, (), number))


def test_the_steps_are_as_long_only_once_one_is_made_with_the_new_rate() -> None:
    goal = ("sum-or-mean", "same-steps")
    assert not is_met(*goal, epochs(1), rate(0.04))
    assert is_met(*goal, epochs(1), rate(0.04), epochs(1))
    assert is_met(*goal, rate(0.04), epochs(1))


def test_a_true_zero_is_made_and_not_waited_for() -> None:
    goal = ("before-backward", "a-true-zero")
    assert not is_met(*goal, epochs(30))
    assert not is_met(*goal, epochs(1), put("w", 3))
    assert is_met(*goal, put("w", 3), epochs(1))


def test_a_slope_of_zero_is_found_and_not_waited_for() -> None:
    goal = ("finite-differences", "nothing-left")
    assert not is_met(*goal, epochs(30))
    assert not is_met(*goal, put("h", -1e-9), epochs(1), put("h", 0.1))
    assert is_met(*goal, put("h", 1e-9), epochs(1))


def test_a_rate_beyond_the_border_is_used_and_not_only_named() -> None:
    goal = ("momentum", "beyond-the-old-border")
    assert not is_met(*goal, epochs(150), rate(0.05))
    assert is_met(*goal, rate(0.05), epochs(150))


REACHES = [
    (lesson.slug, exercise.id)
    for lesson in map(shipped.read_once, shipped.ORIGINALS)
    for exercise in lesson.exercises
    if isinstance(exercise, Reach)
]


@pytest.mark.parametrize(("slug", "name"), REACHES)
def test_a_goal_is_not_reached_by_waiting(slug: str, name: str) -> None:
    exercise = trial_of(f"{slug}/{name}").exercise
    assert isinstance(exercise, Reach)
    assert not is_met(slug, name, epochs(4 * exercise.solution.epochs + 50))


@pytest.mark.parametrize(("slug", "name"), REACHES)
def test_a_goal_is_not_reached_by_a_change_that_no_epoch_has_used(slug: str, name: str) -> None:
    exercise = trial_of(f"{slug}/{name}").exercise
    assert isinstance(exercise, Reach)
    assert not is_met(slug, name, epochs(exercise.solution.epochs), solution_of(exercise))
    assert is_met(slug, name, solution_of(exercise), epochs(exercise.solution.epochs))


def solution_of(exercise: Reach) -> Way:
    """All that the solution changes."""

    def change(run: Run) -> None:
        solution = exercise.solution
        if solution.mode is not None:
            run.switch(mode=solution.mode)
            run.restart()
        if solution.seed is not None:
            run.restart(seed=solution.seed)
        if solution.learning_rate is not None:
            run.set(learning_rate=solution.learning_rate)
        for setting in solution.settings:
            run.set(element=Element(setting.parameter, setting.index, setting.value))

    return change


@pytest.mark.parametrize(("number", "is_the_border"), [(0.25, True), (0.2499, False)])
def test_only_the_border_itself_makes_the_weight_bounce(number: float, is_the_border: bool) -> None:
    goal = ("border-of-divergence", "bounce")
    assert is_met(*goal, rate(number), epochs(10)) is is_the_border


def test_a_dead_unit_is_trained_and_not_set_to_its_goal() -> None:
    goal = ("dead-relu", "raise-the-dead")
    assert not is_met(*goal, epochs(5), put("w", 1), put("b", 0), epochs(5))
    assert not is_met(*goal, put("w", 1), put("b", 0), epochs(5))
    assert is_met(*goal, epochs(5), put("w", 0.5), epochs(150))


def put_at(name: str, *numbers: float) -> Way:
    """The first elements of a vector are set."""

    def change(run: Run) -> None:
        for index, number in enumerate(numbers):
            run.set(element=Element(name, (index,), number))

    return change


def test_adams_first_step_goes_past_both_goals_and_no_other_way_counts() -> None:
    goal = ("adam", "past-both-goals")
    assert not is_met(*goal, epochs(1), put_at("w", 3.05, 0.25))
    assert not is_met(*goal, epochs(5), put_at("w", 2.95, 0.15), epochs(1))
    assert not is_met(*goal, rate(4), epochs(1))
    assert not is_met(*goal, put_at("w", 2.95), epochs(1))
    assert not is_met(*goal, put_at("w", 2.89, 0.15), epochs(1))
    assert not is_met(*goal, put_at("w", 3, 0.2), epochs(1))
    assert is_met(*goal, put_at("w", 2.99, 0.12), epochs(1))
    assert is_met(*goal, put_at("w", 3.02, 0.29), epochs(1))


def test_a_flower_is_surely_wrong_by_the_biases_that_an_epoch_used() -> None:
    goal = ("cross-entropy", "sure-and-wrong")
    assert not is_met(*goal, epochs(1), put_at("b", 0, 6))
    assert not is_met(*goal, put_at("b", -6), epochs(1))
    assert not is_met(*goal, put_at("b", 0, 4), epochs(1))
    assert not is_met(*goal, put_at("b", 6), epochs(1))
    assert not is_met(*goal, rate(20), epochs(30))
    assert is_met(*goal, put_at("b", -7, 0, -7), epochs(1))
    assert is_met(*goal, put_at("b", 0, 60), epochs(1))


def test_in_xor_both_units_are_inactive_from_the_start_and_for_all_samples() -> None:
    goal = ("xor", "only-one-learns")  # the first epoch is the warm-up, epoch 0
    assert not is_met(*goal, epochs(2), put_at("b1", -0.5, -0.5))
    assert not is_met(*goal, epochs(1), put_at("b1", -0.5, -0.5), epochs(1))
    assert not is_met(*goal, put_at("b1", -0.25, -0.25), epochs(2))
    assert not is_met(*goal, put_at("b1", -0.5), epochs(2))
    assert is_met(*goal, put_at("b1", -0.35, -0.45), epochs(2))


SHORT_CUTS = [
    ("before-backward", "looked-too-early", "step = -learning_rate * w.grad", "step = 0"),
    ("backward-twice", "water-that-stays", "total = total + loss.item()", "total = 0"),
    ("leaf-in-place", "no-negative-price", "w.clamp_(min=0)", "pass"),
    ("mini-batches", "shuffled-apart", "x[chosen], y[chosen]", "x[2*batch:][:2], y[2*batch:][:2]"),
    ("cross-entropy", "target-type", "-log(p[each, target.long()])", "((1 - p[each, y]) ** 2)"),
    (
        "logistic",
        "logits-in-the-wrong-place",
        "torch.nn.functional.binary_cross_entropy(p, y)",
        "((p - y) ** 2).mean()",
    ),
    ("thermometer", "parts-of-a-leaf", "params -= learning_rate * params.grad", "pass"),
    ("adam", "no-correction", "m_hat = m / (1 - 0.9**t)", "m = m_hat = w.grad"),
]


@pytest.mark.parametrize(("slug", "name", "old", "new"), SHORT_CUTS)
def test_what_is_only_left_out_is_not_a_fix(slug: str, name: str, old: str, new: str) -> None:
    assert not is_fixed(slug, name, old, new)
    assert is_fixed(slug, name, "", "")


REPAIRS = [
    (lesson.slug, exercise.id)
    for lesson in map(shipped.read_once, shipped.ORIGINALS)
    for exercise in lesson.exercises
    if isinstance(exercise, Repair)
]

UGLY_AND_RIGHT = {("twice-as-fast", "error caught")}
"""The first `backward()` has run when the second raises: the gradient is as it should be."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("slug", "name"), REPAIRS)
def test_a_repair_is_not_passed_by_making_its_end_come_out(slug: str, name: str) -> None:
    trial = trial_of(f"{slug}/{name}")
    assert isinstance(trial.exercise, Repair)
    tried = dict(cheats(trial, trial.exercise))
    assert len(tried) > 12
    passed = {label for label, code in tried.items() if passes(trial, code)}
    assert {label for label in passed if (name, label) not in UGLY_AND_RIGHT} == set()


NO_GRAD = "with torch.no_grad():\n    "
GRADCHECK = """\
slope = (f(w + h) - f(w - h)) / (2 * h)
point = {}
seen = []

def noted(w):
    seen.append(w.item())
    return f(w)

agrees = {}
"""
"""The code of `finite-differences/gradcheck` with a point and a check of it."""
DOUBLE = "torch.tensor(1.3, dtype=torch.float64, requires_grad=True)"

TABLE = "table = torch.tensor([[-2.0, -4.0], [-1.0, -2.0], [1.0, 2.0], [2.0, 4.0]])\n"

START = "w = torch.tensor(4.0, requires_grad=True)"
TENSORS = (
    "x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])\ny = torch.tensor([-1.0, 1.0, 3.0, 5.0])\n"
)

MEASURED = (
    NO_GRAD + "train_loss = ((x @ w - y) ** 2).mean().item()\n"
    "    val_loss = ((x_val @ w - y_val) ** 2).mean().item()\n"
    "epochs_done += 1\n"
)

DELTA = "delta = 2 * (Z - Y)\n"


def repaired_lines(where: str, old: str, new: str) -> str:
    """The code of a repair's solution with this much of it changed."""
    repair = trial_of(where).exercise
    assert isinstance(repair, Repair)
    assert old in repair.solution_code
    return repair.solution_code.replace(old, new)


DEEP = (
    "def layers(x, weights):\n"
    "    a = [x]\n"
    "    for matrix in weights:\n"
    "        a.append(torch.relu(a[-1] @ matrix))\n"
    "    return a\n"
    "draw = torch.Generator().manual_seed(2)\n"
    "x = torch.randn(64, 32, generator=draw).to(device)\n"
    "z = torch.randn(5, 32, 32, generator=draw).to(device)\n"
    "y = x[:, 0].abs()\n"
)
"""The Setup of `deep`, in starting-weights, without size and factors."""


def registered(name: str, old: str, new: str) -> tuple[str, str]:
    """A repair of the lesson on registered parameters, and its broken code changed in one place."""
    repair = trial_of(f"registered/{name}").exercise
    assert isinstance(repair, Repair)
    assert old in repair.code
    return f"registered/{name}", repair.code.replace(old, new)


OPTIMIZER = "torch.optim.SGD(model.parameters(), lr=learning_rate)"

OTHER_FIXES = [
    registered(
        "register-it",
        "self.b = torch.zeros(1, requires_grad=True, device=device)",
        "self.register_parameter('b', torch.nn.Parameter(torch.zeros(1)))",
    ),
    registered(
        "layers-in-a-list",
        "self.layers = [torch.nn.Linear(1, 1)]",
        "self.layers = torch.nn.Sequential(torch.nn.Linear(1, 1))",
    ),
    registered("nothing-moves", "w, b = model[0]", f"optimizer = {OPTIMIZER}\nw, b = model[0]"),
    registered(
        "nothing-moves",
        "w, b = model[0]",
        "optimizer.add_param_group({'params': model.parameters()})\nw, b = model[0]",
    ),
    (
        "batch-norm/constant-statistics",
        "z = x @ w.T\n"
        "mean, var = z.mean(), z.var(correction=0)\n"
        "n = (z - z.mean()) / (((z - z.mean()) ** 2).mean() + 1e-5) ** 0.5\n"
        "y_pred = gamma * n + beta\n"
        "with torch.no_grad():\n"
        "    running_mean = 0.9 * running_mean + 0.1 * mean\n"
        "    running_var = 0.9 * running_var + 0.1 * z.var()",
    ),
    (
        "batch-norm/one-alone",
        "norm.eval()\nanswer = model(x_new).detach()\nnorm.train()",
    ),
    (
        "train-and-eval/two-answers",
        "model.train(False)\n"
        "with torch.inference_mode():\n"
        "    first = model(x)\n"
        "    second = model(x)\n"
        "    loss = mse(second, y)\n"
        "model.train(True)",
    ),
    (
        "train-and-eval/two-answers",
        "model[0].eval()\n"
        "first = model(x)\n"
        "second = model(x)\n"
        "loss = mse(second, y)\n"
        "model[0].train()",
    ),
    (
        "train-and-eval/no-way-back",
        "was = model.training\n"
        "model.eval()\n"
        "with torch.no_grad():\n"
        "    first = second = model(x)\n"
        "    loss = mse(second, y)\n"
        "model.train(was)",
    ),
    (
        "accumulate-and-clip/mean-of-means",
        "loss = ((prediction - y_part) ** 2).mean() * len(y_part) / len(y)",
    ),
    ("accumulate-and-clip/each-for-itself", "if batch == 0:\n    w.grad = None"),
    (
        "accumulate-and-clip/clipped-too-often",
        "if batch == 3:\n"
        "    torch.nn.utils.clip_grad_norm_(w, max_norm=1)\n"
        "    optimizer.step()\n"
        "    optimizer.zero_grad()",
    ),
    (
        "adam/no-correction",
        NO_GRAD + "t += 1\n"
        "    m = 0.9 * m + 0.1 * w.grad\n"
        "    v = 0.999 * v + 0.001 * w.grad**2\n"
        "    w -= learning_rate * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t) * m / (v**0.5 + 1e-8)",
    ),
    (
        "backward-twice/water-that-stays",
        "total = total + loss.item()\nevening = torch.tensor(level.item())",
    ),
    ("backward-twice/water-that-stays", "total = total + loss.item()\nevening = level.item()"),
    ("backward-twice/twice-as-fast", "loss.backward(retain_graph=True)"),
    (
        "mini-batches/shuffled-apart",
        "if batch == 0:\n"
        "    order = torch.randperm(8)\n"
        "x_batch = x[order][2 * batch : 2 * batch + 2]\n"
        "y_batch = y[order][2 * batch : 2 * batch + 2]\n"
        "prediction = w * x_batch",
    ),
    (
        "before-backward/looked-too-early",
        "loss.backward()\nstep = (w.grad * -learning_rate).item()",
    ),
    ("before-backward/kept-too-long", "loss.backward()\nkept = w.grad.item()"),
    ("before-backward/kept-too-long", "loss.backward()\nkept = w.grad\nw.grad = w.grad.clone()"),
    ("broadcasting/lost-dimension", TABLE + "x, y = table[:, 0], table[:, 1]\n" + START),
    ("broadcasting/lost-dimension", TABLE + "x, y = table.split(1, dim=1)\n" + START),
    ("broadcasting/one-target-short", TABLE + "x, y = table[:, :1], table[:, 1:]\n" + START),
    (
        "bigram/one-hot-rows",
        "one_hot = torch.nn.functional.one_hot(x, 3).float()\n"
        "z = one_hot @ model.weight\n"
        "p = softmax(z)",
    ),
    ("bigram/one-hot-rows", "z = torch.nn.functional.embedding(x, w)\np = softmax(z)"),
    (
        "bigram/resume",
        "epochs_done += 1\n"
        "if epochs_done == 5:\n"
        "    saved = through_a_buffer([model.state_dict(), optimizer.state_dict()])\n"
        "    model = torch.nn.Embedding(3, 3)\n"
        "    model.load_state_dict(saved[0])\n"
        "    w = model.weight\n"
        "    optimizer = torch.optim.SGD([w], lr=1)\n"
        "    optimizer.load_state_dict(saved[1])",
    ),
    ("chain-of-three/forgotten-road", "dw = 2 * (y_pred - y) * (a + b) * x"),
    ("cpu-and-gpu/mixed-types", "y_pred = model(x.double().float())"),
    (
        "cpu-and-gpu/leaf-that-travelled",
        "readings = np.array([0.5, 1.0, 2.0])\n"
        "x = torch.tensor(readings, dtype=torch.float32, device=device)\n"
        "y = 3 * x\n"
        "w = torch.tensor(0.0, dtype=torch.float64).to(device, torch.float32).requires_grad_()",
    ),
    ("cross-entropy/softmax-twice", "loss = torch.nn.functional.cross_entropy(z, y)"),
    ("cross-entropy/softmax-twice", "loss = -log(p[each, y]).mean()"),
    ("cross-entropy/target-type", "loss = -log(p[each, y.float().int()]).mean()"),
    ("cross-entropy/target-type", "loss = torch.nn.functional.cross_entropy(z, y)"),
    ("dead-relu/a-leak", "z = w * x + b\ny_pred = torch.nn.functional.leaky_relu(z, 0.2)"),
    ("dead-relu/a-leak", "z = w * x + b\ny_pred = torch.where(z > 0, z, 0.1 * z)"),
    ("dead-relu/a-leak", "z = w * x + b\ny_pred = torch.nn.functional.elu(z)"),
    ("detach/cut-on-the-wrong-side", "y_pred = w * x\ny = (t * x).detach()"),
    ("detach/cut-on-the-wrong-side", "y_pred = w * x\nwith torch.no_grad():\n    y = t * x"),
    ("detach/respect", "y_pred = w * x\ny = t.detach() * x"),
    (
        "finite-differences/gradcheck",
        GRADCHECK.format(
            "torch.tensor(1.3).double().requires_grad_()",
            "torch.autograd.gradcheck(noted, (point,))",
        ),
    ),
    ("finite-differences/one-sided", "slope = (f(w + h / 2) - f(w - h / 2)) / h"),
    ("forgotten-zero/the-missing-line", "w.grad = None"),
    ("forgotten-zero/the-missing-line", "w.grad *= 0"),
    ("forgotten-zero/the-missing-line", "w.grad = torch.zeros_like(w)"),
    ("forgotten-zero/zero-before-there-is-one", "w.grad = None\ny_pred = w * x"),
    ("leaf-in-place/without-no-grad", "w.data -= learning_rate * w.grad"),
    (
        "leaf-in-place/no-negative-price",
        NO_GRAD + "w -= learning_rate * w.grad\n    w.copy_(torch.relu(w))",
    ),
    ("line-through-origin/up-the-slope", NO_GRAD + "w += -learning_rate * w.grad"),
    ("line-through-origin/squeezed", "y_pred = model(x).squeeze().reshape(4, 1)"),
    ("line-through-origin/squeezed", "y_pred = model(x).squeeze()\ny = y.squeeze()"),
    (
        "logistic/log-of-zero",
        "log_p = torch.nn.functional.logsigmoid\n"
        "loss = -(y * log_p(z) + (1 - y) * log_p(-z)).mean()",
    ),
    (
        "logistic/log-of-zero",
        "loss = (z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))).mean()",
    ),
    ("logistic/logits-in-the-wrong-place", "loss = bce(z, y)"),
    ("lost-leaf/a-new-w", "w.data -= learning_rate * w.grad"),
    (
        "lost-leaf/lost-in-setup",
        "x = torch.tensor([1.0, 2.0])\ny = 3 * x\nw = torch.tensor(1.0, requires_grad=True)",
    ),
    ("lost-leaf/a-plain-w", NO_GRAD + "w = (w - learning_rate * w.grad).requires_grad_()"),
    ("momentum/a-new-optimizer", "optimizer.step()\noptimizer.zero_grad()"),
    ("scaling-inputs/scaled-again", "y_pred = (x * w).sum(axis=1)"),
    ("overwritten/nobody-counts", "h = u * x\ny_pred = h + v * h"),
    ("overwritten/nobody-counts", "h = u * x\ny_pred = h.copy()\ny_pred += v * h"),
    ("overwritten/written-over", "h = u * x\nh = h + v * h\ny_pred = h"),
    ("overwritten/written-over", "h = u * x\ny_pred = h.clone()\ny_pred += v * h"),
    ("overwritten/step-too-early", "(first + second).backward()"),
    ("overwritten/step-too-early", "loss.backward()"),
    (
        "schedules/two-steps",
        "optimizer.step()\nt += 1\nscheduler.step()\nrates = np.array(scheduler.get_last_lr())",
    ),
    (
        "starting-weights/root-forgotten",
        DEEP + "z = 0.27 * z\nw = torch.ones(5, requires_grad=True)",
    ),
    (
        "starting-weights/root-forgotten",
        DEEP + "for matrix in z:\n    torch.nn.init.kaiming_normal_(matrix, generator=draw)\n"
        "w = torch.ones(5, requires_grad=True)",
    ),
    ("sum-or-mean/a-true-mean", "dw = float(np.dot(2 * x, y_pred - y)) / len(x)"),
    (
        "tensors/whole-number",
        TENSORS + "w = torch.tensor(1, dtype=torch.float32, requires_grad=True)\n"
        "b = torch.tensor(1.0, requires_grad=True)",
    ),
    ("tensors/squeezed-too-early", "y_pred = layer(x)[:, 0]"),
    ("tensors/squeezed-too-early", "y_pred = layer(x.squeeze().unsqueeze(1)).squeeze()"),
    ("tensors/a-plain-number", "loss = ((y_pred - y) ** 2).mean()\nshown = float(loss)"),
    ("thermometer/parts-of-a-leaf", "params.data -= learning_rate * params.grad"),
    (
        "thermometer/parts-of-a-leaf",
        NO_GRAD + "w -= learning_rate * params.grad[0]\n    b -= learning_rate * params.grad[1]",
    ),
    (
        "thermometer/centred",
        "w, b = params\nmean = x.mean()\nc_pred = w * (x - mean) / (x - mean).std() + b",
    ),
    (
        "validation/best-weights-lost",
        MEASURED + "if val_loss < best_loss:\n"
        "    best_loss, best_epoch, best_w = val_loss, epochs_done, w.tolist()\n"
        "loss = train_loss",
    ),
    (
        "validation/best-weights-lost",
        MEASURED + "if val_loss < best_loss:\n"
        "    import copy\n"
        "    best_loss, best_epoch, best_w = val_loss, epochs_done, copy.deepcopy(w)\n"
        "loss = train_loss",
    ),
    (
        "validation/plot-the-curve",
        "train_loss = mse(x @ w, y).detach().numpy()\n"
        "val_loss = mse(x_val @ w, y_val).item()\n"
        "epochs_done += 1\n"
        "if val_loss < best_loss:\n"
        "    best_loss, best_epoch, best_w = val_loss, epochs_done, w.detach().clone()\n"
        "loss = train_loss",
    ),
    (
        "vanishing/let-it-through",
        "a = [x]\nfor k in range(8):\n    a.append(torch.relu(w[k] * a[-1]))\ny_pred = a[-1]",
    ),
    (
        "weight-decay/not-yet-adamw",
        NO_GRAD + "w_sgd -= learning_rate * (w_sgd.grad + decay * w_sgd)\n"
        "    t += 1\n"
        "    g = w_adam.grad + decay * w_adam\n"
        "    m_adam, v_adam = 0.9 * m_adam + 0.1 * g, 0.999 * v_adam + 0.001 * g**2\n"
        "    w_adam -= learning_rate * direction(m_adam, v_adam, t)\n"
        "    m_adamw = 0.9 * m_adamw + 0.1 * w_adamw.grad\n"
        "    v_adamw = 0.999 * v_adamw + 0.001 * w_adamw.grad**2\n"
        "    step = direction(m_adamw, v_adamw, t) + decay * w_adamw\n"
        "    w_adamw -= learning_rate * step",
    ),
    ("vector-backward/no-scalar", "loss.backward()"),
    ("vector-backward/no-scalar", "torch.autograd.backward(y_pred, 2 * (y_pred - y))"),
    ("vector-backward/a-sum-is-a-v", "y_pred.backward(2 * (y_pred - y).detach())"),
    ("vector-backward/a-sum-is-a-v", "((y_pred - y) ** 2).backward(torch.ones(3))"),
    (
        "why-activations/in-the-wrong-place",
        "h = torch.tanh(x @ w1.T + b1)\ny_pred = h @ w2.T + b2",
    ),
    (
        "why-activations/in-the-wrong-place",
        "h = (x @ w1.T + b1).clamp(min=0)\ny_pred = h @ w2.T + b2",
    ),
    (
        "why-activations/in-the-wrong-place",
        "h = torch.nn.functional.leaky_relu(torch.relu(x) @ w1.T + b1)\ny_pred = h @ w2.T + b2",
    ),
    (
        "where-nan-is-born/mask-after",
        "falls = h > 0\nz = w * h + 1e-12\ny_pred = where(falls, sqrt(z), 0.0)",
    ),
    (
        "where-nan-is-born/mask-after",
        "z = (w * h).clamp(min=1e-12)\ny_pred = sqrt(z)",
    ),
    (
        "where-nan-is-born/mask-after",
        "falls = h > 0\nz = (w * h)[falls]\ny_pred = torch.zeros(4)\ny_pred[falls] = sqrt(z)",
    ),
    (
        "where-nan-is-born/log-after",
        "ratio = torch.log(y_pred[falls]) - torch.log(y[falls])\nloss = (ratio**2).sum() / 4",
    ),
    (
        "xor/lost-sigmoid",
        "delta2 = 2 * (o2 - y[batch]) * (o2 - o2**2)\n"
        "dw2, db2 = np.outer(o1, delta2), delta2\n"
        "delta1 = (w2 @ delta2) * (z1 > 0)\n"
        "dw1, db1 = np.outer(x[batch], delta1), delta1",
    ),
    (
        "xor/four-added-up",
        "for parameter in (w1, b1, w2, b2):\n"
        "    if parameter.grad is not None:\n"
        "        parameter.grad.zero_()",
    ),
    (
        "your-own-autograd/a-product-without-edges",
        repaired_lines(
            "your-own-autograd/a-product-without-edges",
            "(self, other.value), (other, self.value)",
            "(other, self.value), (self, other.value)",
        ),
    ),
    (
        "your-own-autograd/each-node-once",
        "def hand_back(node, part):\n"
        "    node.grad += part\n"
        "    for source, local in node.edges:\n"
        "        hand_back(source, local * part)\n"
        "hand_back(top, 1.0)\n"
        "dw = w_node.grad",
    ),
    (
        "your-own-autograd/each-node-once",
        "top.grad = 1.0\n"
        "for node in in_order(top, [])[::-1]:\n"
        "    for edge in node.edges:\n"
        "        edge[0].grad = edge[0].grad + edge[1] * node.grad\n"
        "dw = w_node.grad",
    ),
    ("layer-gradient/wrong-axis", DELTA + "dW = X.T @ delta\ndb = np.ones(4) @ delta"),
    ("layer-gradient/wrong-axis", DELTA + "dW = (delta.T @ X).T\ndb = delta.T.sum(axis=1)"),
    ("layer-gradient/one-sum-for-both", DELTA + "dW = X.T @ delta\ndb = sum(delta)"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("where", "code"), OTHER_FIXES)
def test_a_repair_is_passed_by_another_good_fix(where: str, code: str) -> None:
    assert passes(trial_of(where), code)


def test_each_repair_has_another_good_fix() -> None:
    assert {where for where, _ in OTHER_FIXES} == {f"{slug}/{name}" for slug, name in REPAIRS}


NO_FIXES = [
    registered("register-it", OPTIMIZER, OPTIMIZER.replace("model.parameters()", "[w, b]")),
    registered("register-it", "requires_grad=True", "requires_grad=False"),
    registered("layers-in-a-list", OPTIMIZER, OPTIMIZER.replace("model.parameters()", "[w, b]")),
    registered(
        "nothing-moves",
        "torch.nn.Linear(1, 1, device=device)",
        "torch.nn.Linear(1, 1).requires_grad_()",
    ),
    (
        "batch-norm/constant-statistics",
        "z = x @ w.T\n"
        "mean, var = z.mean(), z.var(correction=0).detach()\n"
        "n = (z - mean) / torch.sqrt(var + 1e-5)\n"
        "y_pred = gamma * n + beta\n"
        "running_mean = 0.9 * running_mean + 0.1 * mean.detach()\n"
        "running_var = 0.9 * running_var + 0.1 * var * 4 / 3",
    ),
    ("batch-norm/one-alone", "model.eval()\nwith torch.no_grad():\n    answer = model(x_new)"),
    ("batch-norm/one-alone", "with torch.no_grad():\n    answer = model(x_new.repeat(2, 1))[:1]"),
    (
        "batch-norm/one-alone",
        "with torch.no_grad():\n    answer = model(torch.cat([x_new, x]))[:1]",
    ),
    (
        "train-and-eval/two-answers",
        "with torch.no_grad():\n    first = second = model(x)\n    loss = mse(second, y)",
    ),
    (
        "train-and-eval/two-answers",
        "model[0].p = 0\n"
        "with torch.no_grad():\n"
        "    first = model(x)\n"
        "    second = model(x)\n"
        "    loss = mse(second, y)",
    ),
    (
        "train-and-eval/no-way-back",
        "with torch.no_grad():\n"
        "    first = model(x)\n"
        "    second = model(x)\n"
        "    loss = mse(second, y)\n"
        "model.train()",
    ),
    ("accumulate-and-clip/mean-of-means", "loss = ((prediction - y_part) ** 2).mean()"),
    ("accumulate-and-clip/mean-of-means", "loss = ((prediction - y_part) ** 2).sum() / 4"),
    ("accumulate-and-clip/each-for-itself", "if batch == 3:\n    optimizer.zero_grad()"),
    (
        "where-nan-is-born/mask-after",
        "falls = h > 0\nz = w * h\ny_pred = torch.nan_to_num(where(falls, sqrt(z), 0.0))",
    ),
    (
        "where-nan-is-born/mask-after",
        "falls = h > 0\nz = w * h\ny_pred = where(falls, sqrt(z), 0.0)\n"
        "w.register_hook(torch.nan_to_num)",
    ),
    ("where-nan-is-born/log-after", "loss = ((y_pred - y) ** 2).mean()"),
    (
        "where-nan-is-born/log-after",
        "loss = ((torch.log(y_pred[1:]) - torch.log(y[1:])) ** 2).mean()",
    ),
    (
        "accumulate-and-clip/clipped-too-often",
        "if batch == 3:\n    torch.nn.utils.clip_grad_value_([w], max_norm)\n    optimizer.step()",
    ),
    (
        "accumulate-and-clip/clipped-too-often",
        "if batch == 3:\n    optimizer.step()\n    torch.nn.utils.clip_grad_norm_([w], max_norm)",
    ),
    ("broadcasting/lost-dimension", TABLE + "x, y = table[:, :1], table[:2, 1]\n" + START),
    ("broadcasting/lost-dimension", TABLE + "x, y = table[:, :1], table[0, 1]\n" + START),
    ("broadcasting/one-target-short", TABLE + "x, y = table[1:, 0], table[1:, 1]\n" + START),
    ("broadcasting/one-target-short", TABLE + "x, y = table[:, :1], table[1:, 1]\n" + START),
    ("backward-twice/twice-as-fast", "loss.backward(retain_graph=True)\nloss.backward()"),
    ("forgotten-zero/the-missing-line", "w.grad *= 0.5"),
    ("lost-leaf/a-new-w", "w = w - learning_rate * w.grad\nw.retain_grad()"),
    ("detach/respect", "y_pred = w * x\ny = t * x\nt.data.fill_(4)"),
    ("logistic/log-of-zero", "loss = torch.nn.functional.binary_cross_entropy(p, y)"),
    ("logistic/log-of-zero", "loss = 10 + 0 * z.sum()"),
    ("momentum/a-new-optimizer", "torch.optim.SGD([w], lr=0.035, momentum=0.9).step()"),
    (
        "adam/no-correction",
        NO_GRAD + "t += 1\n"
        "    m = 0.9 * m + 0.1 * w.grad\n"
        "    v = 0.999 * v + 0.001 * w.grad**2\n"
        "    step = 0.316 * learning_rate * m / (v**0.5 + 1e-8)\n"
        "    w -= step",
    ),
    (
        "mini-batches/shuffled-apart",
        "chosen = torch.arange(2 * batch, 2 * batch + 2)\n"
        "x_batch, y_batch = x[chosen], y[chosen]\n"
        "prediction = w * x_batch",
    ),
    ("logistic/logits-in-the-wrong-place", "loss = ((p - y) ** 2).mean() + 0.44"),
    (
        "logistic/logits-in-the-wrong-place",
        "loss = torch.nn.functional.binary_cross_entropy(z.clamp(0, 1), y)",
    ),
    ("cross-entropy/softmax-twice", "loss = cross_entropy(5 * p, y)"),
    ("cross-entropy/softmax-twice", "loss = cross_entropy(p, y) - 0.551"),
    ("cross-entropy/target-type", "target = y.float()\nloss = -log(p.amax(1)).mean()"),
    ("cross-entropy/target-type", "target = y.float()\nloss = -log(p[each, 0]).mean()"),
    ("finite-differences/one-sided", "slope = 3 * float(w) ** 2"),
    (
        "finite-differences/gradcheck",
        GRADCHECK.format(
            "torch.tensor(1.3, requires_grad=True)",
            "torch.autograd.gradcheck(noted, (point,), atol=1)",
        ),
    ),
    ("finite-differences/gradcheck", GRADCHECK.format(DOUBLE, "True")),
    (
        "finite-differences/gradcheck",
        GRADCHECK.format(DOUBLE, "torch.autograd.gradcheck(noted, (point,), eps=1e-4)"),
    ),
    (
        "lost-leaf/lost-in-setup",
        "x = torch.tensor([1.0, 2.0])\ny = 3 * x\n"
        "w = 0.5 * torch.tensor(2.0, requires_grad=True)\nw.retain_grad()",
    ),
    ("thermometer/parts-of-a-leaf", NO_GRAD + "params -= 0.01 * 2 * (c_pred - c).mean()"),
    ("thermometer/centred", "w, b = params\nc_pred = w * (x - 5) + b"),
    ("vector-backward/no-scalar", "y_pred.sum().backward()"),
    ("vector-backward/no-scalar", "y_pred.backward(y_pred.detach() - y)"),
    ("vector-backward/a-sum-is-a-v", "y_pred.mean().backward()"),
    ("vector-backward/a-sum-is-a-v", "(y_pred - y).sum().backward()"),
    ("vanishing/let-it-through", "a = [x] * 9\ny_pred = sigmoid(w.sum() * x / 8)"),
    (
        "vanishing/let-it-through",
        "a = [x]\nfor k in range(8):\n    a.append(w[k] * a[-1])\ny_pred = 0 * a[-1]",
    ),
    ("dead-relu/a-leak", "z = w * x + b\ny_pred = relu(-z)"),
    ("dead-relu/a-leak", "z = w * x + b\ny_pred = relu(z + 0.1)"),
    ("xor/four-added-up", "w1.grad = w2.grad = None"),
    (
        "xor/lost-sigmoid",
        "delta2 = (o2 - y[batch]) / 2\n"
        "dw2, db2 = np.outer(o1, delta2), delta2\n"
        "delta1 = delta2 @ w2.T * (z1 > 0)\n"
        "dw1, db1 = np.outer(x[batch], delta1), delta1",
    ),
    ("cpu-and-gpu/mixed-types", "y_pred = x.double() * 3"),
    ("overwritten/written-over", "h = u * x\nh.data += v * h\ny_pred = h"),
    ("overwritten/written-over", "h = u * x\ny_pred = h + v.detach() * h"),
    (
        "overwritten/step-too-early",
        "first.backward(retain_graph=True)\n"
        "for weight in (u, v):\n"
        "    weight.data -= learning_rate * weight.grad\n"
        "second.backward()",
    ),
    ("overwritten/step-too-early", "first.backward()\noptimizer.step()"),
    ("bigram/one-hot-rows", "z = model.weight[x] * 0 + model.weight.mean(0)\np = softmax(z)"),
    ("bigram/resume", "epochs_done += 1"),
    (
        "bigram/resume",
        "epochs_done += 1\n"
        "if epochs_done == 5:\n"
        "    state = through_a_buffer({'model': model.state_dict()})\n"
        "    model = new_model()\n"
        "    model.load_state_dict(state['model'])\n"
        "    w = model.weight",
    ),
    ("schedules/two-steps", "optimizer.step()\nt += 1"),
    (
        "validation/best-weights-lost",
        MEASURED + "if val_loss < best_loss:\n"
        "    best_loss, best_epoch, best_w = val_loss, epochs_done, w.data\n"
        "loss = train_loss",
    ),
    ("validation/plot-the-curve", "train_loss = val_loss = loss.item()\nepochs_done += 1"),
    ("schedules/two-steps", "scheduler.step()\noptimizer.step()\nscheduler.step()\nt += 1"),
    ("weight-decay/not-yet-adamw", NO_GRAD + "w_sgd *= 0.99\n    w_adamw *= 0.99"),
    (
        "starting-weights/root-forgotten",
        DEEP + "z = 0.125 * z\nw = torch.ones(5, requires_grad=True)",
    ),
    (
        "starting-weights/root-forgotten",
        DEEP.replace("a[-1] @ matrix)", "a[-1] @ matrix) * 4")
        + "z = 2 / 32 * z\nw = torch.ones(5, requires_grad=True)",
    ),
    (
        "starting-weights/root-forgotten",
        DEEP + "z = torch.ones(5, 32, 32) / 32\nw = torch.ones(5, requires_grad=True)",
    ),
    (
        "why-activations/in-the-wrong-place",
        "h = x @ w1.T + b1\ny_pred = torch.relu(h @ w2.T + b2)",
    ),
    (
        "why-activations/in-the-wrong-place",
        "h = torch.relu(x @ w1.T) + b1\ny_pred = x @ w1[:1].T + b2",
    ),
    ("cpu-and-gpu/leaf-that-travelled", "x = torch.tensor([1.0])\ny = 3 * x\nw = 3 * x"),
    (
        "tensors/whole-number",
        TENSORS + "w = torch.tensor(1)\nb = torch.tensor(1.0, requires_grad=True)",
    ),
    ("tensors/squeezed-too-early", "y_pred = layer(x)"),
    ("tensors/squeezed-too-early", "y_pred = layer(x).mean(0)"),
    (
        "tensors/a-plain-number",
        "loss = torch.tensor(((y_pred - y) ** 2).mean().item(), requires_grad=True)\n"
        "shown = loss.item()",
    ),
    (
        "your-own-autograd/a-product-without-edges",
        repaired_lines(
            "your-own-autograd/a-product-without-edges",
            "(self, other.value), (other, self.value)",
            "(self, self.value), (other, other.value)",
        ),
    ),
    (
        "your-own-autograd/a-product-without-edges",
        repaired_lines(
            "your-own-autograd/a-product-without-edges",
            "(self, other.value), (other, self.value)",
            "(self, other.value)",
        ),
    ),
    (
        "your-own-autograd/each-node-once",
        "top.grad = 1.0\n"
        "for node in in_order(top, []):\n"
        "    for source, local in node.edges:\n"
        "        source.grad += local * node.grad\n"
        "dw = w_node.grad",
    ),
    (
        "your-own-autograd/each-node-once",
        "top.grad = 1.0\n"
        "for node in reversed(in_order(top, [])):\n"
        "    for source, local in node.edges:\n"
        "        source.grad = local * node.grad\n"
        "dw = w_node.grad",
    ),
    (
        "your-own-autograd/each-node-once",
        "dw = 4 * (y_pred.value - y) * (4 * float(w) + 1)\nw_node.grad = dw",
    ),
    ("layer-gradient/wrong-axis", DELTA + "dW = X.T @ delta\ndb = delta.sum(axis=1)[:2]"),
    ("layer-gradient/wrong-axis", DELTA + "dW = X.T @ delta\ndb = delta.sum()"),
    ("layer-gradient/wrong-axis", DELTA + "dW = X.T @ delta\ndb = delta[0]"),
    ("layer-gradient/one-sum-for-both", DELTA + "dW = X.T @ delta\ndb = delta.mean(axis=0)"),
    ("layer-gradient/one-sum-for-both", DELTA + "dW = X.T @ delta\ndb = delta.sum() / 2"),
]
"""Code that a learner might try, and that leaves the mistake or hides it."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("where", "code"), NO_FIXES)
def test_a_repair_is_not_passed_by_hiding_the_mistake(where: str, code: str) -> None:
    assert not passes(trial_of(where), code)
