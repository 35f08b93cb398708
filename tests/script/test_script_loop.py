"""A script as a run: stepped, gone back in, changed and forked, with frames the same to the bit."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import pytest

from tests.script.marked_scripts import lesson_of, muted, run_of, steps_of
from tutor.errors import Refused, RunError
from tutor.protocol.frame import EPOCH_END, Element, Frame, Position, is_same_frame
from tutor.script import memory_image
from tutor.script.program import script_programs, script_report
from tutor.script.saved_state import saved_files
from tutor.script.script_loop import ScriptLoop
from tutor.training.lesson_error import LessonRaised
from tutor.training.run import Run
from tutor.training.runs import Runs
from tutor.training.series import readings

LINE = """
import torch
x = torch.linspace(-1, 1, 6); y = 3 * x
w = torch.zeros(1, requires_grad=True)
{before}
for epoch in {epochs}:  #: LOOP
    loss = ((w * x - y) ** 2).mean()  #: Loss
    loss.backward()  #: Gradient
    with torch.no_grad():  #: Update
        w -= {rate} * w.grad
    w.grad = None  #: Reset
    {more}
{after}
"""

MODEL = """
import torch
x = torch.randn(8, 2); y = x.sum(1, keepdim=True)
model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Dropout(0.2), torch.nn.Linear(3, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
{before}
seen = []
for epoch in range(6):  #: LOOP
    optimizer.zero_grad()  #: Reset
    loss = (model(x) - y).pow(2).mean()  #: Loss
    loss.backward()  #: Gradient
    optimizer.step()  #: Update
    seen.append(loss.item())
    {more}
print('mean', sum(seen) / len(seen))
"""

BATCHES = """
import torch
from torch.utils.data import DataLoader, TensorDataset
x = torch.randn(5, 2); y = x.sum(1, keepdim=True)
loader = DataLoader(TensorDataset(x, y), batch_size=2, shuffle=True)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
for epoch in range(2):  #: LOOP
    for xb, yb in {batches}:  #: BATCHES
        optimizer.zero_grad()  #: Reset*
        loss = (model(xb) - yb).pow(2).mean()  #: Loss
        loss.backward()  #: Gradient
        optimizer.step()  #: Update
    print(loss.item())  #: Report
"""


def line(
    more: str = "pass",
    before: str = "",
    after: str = "",
    epochs: str = "range(5)",
    rate: str = "0.1",
) -> str:
    return LINE.format(more=more, before=before, after=after, epochs=epochs, rate=rate)


def model(more: str = "pass", before: str = "") -> str:
    return MODEL.format(more=more, before=before)


def in_function(source: str) -> str:
    """The loop of a script, and what precedes it, in a function that is called."""
    lines = source.strip().splitlines()
    return "\n".join(["def main():", *(f"    {text}" for text in lines), "main()"])


SCRIPTS = {
    "top level": line(after="print(w.item())"),
    "function": in_function(line(after="print(w.item())")),
    "break": line("if loss < 1: break", epochs="range(99)", after="print(epoch)"),
    "exception": "class Stop(Exception): pass\n"
    + in_function(line("if loss < 1: raise Stop", after="print('never')")).removesuffix("main()")
    + "try:\n    main()\nexcept Stop:\n    print('stopped')\n",
    "epochs without phases": line().replace(
        "#: LOOP\n", "#: LOOP\n    if epoch in (0, 2, 4): continue\n"
    ),
    "epochs without a gradient": line().replace(
        "    loss.backward()", "    if epoch in (1, 2): continue\n    loss.backward()"
    ),
    "twice": line(after="print(w.item())", epochs="range(2)").replace(
        "for epoch", "for k in range(2):\n  for epoch"
    ).replace("\n    ", "\n      "),
    "training after the loop": line(after="with torch.no_grad(): w += 1\nprint(w.item())"),
    "generator": line("print(torch.rand(1).item())", epochs="(torch.rand(1) for _ in range(4))"),
    "iterator with a name": line("next(it)", before="it = iter(range(99))"),
    "model": model(),
    "schedule": model(
        "schedule.step()", "schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)"
    ),
    "running sum in place": line("total += loss", before="total = torch.zeros(())"),
    "order of a set": line(
        "kept.append({Part(n / 7) for n in range(99)}); w.data += sum(p.size for p in kept[-1])",
        before="kept = []\nclass Part:\n    def __init__(self, size): self.size = size",
    ).replace("zeros(1,", "zeros(1, dtype=torch.float64,"),
    "order of a set of older objects": line(
        "if epoch > 0: hash(Part(0)); hash(parts[0]); hash(Part(0)); hash(parts[1]); "
        "w.data += sum(n * p.size for n, p in enumerate({*parts, Part(3)})) / 99",
        before="class Part:\n    def __init__(self, size): self.size = size\n"
        "parts = [Part(1), Part(2)]",
    ),
    "settings": line(before="torch.set_default_dtype(torch.float64)").replace(
        "    loss =",
        "    with torch.no_grad():\n        x  #: Predict*\n        x  #: Loss\n    loss =",
    ),
    "batches": BATCHES.format(batches="zip(x.split(2), y.split(2))"),
    "batches of a loader": BATCHES.format(batches="loader"),
    "batches that are not counted": BATCHES.format(batches="(batch for batch in loader)"),
    "shorter batches": line(epochs="range(3)").replace(
        "    loss = ", "    for b in range(epoch + 1):\n     loss = "
    ).replace("\n    loss.b", "\n     loss.b").replace("    with t", "     with t").replace(
        "    w.grad = N", "     w.grad = N"
    ),
}  # fmt: skip


def like(one: Frame, other: Frame) -> bool:
    """Whether two frames are the same, but for what is only estimated before an epoch's end."""
    fields = [n for n in Frame.__struct_fields__ if n not in ("steps", "batches")]
    return all(repr(getattr(one, n)) == repr(getattr(other, n)) for n in fields)


@pytest.mark.parametrize("source", SCRIPTS.values(), ids=SCRIPTS)
def test_frames_come_out_the_same_back_and_forward(source: str) -> None:
    """By images first; then in a run without any, which was not stepped and runs again."""
    run = run_of(source)
    with muted():
        frames = steps_of(run)
        over, inside, losses = frames[-1], frames[:-1], run.history.losses.until(99)
        before = run.back()
        assert like(before, inside[-1])
        for frame in inside[-2::-3]:  # comes to each phase
            check_way_back(run, frame)
        run.seek(0)
        for frame in frames[1:]:
            assert like(run.step_phase(), frame), frame.at
        assert like(run.seek(1), next(f for f in inside if f.at.epoch == 1 and f.is_epoch_end))
        assert like(run.run_to(999), over)
        run.close()
        again = run_of(source, keyframes=1e9)
        assert like(again.run_to(999), over)
        assert str(again.history.losses.until(99)) == str(losses)
        assert is_same_frame(again.back(), before)
        for frame in inside[-3::-5]:
            check_way_back(again, frame)
        assert like(again.run_to(999), over)
        again.close()


def check_way_back(run: Run, frame: Frame) -> None:
    """Fail unless a run shows a frame again that it has shown before."""
    step = EPOCH_END if frame.is_epoch_end else frame.at.step
    assert like(run.seek(frame.at.epoch, step), frame), frame.at


def test_script_prints_once_going_forward_and_nothing_going_back() -> None:
    run, output = run_of(line("print(epoch)", after="print('end')")), io.StringIO()
    with redirect_stdout(output):
        run.run_to(3)
        run.seek(1)
        run.step_epoch()
        run.step_epoch()
        run.run_to(99)
    assert output.getvalue().split() == [*"01212", "3", "4", "end"]


def test_end_that_has_changed_runs_anew() -> None:
    run = run_of(model())
    with muted():
        run.run_to(99)
        run.seek(2)
        run.set(learning_rate=0.01)
    output = io.StringIO()
    with redirect_stdout(output):
        end = run.run_to(99)
    assert end.is_over
    fresh, printed = run_of(model()), io.StringIO()
    with muted():
        fresh.run_to(2)
        fresh.set(learning_rate=0.01)
    with redirect_stdout(printed):
        assert like(fresh.run_to(99), end)
    assert output.getvalue() == printed.getvalue() != ""


def test_way_to_a_changed_end_can_be_stopped() -> None:
    run = run_of(line(before="lr = 0.1", rate="lr", epochs="range(400)"), rates=("lr",))
    run.run_to(999)
    run.seek(390)
    run.set(learning_rate=0.01)
    asked = list[int]()
    frame = run.run_to(999, until=lambda: len(asked) > 12 or bool(asked.append(1)))
    assert not frame.is_over
    assert run.run_to(999).is_over
    assert run.at.epoch == 400


def test_nothing_follows_the_end() -> None:
    run = run_of(line(epochs="range(200)"))
    end = run.run_to(300)
    assert (run.run_to(400), run.step_phase(), run.step_epoch()) == (end, end, end)
    assert run.remarks[0].code == "script_ended"


def test_end_by_exit_is_the_end() -> None:
    run = run_of(line("if epoch == 2: raise SystemExit", after="print('never')"))
    frames = steps_of(run)
    assert (frames[-1].is_over, frames[-1].at.epoch) == (True, 3)
    assert run.remarks[0].code == "script_ended"


# ── Errors ──────────────────────────────────────────────────────────────────────────

FAILING = {
    "within a phase": (line().replace("backward()", "backward(); 1 / (epoch - 3)"), 8, (4, 1)),
    "after the last phase": (line("1 / (epoch - 3)"), 12, (4, 3)),
    "after the loop": (line(after="1 / 0"), 13, (5, 4)),
    "exit with an error": (line("if epoch == 2: raise SystemExit(1)"), 12, (3, 3)),
    "raised again by its handler": (
        f"try:{line('if epoch == 1: raise KeyError')}".replace("\n", "\n  ")
        + "\nexcept KeyError:\n  raise\n",
        12,
        (2, 4),
    ),
    "in the iterable": (line(epochs="(1 / (2 - n) for n in range(9))"), 6, (2, 4)),
}


@pytest.mark.parametrize(("source", "number", "at"), FAILING.values(), ids=FAILING)
def test_error_leaves_the_run_at_its_last_whole_frame(
    source: str, number: int, at: tuple[int, int]
) -> None:
    run = run_of(source)
    frames = [run.frame()]
    with pytest.raises(LessonRaised) as first:
        frames.extend(run.step_phase() for _ in range(99))
    assert first.value.line == number
    assert run.at == Position(*at)
    assert like(run.frame(), frames[-1])
    with pytest.raises(LessonRaised) as again:
        run.step_phase()
    assert str(again.value) == str(first.value)
    assert like(run.back(), frames[-2])
    assert like(run.step_phase(), frames[-1])
    fast = run_of(source)
    with pytest.raises(LessonRaised):
        fast.run_to(99)
    assert fast.at.epoch in (at[0] - 1, at[0])
    assert like(fast.frame(), next(f for f in frames if f.at == fast.at))


def test_restart_that_fails_leaves_the_run_as_it_was() -> None:
    run = run_of(model(before="if torch.rand(1) > 0.6: raise ValueError"), seed=0)
    frame = run.run_to(3)
    failed = 0
    for seed in range(8):
        try:
            run.restart(seed)
        except LessonRaised:
            failed += 1
            assert like(run.frame(), frame)
        frame = run.run_to(3)
    assert 0 < failed < 8


def test_script_that_runs_again_logs_each_line_once() -> None:
    log = "import logging, sys\nlog = logging.getLogger('of a script')\n"
    log += "log.addHandler(logging.StreamHandler(sys.stdout))"
    output = io.StringIO()
    with redirect_stdout(output):
        run = run_of(line("log.warning('epoch %d', epoch)", before=log))
        run.run_to(1)
        run.restart()
        run.run_to(1)
    assert output.getvalue() == "epoch 0\n" * 2


def test_loop_that_is_never_reached_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        run_of(line(epochs="range(0)"))
    values = {"line": 6, "place": "line 6"}
    assert (refusal.value.code, refusal.value.values) == ("loop_not_reached", values)


def test_a_gradient_within_an_update_is_the_one_that_was_used() -> None:
    """It reads what the update changes: afterwards its expression has another value."""
    text = """
x, v = 8.0, [2.0, 4.0]
import numpy as np
v = np.array(v)
for i in range(4):  #: LOOP
    x -= 0.5 * (2 * x)  #: Update
    v -= 0.25 * v
"""
    used = {"x": "2 * x", "v": "v"}
    run = run_of(text, mode="manual", parameters=("x", "v"), gradients=used)
    start = run.frame()
    first, second = run.step_epoch(), run.step_epoch()
    assert [first.gradients_now[name].data for name in used] == [(16.0,), (2.0, 4.0)]
    assert [second.gradients_now[name].data for name in used] == [(0.0,), (1.5, 3.0)]
    assert is_same_frame(run.back_epoch(), first)
    assert is_same_frame(run.back_epoch(), start)
    assert is_same_frame(run.step_epoch(), first)


SAMPLES = """
w, b = 0.0, 1.0
for epoch in range(3):
    error_sum = 0
    for x, t in [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]:
        pred = w * x
        loss = (pred - t) ** 2
        {update}
        error_sum += loss
    print(error_sum)
"""


@pytest.mark.parametrize(
    "update", ["w -= 0.02 * 2 * (pred - t) * x", "w = w - 0.02 * (2 * (pred - t) * x)"]
)
def test_a_gradient_that_the_update_computes_stays_until_the_next_one(update: str) -> None:
    lesson = lesson_of(SAMPLES.format(update=update))
    run = Run(script_programs(lesson), quiet=muted)
    frames = steps_of(run)
    truth, w = [], 0.0
    for _ in range(3):
        for x, t in [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]:
            truth.append(2 * (w * x - t) * x)
            w -= 0.02 * 2 * (w * x - t) * x
    used: list[float] = []
    for frame in frames[1:-1]:
        used += truth[len(used) :][:1] if frame.phase == "Update" else []
        for shown in (frame.gradients["w"], frame.gradients_now["w"]):
            assert shown.data == pytest.approx(used[-1:])
    assert len(used) == 9
    assert is_same_frame(run.seek(2, 3), next(f for f in frames if f.at == Position(2, 3)))
    run.close()


def test_the_gradient_of_an_attribute_is_the_one_of_its_batch() -> None:
    """The object holds the parameter, too: that the update changes, and not the gradient."""
    text = """
class Model:
    w = 4.0
model = Model()
for i in range(2):  #: LOOP
    for factor in (1.0, 3.0):
        model.dw = factor * model.w  #: Gradient
        model.w = model.w - 0.5 * model.dw  #: Update
"""
    run = run_of(text, mode="manual", parameters=("model.w",), gradients={"model.w": "model.dw"})
    gradients = [frame.gradients["model.w"].data for frame in (run.step_phase() for _ in range(8))]
    assert gradients == [(g,) for g in (4.0, 4.0, 6.0, 6.0, -1.0, -1.0, -1.5, -1.5)]


@pytest.mark.parametrize("context", ["tempfile.TemporaryDirectory()", "Folder()"])
def test_a_loop_in_a_with_that_has_ended_can_be_gone_back_into(context: str) -> None:
    """A folder that was deleted at its end is there again: the run is run again from its start."""
    text = f"""
import os, tempfile, torch
class Folder:
    def __enter__(self):
        self.name = tempfile.mkdtemp()
        return self.name
    def __exit__(self, *error):
        self.name = ''
w = torch.zeros(1, requires_grad=True)
with {context} as folder:
    for epoch in range(4):  #: LOOP
        loss = ((w - 3) ** 2).sum()  #: Loss
        loss.backward()  #: Gradient
        w.data -= 0.1 * w.grad  #: Update
        w.grad = None  #: Reset
        torch.save(w, os.path.join(folder, str(epoch)))
"""
    run = run_of(text)
    frames = [run.step_epoch() for _ in range(4)]
    assert run.step_epoch().is_over
    run.back()
    assert is_same_frame(run.back_epoch(), frames[2])
    assert is_same_frame(run.step_epoch(), frames[3])
    assert run.step_epoch().is_over


# ── Changes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "rate"),
    [
        (in_function(line(before="lr = 0.1", rate="lr")), "lr"),
        (
            line(
                before="from types import SimpleNamespace\nargs = SimpleNamespace(lr=0.1)",
                rate="args.lr",
            ),
            "args.lr",
        ),
    ],
    ids=["of a function", "in an object"],
)
def test_rate_by_its_name(source: str, rate: str) -> None:
    run = run_of(source, rates=(rate,))
    old = run.run_to(2)
    assert (old.learning_rate, run.set(learning_rate=0.05).learning_rate) == (0.1, 0.05)
    new = run.run_to(3)
    by_hand = run_of(line(before="lr = 0.1", rate="(0.1 if epoch < 2 else 0.05)")).run_to(3)
    assert new.values == by_hand.values
    run.seek(0)
    assert like(run.run_to(3), new)


