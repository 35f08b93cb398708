"""Each script of the test set: its loops and phases; its run, or why only a run can refuse it.

A stepped run prints and computes what a plain one does, and shows the same after going back.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

import msgspec
import pytest

from tests.script.case_files import REFUSED, STEPPED, Case, ExpectedLoop
from tests.script.marked_scripts import keep_keyframes, muted
from tests.script.plain_runs import PlainRun, Values, as_before, bits, in_folder, run_plainly
from tutor.errors import Refused
from tutor.protocol.frame import Frame, Position, is_same_frame
from tutor.protocol.inspections import LoopReport
from tutor.script.outline import loop_report
from tutor.script.program import script_report
from tutor.training.program import Program
from tutor.training.run import Run

NUMBERED = [(case, number) for case in STEPPED for number in range(1, len(case.loops) + 1)]


@pytest.mark.parametrize("case", STEPPED, ids=str)
def test_outline_is_as_a_reader_sees_the_script(case: Case) -> None:
    assert case.outline.why_no_loop is None
    for loop, wanted in zip(case.outline.loops, case.loops, strict=True):
        told = loop_report(loop)
        names = ("line", "function", "mode", "loss", "prediction", "phases")
        assert [getattr(told, name) for name in names] == [getattr(wanted, name) for name in names]
        assert all(_is_named_in(p, wanted) for p in loop.parameters)
        assert len(wanted.epochs) > 1 or loop.epochs in (None, *wanted.epochs) or _may_stop(case)


def _is_named_in(parameter: str, wanted: ExpectedLoop) -> bool:
    """Whether a name is a parameter's, or that of a dict or list which holds parameters."""
    return any(
        label == parameter or label.startswith(f"{parameter}[")
        for label in (*wanted.parameters, *wanted.changed)
    )


def _may_stop(case: Case) -> bool:
    """Whether the script can leave its loop before the last epoch."""
    return bool(re.search(r"\b(break|raise|return .*, (it|epoch))\b", case.python()))


@dataclass(frozen=True)
class Walk:
    """One loop of a script, stepped from its start to its end."""

    case: Case
    loop: ExpectedLoop
    folder: Path
    programs: Mapping[str, Program]
    plain: PlainRun
    run: Run
    report: LoopReport
    """The loop as `tutor inspect` tells it at the end."""
    frames: tuple[Frame, ...]
    """That before the first step, and the one of each step."""
    finals: tuple[Values, ...]
    """The parameters each time that the loop had ended."""
    output: str


@pytest.fixture(scope="module", params=NUMBERED, ids=lambda param: f"{param[0]}-{param[1]}")
def walk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walk]:
    """The walk of one loop of the test set, which keeps a keyframe at the end of each epoch."""
    case, number = request.param
    if case.missing:
        pytest.skip(f"needs {', '.join(case.missing)}")
    loop = case.loops[number - 1]
    folder = tmp_path_factory.mktemp(case.name)
    (folder / "plain").mkdir()
    plain = run_plainly(case, folder / "plain")
    with stepping(folder) as output:
        _, programs = case.opened(number)
        run = Run(programs, quiet=muted)
        keep_keyframes(run, 0.0)
        frames, finals = [run.frame()], []
        for frame in steps_to_the_end(run):
            frames.append(frame)
            if frame.is_epoch_end and frame.at.epoch in ends_of(loop):
                finals.append(values_of(run))
        report = script_report(run.loop)
    yield Walk(
        case, loop, folder, programs, plain, run, report, (*frames,), (*finals,), output.getvalue()
    )
    run.close()


@contextmanager
def stepping(folder: Path) -> Iterator[io.StringIO]:
    """What a case needs around its run; what it prints."""
    output = io.StringIO()
    with as_before(), in_folder(folder), redirect_stdout(output):
        yield output


def steps_to_the_end(run: Run) -> Iterator[Frame]:
    """The frame of each step, until the script is over."""
    while not (frame := run.step_phase()).is_over:
        yield frame


