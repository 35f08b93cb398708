"""Each script of the test set, stepped: as when run plainly, and the same after going back."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import cache
from itertools import islice
from pathlib import Path

import pytest

from tests.script.case_files import CASES, REFUSED, STEPPED, Case, ExpectedLoop
from tests.script.plain_runs import PlainRun, as_before, bits, in_folder, run_plainly
from tests.script.test_cases_outline import AT_RUN_TIME
from tutor.errors import Refused
from tutor.lesson.model import ScriptOptions
from tutor.protocol.frame import Frame, Position, is_same
from tutor.protocol.inspections import LoopReport
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.program import script_programs, script_report
from tutor.script.source import read_script
from tutor.training.program import Program
from tutor.training.run import Run

NUMBERED = [(case, number) for case in STEPPED for number in range(1, len(case.loops) + 1)]


@contextmanager
def muted() -> Iterator[None]:
    with redirect_stdout(io.StringIO()):
        yield


def opened(case: Case, number: int = 1) -> Run:
    """A run of the script that stands before its loop's first epoch."""
    return Run(_programs(case.path, case.arguments, number), quiet=muted)


@cache
def _programs(path: Path, arguments: tuple[str, ...], number: int) -> dict[str, Program]:
    """The programs of a script's loop, compiled once for all runs of it."""
    source = read_script(path)
    options = ScriptOptions(loop=number, arguments=arguments)
    return script_programs(
        lesson_of_script(source, outline_of(source.text, _modules_beside()), options)
    )


def _modules_beside() -> list[str]:
    return [path.stem for path in CASES.glob("*_helpers.py")]


def keep_keyframes(run: Run, seconds: float) -> None:
    """Keep a keyframe at the end of each epoch for 0 seconds; none for many."""
    run.history.interval = run.history.spacing = seconds
    run._clock.start(seconds)


def plain_run(case: Case, folder: Path) -> PlainRun:
    """The script run plainly, in a folder of its own."""
    if case.missing:
        pytest.skip(f"needs {', '.join(case.missing)}")
    (folder / "plain").mkdir()
    return run_plainly(case, folder / "plain")


@contextmanager
def stepping(case: Case, folder: Path) -> Iterator[io.StringIO]:
    """What a case needs around its run; what it prints."""
    if case.missing:
        pytest.skip(f"needs {', '.join(case.missing)}")
    output = io.StringIO()
    with as_before(), in_folder(folder), redirect_stdout(output):
        yield output


def steps_to_the_end(run: Run) -> Iterator[Frame]:
    """The frame of each step, until the script is over."""
    while not (frame := run.step_phase()).is_over:
        yield frame


@pytest.mark.parametrize(("case", "number"), NUMBERED, ids=str)
def test_stepped_run_is_the_plain_run(case: Case, number: int, tmp_path: Path) -> None:
    loop = case.loops[number - 1]
    ends = {sum(loop.epochs[: n + 1]): n for n in range(len(loop.epochs))}
    plain = plain_run(case, tmp_path)
    finals = plain.loops[number - 1].finals
    ran = set[tuple[int, str]]()
    with stepping(case, tmp_path) as output:
        run = opened(case, number)
        for frame in steps_to_the_end(run):
            ran.add((frame.line, frame.phase or ""))
            if frame.is_epoch_end and frame.at.epoch in ends:
                found = {name: bits(thing) for name, thing in run.loop.parameters().items()}
                assert found == finals[ends[frame.at.epoch]]
        assert run.at.epoch == sum(loop.epochs)
        check_report(script_report(run.loop), loop)
        run.close()
    assert output.getvalue() == plain.output
    assert ran == {(first, name) for name, first, _ in loop.phases}


@pytest.mark.parametrize(("case", "number"), NUMBERED, ids=str)
def test_run_without_stops_is_the_plain_run(case: Case, number: int, tmp_path: Path) -> None:
    loop = case.loops[number - 1]
    plain = plain_run(case, tmp_path)
    with stepping(case, tmp_path) as output:
        run = opened(case, number)
        for n, final in enumerate(plain.loops[number - 1].finals):
            frame = run.run_to(sum(loop.epochs[: n + 1]))
            assert frame.is_epoch_end
            found = {name: bits(thing) for name, thing in run.loop.parameters().items()}
            assert found == final
        assert run.run_to(10**6).is_over
        assert run.at.epoch == sum(loop.epochs)
        run.close()
    assert output.getvalue() == plain.output


def check_report(report: LoopReport, loop: ExpectedLoop) -> None:
    """Fail unless `tutor inspect` says of the loop what a reader sees."""
    told = {name: getattr(report, name) for name in LoopReport.__struct_fields__}
    wanted = {name: getattr(loop, name) for name in told}
    assert {*told.pop("parameters")} == {*wanted.pop("parameters")}
    assert told == wanted


@pytest.mark.parametrize("keyframes", [0.0, 1e9], ids=["restored", "run again"])
@pytest.mark.parametrize(("case", "number"), NUMBERED, ids=str)
def test_frames_after_going_back_are_the_same(
    case: Case, number: int, keyframes: float, tmp_path: Path
) -> None:
    with stepping(case, tmp_path):
        run = opened(case, number)
        keep_keyframes(run, keyframes)
        seen = {frame.at: frame for frame in [run.frame(), *steps_to_the_end(run)]}
        last = max(at.epoch for at in seen)
        middle = Position(max(last - 2, 1), 1)
        moves = [run.back, run.back, run.back_epoch, lambda: run.seek(middle.epoch, middle.step)]
        moves += [run.step_phase, run.step_phase, run.step_epoch]
        moves += [lambda: run.seek(0), run.step_phase]
        for move in moves:
            check_same(move(), seen)
        frames = list(islice(steps_to_the_end(run), 12))
        assert len(frames) == 12 or frames[-1].at == max(seen)
        for frame in frames:
            check_same(frame, seen)
        run.close()


def check_same(frame: Frame, seen: Mapping[Position, Frame]) -> None:
    """Fail with the first field that differs from the frame seen here before."""
    before = seen[frame.at]
    for field in Frame.__struct_fields__:
        assert repr(getattr(frame, field)) == repr(getattr(before, field)), (frame.at, field)
    assert is_same(frame, before)


@pytest.mark.parametrize(
    "case", [c for c in REFUSED if c.refused and c.refused["code"] in AT_RUN_TIME], ids=str
)
def test_run_is_refused_with_the_true_reason(case: Case, tmp_path: Path) -> None:
    assert case.refused is not None
    with stepping(case, tmp_path), pytest.raises(Refused) as refusal:
        opened(case)
    found = (refusal.value.code, refusal.value.values.get("line"))
    assert found == (case.refused["code"], case.refused["line"])