def test_rate_that_is_a_number_in_the_code_is_refused() -> None:
    run = run_of(line())
    run.run_to(2)
    before = run.step_phase()
    with pytest.raises(Refused) as refusal:
        run.set(learning_rate=0.5)
    assert refusal.value.code == "rate_is_fixed"
    assert is_same_frame(run.frame(), before)
    assert run.recipe.changes == ()
    assert run.step_phase().phase == "Gradient"


def test_rate_of_an_optimizer_that_a_schedule_has_lowered() -> None:
    run = run_of(
        model("schedule.step()", "schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1)")
    )
    assert run.run_to(3).learning_rate == pytest.approx(0.01)
    assert run.set(learning_rate=0.5).learning_rate == 0.5
    assert run.run_to(4).learning_rate == pytest.approx(0.05)
    assert run.restart().learning_rate == 0.5


def test_rate_of_an_optimizer_made_on_the_way() -> None:
    run = run_of(model("if epoch == 1: optimizer = torch.optim.Adam(model.parameters(), lr=0.02)"))
    assert run.run_to(1).learning_rate == 0.1
    assert run.run_to(3).learning_rate == 0.02
    assert run.set(learning_rate=0.3).learning_rate == 0.3


def test_number_that_is_set_is_there_again() -> None:
    run = run_of(model())
    run.run_to(2)
    run.set(element=Element("model[0].weight", (1, 0), 4.0))
    frames = [run.step_phase() for _ in range(6)]
    run.seek(1)
    run.seek(2)
    assert run.frame().values["model[0].weight"].data[2] == 4.0
    assert all(is_same_frame(run.step_phase(), frame) for frame in frames)


