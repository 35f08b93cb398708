"""A lesson on several ranks: stepped together, gone back in, and told which rank fails."""

from __future__ import annotations

import csv
import io
import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests import shipped
from tests.lessons.test_claims_workers import both_modes
from tests.training.conftest import keep_every_epoch, step_through
from tests.training.ranked import (
    DROPOUT,
    RANKED_FRONT,
    SHARDED,
    SMALL_STEPS,
    THREE,
    followers,
    of_all,
    ranked_lesson,
    ranked_run,
)
from tests.waiting import PATIENCE, wait_until
from tutor.engine.lesson_commands import figures_writer
from tutor.errors import Refused, RunError
from tutor.export.formats import notebook
from tutor.lesson.document import parse
from tutor.lesson.model import LessonDiagnostics
from tutor.protocol.frame import Element, Remark, is_same_frame
from tutor.training import rank_group, rank_process
from tutor.training.lesson_error import STOPPED, LessonRaised
from tutor.training.probe import Probe
from tutor.training.program import programs_of
from tutor.training.rank_group import RANKS
from tutor.training.rank_process import HALT, FollowerProcess, RankFailure
from tutor.training.run import Run
from tutor.training.runs import Runs
from tutor.training.series import readings
from tutor.training.time_limit import DUMP_SIGNAL


@pytest.fixture(scope="module", autouse=True)
def _no_ranks_are_left() -> Iterator[None]:
    """The ranks are shared by the tests of this file: each loads PyTorch for seconds."""
    yield
    RANKS.end()


# ── Stepping ────────────────────────────────────────────────────────────────────────


def test_two_ranks_are_the_plain_loop_with_the_mean_of_two_gradients() -> None:
    run = ranked_run()
    x = torch.tensor([1.0, 2.0, 3.0, 5.0, 7.0, 11.0])
    w = [torch.tensor(0.5, requires_grad=True) for _ in range(2)]
    for epoch in range(1, 6):
        losses = [((w[r] * x[r::2] - 2 * x[r::2]) ** 2).mean() for r in range(2)]
        own = [torch.autograd.grad(loss, v)[0] for loss, v in zip(losses, w, strict=True)]
        mean = (own[0] + own[1]) / 2
        while run.at.epoch < epoch or run.frame().phase != "Gradient":
            run.step_phase()
        frame = run.frame()
        assert [frame.loss.data, frame.ranks[0].loss.data] == [(v.item(),) for v in losses]
        assert [frame.gradients["w"].data, frame.ranks[0].gradients["w"].data] == [
            (g.item(),) for g in own
        ]
        assert not frame.gradients_before_sync
        frame = run.step_phase()
        assert frame.phase == "Synchronize"
        for rank, mine in enumerate((frame, *frame.ranks)):
            assert mine.gradients["w"].data == (mean.item(),)
            assert mine.gradients_before_sync["w"].data == (own[rank].item(),)
        with torch.no_grad():
            for v in w:
                v -= 0.01 * mean
        assert of_all(run.step_epoch(), "w") == [(v.item(),) for v in w]


def test_a_lesson_on_one_rank_has_none_of_that(write_lesson) -> None:
    frame = Run(programs_of(write_lesson())).step_epoch()
    assert (frame.ranks, frame.gradients_before_sync) == ((), {})


def test_a_lesson_on_several_ranks_is_no_notebook() -> None:
    with pytest.raises(RunError):
        notebook(ranked_lesson(), "autograd")


def test_each_rank_has_a_row_of_figures() -> None:
    tables = {form: io.StringIO() for form in ("csv", "text")}
    run = ranked_run()
    for form, out in tables.items():
        figures_writer(form, out)(next(readings(run, run.at.epoch + 1)))
    rows = list(csv.DictReader(tables["csv"].getvalue().splitlines()))
    assert [(row["epoch"], row["rank"]) for row in rows] == [("1", "0"), ("1", "1")]
    assert rows[0]["loss"] != rows[1]["loss"]
    assert rows[0]["gradient of w"] == rows[1]["gradient of w"]
    assert len(tables["text"].getvalue().splitlines()) == 2


# ── Back, seek, fork, change ────────────────────────────────────────────────────────

