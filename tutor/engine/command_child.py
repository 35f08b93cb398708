"""The child process that runs lessons for a command: loads torch, then serves its wishes.

Nothing that a lesson prints, reads or raises gets out of it but as a message. When the process
ends before its time, the lesson's line is written to where its errors go. Ends with its input.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, BinaryIO, TextIO, TypeAlias

from tutor.engine.command_messages import (
    AnswerComputed,
    CheckLesson,
    Event,
    FindingReported,
    LessonStopped,
    PartBegun,
    RequestDone,
    TorchLoaded,
    Wish,
    to_line,
    wish_from_line,
)
from tutor.engine.process import dump_stack_at, limit_memory
from tutor.plain import one_line
from tutor.training.time_limit import limit_expressions

Tell: TypeAlias = Callable[[Event], None]
Servant: TypeAlias = Callable[[Any, Tell], bool | None]
"""Does what a wish asks and tells what comes of it; last Stopped if an interrupt met it.

True if the process can serve no other wish.
"""

MUCH_PRINTED = 10**6
"""Characters that a lesson prints while it is checked: of more, a note tells."""

_leave = os._exit
_DEADLY = ("TERM", "HUP", "QUIT", "ALRM", "VTALRM", "PROF", "USR2", "XCPU", "TRAP", "SYS")
"""Signals that end a process, beside those that tell of a crash."""


def main(load: Callable[[], Servant] | None = None) -> None:
    """Take over the descriptors, then `load` what serves, and serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, out = os.fdopen(os.dup(0), "rb"), os.dup(1)
    errors = os.fdopen(os.dup(2), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    # A copy of this process that a lesson makes must not tell what this one tells.
    os.register_at_fork(after_in_child=lambda: _replace(out))
    limit_expressions()
    _tell_where_it_ends(errors)
    number = os.getpid()
    try:
        gc.disable()  # all that loading torch makes stays
        serve = (load or _load)()
        gc.freeze()
        gc.enable()
        _write(out, TorchLoaded())
        for wish in _wishes(source):
            with _interruptible():
                is_spent = serve(wish, lambda event: _write(out, event))
            if os.getpid() != number:  # a copy that a lesson has made has done its part
                _leave(0)
            _write(out, RequestDone(is_spent=bool(is_spent)))
    except BaseException:  # noqa: BLE001 - a fault of ours, told to who asks, whatever it is
        traceback.print_exc(file=errors)
        errors.flush()
        _leave(1)


def _tell_where_it_ends(errors: TextIO) -> None:
    """Have the stack written there when a lesson ends this process, as far as that is seen."""
    faulthandler.enable(errors)
    dump_stack_at(
        errors, *(getattr(signal, f"SIG{n}") for n in _DEADLY if hasattr(signal, f"SIG{n}"))
    )
    number = os.getpid()

    def noting(act: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **named: Any) -> Any:
            if os.getpid() == number:
                faulthandler.dump_traceback(errors, all_threads=False)
            return act(*arguments, **named)

        return do

    # These two leave nothing behind that would tell who called them.
    os._exit = noting(os._exit)
    os.kill = noting(os.kill)


def _load() -> Servant:
    """The function that checks a lesson. Loads torch, which takes seconds."""
    from tutor.engine.process_state import CleanProcess  # noqa: PLC0415
    from tutor.training import devices  # noqa: PLC0415
    from tutor.training.loop import LessonRaised  # noqa: PLC0415
    from tutor.training.program import UnheardOutput  # noqa: PLC0415
    from tutor.validation.lesson_check import answers, findings  # noqa: PLC0415

    devices.use_one_thread()

    clean = CleanProcess()

    def prove(wish: CheckLesson, tell: Tell) -> bool:
        limit_memory("cpu")
        at = PartBegun(1, "")
        unheard = UnheardOutput()

        def begun(line: int, what: str) -> None:
            nonlocal at
            at = PartBegun(line, what)
            tell(at)

        try:
            with redirect_stdout(unheard), redirect_stderr(unheard):
                for finding in findings(wish.lesson, begun):
                    tell(FindingReported(finding.line, one_line(finding.message), finding.is_note))
                if unheard.characters > MUCH_PRINTED:
                    tell(FindingReported(1, _unheard(unheard.characters), True))
                if wish.with_answers:
                    for line, text in answers(wish.lesson):
                        tell(AnswerComputed(line, one_line(text)))
        except LessonRaised as stopped:
            tell(_stopped(at, stopped.line, stopped.phase))
        except KeyboardInterrupt:  # it met code of ours
            tell(LessonStopped(at.line, at.what))
        return bool(clean.restore())

    return prove


def _unheard(characters: int) -> str:
    return (
        f"while it was checked, it printed {characters:,} characters, which are not shown: "
        "with fewer, the check is faster"
    )


def _stopped(at: PartBegun, line: int | None, phase: str) -> LessonStopped:
    """Where an interrupt met a lesson's code: more exactly than what had begun, if it is known."""
    from tutor.training.loop import SOMEWHERE  # noqa: PLC0415 - loads torch

    if phase == SOMEWHERE:  # it met code of ours
        return LessonStopped(at.line, at.what)
    in_exercise = at.what.startswith("exercise")  # where lines may be those of a repair's editor
    if in_exercise:
        return LessonStopped(at.line, f"{at.what}: {phase}")
    mode = at.what.split(",")[0]
    return LessonStopped(line or at.line, f"{mode}, {phase}")


def _wishes(source: BinaryIO) -> Iterator[Wish]:
    """Requests, read by a thread, which ends the process at once at the end of the input.

    The main thread may then be deep in a lesson's endless loop.
    """
    waiting: queue.SimpleQueue[Wish] = queue.SimpleQueue()

    def read_on() -> None:
        for line in source:
            waiting.put(wish_from_line(line))
        _leave(0)

    threading.Thread(target=read_on, name="wishes", daemon=True).start()
    while True:
        yield waiting.get()


@contextmanager
def _interruptible() -> Iterator[None]:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write(out: int, event: Event) -> None:
    line = to_line(event)
    while line:
        line = line[os.write(out, line) :]


def _replace(out: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), out)


if __name__ == "__main__":
    main()
