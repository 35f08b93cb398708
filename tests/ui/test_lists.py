"""The lists over a lesson: its runs, the doctor's findings and its exercises; one is chosen."""

from __future__ import annotations

import msgspec
import pytest
from textual.widgets import Static

from tutor.protocol.commands import DeleteRun, Examine, Fork, Pause, RenameRun, SelectRun
from tutor.protocol.inspections import CodeFix, DoctorFinding, DoctorReport
from tutor.ui.commands import DOCTOR_COMMANDS
from tutor.ui.screens.lesson import LessonScreen
from tutor.ui.screens.lists import (
    DoctorScreen,
    ExerciseList,
    ExercisesScreen,
    FindingsPane,
    RunsPane,
    RunsScreen,
)

from .conftest import Learner, MakeApp, at_screen, doing
from .exercises import CHOOSE, PREDICT, REPAIR
from .fake_engine import FakeEngine
from .kept import Kept

# ── Runs ────────────────────────────────────────────────────────────────────────────


async def test_f_keeps_a_run_and_capital_f_lists_renames_compares_and_deletes(
    learner: Learner,
) -> None:
    await learner.press("s", "f")
    assert any(isinstance(c, Fork) for c in learner.engine.sent)
    assert learner.session.wanted.then == "B", "it is compared with at once"
    await learner.press("F")
    assert isinstance(learner.app.screen, RunsScreen)
    pane = learner.app.screen.query_one(RunsPane)
    assert [run.name for run in pane.items] == ["A", "B"]
    assert pane.lines[1].plain.startswith("▶ A")
    assert pane.lines[1].plain.rstrip().endswith("this run")
    await learner.press("down", "n", *"slow", "enter")
    assert RenameRun(name="B", new="slow") in learner.engine.sent, "typing replaces the name"
    assert pane.lines[2].plain.startswith("▶ B slow")
    await learner.press("d")
    assert DeleteRun(name="slow") not in learner.engine.sent, "it asks once more"
    await learner.press("d")
    assert DeleteRun(name="slow") in learner.engine.sent
    assert [run.name for run in pane.items] == ["A"]
    await learner.press("escape")
    assert not isinstance(learner.app.screen, RunsScreen)


async def test_enter_in_the_list_goes_on_with_another_run(learner: Learner) -> None:
    await learner.press("s", "f", "F", "down", "enter")
    assert SelectRun(name="B") in learner.engine.sent
    assert not isinstance(learner.app.screen, RunsScreen)


