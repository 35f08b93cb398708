"""The commands of plain mode that ask about the lesson and its run, and those of exercises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tutor.errors import TutorError
from tutor.lesson.exercise import Repair
from tutor.lesson.model import SETUP, DisplayFormula, Section
from tutor.plain_mode import exercise_text, spoken_inspections, spoken_lesson
from tutor.plain_mode.commands import (
    CommandContext,
    CommandOutcome,
    Needs,
    TypedCommand,
    UnclearCommandError,
    simple,
    typed,
)
from tutor.plain_mode.run_narrator import CommandKind, all_values
from tutor.plain_mode.spoken_lesson import spoken_number
from tutor.plain_mode.spoken_text import Line, in_words, sentence, spoken_definition
from tutor.protocol.commands import Inspect
from tutor.protocol.frame import Value
from tutor.protocol.inspections import PLOT_DATA_KINDS, DoctorReport, NoPlot
from tutor.script.line_places import line_at, place_in_code
from tutor.session.attempt import asks_of_forward_pass, may_show_plots, shown_values
from tutor.session.exercise_controller import ExerciseController
from tutor.session.run_view import Notice, RunView
from tutor.session.session import FIGURES, NOTEBOOK, SCRIPT, suggested_file, write_lesson
from tutor.wording import parameter_input
from tutor.wording.doctor_findings import finding_text, report_text
from tutor.wording.notices import error_text
from tutor.wording.number_format import listed

CURVE_COLUMNS = 2000
"""Columns of a loss curve that is spoken: up to as many epochs, its numbers are exact."""

SUFFIXES = {
    "script": SCRIPT,
    "notebook": NOTEBOOK,
    "figures": FIGURES,
}


@typed("where")
def _where(on: CommandContext, argument: str, view: RunView) -> Iterator[Line]:
    """The position of the run, and its settings."""
    frame = view.frame
    what = "Script" if view.lesson.script else "Lesson"
    yield f"{what} {view.lesson.slug}, mode {view.mode}, on {view.device}."
    if frame is not None:
        yield spoken_lesson.where(view.lesson, frame)
        is_known = frame.learning_rate or not view.lesson.script
        rate = spoken_number(frame.learning_rate) if is_known else "not known"
        yield f"The learning rate is {rate}. A run goes to epoch {view.target_epoch}."
    if attempt := on.session.attempt:
        yield f"You are in exercise {attempt.number} of {attempt.count}: {attempt.exercise.id}."
        yield from exercise_text.still_to_do(attempt)
    if view.failed is not None:
        yield exercise_text.failure(view.failed, attempt, on.session.controller.lesson)


@typed("values numbers")
def _values(on: CommandContext, argument: str, view: RunView) -> Iterator[Line]:
    """The loss, the parameters and their gradients."""
    if view.frame is None:
        yield "There are no values yet."
    else:
        yield spoken_lesson.where(view.lesson, view.frame)
        yield from all_values(view.frame)


@typed("formula", "[PHASE]")
def _formulas(on: CommandContext, argument: str, view: RunView) -> Iterator[Line]:
    """The formulas of a phase, with their current values."""
    now = (view.last_section, view.next_section) if view.frame else (view.lesson.phase(SETUP),)
    for section in [_phase(argument, view)] if argument else filter(None, now):
        said = [line for line in _formulas_of(on, section, view) if line]
        yield f"{section.phase}." if said else f"{section.phase} has no formula."
        yield from said


def _formulas_of(on: CommandContext, section: Section, view: RunView) -> Iterator[Line]:
    values = _values_in(on, section, view)
    is_foreign = spoken_lesson.has_symbols(view.lesson)
    for block in section.blocks:
        if isinstance(block, DisplayFormula):
            yield spoken_lesson.live(view.lesson, block, values) or spoken_definition(
                block.latex, in_symbols=is_foreign
            )


def _values_in(on: CommandContext, section: Section, view: RunView) -> Mapping[str, Value]:
    """The values in a section's formulas, but what an exercise asks for."""
    blocks = [block for block in section.blocks if isinstance(block, DisplayFormula)]
    attempt = on.session.attempt
    shown = {(b.line, e) for b in blocks for e in shown_values(b, attempt, section, view)}
    hidden = {e for b in blocks for e in b.boxed if (b.line, e) not in shown}
    values = view.frame.boxed.get(section.phase or "", {}) if view.frame else {}
    return {e: value for e, value in values.items() if e not in hidden}


