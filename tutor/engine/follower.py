"""Entry point of a lesson's other ranks: each is a process that does rank 0's requests."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from tutor.engine.child import Capture, Interrupts, dump_stack_at_the_end
from tutor.engine.process import limit_memory
from tutor.engine.process_state import CleanProcess
from tutor.errors import Refused
from tutor.training import devices
from tutor.training.lesson_error import STOPPED, LessonRaised, on_rank
from tutor.training.rank_process import (
    UNCLEAN,
    WHERE,
    FollowerAnswer,
    Joining,
    RankFailure,
    Request,
    Whereabouts,
    to_bytes,
)
from tutor.training.ranks import FollowerLoops
from tutor.training.set_up import spare_compiler
from tutor.training.time_limit import for_the_main_thread_alone, limit_expressions


class _Rank0Link:
    """The connection to rank 0. A thread reads its requests, and says where this rank's code is."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._waiting: SimpleQueue[Joining | Request] = SimpleQueue()
        with for_the_main_thread_alone():
            threading.Thread(target=self._read_on, name="rank 0", daemon=True).start()

    def next(self) -> Joining | Request:
        """The next request; waits for it."""
        return self._waiting.get()

    def send(self, message: object) -> None:
        """Send an answer."""
        with self._sending:
            self._pipe.send_bytes(to_bytes(message))

    def _read_on(self) -> None:
        try:
            while True:
                message = pickle.loads(self._pipe.recv_bytes())
                if isinstance(message, Request) and message.name == WHERE:
                    self.send(Whereabouts.of(*message.arguments))
                else:
                    self._waiting.put(message)
        finally:  # rank 0 is gone
            os._exit(0)


def main(descriptor: int) -> None:
    """Join the group, then do rank 0's requests until it is gone."""
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    dump_stack_at_the_end(os.fdopen(os.dup(2), "w"))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # it was started with signals blocked
    limit_expressions()
    devices.use_one_thread()
    rank_0, pid = _Rank0Link(Connection(descriptor)), os.getpid()
    rank_0.send("ready")
    joining = rank_0.next()
    assert isinstance(joining, Joining)
    with for_the_main_thread_alone():
        joining.join()
    capture, clean, interrupts = Capture(), CleanProcess(), Interrupts()
    capture.renew()
    spare_compiler()
    loops: FollowerLoops = FollowerLoops(joining.rank, joining.size)
    while True:
        request = rank_0.next()
        assert isinstance(request, Request)
        if UNCLEAN in request.released:
            clean.restore()
            capture.renew()
        loops.release(request.released)
        if request.name in ("set_up", "open_script"):
            limit_memory(request.arguments[2])
        if request.name == "open_script" and type(loops) is FollowerLoops:
            loops = _script_loops(joining)
        run = partial(getattr(loops, request.name), *request.arguments)
        answer = _answer(loops.rank, interrupts, run)
        if os.getpid() != pid:  # a copy that the lesson has made of this rank speaks for nobody
            os._exit(0)
        text, _ = capture.take()
        rank_0.send(FollowerAnswer(answer.result, text, answer.raised, answer.refused))


def _script_loops(joining: Joining) -> FollowerLoops:
    from tutor.script.program import script_opener  # noqa: PLC0415 - few need it
    from tutor.script.ranked_script import FollowerScripts  # noqa: PLC0415 - few need it

    joined = joining.rank, joining.size, joining.port
    return FollowerScripts(*joined, lambda lesson: script_opener(lesson).opened)


def _answer(rank: int, interrupts: Interrupts, run: Callable[[], Any]) -> FollowerAnswer:
    try:
        with interrupts.raised():
            return FollowerAnswer(run())
    except LessonRaised as error:
        where = on_rank(error.error, rank)
        return FollowerAnswer(
            raised=RankFailure(rank, where, error.line, error.phase, error.stopped)
        )
    except Refused as error:
        return FollowerAnswer(refused=(error.code, error.values))
    except KeyboardInterrupt:
        return FollowerAnswer(raised=RankFailure(rank, STOPPED, stopped=True))
