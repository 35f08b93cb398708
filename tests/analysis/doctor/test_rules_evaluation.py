"""The rules on evaluation and training mode, and on the order of two steps."""

from __future__ import annotations

import pytest

from tests.analysis.doctor.faulty import fix_of, found_in, only_finding, report_on

MODEL = {
    "Setup": """torch.manual_seed(0)
F = torch.nn.functional
x, y = torch.randn(8, 3), torch.randn(8, 1)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
w = model[0].weight
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)""",
    "Predict": "model.train()\ny_pred = model(x)",
    "Loss": "loss = F.mse_loss(y_pred, y)",
    "Gradient": "loss.backward()",
    "Update": "optimizer.step()",
    "Reset": "optimizer.zero_grad()",
}
NORM = {**MODEL, "Setup": MODEL["Setup"].replace("Dropout(0.5)", "BatchNorm1d(4)")}
PLAIN = {**MODEL, "Setup": MODEL["Setup"].replace("Dropout(0.5)", "ReLU()")}

NO_GRAD = "with torch.no_grad():\n    "


def with_report(report: str, phases: dict[str, str] = MODEL) -> dict[str, str]:
    return {**phases, "Report": report}


# ── Evaluation ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("phases", "layer", "evaluation"),
    [
        (MODEL, "Dropout", "val = F.mse_loss(model(x), y)"),
        (MODEL, "Dropout", "val = ((model(x) - y) ** 2).mean()"),
        (NORM, "BatchNorm1d", "val = (model(x).argmax(1) == y[:, 0]).float().mean()"),
    ],
)
def test_an_evaluation_in_training_mode(
    phases: dict[str, str], layer: str, evaluation: str
) -> None:
    faulty = with_report(NO_GRAD + evaluation, phases)
    finding = only_finding(faulty, "evaluated_in_training_mode", "model", evaluation, mode="model")
    assert finding.numbers["layer"] == layer
    assert finding.numbers["in_training"] != finding.numbers["in_evaluation"]
    assert (fix_of(finding).code, fix_of(finding).place) == ("model.eval()", "before")


def test_an_evaluation_that_records_a_graph() -> None:
    faulty = with_report("model.eval()\nval = F.mse_loss(model(x), y).item()")
    finding = only_finding(faulty, "evaluated_with_graph", "model", "val = ", mode="model")
    assert int(str(finding.numbers["nodes"])) >= 6
    assert finding.lesson == "train-and-eval"


def test_a_model_without_dropout_needs_no_mode_but_no_grad() -> None:
    faulty = with_report("val = F.mse_loss(model(x), y).item()", PLAIN)
    assert list(found_in(faulty, mode="model")) == ["evaluated_with_graph"]


def test_a_model_that_stays_in_evaluation_mode() -> None:
    faulty = {
        **with_report(f"model.eval()\n{NO_GRAD}val = F.mse_loss(model(x), y)"),
        "Predict": "y_pred = model(x)",
    }
    finding = only_finding(
        faulty, "trained_in_evaluation_mode", "model", "y_pred = model(x)", mode="model"
    )
    assert (finding.numbers["in_training"], finding.numbers["in_evaluation"]) == (1, 2)
    assert fix_of(finding).code == "model.train()"


def test_the_function_dropout_in_evaluation() -> None:
    net = """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
    def forward(self, x):
        x = F.dropout(x, 0.25)
        return self.layer(x)
model = Net()
w = model.layer.weight
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)"""
    faulty = {
        **with_report(f"model.eval()\n{NO_GRAD}val = F.mse_loss(model(x), y)"),
        "Setup": MODEL["Setup"] + net,
    }
    finding = only_finding(faulty, "dropout_in_evaluation", "x", "F.dropout", mode="model")
    assert finding.numbers == {"dropped": 0.25, "wanted": 0}
    assert fix_of(finding).code == "x = F.dropout(x, 0.25, training=self.training)"
    for right in (", training=self.training)", ", True)"):  # the second: dropout on purpose
        setup = faulty["Setup"].replace("0.25)", f"0.25{right}")
        assert not found_in({**faulty, "Setup": setup}, mode="model")


@pytest.mark.parametrize(
    "report",
    [
        f"model.eval()\n{NO_GRAD}val = F.mse_loss(model(x), y)",
        "model.eval()\nwith torch.inference_mode():\n    val = F.mse_loss(model(x), y)",
        # A picture of what a generator makes; the statistics of batch norm, updated.
        f"{NO_GRAD}picture = model(x).cpu() * 0.5 + 0.5",
        f"{NO_GRAD}model(x)",
        # Several passes with dropout on purpose: the model itself is in evaluation mode.
        f"model.eval()\nmodel[1].train()\n{NO_GRAD}val = F.mse_loss(model(x), y)",
        # The figures of the training itself.
        f"{NO_GRAD}right = (y_pred - y).abs().mean()",
        # The loss with a mean teacher, which trains.
        f"{NO_GRAD}    target = model(x)\nF.mse_loss(model(x), target).backward()\n"
        "optimizer.zero_grad()",
    ],
)
def test_an_evaluation_as_it_should_be(report: str) -> None:
    assert not found_in(with_report(report), mode="model")