@typed("code", "[PHASE]")
def _code(on: CommandContext, argument: str, view: RunView) -> Iterator[Line]:
    """The code of the next phase, or of the named one; in a script, also from a line: code 20."""
    attempt = on.session.attempt
    if attempt is not None and attempt.wants.is_edited and not argument:
        yield from exercise_text.code_to_fix(attempt, view.failed, on.session.controller.lesson)
        return
    if view.lesson.script is not None:
        yield from _script_code(argument, view)
        return
    phase = view.next_phase or SETUP
    section = _phase(argument, view) if argument else view.lesson.phase(phase)
    said = list(spoken_lesson.code(view.lesson, view.mode, str(section.phase))) if section else []
    yield from said or [f"No code runs in this phase in the mode {view.mode}."]


def _script_code(argument: str, view: RunView) -> Iterator[Line]:
    """The lines of a phase of a script, or the file from a line on."""
    if (first := line_at(view.lesson, argument)) is not None:
        yield from spoken_lesson.file_lines_from(view.lesson, first)
        return
    section = _phase(argument, view) if argument else view.next_section
    if section is None or not section.lines:
        raise UnclearCommandError("No line is next. Type code and the number of a line.")
    yield spoken_lesson.phase_lines(view.lesson, section)


@typed("read", "[PHASE]")
def _read(on: CommandContext, argument: str, view: RunView) -> Iterator[Line]:
    """The text of a phase, or the next text after the phases."""
    if view.lesson.script is not None:
        raise UnclearCommandError("A script is only code. Type code and a line, like code 1.")
    if not argument:
        on.narrator.read_on(view)
        return
    section = _phase(argument, view)
    values = _values_in(on, section, view)
    yield sentence(section.heading)
    yield from spoken_lesson.before(view.lesson, section, view.mode)
    yield from spoken_lesson.after(view.lesson, section, values, with_words=True)


@typed("ladder")
def _ladder(on: CommandContext, argument: str, view: RunView) -> Iterator[Line]:
    """The phases that each mode does by hand, and those that PyTorch does."""
    return spoken_lesson.ladder(view.lesson, view.mode)


def _phase(name: str, view: RunView) -> Section:
    """The first section with this in its heading. Raises UnclearCommandError."""
    named = [s for s in view.lesson.sections if s.heading]
    found = [s for s in named if name.lower() in s.heading.lower()]
    if not found:
        headings = listed([s.heading for s in named])
        raise UnclearCommandError(f"There is no section {name}; available: {headings}.")
    return found[0]


# ── Inspections ─────────────────────────────────────────────────────────────────────


