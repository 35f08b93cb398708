"""The words for what the doctor finds."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest
from msgspec.structs import replace

from tutor.protocol.inspections import CodeFix, DoctorFinding, DoctorReport, ForkLosses
from tutor.wording.doctor_findings import _TEXTS, finding_text, report_text

DOCTOR = Path(__file__).parents[2] / "tutor" / "analysis" / "doctor"

FINDING = DoctorFinding(
    code="gradients_not_reset",
    line=12,
    variable="w",
    numbers={"own": -4.0, "old": -8.0, "used": -12.0, "parameters": 1},
    lesson="forgotten-zero",
    exercise="the-missing-line",
    fix=CodeFix(
        line=14, end_line=15, code="w.grad = None", place="after", epochs=10, loss_with=0.02,
        loss_without=31.6,
    ),
)  # fmt: skip


def test_a_finding_names_line_variable_numbers_fix_and_lesson() -> None:
    what, fix, lesson = finding_text(FINDING).split("\n")
    assert all(part in what for part in ("12", "`w`", "−12", "−4", "−8"))
    assert all(part in fix for part in ("15", "`w.grad = None`", "10", "0.02", "31.6"))
    assert all(part in lesson for part in ("forgotten-zero", "the-missing-line"))


def test_a_fork_that_stops_without_the_fix_has_one_loss() -> None:
    assert FINDING.fix is not None
    finding = replace(FINDING, fix=replace(FINDING.fix, loss_without=None), lesson="")
    _, fix = finding_text(finding).split("\n")
    assert "0.02" in fix
    assert "the code stops" in fix


def test_losses_that_print_alike_are_not_compared() -> None:
    assert FINDING.fix is not None
    alike = replace(FINDING.fix, loss_with=0.250000001, loss_without=0.25)
    _, fix = finding_text(replace(FINDING, fix=alike, lesson="")).split("\n")
    assert "`w.grad = None`" in fix
    assert "0.25" not in fix


def test_evidence_that_nobody_has_is_said_in_words() -> None:
    numbers = {"loss": None, "loss_in_order": 0.25, "function": "mse_loss"}
    swapped = replace(FINDING, code="loss_arguments_swapped", numbers=numbers)
    assert "the loss is an error, and in the right order it is 0.25." in finding_text(swapped)
    numbers = {"operation": "log", "argument": None, "result": "nan"}
    changed = replace(FINDING, code="first_not_finite", numbers=numbers)
    assert "`log` turns unknown into nan." in finding_text(changed)


@pytest.mark.parametrize(("last", "is_told"), [(0.5, True), (1.0, False)])
def test_losses_of_two_functions_are_not_compared(last: float, is_told: bool) -> None:
    assert FINDING.fix is not None
    other = replace(FINDING.fix, loss_first=0.75, loss_with=last)
    _, fix = finding_text(replace(FINDING, fix=other, lesson="")).split("\n")
    assert "31.6" not in fix
    assert ("0.75" in fix, str(last) in fix) == (is_told, is_told)


def test_in_a_notebook_the_lines_are_those_of_a_cell() -> None:
    what, fix, _ = finding_text(FINDING, "[2]:{}".format).split("\n")
    assert what.startswith("[2]:12: ")
    assert "[2]:15" in fix


@pytest.mark.parametrize("code", sorted(_TEXTS))
def test_no_sentence_shows_an_empty_name(code: str) -> None:
    fields = {(name, how) for _, name, how, _ in Formatter().parse(_TEXTS[code]) if name}
    numbers = {name: (1,) if how == "shape" else 1.0 for name, how in fields}
    numbers = {name: one for name, one in numbers.items() if name not in ("more", "variable")}
    variable = "" if ("variable", "named") in fields else "w"
    text = finding_text(replace(FINDING, code=code, variable=variable, numbers=numbers))
    assert "``" not in text


def test_text_of_the_code_is_plain() -> None:
    text = finding_text(replace(FINDING, variable="w\x1b[31m"))
    assert "\x1b" not in text


def codes() -> list[str]:
    """The codes that the rules give their findings."""
    text = "".join(path.read_text() for path in DOCTOR.glob("*.py"))
    return [code for code in _TEXTS if f'"{code}"' in text]


def test_every_code_of_a_rule_has_words_and_all_words_have_a_rule() -> None:
    text = "".join(path.read_text() for path in DOCTOR.glob("*.py"))
    given = set(re.findall(r'code="(\w+)"', text))
    assert given <= set(_TEXTS)
    assert set(codes()) == set(_TEXTS)


@pytest.mark.parametrize("count", [1, 2])
def test_a_shape_is_written_as_python_writes_it(count: int) -> None:
    finding = replace(
        FINDING,
        code="broadcast_in_loss",
        numbers={"shape": (4,) * count, "other_shape": (4,), "differences": 16, "samples": 4},
    )
    assert str((4,) * count) in finding_text(finding)


def test_a_report_counts_what_was_found_and_says_what_all_fixes_do() -> None:
    together = ForkLosses(fixes=2, epochs=10, loss_with=0.25, loss_without=31.6)
    report = DoctorReport(findings=(FINDING, FINDING), together=together, epochs=3)
    text = report_text(report)
    assert all(part in text for part in ("2 mistakes", "3 epochs", "2 fixes", "0.25", "31.6"))
    stops = report_text(replace(report, together=replace(together, loss_without=None)))
    assert "the code stops" in stops
    silent = report_text(DoctorReport(taught=1, epochs=1, is_complete=False))
    assert all(part in silent for part in ("No mistakes", "first epoch", "on purpose"))
    assert silent != report_text(DoctorReport(taught=1, epochs=1))


def test_a_remark_is_not_counted_as_a_mistake() -> None:
    remark = replace(FINDING, code="gradient_scaled")
    alone = report_text(DoctorReport(findings=(remark,), epochs=3))
    assert all(part in alone for part in ("No mistakes", "1 remark"))
    both = report_text(DoctorReport(findings=(FINDING, remark), epochs=3))
    assert all(part in both for part in ("1 mistake ", "1 remark"))