def test_number_is_set_where_the_rate_is_a_number_in_the_code() -> None:
    run = run_of(line())
    run.run_to(1)
    assert run.set(element=Element("w", (0,), 1.0)).values["w"].data == (1.0,)
    after = run.run_to(3)
    run.seek(0)
    assert like(run.run_to(3), after)
    assert run.reseed(7).seed == 7


def test_number_that_can_not_be_set_within_an_epoch_can_be_at_its_beginning() -> None:
    run = run_of(line("if epoch == 2: raise ValueError"))
    run.run_to(2)
    run.step_phase()
    with pytest.raises(Refused) as refusal:
        run.set(element=Element("w", (0,), 1.0))
    assert refusal.value.code == "set_between_epochs"
    assert (run.recipe.changes, run.at.step) == ((), 1)
    run.back_epoch()
    assert run.set(element=Element("w", (0,), 1.0)).values["w"].data == (1.0,)


def test_number_that_cannot_be_set_here_changes_nothing() -> None:
    run = run_of(model())
    run.run_to(2)
    run.step_phase()
    before = run.step_phase()
    with pytest.raises(RunError):
        run.set(element=Element("model[0].weight", (0, 0), 4.0))
    assert is_same_frame(run.frame(), before)
    assert run.step_phase().phase == "Gradient"