def ends_of(loop: ExpectedLoop) -> list[int]:
    """The epochs at whose end the loop has ended: a script may reach it several times."""
    return list(accumulate(loop.epochs))


def values_of(run: Run) -> Values:
    """The bits of the parameters where a run stands."""
    return {name: bits(thing) for name, thing in run.loop.parameters().items()}


def test_stepped_run_is_the_plain_run(walk: Walk) -> None:
    number, loops = walk.case.loops.index(walk.loop), walk.case.loops
    assert [tuple(record.epochs) for record in walk.plain.loops] == [one.epochs for one in loops]
    assert walk.loop.parameters
    assert walk.plain.output.strip()
    assert [*walk.finals] == walk.plain.loops[number].finals
    ran = {(frame.line, frame.phase or "") for frame in walk.frames[1:]}
    assert ran == {(first, name) for name, first, _ in walk.loop.phases}
    assert walk.frames[-1].at.epoch == sum(walk.loop.epochs)
    assert walk.output == walk.plain.output
    check_report(walk.report, walk.loop)
    assert walk.report.batches == walk.frames[-1].batches


def test_frames_after_going_back_are_the_same(walk: Walk) -> None:
    with stepping(walk.folder):
        check_going_back(walk.run, walk.frames)


def test_run_without_stops_is_the_plain_run_and_runs_again(walk: Walk) -> None:
    finals = walk.plain.loops[walk.case.loops.index(walk.loop)].finals
    with stepping(walk.folder) as output:
        run = Run(walk.programs, quiet=muted)
        keep_keyframes(run, 1e9)
        for end, final in zip(ends_of(walk.loop), finals, strict=True):
            frame = run.run_to(end)
            assert frame.is_epoch_end
            assert values_of(run) == final
        assert run.run_to(10**6).is_over
        assert run.at.epoch == sum(walk.loop.epochs)
        assert output.getvalue() == walk.plain.output
        seen = {frame.at: frame for frame in walk.frames}
        for move in (run.back, run.back_epoch, run.step_phase, run.step_epoch):
            check_same(move(), seen)
        run.close()


def check_report(report: LoopReport, loop: ExpectedLoop) -> None:
    """Fail unless `tutor inspect` says of the loop what a reader sees."""
    told = msgspec.structs.asdict(report)
    told.pop("batches")  # it is of the run
    wanted = {name: getattr(loop, name) for name in told}
    assert {*told.pop("parameters")} == {*wanted.pop("parameters")}
    assert told == wanted


def check_going_back(run: Run, frames: Sequence[Frame]) -> None:
    """Fail unless a run at its end shows, after going back, the frames seen before."""
    seen = {frame.at: frame for frame in frames}
    last = max(at.epoch for at in seen)
    middle = Position(max(last - 2, 1), 1)
    moves = [run.back, run.back, run.back_epoch, lambda: run.seek(middle.epoch, middle.step)]
    moves += [run.step_phase, run.step_phase, run.step_epoch]
    moves += [lambda: run.seek(0), run.step_phase]
    for move in moves:
        check_same(move(), seen)
    again = list(islice(steps_to_the_end(run), 12))
    assert len(again) == 12 or again[-1].at == max(seen)
    for frame in again:
        check_same(frame, seen)


def check_same(frame: Frame, seen: Mapping[Position, Frame]) -> None:
    """Fail with the first field that differs from the frame seen here before."""
    before = seen[frame.at]
    if not is_same_frame(frame, before):
        for field in Frame.__struct_fields__:
            assert repr(getattr(frame, field)) == repr(getattr(before, field)), (frame.at, field)
        raise AssertionError(frame.at)


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_run_is_refused_with_the_true_reason(case: Case, tmp_path: Path) -> None:
    assert case.refused is not None
    with stepping(tmp_path), pytest.raises(Refused) as refusal:
        Run(case.opened()[1], quiet=muted)
    found = (refusal.value.code, refusal.value.values.get("line"))
    assert found == (case.refused["code"], case.refused["line"])
