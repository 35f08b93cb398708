"""The figures of a whole run as a csv file, written beside a run that goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import shipped
from tutor.engine.lesson_commands import MOST_CHARACTERS, figures_writer
from tutor.errors import FileThere, Refused
from tutor.protocol.commands import FEWER_AND_FEWER
from tutor.training.figures import Reading
from tutor.training.run import Run
from tutor.training.series import readings, write_series


def printed(run: Run, epochs: int) -> str:
    out = io.StringIO()
    write = figures_writer("csv", out)
    for reading in readings(run, epochs):
        write(reading)
    return out.getvalue()


def test_a_line_for_people_counts_the_parameters_that_it_has_no_room_for() -> None:
    array = np.arange(8.0)
    for count in (1, 2, 60):
        out = io.StringIO()
        many = {f"layer{n}": array for n in range(count)}
        figures_writer("text", out)(Reading(epoch=1, loss=0.5, values=many, gradients={**many}))
        (line,) = out.getvalue().splitlines()
        shown = line.count("gradient")
        assert shown == count or line.endswith(f" {count - shown} more")
        assert (shown >= 1, len(line) <= MOST_CHARACTERS + len("  … 60 more")) == (True, True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "series.csv"


@pytest.mark.parametrize(("slug", "mode"), [("xor", "autograd"), ("thermometer", "manual")])
def test_it_is_what_tutor_run_prints(slug: str, mode: str, path: Path) -> None:
    run = shipped(slug, mode)
    run.run_to(7)
    assert write_series(run, path)
    assert path.read_text() == printed(shipped(slug, mode), 7)


def test_figures_for_people_are_fewer_the_longer_the_run_and_end_with_the_last() -> None:
    run = shipped("one-weight", "manual")
    epochs = [reading.epoch for reading in readings(run, 1234, FEWER_AND_FEWER)]
    assert epochs == [*range(1, 100), *range(100, 1000, 10), 1000, 1100, 1200, 1234]


def test_it_ends_with_the_last_whole_epoch_before_where_the_run_stands(path: Path) -> None:
    run = shipped("one-weight", "manual")
    run.run_to(5)
    run.seek(3)
    run.step_phase()
    write_series(run, path)
    assert [row["epoch"] for row in csv.DictReader(path.open())] == ["1", "2", "3"]


def test_the_run_is_left_as_it_was(start: Callable[..., Run], path: Path) -> None:
    random = {"Predict": "y_pred = w * x + torch.rand(3)"}
    alone, run = start(**random), start(**random)
    alone_frames = [alone.run_to(4), alone.step_epoch(), alone.step_phase()]
    run.restart()
    before = run.run_to(4)
    assert before == alone_frames[0]
    write_series(run, path)
    assert [run.frame(), run.step_epoch(), run.step_phase()] == alone_frames


def test_changes_made_on_the_way_are_in_it(path: Path) -> None:
    run = shipped("line-through-origin", "manual")
    run.run_to(2)
    run.set(learning_rate=0.02)
    third = run.run_to(3)
    run.switch("model")
    last = run.run_to(4)
    write_series(run, path)
    rows = list(csv.DictReader(path.open()))
    assert (rows[2]["loss"], rows[2]["w"]) == (
        str(third.loss.data[0]),
        str(third.values["w"].data[0]),
    )
    assert [row["w"] != "" for row in rows] == [True, True, True, False]
    assert [row["b[0]"] != "" for row in rows] == [False, False, False, True]
    assert float(rows[3]["w[0,0]"]) == last.values["w"].data[0]


def test_an_epoch_changed_in_its_middle_is_told_as_it_ended(path: Path) -> None:
    run = shipped("one-weight", "manual")
    run.step_epoch()
    run.step_phase()
    run.switch("autograd")
    run.step_phase()
    run.set(learning_rate=0.5)
    second = run.step_epoch()
    run.set(learning_rate=0.1)
    run.set(learning_rate=0.2)
    run.step_epoch()
    write_series(run, path)
    rows = list(csv.DictReader(path.open()))
    assert [row["w"] for row in rows][1] == str(second.values["w"].data[0]) == "2.0"
    assert len(rows) == 3


def test_random_draws_are_the_runs_own_whatever_its_modes(
    start: Callable[..., Run], path: Path
) -> None:
    run = start(Predict="y_pred = w * x + torch.rand(3)")
    losses = [run.run_to(epoch).loss.data[0] for epoch in (1, 2, 3)]
    write_series(run, path)
    assert [float(row["loss"]) for row in csv.DictReader(path.open())] == losses


def test_a_gradient_that_there_is_not_yet_has_a_column(
    start: Callable[..., Run], path: Path
) -> None:
    run = start(Gradient="if loss < 0:\n    loss.backward()", Update="", Reset="")
    run.run_to(2)
    write_series(run, path)
    assert [row["gradient of w"] for row in csv.DictReader(path.open())] == ["NaN", "NaN"]


def test_it_can_be_broken_off_and_leaves_nothing(path: Path) -> None:
    run = shipped("one-weight", "manual")
    run.run_to(500)
    asked: list[int] = []

    def enough() -> bool:
        asked.append(1)
        return len(asked) >= 10

    assert not write_series(run, path, until=enough)
    assert len(asked) == 10
    assert not path.exists()
    assert run.at.epoch == 500


def test_what_the_lesson_prints_is_not_printed_once_more(
    start: Callable[..., Run], path: Path
) -> None:
    silent: list[str] = []

    @contextmanager
    def quiet():  # type: ignore[no-untyped-def]
        silent.append("in")
        yield
        silent.append("out")

    run = start()
    run.run_to(2)
    write_series(run, path, quiet=quiet)
    assert silent[0] == "in"
    assert silent[-1] == "out"


def test_no_file_is_overwritten_and_none_made_of_nothing(path: Path) -> None:
    run = shipped("one-weight", "manual")
    with pytest.raises(Refused, match="no_figures"):
        write_series(run, path)
    assert not path.exists()
    path.write_text("mine")
    run.run_to(1)
    with pytest.raises(FileThere):
        write_series(run, path)
    assert path.read_text() == "mine"