def test_seed_of_the_numbers_to_come() -> None:
    run = run_of(model())
    run.run_to(2)
    run.reseed(5)
    new = run.run_to(4)
    other = run_of(model()).run_to(4)
    assert new.values != other.values
    run.seek(1)
    assert like(run.run_to(4), new)


def test_change_in_the_past_of_computed_items_asks_for_them_anew() -> None:
    source = line(
        before="lr = 0.1", rate="lr", epochs="(w.item() for _ in range(5))", more="a = epoch"
    )
    run = run_of(source, rates=("lr",))
    run.run_to(4)
    run.seek(2)
    run.set(learning_rate=0.01)
    run.run_to(4)
    fresh = run_of(source, rates=("lr",))
    fresh.run_to(2)
    fresh.set(learning_rate=0.01)
    fresh.run_to(4)
    assert run.loop.namespace["a"] == fresh.loop.namespace["a"]
    assert like(run.frame(), fresh.frame())


def test_runs_side_by_side_are_each_as_they_were() -> None:
    runs = Runs(run_of(model()))
    with muted():
        eighth = runs.current.run_to(5)
        runs.current.seek(2)
        runs.set(learning_rate=0.01)
        forked = runs.current.run_to(5)
        assert forked.values != eighth.values
        assert like(runs.select("A"), eighth)
        assert like(runs.select("B"), forked)
        other = runs.then("A", runs.current.at)
    assert other.frame is not None
    assert like(other.frame, eighth)
    runs.close()


