"""The catalogue of notices, and the words of a comparison of all modes.

A template names a command in braces. The screen puts the command's key there, plain mode its typed
word: `{restart} starts again` is "R starts again" or "restart starts again".
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tutor.errors import (
    CodeRaised,
    EngineError,
    LessonFileError,
    ProgressError,
    Refused,
    ScriptError,
    TutorError,
)
from tutor.lesson.model import LessonDiagnostics
from tutor.plain import one_line
from tutor.protocol.events import ProcessEnded
from tutor.protocol.frame import Remark
from tutor.wording.engine_remarks import phase_text, process_end
from tutor.wording.lesson_faults import lesson_fault_text
from tutor.wording.number_format import counted, listed, time_left, trimmed
from tutor.wording.remarks import remark_text, remarks_text
from tutor.wording.templates import Values, filled

if TYPE_CHECKING:
    from tutor.progress.store import SetAside
    from tutor.session.attempt import CodePlace
    from tutor.session.run_view import Notice

Commands: TypeAlias = Mapping[str, str]
"""The keys of commands, or the words that are typed for them, by name."""

PART = " · "
"""The separator between the parts of a notice."""

_STOPS = "{stop} stops it"
_OPENS_AGAIN = "{restart} opens it again"
_STARTS_AGAIN = "{restart} starts again"
_LEAVES = "{leave}: to the lesson"

_NOTICES: Mapping[str, Sequence[str]] = {
    "text": ("{text}",),
    # ── The run
    "busy": ("Still busy with earlier commands", "{stop} stops"),
    "stopping": ("Stopping …",),
    "stopping_script": (
        "Stopping after this phase …",
        "{stop} again stops at once, at the epoch's start",
    ),
    "nothing_running": ("Nothing is running", "{quit} leaves the tutor"),
    "nothing_running_in_field": (
        "Nothing is running",
        "{leave_field}, then {quit} leaves the tutor",
    ),
    "beginning": ("This is the beginning", "{step_phase} goes on"),
    "target_reached": ("Epoch {epoch} is reached", "{toggle_run} again goes on to {further}"),
    "one_mode": ("There is only one gradient mode here: {mode}",),
    "one_device": ("There is only one device here: {device}",),
    "rate_unknown": ("The learning rate is 0 or not known", "{ask_learning_rate} sets one"),
    "written": ("Written to {path}",),
    "back_at": ("{reason}", "back at epoch {epoch}"),
    # ── An engine on another machine
    "lost": ("The connection to {host} is lost", "{reconnect} connects again", "{reason}"),
    "not_connected": ("{reason}", "{reconnect} tries again"),
    "connected": ("Connected to {host} again",),
    "connected_at": ("Connected to {host} again", "back at epoch {epoch}"),
    "not_lost": ("The connection is not lost",),
    "not_remote": ("The code runs on this machine: there is no connection",),
    # ── Changes of a run
    "on_cpu": ("{reason}", "it starts on the CPU"),
    "replayed_on_cpu": ("{reason}", "computed again on the CPU"),
    "begins_anew": ("{reason}", "it starts from the beginning"),
    "reading_graph": ("Reading the graph …",),
    "no_operation": ("There is no operation of backward here",),
    "not_in_gradient": (
        "{operation} goes through the Gradient phase by operations: step to that phase first",
    ),
    "lesson_not_listed": ("The lesson {name} is not in the menu",),
    "examination_runs": ("The doctor is still examining the code ({seconds:.0f} s)", _STOPS),
    "no_comparison": ("Here each mode is a run of its own: there is nothing to compare",),
    # ── Waiting
    "loading": ("loading PyTorch …",),
    "phase_runs": ("{phase} is still running ({seconds:.0f} s)", _STOPS),
    "setup_runs": ("Setup is still running ({seconds:.0f} s)", _STOPS),
    "epoch_runs": ("The epoch is still running ({seconds:.0f} s)", _STOPS),
    "run_to_runs": ("The run to epoch {epoch} is still running ({seconds:.0f} s)", _STOPS),
    "change_runs": ("The switch to run {name} is still running ({seconds:.0f} s)", _STOPS),
    "writing_runs": ("The figures are still being written ({seconds:.0f} s)", _STOPS),
    # ── Lessons
    "left_in_epoch": ("You left this lesson in epoch {epoch}", "{resume_previous} takes you there"),
    "left_at_exercise": (
        "You left this lesson at exercise {id}",
        "{resume_previous} takes you there",
    ),
    "resumed": ("You are back where you left off", _STARTS_AGAIN),
    "nothing_to_resume": ("Nothing to resume: this is where you left off",),
    "lesson_changed": ("The lesson has changed since you left it: it starts from the beginning",),
    # ── Scripts
    "script_left_in_epoch": (
        "You left this script in epoch {epoch}",
        "{resume_previous} takes you there",
    ),
    "script_changed": ("The script or its arguments have changed: it starts from the beginning",),
    "script_target_reached": (
        "Epoch {epoch} is the last of the loop",
        "{step_epoch} or {toggle_run} runs the rest of the script",
    ),
    "script_seed": ("The script sets its own seed ({place}): another one changes nothing",),
    "script_over": ("The script has ended", "{back_phase} goes back", _STARTS_AGAIN),
    "script_device": ("A script chooses its own device, here {name}",),
    "script_export": ("A script is already a file: only its figures can be written, as .csv",),
    "script_compare": ("A script has only one gradient mode: there is nothing to compare it with",),
    "script_exercises": ("A script has no exercises", "{menu}: the lessons"),
    "script_neighbours": ("A script has no next or previous lesson", "{menu}: the lessons"),
    # ── Exercises
    "answer_first": (
        "First say what you expect",
        "{answer} answers",
        "{skip}: I know this",
        _LEAVES,
    ),
    "empty_answer": ("Type your answer first", _LEAVES),
    "run_is_fixed": ("The question is about this run: you can't change it now", _LEAVES),
    "only_code_changes": ("Only the code may be changed here", "{edit} opens it", _LEAVES),
    "same_choice": ("That choice is not right", "choose another one"),
    "nothing_chosen": ("Type the number of a choice, then enter",),
    "no_exercises": ("There are no exercises here",),
    "unknown_exercise": ("There is no exercise {id}", "{exercises} shows them all"),
    "exercise_waits": ("The exercise starts when the current run has finished",),
    "goal_not_reached": ("The goal is not reached yet", "{step_phase} steps", "{toggle_run} runs"),
    "goal_missed": ("This run can't reach the goal any more", _STARTS_AGAIN),
    "no_more_hints": ("No more hints",),
    "solution_locked": ("Try once to unlock the solution",),
    "goal_solution_locked": (
        "Try once to unlock the solution: run an epoch or more",
        "then {restart} starts again",
    ),
    "none_skipped": ("No exercise of this lesson is skipped",),
    "code_as_given": ("Your code did not get this far: the lesson's own code runs here",),
    "no_exercise_on": ("You are not in an exercise", "{exercise} begins one"),
    "no_repair_on": ("{edit} edits the code of a repair: you are not in one",),
    "own_run_back": ("Your own run is back as you left it", "{exercise}: exercises"),
    "nothing_selected": ("Nothing is selected (shift+arrows select)", "{leave} goes back"),
    "progress_waits": ("progress is not saved yet: waiting for {file}",),
    # ── Runs
    "delete_again": ("{delete} again deletes {name} for good",),
    "is_this_run": ("This is the run you are in: choose another to compare with",),
    "compared_with": ("{name} is shown beside the numbers as “then”",),
    # ── The app
    "no_lesson_open": ("No lesson is open yet", "{open} opens one"),
    "nothing_left_yet": ("Nothing to resume yet", "{open} opens a lesson"),
    "first_lesson": ("This is the first lesson", "{menu} shows all"),
    "last_lesson": ("This is the last lesson", "{menu} shows all"),
    "no_shell": ("There is no shell to go back to", "{quit} quits"),
    "no_lesson_here": ("There is no lesson to open here",),
    "not_opened": ("{name} was not opened",),
    "unused_key": ("{key} does nothing here", "{help} shows all keys"),
    "mouse": ("From the next start, the mouse belongs to the {whose}",),
    "no_colours": ("NO_COLOR is set: there are no colours to choose from",),
    "theme_taken": ("Theme {title}", "{theme}: the next"),
}


def notice_text(notice: Notice, commands: Commands) -> str:
    """The notice as one line."""
    return PART.join(notice_parts(notice, commands))


def notice_parts(notice: Notice, commands: Commands) -> list[str]:
    """The notice, then its hints, without those on a command that is not in `commands`."""
    if not notice.code:
        return []
    if make := _COMPOSED.get(notice.code):
        parts = make(notice.values, commands)
    else:
        parts = (_filled(template, commands, notice.values) for template in _NOTICES[notice.code])
    return [one_line(part) for part in parts if part]


def _filled(template: str, commands: Commands, values: Values = MappingProxyType({})) -> str:
    """The text of a template; empty where it names a command that is not there."""
    try:
        return filled(template, {**commands, **{n: _in_words(v) for n, v in values.items()}})
    except KeyError:
        return ""


def _in_words(value: Any) -> Any:
    """The value; in words if the engine has said it."""
    match value:
        case Remark():
            return remark_text(value)
        case ProcessEnded():
            return process_end(value)
    return value


# ── Notices whose parts depend on their parameters ──────────────────────────────────


def _script_left_in_run(values: Values, commands: Commands) -> Iterable[str]:
    loop = f" of loop {values['loop']}" if values["loop"] else ""
    arguments = f"with {shlex.join(values['arguments'])}" if values["arguments"] else ""
    run = arguments or ("" if loop else "without arguments")
    yield f"You left this script in epoch {values['epoch']}{loop}{', ' if run else ''}{run}"
    yield _filled("{resume_previous} takes you there", commands)


def _engine_remarks(values: Values, commands: Commands) -> Iterable[str]:
    yield from map(remark_text, values["remarks"])
    if values["can_restart"]:
        yield _filled(_OPENS_AGAIN, commands)


def _process_ended(values: Values, commands: Commands) -> Iterable[str]:
    yield process_end(values["event"])
    if values["event"].can_restart:
        yield _filled(_OPENS_AGAIN, commands)


def _seeking(values: Values, commands: Commands) -> Iterable[str]:
    epoch, target = values["epoch"], values["target"]
    yield f"epoch {epoch} on the way to {target}" if epoch != target else f"in epoch {epoch}"
    yield time_left(values["seconds_left"])
    yield _filled(_STOPS, commands)


def _phase_failed(values: Values, commands: Commands) -> Iterable[str]:
    place: CodePlace = values["place"]
    line = f", {_line_in_file(place)}" if place.is_in_file else ""
    phase = one_line(phase_text(place.phase))
    yield f"{phase[:1].upper()}{phase[1:]} failed{line}{_line_of_code(place)}"
    yield _filled(_STARTS_AGAIN, commands)


def _stopped(values: Values, commands: Commands) -> Iterable[str]:
    place: CodePlace = values["place"]
    line = f", {_line_in_file(place)}," if place.is_in_file else ""
    undone = "; its changes were undone" if values["is_undone"] else ""
    running = f"{line} was still running{_line_of_code(place)}"
    yield f"Stopped: {one_line(phase_text(place.phase))}{running}{undone}"


def _line_in_file(place: CodePlace) -> str:
    return place.in_cell or f"line {place.line}"


def _line_of_code(place: CodePlace) -> str:
    """The place as the learner of an exercise finds it, who does not see the lesson's file."""
    if place.is_own:
        return f" (line {place.line} of your code)" if place.line else ""
    return f" at {one_line(place.code)}" if place.code else ""