DDP = {
    "Setup": (
        "from torch.nn.parallel import DistributedDataParallel\n"
        "x = torch.tensor([[1.0], [2.0], [3.0], [5.0]])[rank::world_size]\n"
        "model = DistributedDataParallel(torch.nn.Linear(1, 1))\n"
        "w, b = model.module.weight, model.module.bias\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.5)"
    ),
    "Predict": "y_pred = model(x)",
    "Synchronize": "",
    "Update": "optimizer.step()",
    "Reset": "optimizer.zero_grad()",
}
OF_DDP = SMALL_STEPS.replace("parameters: [w]", "parameters: [w, b]\nbatches: 2")


@pytest.mark.parametrize(
    ("front", "phases"), [(SMALL_STEPS, {}), (SMALL_STEPS, DROPOUT), (OF_DDP, DDP)]
)
def test_every_frame_is_the_same_when_come_upon_again(front: str, phases: dict[str, str]) -> None:
    run = ranked_run(front, **phases)
    keep_every_epoch(run)
    frames = step_through(run, 3)
    assert all(len(frame.ranks) == 1 for frame in frames)
    backwards = [run.back() for _ in frames[1:]]
    assert all(map(is_same_frame, backwards, frames[-2::-1]))
    assert all(is_same_frame(run.step_phase(), frame) for frame in frames[1:])
    seen = {epoch: run.run_to(epoch) for epoch in (4, 9, 30)}
    assert all(is_same_frame(run.seek(epoch), seen[epoch]) for epoch in (9, 30, 4))


def test_a_fork_and_the_run_it_came_from_take_turns() -> None:
    alone = {epoch: ranked_run(**DROPOUT).run_to(epoch) for epoch in (5, 12)}
    runs = Runs(ranked_run(**DROPOUT))
    runs.current.run_to(5)
    runs.fork()
    assert is_same_frame(runs.current.run_to(12), alone[12])
    assert is_same_frame(runs.select("A"), alone[5])
    assert is_same_frame(runs.current.run_to(12), alone[12])


def test_changes_reach_all_ranks() -> None:
    front = SMALL_STEPS.replace("[w]", "[w]\nmodes: [autograd, manual]")
    lesson = ranked_lesson(front)
    by_hand = {
        "Setup": "x = np.array([1.0, 2.0, 3.0, 5.0])[rank::world_size]\nw = np.float64(0.5)",
        "Gradient": "dw = (2 * x * (y_pred - 2 * x)).mean()",
        "Synchronize": (
            "total = torch.tensor(dw)\ndist.all_reduce(total)\ndw = total.item() / world_size"
        ),
        "Update": "w = w - learning_rate * dw",
    }
    text = lesson.source
    for phase, code in by_hand.items():
        torchs = f"## {phase}\n```python\n{SHARDED[phase]}\n```\n"
        own = f"## {phase}\n```python autograd\n{SHARDED[phase]}\n```\n"
        text = text.replace(torchs, f"{own}```python manual\n{code}\n```\n")
    text = text.replace(
        "```python\nw.grad.zero_()",
        "```python manual\ndw = 0.0\n```\n```python autograd\nw.grad.zero_()",
    )
    run = Run(programs_of(parse(text, Path("test.md"))), "autograd")
    run.run_to(2)
    for _ in range(4):
        run.step_phase()
    for frame in (
        run.switch("manual"),
        run.step_epoch(),
        run.set(learning_rate=0.02),
        run.step_epoch(),
        run.set(element=Element("w", (), 1.5)),
        run.step_epoch(),
        run.switch("autograd"),
        run.reseed(7),
        run.step_epoch(),
    ):
        assert len(set(of_all(frame, "w"))) == 1
        assert frame.mode in ("manual", "autograd")
    there = run.frame()
    run.seek(1)
    assert is_same_frame(run.seek(there.at.epoch), there)
    w = there.values["w"].data[0]
    assert np.isfinite(w)


