"""A script on several ranks: as torchrun runs it, gone back in, and told which rank fails."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from tests.script.marked_scripts import keep_keyframes, muted, steps_of
from tests.training.ranked import DROPOUT, of_all
from tests.training.ranked import ranked_lesson as of_lesson
from tests.waiting import PATIENCE
from tutor.engine.lesson_commands import figures_writer
from tutor.errors import Refused
from tutor.export.code import ExportSettings
from tutor.export.formats import script
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.protocol.frame import EPOCH_END, Frame, Position, is_same_frame
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.program import script_programs
from tutor.script.source import read_script
from tutor.training.lesson_error import LessonRaised
from tutor.training.probe import Probe
from tutor.training.program import programs_of
from tutor.training.rank_group import RANKS
from tutor.training.run import Run
from tutor.training.runs import Runs
from tutor.training.series import readings

BY_HAND = r"""import os
import torch
import torch.distributed as dist

def average_gradients(ps):
    for p in ps:
        p.grad /= dist.get_world_size()
        dist.all_reduce(p.grad)

dist.init_process_group({backend})
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
x = torch.linspace(-1, 1, 12)[rank::size]
y = 3 * x + 0.5
w, b = (torch.zeros(1, requires_grad=True) for _ in range(2))
optimizer = torch.optim.SGD([w, b], lr=0.1, momentum=0.9)
for epoch in range({epochs}):
    optimizer.zero_grad()
    loss = ((w * x + b - y) ** 2).mean()
    {before}
    loss.backward()
    average_gradients([w, b])
    optimizer.step()
print(f"{{rank}} {{[p.item().hex() for p in (w, b)]}}\n", end="")
dist.destroy_process_group()
"""

REPLICAS = r"""import os
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

def main():
    dist.init_process_group()
    x = torch.randn(24, 2, generator=torch.Generator().manual_seed(5))
    data = TensorDataset(x, x.sin().sum(1, keepdim=True))
    sampler = DistributedSampler(data)
    loader = DataLoader(data, batch_size=6, sampler=sampler)
    torch.manual_seed(dist.get_rank())
    layers = torch.nn.Linear(2, 4), torch.nn.Dropout(0.2), torch.nn.Linear(4, 1)
    model = DistributedDataParallel(torch.nn.Sequential(*layers))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
    if dist.get_rank() == 0:
        torch.save(model.module.state_dict(), "{folder}/model.pt")
    dist.barrier()
    state = torch.load("{folder}/model.pt")
    print(f"{{dist.get_rank()}} {{[v.norm().item().hex() for v in state.values()]}}\n", end="")
    dist.destroy_process_group()

main()
"""


ONE_GROUP = """import os, pathlib, runpy, time
import torch.distributed as dist
from tutor.training.set_up import spare_compiler
spare_compiler()  # without it, everything steps the same: see tests/training/test_set_up.py
loaded = [pathlib.Path(f"{{__file__}}.{{rank}}") for rank in range(2)]
loaded[int(os.environ["RANK"])].touch()
while not all(path.exists() for path in loaded):
    time.sleep(0.01)  # the one that comes first would wait for a minute at most