def _change_is_fixed(values: Values, commands: Commands) -> Iterable[str]:
    words = _CHANGES[values["change"]][0]
    yield f"{words[0].upper()}{words[1:]} is fixed in this exercise"
    yield f"you may change {allowed_changes(values['allowed'], commands)}"


def _last_exercise(values: Values, commands: Commands) -> Iterable[str]:
    """The exercises that are open or were skipped; else that the next lesson may follow."""
    to_do, skipped = values["to_do"], values["skipped"]
    counts = (_counted(to_do, "still open"), _counted(skipped, "skipped"))
    which = "later exercise" if to_do else "exercise"
    all_done = f"No {which} is open" if to_do or skipped else "All exercises are done"
    yield "; ".join((all_done, *filter(None, counts)))
    if to_do or skipped:
        yield _filled("{exercises} shows them", commands)
    if not to_do:
        follows = _filled("{next_lesson}: the next lesson", commands)
        yield follows or _filled("{lessons}: all lessons", commands)


def _counted(numbers: Sequence[int], how: str) -> str:
    """`1, 2 and 4 are skipped`; empty where there are none."""
    named = listed([str(number) for number in numbers])
    return f"{named} {'are' if len(numbers) > 1 else 'is'} {how}" if named else ""


def _exercise_skipped(values: Values, commands: Commands) -> Iterable[str]:
    yield f"Exercise {values['number']} is skipped"
    undo = "{unskip} takes that back"
    in_field = _filled("{leave_field}, then " + undo, commands) if values["is_typing"] else ""
    yield in_field or _filled(undo, commands)
    if values["is_last"]:
        yield from _last_exercise(values, commands)