@pytest.mark.parametrize("steps", [3, 9])
def test_recipe_leads_to_the_same_frame(steps: int) -> None:
    run = run_of(model())
    run.step_epoch()
    run.set(learning_rate=0.05)
    for _ in range(steps):
        frame = run.step_phase()
    programs = run.programs
    again = Run.from_recipe(programs, run.recipe, run.at, muted)
    assert like(again.frame(), frame)
    assert run.recipe.learning_rate == 0.1


def test_start_is_gone_back_to_without_running_it_again() -> None:
    run, output = run_of(line(before="print('setup')"), keyframes=0.0), io.StringIO()
    with redirect_stdout(output):
        run.run_to(3)
        loop = run.loop
        run.seek(0)
    assert run.loop is loop
    assert output.getvalue() == ""
    assert run.frame().phase == "Setup"


def test_stop_within_many_epochs_leaves_whole_ones() -> None:
    run = run_of(line(epochs="range(10**6)"))
    calls = iter(range(10**6))
    frame = run.run_to(10**6, until=lambda: next(calls) > 5)
    assert 0 < frame.at.epoch < 10**6
    assert len(run.history.losses) == frame.at.epoch - (not frame.is_epoch_end)
    assert run.run_to(frame.at.epoch + 1).is_epoch_end


