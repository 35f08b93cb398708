"""The catalogue of the engine's messages: a sentence for each code of a Remark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tutor.lesson.model import Lesson
from tutor.plain import one_line
from tutor.protocol.events import GRADIENT_CHECK, LessonPart, ProcessEnded
from tutor.protocol.frame import Remark
from tutor.script.line_places import full_place
from tutor.wording.number_format import LEARNING_RATE, value_reason
from tutor.wording.templates import Words, filled

_TEMPLATES: Mapping[str, str] = {
    "text": "{text}",
    # ── Refusals
    "stopped": "stopped",
    "no_lesson_open": "no lesson is open",
    "no_process": "it does not start again by itself",
    "no_device": "there is no device {device!r}; available: {available}",
    "no_mode": "there is no mode {mode!r} here; available: {available}",
    "no_epoch": "there is no epoch {epoch}: a run begins at epoch 0",
    "bad_rate": f"a learning rate must be {LEARNING_RATE}, not {{rate}}",
    "no_figures": "there are no figures yet: no epoch has finished",
    "not_written": "stopped before {path} was written",
    "too_much_to_send": "{megabytes} MB of figures is too much to send from another machine",
    "batch_not_repeatable": "this batch can't be run again from its start: finish it first",
    "setup_unbound": "{path}: Setup does not bind {names}",
    "rank_not_started": "rank {rank} did not start{reason:after_colon}",
    "not_python": "line {line} of {phase} is not Python: {reason:why}",
    "no_parameter": "there is no parameter {name!r} here; available: {available}",
    "no_index": "{name} is a single number: it has no index",
    "no_element": "{name} has no element [{index}]: indices begin at 0, and its last is [{last}]",
    "bad_value": "{value} is not a finite number that {name} can hold ({dtype})",
    # ── An error of a lesson's or a script's own code
    "lesson_raised": "{place}: {phase:phase} in mode {mode} raised {error:error}",
    "script_raised": "{place}: {phase:phase} raised {error:error}",
    "phase_raised": "{phase:phase} raised {error:error}",
    "code_stopped": "KeyboardInterrupt: it was stopped",
    "called_exit": "SystemExit: the code called exit({status})",
    "read_input": "EOFError: code can't use input() here; put the value into it",
    "gpu_is_full": "{text}; make the tensors smaller, or compute on the CPU",
    "rank_ended": "RankEnded: rank {rank} is gone: {how:error}",
    "closed_connection": "it has closed its connection",
    "waits_for_ranks": (
        "Deadlock: rank {rank} waits in {operation}, which {done:ranks} did not call"
    ),
    "ranks_wait": "Deadlock: {waits:waits}",
    "ranks_apart": "RanksApart: {places:places}; all ranks must reach the same phases",
    "at_script_end": "is at the script's end",
    "at_epoch_end": "is at the end of epoch {epoch}, after {steps} steps",
    "reaches_phase": "reaches {phase} on line {line} after {steps} steps",
    "loops_apart": "RanksApart: after epoch {epoch}, the loop {has_ended:loops}",
    # ── Files
    "file_there": "{path} already exists and was not changed",
    "no_folder": "{path} can't be written: there is no folder {folder}",
    "path_is_folder": "{path} can't be written: it is a folder; name a file in it",
    "unwritable": "{path} can't be written: {words}",
    "not_exportable": "{slug} can't be exported: `{line}` is not possible there ({reason:why})",
    "no_notebook_of_ranks": (
        "{slug} runs on {ranks} ranks, but a notebook is one process: export it as a script (.py)"
    ),
    # ── A learner's own script
    "no_loop_number": "there is no training loop {number}: the script has {count}",
    "loop_not_reached": "the script ended without reaching its loop ({place})",
    "package_missing": (
        "{place}: the module {module} is not installed for the tutor's Python: "
        "install {package} there (pip install {package})"
    ),
    "input_refused": (
        "{place}: a script can't read its input here (input(), sys.stdin): put the value into its "
        "code, or pass it as an argument after --"
    ),
    "needs_ranks": (
        "{place}: the script needs several ranks: start it with tutor torchrun --nproc 2 {file}"
    ),
    "backend_as_gloo": (
        "the script asked for the backend {backend}, which {ranks} ranks can't use on this "
        "machine: they use gloo instead, with the same results"
    ),
    "workers_in_turn": (
        "the DataLoader's {workers} workers take turns in one process: the batches are the same, "
        "but loading takes longer"
    ),
    "no_loss_in_loop": "the loop has no loss: what an update subtracts is shown as the gradient",
    "files_aside": (
        "the script writes its files to a temporary folder, which is deleted at the end; --here "
        "lets it write them where it wants"
    ),
    "runs_first_batch": "running to the first batch …",
    "runs_doctor": "the doctor is running up to {epochs} epochs …",
    "rate_is_fixed": "the learning rate is a number in the code: change it there",
    "set_between_epochs": (
        "in a script, a value can't be set between the first phase and the gradient: set it at an "
        "epoch's end, or before the first phase (B goes back there)"
    ),
    "loop_again": (
        "the loop has begun again, perhaps with another model: this is its run {number}, and "
        "the epochs are counted on"
    ),
    "script_ended": "the script has ended, after epoch {epoch}",
    # ── Refusals of the list of runs
    "bad_name": "a run's name must be one line of letters, digits or symbols",
    "long_name": (
        "a run's name can have at most {most} characters (a wide one counts as two); this has "
        "{cells}"
    ),
    "run_name_taken": "there is already a run {name}",
    "letter_taken": "this run's letter stays {letter}: a name needs more than one letter",
    "nothing_to_keep": "nothing has been run yet: there is nothing to keep",
    "all_runs_named": (
        "there are {most} runs, and you have named all that are kept: "
        "delete one first, in the list of runs"
    ),
    "is_current_run": "you are in run {name}: go to another one first",
    "no_run": "there is no run {name!r}; available: {available}",
    # ── A run that was changed
    "on_numpy": "{mode} is NumPy, which runs only on the CPU: {device} needs a mode of PyTorch",
    "seed": "seed {seed}",
    "seed_unused": "seed {seed}: this code draws no random numbers, so nothing changes",
    "seed_unused_after_setup": (
        "seed {seed}: this code draws no random numbers after Setup, so nothing changes"
    ),
    "as_here": "settings restored: {mode}, learning rate {rate}",
    "not_carried": "{names} could not be carried over: the size differs here",
    "state_begins_anew": (
        "in {mode} the state of {names} starts again: it remembers no earlier step"
    ),
    "updated_by": "{old_mode} made this update; the formulas show what {mode} would do",
    "other_loss": "{mode} computes the loss {loss} for this batch, {old_mode} {old_loss}",
    "element_set": "{name}{index:index} is {value} now",
    "old_gradient": "the gradient still belongs to the old value, and the update will use it",
    "thread_left": "the thread {name} did not end",
    "device_lost": "after such an error the GPU accepts no more work from the process",
    "setting_left": "the code has changed a setting that can't be restored ({name})",
    # ── Several runs
    "kept_as": "the previous run is kept as {name}",
    "gave_way": "{name} was dropped: at most {most} runs are kept",
    "run_selected": "this is {name}",
    "run_selected_at_end": "this is {name}, at its end",
    "renamed": "{old} is now called {new}",
    "deleted": "{name} is deleted",
    "came_only_to": "has only reached epoch {epoch}",
    "runs_again": "is being run again: epoch {epoch} of {of}",
    # ── A run without a screen
    "sets_a_seed": "the code sets a seed: --seed changes only the random numbers drawn before that",
    "no_value": "{place}: {label} has no value: {reason:why}",
    "diverged": "the loss is not finite from epoch {epoch} on",
    # ── The end of a process
    "not_started": "the process that runs lessons could not start: {error}",
    "ended_unclean": "{reason}: its process was ended",
    "did_not_stop": "{what:part}, {place}, would not stop: its process was ended",
    "lesson_did_not_stop": "the code would not stop: its process was ended",
    "no_end": "{what:part}, {place}, did not finish within {seconds} s: its process was ended",
    "exited": "the process exited with status {status}",
    "killed": "the process was ended by {signal}",
    "not_startable": "the process that runs lessons can't be started: {error}",
    "failed": "{path}: the process that runs lessons failed: {error}",
    "no_error_text": "it ended without an error message",
    "bad_memory_limit": (
        "TUTOR_MEMORY_MB is {asked!r}: set it to a whole number of megabytes from {least} to "
        "{most}, or leave it unset"
    ),
    # ── The connection to another machine
    "connection_lost": "the connection to {host} is lost ({reason})",
    "command_lost": (
        "the connection to {host} is lost ({reason}), and the run there has ended: "
        "give the command again"
    ),
    "no_answer": "it does not answer",
    "ssh_ended": "ssh ended with status {status}",
    "ssh_killed": "ssh ended by signal {signal}",
    "unreadable_ssh": "TUTOR_SSH can't be read as a command: {error}",
    "no_host_name": "{host!r} is not the name of a host",
    "no_ssh": "{program} is not found: install it (openssh-client), or name another in TUTOR_SSH",
    "no_hello": (
        "{host} sent something other than the answer of `{tutor} engine`: does a startup file of "
        "the shell there print to standard output?"
    ),
    "no_connection": "{host}: no connection; does `ssh {host}` work?",
    "no_far_tutor": (
        "{host}: `{tutor}` is not found there. Install tutor {here} there, or say where it is "
        "(TUTOR_REMOTE=/path/to/tutor)"
    ),
    "far_tutor_ended": (
        "{host}: `{tutor} engine` ended with status {status} there and did not answer. "
        "Install tutor {here} there, or say where it is (TUTOR_REMOTE=/path/to/tutor)"
    ),
    "other_version": (
        "{host} has tutor {version}; this machine has {here}. Install tutor {here} there, "
        "or name another one there (TUTOR_REMOTE=/path/to/tutor)"
    ),
    "other_build": (
        "{host} has another build of tutor, {version}; this machine has {here}. Install the same "
        "build there, or name another one there (TUTOR_REMOTE=/path/to/tutor)"
    ),
    "closed_pipe": "the process closed the tutor's own pipe and was ended",
    "wrote_into_pipe": "the process wrote into the tutor's own pipe and was ended",
}

_ABORTS: Mapping[str, str] = {
    "exited": "ended its process, which exited with status {status}",
    "killed": "ended its process, which was ended by {signal}",
    "closed_pipe": "closed the tutor's own pipe, and its process was ended",
    "wrote_into_pipe": "wrote into the tutor's own pipe, and its process was ended",
    "no_end": "did not finish within {seconds} s; its process was ended",
    "too_long": "did not finish within {seconds} s",
    "interrupted_itself": "raised KeyboardInterrupt",
}
"""For the command line: the words after the part of the lesson that ended the command."""


def phase_text(phase: str) -> str:
    """The phase that an error was raised in; empty for one that met no line of the lesson."""
    return phase or "the code"


def _waits(waits: Sequence[tuple[int, str, str, int | None]]) -> str:
    """`rank 0 waits in all_reduce of Update; rank 1 waits in barrier on line 12`."""
    places = (
        (rank, operation, f" of {phase}" if phase else f" on line {line}" if line else "")
        for rank, operation, phase, line in waits
    )
    return "; ".join(f"rank {rank} waits in {what}{where}" for rank, what, where in places)


def _loops(has_ended: Sequence[bool]) -> str:
    said = (f"{'ends' if ended else 'continues'} on rank {r}" for r, ended in enumerate(has_ended))
    return ", and ".join(said)


_WORDS: Words = {
    "after_colon": lambda reason, _: f": {reason}" if reason else "",
    "error": lambda pair, _: engine_remark_text(Remark(*pair)),
    "phase": lambda phase, _: phase_text(phase),
    "ranks": lambda ranks, _: " and ".join(f"rank {rank}" for rank in ranks),
    "waits": lambda waits, _: _waits(waits),
    "places": lambda places, _: ", ".join(
        f"rank {rank} {engine_remark_text(Remark(*place))}" for rank, *place in places
    ),
    "loops": lambda has_ended, _: _loops(has_ended),
    "index": lambda index, _: f"[{', '.join(map(str, index))}]" if index else "",
    "part": lambda what, values: f"the value of {what}" if values.get("is_expression") else what,
    "why": lambda reason, _: value_reason(reason),
}
"""The words that the templates name after a colon."""


def engine_remark_text(remark: Remark) -> str:
    """A remark of the engine as one line; `remark_text` in `remarks.py` words any remark."""
    text = _filled(_TEMPLATES, remark)
    if "on_rank" in remark.values:
        return f"{text} (on rank {remark.values['on_rank']})"
    return f"{text} while {remark.values['phase']} ran" if _ended_in_phase(remark) else text


def _filled(templates: Mapping[str, str], remark: Remark) -> str:
    """The template of a remark, in which another remark may be a parameter."""
    values = {
        n: engine_remark_text(v) if isinstance(v, Remark) else v for n, v in remark.values.items()
    }
    return filled(templates[remark.code], values, _WORDS)


def _ended_in_phase(remark: Remark) -> bool:
    is_end = remark.code in ("exited", "killed", "closed_pipe", "wrote_into_pipe")
    return is_end and bool(remark.values.get("phase"))


def process_end(event: ProcessEnded) -> str:
    """The end of the process: its reason, and whether it starts again."""
    text = engine_remark_text(event.remark)
    if event.restarting:
        return f"{text}; it starts again"
    return f"{text}; {_TEMPLATES['no_process']}" if event.can_restart else text


def abort_text(how: Remark) -> str:
    """The sentence for a lesson that ended a command of the command line."""
    return _filled(_ABORTS, how)


def part_text(part: LessonPart) -> str:
    """`mode autograd, Predict`, `exercise first, its code`; empty before the first part."""
    if not part.is_known:
        return ""
    phase = "the gradient" if part.phase == GRADIENT_CHECK else part.phase
    phase = f"a run of {part.epochs} epochs" if part.epochs else phase
    inner = f"the value of {part.expression}" if part.expression else phase
    if not part.exercise:
        return one_line(f"mode {part.mode}, {inner}")
    key = f", its {part.key}" if part.key else ""
    after = f"{', ' if part.expression else ': '}{inner}" if inner else ""
    return one_line(f"exercise {part.exercise}{key}{after}")


def place_text(lesson: Lesson, part: LessonPart) -> str:
    """The place in a lesson's or a script's file, with the part, that a command ended at."""
    place = full_place(lesson.path, lesson.source, part.line)
    text = part_text(part)
    return one_line(f"{place}: {text}" if text else f"{lesson.path}:")


def stopped_at(lesson: Lesson, stopped: KeyboardInterrupt) -> str:
    """The place that a command of the command line was stopped at; empty if it is unknown."""
    part = stopped.args[0] if stopped.args else None
    return place_text(lesson, part) if isinstance(part, LessonPart) else ""
