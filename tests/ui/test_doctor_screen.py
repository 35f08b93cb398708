"""The doctor's screen: a list of findings, of which one is chosen."""

from __future__ import annotations

from textual.widgets import Static

from tutor.protocol.commands import Examine, Pause
from tutor.protocol.inspections import CodeFix, DoctorFinding, DoctorReport
from tutor.ui.commands import DOCTOR_COMMANDS
from tutor.ui.screens.lists import DoctorScreen, FindingsPane

from .conftest import Learner

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