dist.init_process_group("gloo")
destroy = dist.destroy_process_group
dist.init_process_group = dist.destroy_process_group = lambda *given, **named: None
{scripts}
destroy()
"""
"""All scripts in one run of torchrun: to start it takes seconds, and a second group may hang."""


def by_hand(before: str = "pass", epochs: str = "4", backend: str = "'gloo'") -> str:
    return BY_HAND.format(before=before, epochs=epochs, backend=backend)


def replicas(folder: Path | str = ".") -> str:
    return REPLICAS.format(folder=folder)


@pytest.fixture(scope="module", autouse=True)
def _ranks() -> Iterator[None]:
    """The ranks are shared by the tests of this file: each loads PyTorch for seconds."""
    threads, environment = torch.get_num_threads(), dict(os.environ)
    torch.set_num_threads(1)  # as torchrun has it: a sum comes out the same to the last bit
    yield
    torch.set_num_threads(threads)
    RANKS.end()
    os.environ.clear()
    os.environ.update(environment)


def ranked_lesson(text: str, folder: Path) -> Lesson:
    path = folder / "train.py"
    path.write_text(text, encoding="utf-8")
    source = read_script(path)
    return lesson_of_script(source, outline_of(source.text), ScriptOptions(workers=2))


def ranked(text: str, folder: Path, *, keyframes: float = 0.0) -> Run:
    """A run on two ranks; `keyframes`: the seconds between two of its keyframes."""
    with muted():
        run = Run(script_programs(ranked_lesson(text, folder)), quiet=muted)
    keep_keyframes(run, keyframes)
    return run


# ── What torchrun computes ──────────────────────────────────────────────────────────


def printed_under_torchrun(script: Path) -> list[str]:
    """The lines of two processes that torchrun starts, whatever this machine's name leads to."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    torchrun += ("--local-addr", "127.0.0.1", "--nproc-per-node", "2", str(script))
    loopback = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}
    ran = subprocess.run(
        torchrun, env=os.environ | loopback, capture_output=True, timeout=PATIENCE, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return [line for line in ran.stdout.splitlines() if not line.startswith("[Gloo] ")]


def test_ranks_print_what_they_print_under_torchrun(tmp_path: Path) -> None:
    lesson = of_lesson(**DROPOUT)
    scripts = {"hand": by_hand(), "replicas": replicas(tmp_path)}
    exported = {"exported": script(lesson, "autograd", ExportSettings(epochs=4))}
    for name, text in (scripts | exported).items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    runs = (f"runpy.run_path({str(tmp_path / name)!r} + '.py')\n" for name in scripts | exported)
    together = tmp_path / "together.py"
    together.write_text(ONE_GROUP.format(scripts="".join(runs)), encoding="utf-8")
    expected = printed_under_torchrun(together)
    (tmp_path / "model.pt").unlink()
    printed = io.StringIO()
    with redirect_stdout(printed):
        for text in scripts.values():
            assert ranked(text, tmp_path).run_to(99).is_over
    figures = io.StringIO()
    write = figures_writer("jsonl", figures)
    for reading in readings(Run(programs_of(lesson)), 4):
        write(reading)
    assert figures.getvalue().count('"rank": 1') == 4
    lines = [text.removeprefix("[rank 1] ") for text in printed.getvalue().splitlines()]
    assert sorted(lines + figures.getvalue().splitlines()) == sorted(expected)
    assert len(lines) == 4, "each rank's of each script"
    assert not (tmp_path / "model.pt").exists(), "the ranks write to one temporary folder"


def test_synchronize_makes_the_gradients_of_all_ranks_their_mean(tmp_path: Path) -> None:
    run = ranked(by_hand(), tmp_path)
    assert [phase.name for phase in run.program.loop] == [
        *("Reset", "Loss", "Gradient", "Synchronize", "Update")
    ]
    for _ in range(3):
        frame = run.step_phase()
    own = [frame.gradients["w"].data[0], frame.ranks[0].gradients["w"].data[0]]
    frame = run.step_phase()
    mean = (torch.tensor(own[0]) / 2 + torch.tensor(own[1]) / 2).item()
    for mine, before in zip((frame, *frame.ranks), own, strict=True):
        assert mine.gradients["w"].data == (mean,)
        assert mine.gradients_before_sync["w"].data == (before,)
    assert run.step_epoch().gradients_before_sync, "also where nobody looks at the phases"


def test_each_rank_draws_its_own_numbers_where_no_seed_is_set(tmp_path: Path) -> None:
    frame = ranked(by_hand("w.data += torch.randn(1)"), tmp_path).step_epoch()
    assert len(set(of_all(frame, "w"))) == 2


# ── Back, seek, fork, change ────────────────────────────────────────────────────────


@pytest.mark.parametrize("source", [by_hand(), replicas()], ids=["by hand", "replicas"])
def test_every_frame_is_the_same_when_come_upon_again(source: str, tmp_path: Path) -> None:
    """By images, in the run that was stepped; and by running again, in one that was not."""
    run = ranked(source, tmp_path)
    with muted():
        frames = steps_of(run)
        assert all(len(frame.ranks) == 1 for frame in frames)
        check_ways_back(run, frames, every=3)
        again = ranked(source, tmp_path, keyframes=1e9)
        assert is_same_frame(again.run_to(999), frames[-1])
        check_ways_back(again, frames, every=6)


def check_ways_back(run: Run, frames: list[Frame], every: int) -> None:
    """Fail unless a run at its end shows the frames again that were seen before."""
    over, inside = frames[-1], frames[:-1]
    assert is_same_frame(run.back(), inside[-1])
    for frame in inside[-2::-every]:
        step = EPOCH_END if frame.is_epoch_end else frame.at.step
        assert is_same_frame(run.seek(frame.at.epoch, step), frame), frame.at
    assert is_same_frame(run.run_to(999), over)
    assert is_same_frame(run.seek(2), next(f for f in inside if f.at.epoch == 2 and f.is_epoch_end))


def test_files_that_all_ranks_write_go_back_with_them(tmp_path: Path) -> None:
    log = f"print(rank, epoch, file=open('{tmp_path}/log', 'a'))"
    text = by_hand(log).replace(
        "print(f", f"print(len(open('{tmp_path}/log').readlines()))\nprint(f"
    )
    run, printed = ranked(text, tmp_path), io.StringIO()
    run.run_to(3)
    run.seek(1)
    with redirect_stdout(printed):
        run.run_to(99)
    assert printed.getvalue().splitlines().count("8") == 1
    assert not (tmp_path / "log").exists()


def test_learning_rate_and_fork_reach_all_ranks(tmp_path: Path) -> None:
    runs = Runs(ranked(by_hand(), tmp_path))
    alone = runs.current.run_to(4)
    runs.current.seek(2)
    runs.fork()
    runs.current.set(learning_rate=0.01)
    changed = runs.current.run_to(4)
    assert len(set(of_all(changed, "w"))) == 1
    assert changed.values != alone.values
    runs.select("A")
    assert is_same_frame(runs.current.run_to(4), alone)


def test_probe_of_replicas_waits_for_no_other_rank(tmp_path: Path) -> None:
    run = ranked(replicas().replace("Dropout(0.2)", "Tanh()"), tmp_path)
    for _ in range(2):
        frame = run.step_phase()
    probe = Probe(run.program, "cpu", run.learning_rate, 0)
    probe.stand(run.standpoint())
    assert probe.loss() == frame.loss.data[0]
    probe.run_phases(len(run.program.loop))
    assert len(set(of_all(run.step_epoch(), "model.module[0].bias"))) == 1


# ── A rank that fails ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("raise ValueError('too large')", ("ValueError: too large", "'on_rank': 1")),
        ("os._exit(3)", ("'rank': 1", "3")),
    ],
)
def test_a_rank_that_fails_is_named_and_the_run_goes_on_from_where_it_was(
    what: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    run = ranked(by_hand(f"if rank == 1 and epoch == 2: {what}"), tmp_path)
    run.run_to(2)
    here = run.step_phase()
    with pytest.raises(LessonRaised) as raised:
        run.step_phase()
    assert all(word in str(raised.value.error) for word in words)
    assert (raised.value.phase, raised.value.line) == ("Loss", 19)
    assert is_same_frame(run.frame(), here)
    assert run.seek(1).at == Position(1, 5)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (by_hand(epochs="2 + rank"), "loops_apart"),
        (by_hand("if rank and epoch == 2: continue"), "ranks_apart"),
    ],
    ids=["epochs", "phases"],
)
def test_ranks_that_come_to_different_places_are_told(text: str, code: str, tmp_path: Path) -> None:
    run = ranked(text.replace("average_gradients([w, b])", "pass"), tmp_path)
    before = run.run_to(2)
    with pytest.raises(
        LessonRaised,
    ) as raised:
        run.step_epoch()
    assert raised.value.error.code == code
    assert run.at.epoch in (2, 3)
    assert is_same_frame(run.seek(2), before)