_NOT_KEPT: Mapping[str, str] = {
    "file_for_folder": "there is a file where its folder should be",
    "is_folder": "it is a folder",
    "not_ordinary": "it is not an ordinary file",
    "damaged": "it is damaged",
    "not_set_aside": "it is damaged and can't be set aside, {words}",
    "file_busy": "another program is writing it",
    "disk_full": "the disk is full",
    "read_only": "you may not write to it",
    "newer": "it was written by a newer version of the tutor; update this one",
    "foreign": "it is another program's database; set TUTOR_PROGRESS to another file",
    "system": "{words}",
}
"""By reason: the words for it."""

_PROGRESS_ERRORS: Mapping[str, str] = {
    "not_exported": "{place}: this is not a file of `tutor progress export`",
    "exported_by_newer": "{place}: written by a newer version of the tutor; update this one",
    "line_not_exported": (
        "{place}: not a line that `tutor progress export` writes: {words}; nothing was imported"
    ),
    "unreadable": "{file}: can't be read: {words}",
    "file_too_long": "{file}: too long to be progress",
}


def progress_error_text(error: ProgressError) -> str:
    """The reason why progress is not saved, or not imported."""
    template = _PROGRESS_ERRORS.get(error.code, "")
    if error.code == "not_kept":
        template = f"progress is not saved: {_NOT_KEPT[str(error.values['reason'])]} ({{file}})"
    return filled(template, error.values)