@typed("compare c", needs="frame")
def _compare(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """The gradients of all modes at the same parameters."""
    if not on.session.is_allowed(Inspect(compare=True)):
        return "notice"
    view = on.inspected("comparison", compare=True)
    found = view.inspections.comparison
    return spoken_inspections.comparison(found, view) if found else []


@typed("doctor", "[all]", needs="frame")
def _doctor(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """The mistakes in the code; with all also those that the lesson makes on purpose."""
    if argument not in ("", "all"):
        raise UnclearCommandError("Type doctor, or doctor all.")
    on.session.examine(with_taught=argument == "all")
    on.listener.wait()
    report = on.session.report
    return "notice" if report is None else _of_report(report, view)


def _of_report(report: DoctorReport, view: RunView) -> Iterator[Line]:
    for finding in report.findings:
        text = finding_text(finding, place_in_code(view.lesson))
        yield from in_words(text.replace("`", "")).split("\n")
    yield in_words(report_text(report))


@typed("inside", "NAME", needs="frame")
def _inside(on: CommandContext, argument: str, view: RunView) -> Iterator[Line]:
    """A variable: its value, its part in autograd, its gradient."""
    if not argument:
        example = next(iter(view.frame.values), "loss") if view.frame else "loss"
        raise UnclearCommandError(f"Inside what? Type inside and a name, like inside {example}.")
    if info := on.inspected("variable", name=argument).inspections.variable:
        yield from spoken_inspections.variable(info)


@typed("graph", needs="frame")
def _graph(on: CommandContext, argument: str, view: RunView) -> Iterator[Line]:
    """The autograd graph of this step, in the order of backward."""
    view = on.inspected("graph", graph=True)
    found, frame, attempt = view.inspections.graph, view.frame, on.session.attempt
    if found is not None and frame is not None:
        if asks_of_forward_pass(attempt, view):
            found = found.without_results()
        known = attempt.asked_of.known if attempt and attempt.asked_of else view.operations
        yield from spoken_inspections.graph(found, view.lesson, frame, known)


@typed("plot v", f"[{'|'.join(('loss', *PLOT_DATA_KINDS))}]", needs="frame")
def _plot(on: CommandContext, argument: str, view: RunView) -> Iterator[Line]:
    """The plots in words: one of them by its name, or all."""
    name = argument.lower()
    name = "landscape" if name == "slope" else name  # its name in earlier versions
    if name and name not in ("loss", *PLOT_DATA_KINDS):
        names = listed(["loss", *PLOT_DATA_KINDS])
        raise UnclearCommandError(f"There is no plot {argument}; available: {names}.")
    if name in ("", "loss"):
        yield from _loss(on)
    if not may_show_plots(on.session.attempt, view):
        if name != "loss":
            yield "The other plots can be described when you have answered."
        return
    for kind in (kind for kind in PLOT_DATA_KINDS if name in ("", kind)):
        found = on.inspected("plot", plot=kind).inspections.plot
        if found is not None and (name or not isinstance(found, NoPlot)):
            yield from spoken_inspections.plot(found)


def _loss(on: CommandContext) -> Iterator[Line]:
    on.session.inspect(columns=CURVE_COLUMNS)
    on.listener.wait()
    view = on.session.view
    has_loss = view is None or view.frame is None or view.frame.has_loss
    yield from spoken_inspections.loss_curve(view.curve if view else None, has_loss)
    on.session.inspect(columns=0)
    on.listener.wait()
    on.session.notice = Notice()


@typed("export e", "script|notebook|figures [FILE]")
def _export(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Write the lesson, or its figures so far, to a new file."""
    kind, _, name = argument.partition(" ")
    if kind not in SUFFIXES:
        raise UnclearCommandError("Type export, then script, notebook or figures, then a file.")
    suffix = SUFFIXES[kind]
    if Path(name).suffix in {*SUFFIXES.values()} - {suffix}:
        raise UnclearCommandError(f"The name of a {kind} file ends in {suffix}.")
    if view.lesson.script is not None and kind != "figures":
        raise UnclearCommandError("A script is already a file. Type export figures.")
    name = name.strip() or suggested_file(view, suffix)
    try:
        path = parameter_input.read_path(name if name.endswith(suffix) else name + suffix)
        if kind == "figures":
            on.session.write_figures(path)
            return "notice"
        write_lesson(view, path)
    except (ValueError, TutorError) as error:
        text = error_text(error) if isinstance(error, TutorError) else str(error)
        raise UnclearCommandError(f"{text.rstrip('.')}.") from None
    return [f"Written to {path}"]


# ── Exercises ───────────────────────────────────────────────────────────────────────

LONGEST_CODE = 100_000
"""Characters that are read of a file of code."""


@typed("exercises A")
def _exercises(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """The exercises of this lesson, and which are done."""
    controller = on.session.controller
    return list(exercise_text.listing(controller.exercises, controller.results()))


@typed("exercise a", "[NAME]")
def _exercise(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Begin the first open exercise, or the named one."""
    controller = on.session.controller
    if argument and controller.exercise(argument) is None:
        raise UnclearCommandError(
            f"There is no exercise {argument}. Type exercises for their names."
        )
    controller.begin(argument or None)
    return "begin"


@typed("answer", "ANSWER", needs="exercise")
def answer(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Answer the exercise; you can also type the answer alone."""
    attempt = on.session.attempt
    if attempt is not None and not attempt.wants.is_answer:
        raise UnclearCommandError(exercise_text.ANSWERS[attempt.wants].how)
    if attempt is not None and attempt.state in ("wrong", "done"):
        then = "continue" if attempt.state == "done" else "be asked again"
        raise UnclearCommandError(f"You have already answered this question. Type next to {then}.")
    on.session.controller.answer(argument)
    return "answer"


@typed("edit o", "[FILE]", needs="exercise")
def _edit(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Write the code of a repair, or read it from a file."""
    attempt = on.session.attempt
    exercise = attempt.exercise if attempt else None
    if not isinstance(exercise, Repair):
        raise UnclearCommandError("There is no code to fix in this exercise.")
    code = _code_in(argument) if argument else _typed_code(on, exercise.phase)
    if not code.strip():
        raise UnclearCommandError("No code was typed: your code stays as it was.")
    on.session.controller.agree_to(code + "\n")  # typed, or named, by the learner just now
    return "edit"


def _code_in(path: str) -> str:
    try:
        with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as file:
            return file.read(LONGEST_CODE)
    except (OSError, ValueError) as error:  # ValueError: no path has a NUL
        why = error.strerror if isinstance(error, OSError) else error
        raise UnclearCommandError(f"{path} can't be read: {why}.") from None


def _typed_code(on: CommandContext, phase: str) -> str:
    """The typed lines. If they are stopped, keeps them and raises UnclearCommandError."""
    lines: list[str] = []
    try:
        for line in on.more_lines():
            lines.append(line)  # one by one, because they may be stopped
    except (KeyboardInterrupt, EOFError):
        code = "\n".join(lines)
        if not code.strip():
            raise UnclearCommandError("Stopped: the code stays as it was.") from None
        on.session.controller.keep_draft(code + "\n")
        raise UnclearCommandError(
            "Stopped: the lines you typed are kept, and nothing was checked. "
            f"Type code to hear them, code {phase} for the previous code, edit to write it again."
        ) from None
    return "\n".join(lines)


@typed("agree", needs="exercise")
def _agree(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Let code from elsewhere run, after you have heard all of it."""
    attempt = on.session.attempt
    if attempt is None or not attempt.is_from_elsewhere:
        raise UnclearCommandError("There is no code from elsewhere that needs your agreement.")
    on.session.controller.agree_to(attempt.code)
    return "edit"


@typed("go O", "on")
def _go(on: CommandContext, argument: str, view: RunView) -> CommandOutcome:
    """Resume the lesson, or continue the exercise."""
    attempt = on.session.attempt
    if attempt is not None and attempt.state in ("wrong", "done"):
        on.session.controller.go_on()
        return "exercise"
    on.session.resume_previous()
    return "jump"


def _simple(
    words: str,
    help: str,
    method: Callable[[ExerciseController], None],
    kind: CommandKind = "exercise",
    needs: Needs = "exercise",
) -> TypedCommand:
    """A command that calls one method of the exercise controller."""
    return simple(words, help, lambda session: method(session.controller), kind, needs=needs)


QUESTION_COMMANDS = (
    _where,
    _values,
    _formulas,
    _code,
    _read,
    _ladder,
    _inside,
    _graph,
    _compare,
    _doctor,
    _plot,
    _export,
    # Exercises
    _exercises,
    _exercise,
    answer,
    _simple("hint h", "a hint for the exercise", ExerciseController.hint),
    _simple(
        "solution H",
        "the solution of the exercise, after one try",
        ExerciseController.show_solution,
        "solution",
    ),
    _edit,
    _agree,
    _simple("skip k", "skip the exercise: you know this already", ExerciseController.skip),
    _simple(
        "unskip K",
        "take back the last skip, and begin that exercise",
        ExerciseController.unskip,
        needs="",
    ),
    _simple("leave esc", "leave the exercise and return to the lesson", ExerciseController.leave),
    _go,
)
