"""Up to four runs of a lesson: what is kept, what gives way, and each stays what it is alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.training.conftest import keep_every_epoch, shipped
from tests.training.test_time_travel import DRAWING, all_of
from tutor.errors import Refused, RunError
from tutor.protocol.frame import EPOCH_END, Element, Position, Remark
from tutor.training.run import Run
from tutor.training.runs import MAX_RUNS, Runs


def line() -> Runs:
    return Runs(shipped("line-through-origin", "autograd"))


def forked(times: int) -> Runs:
    """A run that was changed so many times in its past."""
    runs = line()
    for i in range(times):
        runs.current.run_to(20)
        runs.current.seek(10)
        runs.set(learning_rate=0.02 + i / 100)
    return runs


# ── What is kept ────────────────────────────────────────────────────────────────────


def test_a_change_in_the_past_keeps_the_run_as_it_was_and_goes_on_as_another() -> None:
    runs = line()
    last = runs.current.run_to(20)
    runs.current.seek(10)
    runs.set(learning_rate=0.05)
    assert runs.names == ("A", "B")
    assert runs.name == "B"
    old, new = runs.infos(10)
    assert (old.name, old.last_epoch, old.learning_rate, old.loss) == (
        "A",
        20,
        0.01,
        last.loss.data[0],
    )
    assert (new.name, new.last_epoch, new.learning_rate) == ("B", 10, 0.05)
    assert (old.forked_at, new.forked_at) == (None, Position(10, 5))
    assert new.is_current
    assert not old.is_current
    assert Remark("kept_as", {"name": "A"}) in runs.remarks


def test_at_the_end_of_a_run_a_change_is_just_a_change() -> None:
    runs = line()
    runs.current.run_to(10)
    runs.set(learning_rate=0.05)
    runs.current.run_to(20)
    runs.switch(mode="manual")
    assert runs.names == ("A",)


def test_steps_that_lie_ahead_are_a_future_too() -> None:
    runs = line()
    for _ in range(3):
        runs.current.step_phase()
    runs.current.back()
    runs.set(learning_rate=0.05)
    assert runs.names == ("A", "B")


@pytest.mark.parametrize(
    "change",
    [
        lambda runs: runs.switch(mode="optimizer"),
        lambda runs: runs.set(element=Element("w", (), 1.5)),
        lambda runs: runs.reseed(3),
        lambda runs: runs.fork(),
    ],
)
def test_every_kind_of_change_forks(change: Callable[[Runs], object]) -> None:
    runs = line()
    end = runs.current.run_to(8)
    runs.current.seek(4)
    change(runs)
    assert runs.names == ("A", "B")
    runs.current.run_to(8)
    assert runs.then("A", runs.current.at).frame == end


def test_a_change_that_is_refused_keeps_nothing() -> None:
    runs = line()
    runs.current.run_to(8)
    before = runs.current.seek(4)
    with pytest.raises(RunError):
        runs.set(element=Element("v", (), 1.0))
    assert runs.names == ("A",)
    assert runs.current.frame() == before
    assert runs.current.last_epoch == 8


def test_a_copy_ends_where_it_was_made() -> None:
    runs = line()
    runs.current.run_to(8)
    here = runs.current.seek(4)
    assert runs.fork() == here
    assert runs.current.last_epoch == 4
    assert not runs.current.has_future
    assert [info.last_epoch for info in runs.infos(0)] == [8, 4]


def test_a_copy_does_not_repeat_what_was_said_of_a_change_before() -> None:
    runs = line()
    runs.current.run_to(1)
    runs.current.switch(mode="manual")
    assert [remark.code for remark in runs.current.remarks] == ["updated_by"]
    runs.fork()
    assert runs.remarks == (Remark("kept_as", {"name": "A"}),)


def test_nothing_run_is_nothing_to_keep() -> None:
    runs = line()
    with pytest.raises(Refused, match="nothing_to_keep"):
        runs.fork()
    runs.set(learning_rate=0.5)
    runs.restart(seed=3)
    assert runs.names == ("A",)


def test_a_restart_that_would_be_the_same_run_keeps_no_ghost() -> None:
    runs = line()
    runs.set(learning_rate=0.02)
    runs.current.run_to(8)
    runs.restart()
    assert list(runs.names) == ["A"]
    runs.current.run_to(8)
    runs.set(learning_rate=0.05)
    runs.restart()
    assert list(runs.names) == ["A", "B"], "it began with another learning rate"
    runs.current.run_to(3)
    runs.restart(seed=9)
    assert list(runs.names) == ["A", "B", "C"]


# ── Names ───────────────────────────────────────────────────────────────────────────


def test_the_fifth_run_makes_the_oldest_that_nobody_named_give_way() -> None:
    runs = forked(3)
    assert runs.names == ("A", "B", "C", "D")
    runs.rename("A", "the first")
    runs.current.run_to(20)
    runs.current.seek(10)
    runs.set(learning_rate=0.5)
    assert len(runs.names) == MAX_RUNS
    assert runs.names == ("the first", "C", "D", "B")
    assert Remark("gave_way", {"name": "B", "most": MAX_RUNS}) in runs.remarks


def test_what_the_learner_has_named_does_not_give_way() -> None:
    runs = forked(3)
    for name in ("A", "B", "C"):
        runs.rename(name, f"my {name}")
    runs.current.run_to(20)
    runs.current.seek(10)
    with pytest.raises(Refused, match="all_runs_named"):
        runs.set(learning_rate=0.5)
    assert runs.current.last_epoch == 20
    runs.delete("my B")
    runs.set(learning_rate=0.5)
    assert runs.names == ("my A", "my C", "D", "B")


def test_a_run_has_one_letter_whatever_it_is_called() -> None:
    """In the list, in the plot, as a ghost, as the run that one is in, and after a restart."""
    runs = forked(2)
    runs.rename("C", "fast")
    runs.fork()
    runs.fork()
    runs.select("fast")
    runs.rename("D", "C D")
    told = {info.name: info.letter for info in runs.infos(10)}
    assert told == {"B": "B", "fast": "C", "C D": "D", "A": "A"}, "A gave way"
    again = Runs.restored(line().current, runs.infos(0))
    assert {info.name: info.letter for info in again.infos(10)} == told


@pytest.mark.parametrize("whole", [True, False], ids=["at an epoch's end", "within an epoch"])
def test_a_run_that_is_not_yet_run_again_is_told_as_it_was(whole: bool) -> None:
    """How far it had come and the loss there, before, while and after it is run once more."""
    runs = forked(2)
    if not whole:
        runs.current.step_phase()
    runs.fork()
    runs.rename("A", "first")
    before = runs.infos(0)
    assert all(info.last_epoch > 0 for info in before)
    again = Runs.restored(line().current, before)

    def told() -> dict[str, tuple[int, float]]:
        return {info.name: (info.last_epoch, info.loss)
                for info in again.infos(0) if not info.is_current}  # fmt: skip

    right = {info.name: (info.last_epoch, info.loss) for info in before if not info.is_current}
    assert told() == right
    asked = iter([False] * 3)
    again.catch_up(lambda: next(asked, True))
    assert told() == right
    assert again.catch_up(lambda: False)
    assert told() == right
    assert all(info.curve is not None for info in again.infos(10) if not info.is_current)
    assert not again.catch_up(lambda: False), "all of it is known"


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("", "bad_name"),
        ("a\nb", "bad_name"),
        ("\x1b[31m", "bad_name"),
        ("thirteen long", "long_name: {'most': 12, 'cells': 13}"),
        ("七七七七七七七", "long_name: {'most': 12, 'cells': 14}"),
        (" B ", "run_name_taken: {'name': 'B'}"),
        ("C", "letter_taken: {'letter': 'A'}"),
    ],
)
def test_a_name_that_can_not_be_shown_or_told_apart_is_refused(name: str, refusal: str) -> None:
    runs = forked(1)
    with pytest.raises(Refused, match=refusal):
        runs.rename("A", name)
    assert runs.names == ("A", "B")


def test_runs_that_there_are_not_are_refused_with_those_that_there_are() -> None:
    runs = forked(1)
    asks: list[Callable[[], object]] = [
        lambda: runs.select("X"),
        lambda: runs.delete("X"),
        lambda: runs.rename("X", "Y"),
        lambda: runs.then("X", Position(1, 1)),
    ]
    for ask in asks:
        with pytest.raises(Refused, match=r"no_run: .*'X'.*\['A', 'B'\]"):
            ask()
    with pytest.raises(Refused, match="is_current_run"):
        runs.delete("B")


# ── Going from one to another ───────────────────────────────────────────────────────


def test_another_run_is_taken_at_the_same_place_or_at_its_end() -> None:
    runs = line()
    frames = [runs.current.run_to(e) for e in range(1, 9)]
    runs.current.seek(4)
    runs.set(learning_rate=0.05)
    mine = runs.current.run_to(6)
    assert runs.select("A") == frames[5]
    assert runs.name == "A"
    assert runs.current.run_to(8) == frames[7]
    assert runs.current.last_epoch == 8
    assert runs.select("B") == mine
    assert runs.remarks == (Remark("run_selected_at_end", {"name": "B"}),)
    assert runs.current.run_to(7).learning_rate == 0.05


def test_a_run_that_was_taken_again_goes_on_where_its_keyframes_are() -> None:
    runs = Runs(shipped("xor", "model"))
    keep_every_epoch(runs.current)
    frames = [runs.current.run_to(e) for e in range(1, 31)]
    runs.current.seek(10)
    runs.set(learning_rate=0.5)
    began: list[int] = []
    runs.select("A")
    runs.current.seek(28, until=lambda: bool(began.append(runs.current.at.epoch)))  # type: ignore[func-returns-value]
    assert runs.current.frame() == frames[27]
    assert min(began) >= 25, "not all of it was run again"


def test_then_is_the_other_run_at_this_place() -> None:
    runs = line()
    runs.current.run_to(4)
    frames = [runs.current.step_phase() for _ in range(5)]
    runs.current.seek(2)
    runs.set(learning_rate=0.05)
    runs.current.run_to(4)
    for frame in frames:
        runs.current.step_phase()
        then = runs.then("A", runs.current.at)
        assert (then.frame, then.remark) == (frame, None)
    runs.current.step_phase()
    then = runs.then("A", runs.current.at)
    assert (then.frame, then.remark) == (None, Remark("came_only_to", {"epoch": 5}))


def test_then_goes_by_the_phase_where_the_modes_steps_differ() -> None:
    runs = Runs(shipped("xor", "manual"))
    runs.current.run_to(4)
    runs.current.seek(2)
    runs.switch(mode="autograd")
    for _ in range(23):
        frame = runs.current.step_phase()
        then = runs.then("A", runs.current.at).frame
        assert then is not None
        assert then.mode == "manual"
        if frame.phase not in ("Reset", "Setup"):
            assert (then.at.epoch, then.batch, then.phase) == (
                frame.at.epoch,
                frame.batch,
                frame.phase,
            )


def test_what_is_being_run_again_is_told_and_goes_on_when_asked_again(
    start: Callable[..., Run],
) -> None:
    slow = "import time\ntime.sleep(0.001)\ny_pred = w * x + next(numbers)"
    run = start(Predict=slow, Setup=UNCOPYABLE)
    runs = Runs(run)
    end = run.run_to(60)
    run.seek(30)
    runs.set(learning_rate=0.05)
    runs.current.run_to(60)
    remarks, asked = [], [0]

    def after_some() -> bool:
        asked[0] += 1
        return asked[0] % 20 == 0

    while (then := runs.then("A", runs.current.at, after_some)).frame is None:
        remarks.append(then.remark)
        assert len(remarks) < 10, "it gets on"
    assert then.frame == end
    assert len(remarks) >= 2
    assert all(remark is not None and remark.code == "runs_again" for remark in remarks)


UNCOPYABLE = (
    "x = torch.tensor([1.0, 2.0, 3.0])\nw = torch.tensor(0.5, requires_grad=True)\n"
    "numbers = (0.001 * n for n in range(1000))"
)


def test_runs_stepped_in_turn_are_what_each_is_alone(start: Callable[..., Run]) -> None:
    alone = start(**DRAWING)
    alone.run_to(3)
    alone.step_phase()
    expected_old = [all_of(alone)]
    for _ in range(12):
        alone.step_phase()
        expected_old.append(all_of(alone))
    alone.seek(2)
    alone.set(learning_rate=0.3)
    alone.run_to(3)
    alone.step_phase()
    expected_new = [all_of(alone)]
    for _ in range(12):
        alone.step_phase()
        expected_new.append(all_of(alone))

    runs = Runs(start(**DRAWING))
    runs.current.run_to(8)
    runs.current.seek(2)
    runs.set(learning_rate=0.3)
    runs.current.run_to(3)
    runs.current.step_phase()
    for old, new in zip(expected_old, expected_new, strict=True):
        assert all_of(runs.current) == new
        then = runs.then("A", runs.current.at)
        assert then.frame == old[0]
        runs.current.step_phase()


def test_a_standpoint_has_the_generators_as_its_own_run_left_them() -> None:
    run = shipped("train-and-eval")
    own = run.standpoint().start.randomness.cpu
    end = Position(3, EPOCH_END)
    other = Run.from_recipe(run.programs, run.recipe, end, generators=run.generators)  # it draws
    assert other.at.epoch == 3
    assert run.standpoint().start.randomness.cpu == own


def test_cutting_one_run_does_not_cut_the_other() -> None:
    runs = line()
    runs.current.run_to(30)
    runs.current.seek(10)
    runs.set(learning_rate=0.03)
    runs.current.run_to(20)
    runs.select("A")
    runs.current.seek(5)
    runs.set(learning_rate=0.04)
    assert {i.name: i.last_epoch for i in runs.infos(0)} == {"A": 30, "B": 20, "C": 5}
    curves = {i.name: i.curve for i in runs.infos(8)}
    assert {name: c.last_epoch for name, c in curves.items() if c} == {"A": 30, "B": 20}
    assert runs.current.curve(8).last_epoch == 5


def test_a_lesson_whose_functions_have_no_name_is_run_again_in_a_kept_run(
    start: Callable[..., Run],
) -> None:
    run = start(
        Setup="x = torch.ones(3)\nw = torch.tensor(0.5, requires_grad=True)\n"
        "gain = 2.0\nacts = {'double': lambda z: z * gain}",
        Predict="gain = gain + 0.1\ny_pred = acts['double'](w * x)",
    )
    keep_every_epoch(run)
    runs = Runs(run)
    frames = [run.run_to(e) for e in range(1, 11)]
    assert run.history.keyframe_epochs
    assert run.seek(6) == frames[5]
    runs.set(learning_rate=0.3)
    runs.current.run_to(9)
    assert runs.then("A", runs.current.at).frame == frames[8]
    assert runs.current.seek(7).learning_rate == 0.3


def test_after_an_interrupt_the_runs_are_built_anew_where_they_were() -> None:
    runs = forked(1)
    frame = runs.current.run_to(15)
    expected = runs.then("A", runs.current.at).frame
    assert runs.rebuild_all() == frame
    assert runs.then("A", runs.current.at).frame == expected


def test_runs_are_had_again_from_what_is_told_of_them() -> None:
    runs = Runs(shipped("line-through-origin", "autograd"))
    runs.current.run_to(12)
    runs.current.seek(5)
    runs.set(learning_rate=0.05)
    frame = runs.current.run_to(9)
    runs.rename("A", "slow")
    then = runs.then("slow", runs.current.at).frame
    told = runs.infos(0)
    run = runs.current
    twin = Runs.restored(Run.from_recipe(run.programs, run.recipe, run.at), told)
    assert twin.current.frame() == frame
    assert twin.infos(0)[0].last_epoch == 12
    assert twin.then("slow", twin.current.at).frame == then
    twin.catch_up(lambda: False)
    assert twin.infos(20) == runs.infos(20)
    assert twin.names == ("slow", "B")


def test_a_kept_run_is_named_by_the_settings_that_its_steps_used() -> None:
    runs = line()
    runs.current.step_epoch()
    runs.set(learning_rate=0.04)
    runs.restart()
    runs.current.step_epoch()
    kept, current = runs.infos(0)
    assert (kept.learning_rate, kept.changes) == (0.01, ())
    assert current.learning_rate == 0.04