def test_copy_that_a_script_makes_of_a_rank_does_not_answer_for_it(tmp_path: Path) -> None:
    copying = by_hand("copy = rank == 1 and os.fork()\n    if copy: os.waitpid(copy, 0)")
    runs = [ranked(text, tmp_path) for text in (copying, by_hand())]
    copied, plain = ([of_all(run.step_phase(), "w") for _ in range(5)] for run in runs)
    assert copied == plain


# ── The environment of a rank ───────────────────────────────────────────────────────


def test_backend_that_is_not_there_is_gloo_and_a_note(tmp_path: Path) -> None:
    run = ranked(
        by_hand(backend="'nccl', init_method='env://', rank=int(os.environ['RANK'])"), tmp_path
    )
    is_nccl = torch.distributed.is_nccl_available() and torch.cuda.device_count() >= 2
    assert [remark.code for remark in run.remarks] == ([] if is_nccl else ["backend_as_gloo"])
    assert run.step_epoch().ranks


def test_script_has_the_group_only_between_its_own_calls(tmp_path: Path) -> None:
    text = f"import torch.distributed as dist\nprint(dist.is_initialized())\n{by_hand()}"
    text += "print(dist.is_initialized())\n"
    printed = io.StringIO()
    run = ranked(text, tmp_path)
    with redirect_stdout(printed):
        run.restart()
        assert run.run_to(9).is_over
    assert [word for word in printed.getvalue().split() if word in ("True", "False")] == [
        "False"
    ] * 4


def test_script_of_torchrun_alone_is_refused_with_the_command_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RANKS.end()
    monkeypatch.delenv("RANK", raising=False)
    lesson = ranked_lesson(by_hand(), tmp_path)
    source = read_script(lesson.path)
    alone = lesson_of_script(source, outline_of(source.text), ScriptOptions())
    with pytest.raises(Refused) as refused:
        Run(script_programs(alone))
    assert (refused.value.code, refused.value.values["line"]) == ("needs_ranks", 10)