def test_momentum_goes_along_into_another_mode_on_all_ranks() -> None:
    phases = {
        "Setup": SHARDED["Setup"] + "\noptimizer = torch.optim.SGD([w], learning_rate, 0.9)",
        "Update": "optimizer.step()",
    }
    front = SMALL_STEPS.replace("[w]", "[w]\nmodes: [autograd, optimizer]")
    staying, switching = (ranked_run(front, **phases) for _ in range(2))
    switching.run_to(3)
    switching.step_phase()
    switching.switch("optimizer")
    frame = switching.run_to(6)
    assert frame.mode == "optimizer"
    assert of_all(frame, "w") == of_all(staying.run_to(6), "w")


def test_a_value_set_before_the_gradient_runs_the_batch_again_on_all_ranks() -> None:
    run = ranked_run()
    run.run_to(1)
    run.step_phase()
    run.step_phase()
    before = run.frame()
    frame = run.set(element=Element("w", (), 1.0))
    assert of_all(frame, "w") == [(1.0,), (1.0,)]
    assert frame.ranks[0].loss != before.ranks[0].loss
    assert frame.at == before.at


# ── A rank that fails ───────────────────────────────────────────────────────────────

ONLY_1 = "if rank == 1 and w.item() > 0.6:\n    {}\n"


@pytest.mark.parametrize(
    ("before", "names"),
    [
        ("raise ValueError('too large')", ("ValueError: too large", "'on_rank': 1")),
        ("exit(3)", ("SystemExit", "'on_rank': 1")),
        ("import os; os._exit(3)", ("rank_ended", "'rank': 1", "'status': 3")),
    ],
)
def test_a_rank_that_fails_is_named_and_the_run_goes_on_from_where_it_was(
    before: str, names: tuple[str, ...]
) -> None:
    run = ranked_run(Gradient=ONLY_1.format(before) + SHARDED["Gradient"])
    run.step_epoch()
    run.step_phase()
    here = run.step_phase()
    with pytest.raises(LessonRaised) as raised:
        run.step_phase()
    error = raised.value
    assert all(name in str(error.error) for name in names)
    assert error.phase == "Gradient"
    assert error.line in run.program.loop[run.program.gradient_at].lines
    assert is_same_frame(run.frame(), here)
    assert is_same_frame(run.seek(1), ranked_run().run_to(1))
    assert len(followers()) == 1


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 0)])
def test_a_rank_that_waits_for_another_in_vain_is_told(one: int, other: int) -> None:
    run = ranked_run(Synchronize=f"if rank == {one}:\n    dist.all_reduce(w.grad)")
    here = run.seek(1, 3)
    with pytest.raises(LessonRaised) as raised:
        run.step_phase()
    values = {"rank": one, "operation": "all_reduce", "done": [other]}
    assert raised.value.error == Remark("waits_for_ranks", values)
    assert raised.value.phase == "Synchronize"
    assert is_same_frame(run.frame(), here)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"{ONLY_1.format('import os; os._exit(3)')}dist.all_reduce(w.grad)", ("'rank': 1", "3")),
        ("if rank == 0:\n    both(w.grad)", ("'all_reduce', 'Synchronize'", "'barrier', 'Report'")),
    ],
    ids=["one ends", "they meet in different phases"],
)
def test_a_failure_in_an_epoch_that_runs_as_one_piece_has_its_phase_and_line(
    code: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_group, "TOGETHER_SECONDS", 2.0)
    together = f"{SHARDED['Setup']}\ndef both(t):\n    dist.all_reduce(t)"
    run = ranked_run(Setup=together, Synchronize=code, Report="dist.barrier()")
    with pytest.raises(LessonRaised) as raised:
        run.run_to(3)
    assert raised.value.phase == "Synchronize"
    assert all(word in str(raised.value.error) for word in words)


def test_ranks_may_stand_still_longer_than_they_may_take_to_join() -> None:
    """As long as the learner has them suspended: to gloo, that is a rank that does not answer."""
    gloo = 'dist.group.WORLD._get_backend(torch.device("cpu"))'
    setup = f"{SHARDED['Setup']}\nseconds = {gloo}.options._timeout.total_seconds()"
    front = RANKED_FRONT.replace("epochs: 10", "epochs: 10\nwatch: {seconds: seconds}")
    frame = ranked_run(front, Setup=setup).step_phase()
    seconds = [rank.watched["seconds"].data for rank in (frame, *frame.ranks)]
    assert seconds == [(HALT.total_seconds(),)] * 2