def error_text(error: TutorError) -> str:
    """An error in words; of a lesson that is not there, the command that lists them is named."""
    match error:
        case ProgressError():
            return progress_error_text(error)
        case LessonFileError():
            return lesson_fault_text(error.code, error.values, with_command=True)
        case Refused() | EngineError() | CodeRaised():
            return remark_text(Remark.of(error))
        case ScriptError():
            from tutor.wording.script_faults import script_error_text  # noqa: PLC0415 - seldom

            return script_error_text(error)
        case LessonDiagnostics(diagnostics=found):
            faults = (diagnostic.in_file() for diagnostic in found)
            return "\n".join(lesson_fault_text(*fault) for fault in faults)
    return str(error)


def set_aside_text(found: SetAside) -> str:
    """The fate of a damaged progress file; its long name comes last, where a narrow line ends."""
    entries = counted(found.saved, "entry")
    saved = f"{entries} could be saved from it"
    return one_line(f"the progress file was damaged: {saved}; it is set aside as {found.name}")


def _why_unsaved(values: Values) -> str:
    why = f"progress is not saved: waiting for {values['file']}"
    if values["why"] is not None:
        why = progress_error_text(values["why"])
    return f"{why}; the progress since then"


_COMPOSED: Mapping[str, Callable[[Values, Commands], Iterable[str]]] = {
    "graph_remarks": lambda values, _: [remarks_text(values["remarks"])],
    "engine_remarks": _engine_remarks,
    "process_ended": _process_ended,
    "lesson_fault": lambda values, _: [lesson_fault_text(*values["fault"])],
    "seeking": _seeking,
    "rate_stays": lambda values, _: [f"The learning rate stays at {trimmed(values['rate'])}"],
    "script_left_in_run": _script_left_in_run,
    "phase_failed": _phase_failed,
    "stopped": _stopped,
    "change_is_fixed": _change_is_fixed,
    "last_exercise": _last_exercise,
    "exercise_skipped": _exercise_skipped,
    "progress_error": lambda values, _: [progress_error_text(values["error"])],
    "progress_set_aside": lambda values, _: [set_aside_text(values["set_aside"])],
    "progress_put_beside": lambda values, _: [
        f"{_why_unsaved(values)} is in {values['beside']}: `tutor progress import` adds it"
    ],
    "progress_lost": lambda values, _: [
        f"{_why_unsaved(values)} is lost ({values['reason']}: {values['beside']})"
    ],
}