# ── Long epochs ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("batches", "count"),
    [
        ("zip(x.split(2), y.split(2))", 3),
        ("loader", 3),
        ("list(loader)[:2]", 2),
        ("(batch for batch in loader)", 1),
    ],
)
def test_batches_are_counted_before_the_first_epoch_has_ended(batches: str, count: int) -> None:
    run = run_of(BATCHES.format(batches=batches))
    assert run.step_phase().batches == count


FILES = line(
    before="import os\nos.mkdir('out')",
    more="""
    with open("out/log.txt", "a") as file:
        file.write(f"{epoch}\\n")
    torch.save(torch.full((4, 5), epoch), "out/w.pt")
    if epoch:
        os.remove(f"out/{epoch - 1}.txt")
    open(f"out/{epoch}.txt", "x").close()
    print(open("out/log.txt").read(), sorted(os.listdir("out")), torch.load("out/w.pt").sum())
""",
)
"""Files that are opened and closed within an epoch: appended to, replaced, deleted, made."""


@pytest.mark.parametrize("is_kept", [True, False])
def test_files_of_an_epoch_are_what_they_were_when_it_is_gone_back_to(
    is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where their content is too large to be kept: the script then runs again."""
    if not is_kept:
        monkeypatch.setattr(memory_image, "saved_files", partial(saved_files, most=0))
    with redirect_stdout(io.StringIO()) as plain:
        run = run_of(FILES)
        run.run_to(5)
    lines = plain.getvalue().splitlines(keepends=True)
    for epoch in (3, 0, 1, 4):
        run.seek(epoch)
        with redirect_stdout(io.StringIO()) as output:
            run.run_to(5)
        printed = output.getvalue()
        assert printed, epoch
        assert "".join(lines).endswith(printed)
        assert printed.count("]") == 5 - epoch
    with redirect_stdout(io.StringIO()) as output:
        assert run.run_to(6).is_over
        run.seek(2)
        assert run.run_to(6).is_over
    assert output.getvalue().count("]") == 3
    run.close()


def test_part_of_the_first_epoch_is_told_by_its_batches_if_at_all() -> None:
    counted, uncounted = run_of(BATCHES.format(batches="loader")), run_of(line())
    counted.step_phase()
    assert counted.epochs_done == 0
    for _ in range(4):
        counted.step_phase()
    assert counted.epochs_done == pytest.approx(1 / 3)
    assert counted.step_epoch().at.epoch == counted.epochs_done == 1
    uncounted.step_phase()
    assert uncounted.epochs_done == 0


@pytest.mark.parametrize("batches", ["zip(x.split(2), y.split(2))", "(batch for batch in loader)"])
def test_figures_are_those_of_the_frames(batches: str) -> None:
    source = BATCHES.format(batches=batches)
    with muted():
        stepped = run_of(source)
        frames = [stepped.step_epoch() for _ in range(2)]
        for frame, figures in zip(frames, readings(run_of(source), None), strict=True):
            assert (frame.at.epoch, frame.loss.data) == (figures.epoch, (figures.loss,))
            for name, value in figures.values.items():
                assert frame.values[name].data == tuple(value.ravel().tolist())
            for name, gradient in figures.gradients.items():
                assert gradient is not None
                assert frame.gradients[name].data == tuple(gradient.ravel().tolist())


def test_names_are_copied_for_the_last_batch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[int] = []
    start = ScriptLoop.start_of_batch
    monkeypatch.setattr(
        ScriptLoop, "start_of_batch", lambda loop: copies.append(loop.batch) or start(loop)
    )
    run = run_of(BATCHES.format(batches="loader"))
    with muted():
        run.step_epoch()
        assert copies == [2]
        run.run_to_without_frame(2)
        assert copies == [2]


def test_a_long_epoch_can_be_stopped_on_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutor.script.script_loop._CHECK_SECONDS", 0.0)
    run = run_of(BATCHES.format(batches="9 * [(x, y)]"))
    with muted():
        frames = [run.step_phase() for _ in range(36)]
        calls = iter(range(10**6))
        assert run.seek(1, 30, until=lambda: next(calls) == 5).at.step < 30
        assert like(run.seek(1, 35), frames[34])


def test_a_script_that_is_stopped_in_a_phase_runs_nothing_again() -> None:
    stop = "        if epoch == 2 and len(xb) == 1: raise KeyboardInterrupt  #: Report\n"
    text = BATCHES.format(batches="loader").replace("range(2)", "range(4)")
    run = run_of(text.replace("    print(", f"{stop}    print("))
    with muted():
        frames = [run.step_epoch(), run.step_epoch()]
        following = [run.step_phase() for _ in range(5)]
        with pytest.raises(LessonRaised) as raised:
            run.step_epoch()
        assert raised.value.stopped
        assert run.frame().at == frames[1].at
        assert [run.step_phase().values for _ in range(5)] == [f.values for f in following]


# ── The numbers in formulas ─────────────────────────────────────────────────────────

TWO_LOSSES = """\
import torch
w = torch.tensor(0.0, requires_grad=True)
v = torch.tensor(0.0, requires_grad=True)
for epoch in range(20):
    loss = (w - 3) ** 2
    loss.backward()
    with torch.no_grad():
        w -= 0.5 * w.grad
    w.grad = None
    other = (v - w) ** 2
    other.backward()
    with torch.no_grad():
        v -= 0.25 * v.grad
    v.grad = None
"""


def test_a_number_stands_in_a_formula_from_when_its_statement_has_run() -> None:
    lesson = lesson_of(TWO_LOSSES)
    assert lesson.boxed_by_phase()["Update"] == {"w": 8, "v": 13}
    (program,) = script_programs(lesson).values()
    assert program.open_loop is not None
    loop = program.open_loop("cpu", 0.0, 0)
    loop.begin_epoch()
    seen = []
    while not loop.at_end:
        loop.run_step()
        values = loop.boxed_values()
        numbers = {e: value.data for of in values.values() for e, value in of.items() if value.data}
        if loop.last_phase_name() == "Update":
            seen.append((loop.lines[0], numbers["loss"], numbers["w"], numbers.get("v")))
    assert seen == [(7, (9.0,), (3.0,), None), (12, (9.0,), (3.0,), (1.5,))]


@pytest.mark.parametrize(
    "loss", ["pass", "error = y - x * w", "error = torch.tensor(y - x * w)", "loss = [1.0, 2.0]"]
)
def test_a_loop_without_one_number_as_loss_has_none(loss: str) -> None:
    lesson = lesson_of(f"""
import numpy as np
import torch
x, w = np.arange(3.0), np.zeros(3)
y = 3 * x
for epoch in range(3):
    {loss}
    dw = 2 * x * (x * w - y)
    w -= 0.1 * dw
""")
    run = Run(script_programs(lesson), quiet=muted)
    assert [reading.loss for reading in readings(run, 2)] == [None, None]
    assert not run.frame().has_loss
    assert not run.frame().diverged
    assert run.diverged_at is None
    report = script_report(run.loop)
    assert report.loss == ""
    run.close()


GAN = """
import torch
torch.manual_seed(5)
made = torch.nn.Linear(1, 1)
judge = torch.nn.Linear(1, 1)
opt_made = torch.optim.SGD(made.parameters(), lr=0.1)
opt_judge = torch.optim.SGD(judge.parameters(), lr=0.1)
used, losses = [], []
for epoch in range(3):
    fake = made(torch.ones(4, 1))
    judge_loss = judge(fake.detach()).pow(2).mean() + (judge(torch.ones(4, 1)) - 1).pow(2).mean()
    opt_judge.zero_grad()
    judge_loss.backward()
    opt_judge.step()
    used.append([p.grad.clone() for p in judge.parameters()])
    made_loss = (judge(fake) - 1).pow(2).mean()
    opt_made.zero_grad()
    made_loss.backward()
    opt_made.step()
    used[-1] += [p.grad.clone() for p in made.parameters()]
    losses.append(judge_loss.item())
"""


def test_of_two_losses_one_is_shown_and_each_update_with_its_own_gradient() -> None:
    names: dict[str, Any] = {}
    with muted():
        exec(compile(GAN, "train.py", "exec", dont_inherit=True), names)
    lesson = lesson_of(GAN)
    run = Run(script_programs(lesson), quiet=muted)
    frames = steps_of(run)[1:-1]
    of = ("judge.weight", "judge.bias", "made.weight", "made.bias")
    for frame in frames:
        at = frame.at.epoch - 1
        after = 1 if frame.phase == "Predict" else 0  # the loss of this epoch is still to come
        if at >= after:
            assert frame.loss.data == (names["losses"][at - after],)
        if frame.is_epoch_end:
            shown = [frame.gradients[name].data for name in of]
            assert shown == [tuple(g.ravel().tolist()) for g in names["used"][at]]
    _, left = [frame for frame in frames if frame.phase == "Gradient"][:2]
    updated = frames[frames.index(left) + 1]
    assert left.gradients["judge.bias"] != updated.gradients["judge.bias"]
    run.close()


def test_a_loop_that_runs_again_begins_without_the_loss_and_gradients_before() -> None:
    inner = line().replace("{before}", "").strip().splitlines()
    sweep = "\n".join(["for rate in (0.1, 0.2, 0.3):", *(f"    {text}" for text in inner)])
    with muted():
        run = run_of(sweep)
        frames, remarks = [run.frame()], {}
        while not frames[-1].is_over:
            frames.append(run.step_phase())
            remarks[frames[-1].at] = run.remarks
    told = {
        at: remark.values
        for at, of in remarks.items()
        for remark in of
        if remark.code == "loop_again"
    }
    assert told == {Position(6, 1): {"number": 2}, Position(11, 1): {"number": 3}}
    for number in (1, 6, 11):
        first, second = (f for f in frames if f.at in (Position(number, 1), Position(number, 2)))
        assert first.has_loss
        assert first.gradients["w"].data == ()
        assert second.gradients["w"].data != ()
        assert first.loss == frames[1].loss
    with muted():
        assert is_same_frame(run.seek(6, 1), next(f for f in frames if f.at == Position(6, 1)))
    run.close()


ALSO_EVALUATES = """\
import torch
torch.manual_seed(0)
x = torch.randn(6, 1)
w = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1)
trained, evaluated = [], []
def go(batches, training):
    for batch in batches:
        with CONTEXT:
            prediction = batch * w
            loss = ((prediction - 2 * batch) ** 2).mean()
        if training:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        (trained if training else evaluated).append(loss.item())