def test_an_error_that_all_ranks_raise_is_that_of_the_code() -> None:
    run = ranked_run(Loss="loss = y_pred.mean() / zero")
    run.step_phase()
    with pytest.raises(LessonRaised) as raised:
        run.step_phase()
    assert raised.value.error == Remark("text", {"text": "NameError: name 'zero' is not defined"})
    run = ranked_run(Loss="if rank == 0:\n    zero\nloss = y_pred.mean()")
    run.step_phase()
    with pytest.raises(LessonRaised) as raised:
        run.step_phase()
    assert raised.value.error.values["on_rank"] == 0


def test_a_rank_that_is_killed_between_two_steps_is_named_at_the_next() -> None:
    run = ranked_run()
    other = ranked_run()
    other.step_epoch()
    run.run_to(3)
    here = run.step_phase()
    (pid,) = followers()
    os.kill(pid, 9)
    wait_until(lambda: pid not in followers(), "the end of rank 1")
    with pytest.raises(LessonRaised) as raised:
        run.step_phase()
    how = ("killed", {"signal": "SIGKILL"})
    assert raised.value.error == Remark("rank_ended", {"rank": 1, "how": how})
    assert is_same_frame(run.frame(), here)
    assert is_same_frame(run.step_epoch(), ranked_run().run_to(4))
    assert is_same_frame(other.step_epoch(), ranked_run().run_to(2)), (
        "it goes on with the new ranks"
    )


def test_a_rank_that_can_not_say_where_it_is_may_be_computing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was seen to wait for rank 0, and then gives Python's lock to no other thread."""
    monkeypatch.setattr(rank_group, "APART_SECONDS", 1.5)
    late = f"import ctypes, time\nif rank == 0:\n    time.sleep(1)\n{SHARDED['Synchronize']}"
    run = ranked_run(Synchronize=f"{late}\nif rank == 1:\n    ctypes.PyDLL(None).sleep(3)")
    run.seek(1, 3)
    assert run.step_phase().phase == "Synchronize"


def test_a_rank_is_asked_where_it_is_beside_a_long_request_and_not_within_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = ranked_run()
    (pid,) = followers()
    asked = threading.Event()
    ask_where = FollowerProcess.ask_where

    def asking(follower: FollowerProcess, filename: str) -> None:
        ask_where(follower, filename)
        asked.set()

    monkeypatch.setattr(FollowerProcess, "ask_where", asking)
    os.kill(pid, signal.SIGSTOP)  # the pipe to it is full soon
    resume = threading.Thread(target=lambda: (asked.wait(), os.kill(pid, signal.SIGCONT)))
    resume.start()
    run.loop._held.group.released.append(("x" * 2**22, 0))
    run.step_phase()
    resume.join()
    assert followers() == {pid}


def test_an_interrupt_at_the_end_of_a_look_at_rank_0_alone_leaves_no_rank_alone() -> None:
    run = ranked_run()
    run.step_phase()
    dist.distributed_c10d.GroupMember.WORLD = run.loop._held.group._alone
    run.seek(1, 4)
    assert len(set(of_all(run.frame(), "w"))) == 1
    assert len({mine.gradients["w"].data for mine in (run.frame(), *run.frame().ranks)}) == 1


def test_a_request_that_has_ended_does_not_fail_any_more() -> None:
    run = ranked_run()
    run.step_phase()
    group, before = run.loop._held.group, followers()
    group._fail(group._count, RankFailure(0, STOPPED))
    run.step_phase()
    assert followers() == before


def test_an_error_of_setup_is_raised_on_the_rank_that_it_comes_from() -> None:
    with pytest.raises(LessonRaised) as raised:
        ranked_run(Setup="if rank == 1:\n    raise KeyError('shard')\n" + SHARDED["Setup"])
    assert raised.value.error.values["on_rank"] == 1
    assert raised.value.phase == "Setup"


# ── Rank 0 alone, and the lesson's file ─────────────────────────────────────────────