# ── Typed numbers and signs that can't be read ──────────────────────────────────────

_UNREADABLE: Mapping[str, str] = {
    "no_typed_number": "{typed} Type a number, like 0.5, -3, 1/4, 1e-3 or log(3).",
    "no_sign": "{typed} Type +, - or 0; or positive, negative or zero.",
    "typed_not_finite": "{typed} Its value is not a finite number.",
    "divides_by_0": "Nothing can be divided by 0. Type a number, like 0.5 or 1/4.",
    "typed_too_large": "That number is too large.",
}
_LONGEST = 24
"""Characters of a typed text that are quoted."""


def unreadable(code: str, typed: str) -> str:
    """The reason why a typed number or sign can't be read, and what to type."""
    shown = one_line(typed)
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
    quoted = f"I can't read “{shown}”." if typed else "Nothing was typed."
    return _UNREADABLE[code].format(typed=quoted)


# ── The kinds of exercises ──────────────────────────────────────────────────────────


class KindWords(NamedTuple):
    """A kind of exercise in words."""

    name: str
    task: str
    """The learner's task."""


KIND_WORDS: Mapping[str, KindWords] = {
    "predict": KindWords("prediction", "predict what comes next"),
    "reach": KindWords("goal", "reach a goal"),
    "repair": KindWords("repair", "fix the code"),
    "autograd": KindWords("backward pass", "do autograd's work by hand"),
    "choose": KindWords("choice", "choose an answer"),
}


def kind_words(kind: str) -> KindWords:
    """The words of a kind; its own name for one without words, as from another version's file."""
    return KIND_WORDS.get(kind) or KindWords(one_line(kind), one_line(kind))


# ── The changes that a Reach allows ─────────────────────────────────────────────────

_CHANGES: Mapping[str, tuple[str, Sequence[str]]] = {
    "learning_rate": (
        "the learning rate",
        ("lower_learning_rate", "raise_learning_rate", "ask_learning_rate"),
    ),
    "mode": ("the gradient mode", ("next_mode",)),
    "device": ("the device", ("next_device",)),
    "values": ("a parameter's value", ("value",)),
    "seed": ("the seed", ("new_seed",)),
}
"""The words for a kind of change, and the commands that make it."""


def allowed_changes(kinds: Iterable[str], commands: Commands) -> str:
    """The kinds of change in words: `the learning rate ([ ] l), the seed (S)`."""
    return ", ".join(_change_words(kind, commands) for kind in kinds)


def _change_words(kind: str, commands: Commands) -> str:
    words, names = _CHANGES[kind]
    keys = " ".join(commands[name] for name in names if name in commands)
    return f"{words} ({keys})" if keys else words