def test_one_line_that_trains_and_evaluates() -> None:
    """As in many tutorials: one loop over two phases."""
    both = {
        **MODEL,
        "Predict": """for phase in ("train", "val"):
    model.train(phase == "train")
    with torch.set_grad_enabled(phase == "train"):
        y_pred = model(x)
        value = F.mse_loss(y_pred, y)
        loss = value if phase == "train" else loss""",
        "Loss": "value = loss",
    }
    assert not found_in(both, mode="model")


def test_a_batch_without_backward_now_and_then_is_no_evaluation() -> None:
    skipping = {
        **MODEL,
        "Setup": MODEL["Setup"] + "\ncount = 0",
        "Gradient": "count += 1\nif count != 2:\n    loss.backward()",
        "Update": "if count != 2:\n    optimizer.step()",
    }
    assert not found_in(skipping, mode="model")


def test_a_generator_in_the_loss_of_a_discriminator() -> None:
    game = {
        **MODEL,
        "Setup": MODEL["Setup"] + "\nmade = torch.nn.Sequential(torch.nn.Linear(3, 3), "
        "torch.nn.BatchNorm1d(3))",
        "Predict": f"{NO_GRAD}fake = made(x)\ny_pred = model(fake)",
    }
    assert not found_in(game, mode="model")


def test_what_the_rule_tries_changes_nothing() -> None:
    """Running statistics, modes and random numbers are those of a run without the doctor."""
    faulty = with_report(f"{NO_GRAD}val = F.mse_loss(model(x), y)", NORM)
    one, other = (report_on(faulty, mode="model").findings for _ in range(2))
    assert one == other


# ── The order of two steps ──────────────────────────────────────────────────────────

SCHEDULED = {
    **PLAIN,
    "Setup": PLAIN["Setup"]
    + "\nscheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)",
    "Update": "optimizer.step()\nscheduler.step()",
}


def test_a_scheduler_that_steps_first() -> None:
    faulty = {**SCHEDULED, "Update": "scheduler.step()\noptimizer.step()"}
    finding = only_finding(faulty, "scheduler_first", "scheduler", "scheduler.step()", mode="model")
    assert (finding.numbers["rate"], finding.numbers["used"]) == (0.05, 0.025)
    assert fix_of(finding).code == "optimizer.step()\nscheduler.step()"
    assert fix_of(finding).loss_with != fix_of(finding).loss_without


def test_a_scheduler_of_an_object_that_can_be_called_is_named() -> None:
    schedule = (
        "class Schedule:\n    def __init__(self, scheduler):\n        self.inner = scheduler\n"
        "    def __call__(self):\n        self.inner.step()\n"
        "rate = Schedule(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5))"
    )
    faulty = {
        **PLAIN,
        "Setup": f"{PLAIN['Setup']}\n{schedule}",
        "Update": "rate()\noptimizer.step()",
    }
    only_finding(faulty, "scheduler_first", "rate.inner", mode="model")


def test_a_scheduler_at_the_beginning_of_the_epoch() -> None:
    faulty = {
        **SCHEDULED,
        "Predict": "if batch == 0:\n    scheduler.step()\ny_pred = model(x)",
        "Update": "optimizer.step()",
    }
    (finding,) = found_in(faulty, mode="model", batches=2).values()
    assert finding.code == "scheduler_first"
    assert finding.fix is None


@pytest.mark.parametrize(
    ("update", "report"),
    [
        ("optimizer.step()\nscheduler.step()", ""),  # after each batch
        ("optimizer.step()", "scheduler.step()"),
        # A GradScaler leaves a first step out.
        (
            "count = vars(scheduler).get('_tries', 0)\nscheduler._tries = count + 1\n"
            "if count:\n    optimizer.step()\nscheduler.step()",
            "",
        ),
        ("optimizer.step()\nfor one in [scheduler]:\n    one.step()", ""),
    ],
)
def test_the_right_order(update: str, report: str) -> None:
    phases = {**SCHEDULED, "Update": update, "Report": report}
    assert not found_in(phases, mode="model", batches=2)


def test_the_schedulers_of_pytorch_are_put_back() -> None:
    import torch

    before = torch.optim.lr_scheduler.LRScheduler.step
    report_on(SCHEDULED, mode="model")
    assert torch.optim.lr_scheduler.LRScheduler.step is before