def test_a_probe_waits_for_no_other_rank() -> None:
    run = ranked_run()
    run.step_epoch()
    run.step_phase()
    run.step_phase()
    loss = run.frame().loss.data[0]
    probe = Probe(run.program, "cpu", run.learning_rate, 0)
    probe.stand(run.standpoint())
    assert probe.loss() == loss
    probe.run_phases(len(run.program.loop))
    gradient = run.step_phase().gradients["w"].data[0]
    run.step_phase()
    kept = run.standpoint().gradients
    assert kept is not None
    assert kept["w"] == np.float32(gradient), "rank 0's own, before it was synchronized"


@pytest.mark.parametrize("workers", ["1", "5", "two", "true"])
def test_workers_are_two_to_four(workers: str) -> None:
    with pytest.raises(LessonDiagnostics) as raised:
        ranked_lesson(SMALL_STEPS.replace("workers: 2", f"workers: {workers}"))
    found = [d for d in raised.value.diagnostics if d.fault.values.get("name") == "workers"]
    assert [(d.line, d.fault.code) for d in found] == [(7, "bad_scalar")]


def test_synchronize_is_no_phase_of_a_lesson_on_one_rank() -> None:
    with pytest.raises(LessonDiagnostics) as raised:
        ranked_lesson(SMALL_STEPS.replace("workers: 2\n", ""))
    assert "synchronize_on_one_rank" in [d.fault.code for d in raised.value.diagnostics]


def make_group(ranks: int) -> None:
    """A default process group of which this process is the first rank; no other one comes."""
    patience = timedelta(seconds=0.01 if ranks > 1 else PATIENCE)
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=ranks, timeout=patience)


class Signalled(FollowerProcess):
    """A rank that is asked for its stack as soon as there is its process."""

    def __init__(self, rank: int) -> None:
        super().__init__(rank)
        os.kill(self.process.pid, DUMP_SIGNAL)


def test_nothing_is_left_of_ended_ranks_and_each_of_the_next_sees_which_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranked_run().step_phase()
    assert followers()
    RANKS.end()
    assert not followers()
    assert not dist.is_initialized()
    # A start that fails, and a group that a lesson leaves behind.
    with pytest.raises(RuntimeError):
        make_group(ranks=2)
    make_group(ranks=1)
    monkeypatch.setattr(rank_group, "FollowerProcess", Signalled)
    setup = SHARDED["Setup"] + "\nme = torch.tensor([rank, world_size, dist.get_rank()])"
    front = THREE.replace("epochs: 10", "epochs: 10\nwatch: {me: me}")
    frame = ranked_run(front, Setup=setup).step_phase()
    assert frame.watched["me"].data == (0, 3, 0)
    assert [rank.rank for rank in frame.ranks] == [1, 2]
    assert [rank.watched["me"].data for rank in frame.ranks] == [(1, 3, 1), (2, 3, 2)]


def test_with_three_workers_ddp_and_the_loop_by_hand_are_equal_except_for_rounding() -> None:
    """A claim of the lesson `ddp`, here because the three ranks of the test before still run."""
    three = programs_of(msgspec.structs.replace(shipped.lesson("ddp"), workers=3))
    by_hand, ddp = both_modes(lambda mode: Run(three, mode), 20)
    assert by_hand == [pytest.approx(row, rel=1e-4) for row in ddp]


def test_a_rank_that_can_not_be_started_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    RANKS.end()
    monkeypatch.setattr(rank_process, "FOLLOWER", "tutor.engine.no_such_module")
    with pytest.raises(RunError, match="rank_not_started"):
        ranked_run()


def test_a_rank_that_ends_before_all_have_met_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    RANKS.end()
    (tmp_path / "deserter.py").write_text(
        "import sys\nfrom multiprocessing.connection import Connection\n"
        "pipe = Connection(int(sys.argv[1]))\npipe.send('ready')\npipe.recv_bytes()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(rank_process, "FOLLOWER", "deserter")
    for module in (rank_process, rank_group):
        monkeypatch.setattr(module, "COLLECTIVE_SECONDS", 1.0)
    with pytest.raises(Refused, match="rank_not_started"):
        ranked_run()
    assert not dist.is_initialized()