for epoch in range(3):
    go(x[:4].split(2), True)
    go(x[4:].split(1), False)
    print(epoch)
"""


@pytest.mark.parametrize(
    "context",
    [
        "torch.set_grad_enabled(training)",
        "torch.enable_grad()",
        "torch.inference_mode(not training)",
    ],
)
@pytest.mark.parametrize("in_steps", [True, False])
def test_the_loss_of_an_epoch_is_one_that_was_trained_with(context: str, in_steps: bool) -> None:
    source, names = ALSO_EVALUATES.replace("CONTEXT", context), dict[str, Any]()
    with muted():
        exec(compile(source, "train.py", "exec", dont_inherit=True), names)
    run = Run(script_programs(lesson_of(source)), quiet=muted)
    frames = steps_of(run) if in_steps else [run.seek(epoch) for epoch in (1, 2, 3)]
    ends = [
        frame for frame in frames if frame.is_epoch_end and frame.at.epoch and not frame.is_over
    ]
    assert [frame.loss.data for frame in ends] == [(loss,) for loss in names["trained"][1::2]]
    run.close()


def test_a_batch_without_gradients_is_no_step_of_its_own() -> None:
    source = ALSO_EVALUATES.replace("with CONTEXT", "with torch.enable_grad()").replace(
        "    go(x[4:]", "    with torch.no_grad(): go(x[4:]"
    )
    source = source.replace("with torch.enable_grad():", "if True:")
    run = Run(script_programs(lesson_of(source)), quiet=muted)
    frames = [frame for frame in steps_of(run) if frame.at.epoch == 2]
    phases = ["Predict", "Loss", "Reset", "Gradient", "Update"]
    assert [frame.phase for frame in frames] == [*phases, *phases, "Report"]
    assert {frame.batches for frame in frames} == {2}
    run.close()