async def test_the_list_of_runs_says_that_pytorch_loads_and_then_fills_itself(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    engine.ready_at_once = False
    async with at_screen(make_app()) as learner:
        await learner.press("F")
        assert learner.text("runs") == "loading PyTorch …"
        engine.get_ready()
        await learner.settle()
        assert [run.name for run in learner.app.screen.query_one(RunsPane).items] == ["A"]
        assert "this run" in learner.text("runs")


async def test_the_doctor_says_that_pytorch_loads(make_app: MakeApp, engine: FakeEngine) -> None:
    engine.ready_at_once = False
    async with at_screen(make_app()) as learner:
        await learner.press("exclamation_mark")
        result = learner.app.screen.query_one("#doctor-result", Static)
        assert str(result.render()) == "loading PyTorch …"


async def test_no_key_says_that_there_is_one_device_while_pytorch_loads(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    engine.ready_at_once = False
    async with at_screen(make_app()) as learner:
        await learner.press("d")
        assert not learner.session.notice.code


async def test_an_event_that_comes_while_the_app_ends_does_not_look_for_the_list_of_runs(
    learner: Learner,
) -> None:
    await learner.press("s", "F")
    screen = learner.app.screen
    assert isinstance(screen, RunsScreen)
    await screen.query("*").remove()
    screen.update_from_session()


# ── Findings ────────────────────────────────────────────────────────────────────────

RESET = DoctorFinding(
    code="gradients_not_reset",
    line=12,
    variable="w",
    numbers={"own": -4.0, "old": -8.0, "used": -12.0, "parameters": 1},
    lesson="line",
    fix=CodeFix(line=14, end_line=14, code="w.grad = None", place="after", epochs=10,
                loss_with=0.5, loss_without=31.25),
)  # fmt: skip
UNUSED = DoctorFinding(
    code="parameter_unused",
    line=30,
    variable="b[0]",
    numbers={"passes": 3, "gradients": 0, "uses": 0},
    lesson="missing",
)
REPORT = DoctorReport(findings=(RESET, UNUSED), taught=0, epochs=3)


def shown(learner: Learner) -> str:
    """The findings and the result."""
    screen = learner.app.screen
    assert isinstance(screen, DoctorScreen)
    rows = [row.plain for row in screen.query_one(FindingsPane).lines]
    return "\n".join([*rows, str(screen.query_one("#doctor-result", Static).content)])


def keys_named(learner: Learner) -> list[str]:
    """Only those that do something."""
    said = str(learner.app.screen.query_one("#doctor-keys", Static).content)
    return [c.keys[0] for c in DOCTOR_COMMANDS if f"{c.key_label} {c.label}" in said]


async def test_findings_are_listed_and_enter_opens_the_lesson(learner: Learner) -> None:
    learner.engine.report = REPORT
    await learner.press("exclamation_mark")
    text = shown(learner)
    assert all(part in text for part in ("▶ Line 12", "−12", "31.25", "`w.grad = None`"))
    assert "b[0]" in text
    assert keys_named(learner) == ["enter", "escape"]
    await learner.press("down")
    assert "▶ Line 30" in shown(learner)
    await learner.press("enter")
    assert not isinstance(learner.app.screen, DoctorScreen)
    assert "missing" in str(learner.session.notice.values)


async def test_what_the_lesson_teaches_is_asked_for(learner: Learner) -> None:
    learner.engine.report = DoctorReport(taught=1, epochs=3)
    await learner.press("exclamation_mark")
    assert "on purpose" in shown(learner)
    assert keys_named(learner) == ["t", "escape"]
    learner.engine.report = REPORT
    await learner.press("t")
    assert "Line 12" in shown(learner)
    asked = [command.with_taught for command in learner.engine.sent if isinstance(command, Examine)]
    assert asked == [False, True]


async def test_an_examination_ends_when_the_list_is_closed(learner: Learner) -> None:
    learner.engine.report = DoctorReport(taught=0, epochs=3)
    await learner.press("exclamation_mark")
    assert keys_named(learner) == ["escape"]
    learner.engine.holds = True
    await learner.press("escape", "exclamation_mark")
    assert keys_named(learner) == ["escape"]
    await learner.press("escape")
    assert isinstance(learner.engine.sent[-1], Pause)
    assert not isinstance(learner.app.screen, DoctorScreen)


# ── Exercises ───────────────────────────────────────────────────────────────────────

DONE = Kept(done={"line": {"first": "done", "fix": "tried"}})


@doing(PREDICT, REPAIR, CHOOSE, journal=DONE, keys="A")
async def test_it_shows_kind_and_state_and_begins_with_the_chosen_one(learner: Learner) -> None:
    listed = learner.app.screen.query_one(ExerciseList)
    rows = [row.plain.split() for row in listed.lines]
    assert [(row[0], row[-1]) for row in rows] == [("✓", "done"), ("▶", "tried"), ("◇", "new")]
    assert ["repair" in row for row in rows[1:]] == [True, False]
    assert ["choice" in row for row in rows[1:]] == [False, True]
    assert listed.size.height == 3
    await learner.press("0", "7")  # there are none
    assert isinstance(learner.app.screen, ExercisesScreen)
    await learner.press("down", "escape")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.session.attempt is None, "escape begins nothing"
    await learner.press("A", "down", "down", "up", "up", "down", "enter")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.attempt.exercise is REPAIR
    await learner.press("A", "3")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.attempt.exercise is CHOOSE, "a number begins the exercise that has it"


MANY = [msgspec.structs.replace(PREDICT, id=f"number-{n}") for n in range(1, 14)]


@pytest.mark.parametrize(("keys", "begun"), [("12", "number-12"), ("2", "number-2")])
@doing(*MANY, keys="A")
async def test_of_many_a_number_of_two_digits_can_be_typed(
    learner: Learner, keys: str, begun: str
) -> None:
    await learner.press(keys[0])
    if len(keys) > 1:
        assert learner.app.screen.query_one(ExerciseList).chosen.id == "number-1"
        await learner.press(keys[1])
    assert learner.attempt.exercise.id == begun
