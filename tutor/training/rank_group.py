"""The ranks of a lesson: this process is rank 0; the others are followers that it starts.

All of them belong to one process group of torch.distributed. A follower holds loops of its own and
does what it is asked, while rank 0 does the same here: so collective operations meet. A thread
watches both: a follower that ends, and a rank that waits for one which does not come, end the
group, and the run is told which rank it was. The next need of a group starts another one.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from multiprocessing.connection import wait
from typing import Any, TypeVar

import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore
from torch.distributed import distributed_c10d
from torch.distributed.distributed_c10d import GroupMember, destroy_process_group

from tutor.errors import Refused
from tutor.plain import one_line, shortened
from tutor.protocol.frame import Remark
from tutor.training.devices import backends_of_ranks
from tutor.training.lesson_error import STOPPED, LessonRaised, on_rank
from tutor.training.program import Program
from tutor.training.rank_process import (
    COLLECTIVE_SECONDS,
    UNCLEAN,
    FollowerProcess,
    Joining,
    RankFailure,
    Request,
    Whereabouts,
    to_bytes,
    without_output,
)
from tutor.training.time_limit import for_the_main_thread_alone

Result = TypeVar("Result")

START_SECONDS = 180.0
"""Seconds that a follower may take to load torch."""
APART_SECONDS = 4.0
"""Seconds that a rank may wait in a collective operation after another has done the phase."""
RAISED_SECONDS = 1.0
"""Seconds that it may wait after another has raised an error: it may be about to raise it, too."""
TOGETHER_SECONDS = 20.0
"""Seconds that it may wait while all ranks wait, each in another operation perhaps."""
STOP_SECONDS = 0.3
"""Seconds that ranks have to give way to the learner's stop."""
_TICK = 0.2

# ── The group ───────────────────────────────────────────────────────────────────────


def _leave_groups() -> None:
    """Leave all process groups: a lesson's own, too, and one whose start has failed.

    PyTorch numbers them, and a group is found by its number: it has to be 0, as it is on the other
    ranks, which are new. Else each would wait for the others under another name.
    """
    if groups := distributed_c10d._world.pg_map:
        GroupMember.WORLD = next(iter(groups))  # with the default one, all are left
        with suppress(RuntimeError, ValueError):  # its connections are gone
            destroy_process_group()
    distributed_c10d._world.group_count = 0


class RankGroup:
    """The followers of this process, and the process group that they form with it."""

    def __init__(self, size: int, numbers: Iterator[int]) -> None:
        """Start the followers and wait until all have joined. Raises Refused if one does not.

        `numbers`: gives numbers to this group, and to the things that its other ranks hold.
        """
        self.size, self.numbers, self.number = size, numbers, next(numbers)
        self.world: Any = None
        """The process group of all ranks, once it is there."""
        self.is_closed = False
        """Whether it takes no more requests; an interrupt may have kept `close` from its end."""
        self.released: deque[tuple[str, int]] = deque()
        """Loops and snapshots that nobody needs any more, by kind and number."""
        self._asked: Program | None = None
        """The program whose code runs now."""
        self._count = 0
        """The number of requests so far."""
        self._is_done_here = False
        self._has_raised = False
        self._failure: RankFailure | None = None
        self._deciding = threading.Lock()
        """Held while a request fails; where it ends, too, so that it can't fail behind its end."""
        self._has_met = False
        """Whether there may be a process group."""
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._followers: list[FollowerProcess] = []
        try:
            self._followers += (FollowerProcess(rank) for rank in range(1, size))
            self._wait_until_ready()
            self._join()
        except (RuntimeError, OSError) as error:  # one has ended, or the system starts no more
            ended = (f.rank for f in self._followers if f.has_ended)
            rank, why = next(ended, 1), _last_line(str(error))
            self.close()
            raise Refused("rank_not_started", rank=rank, reason=why) from error
        except BaseException:
            self.close()
            raise
        with for_the_main_thread_alone():
            threading.Thread(target=self._watch, name="ranks", daemon=True).start()

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + START_SECONDS
        while waiting := [f for f in self._followers if not f.is_ready]:
            wait([f.pipe for f in waiting], 0.2)
            for follower in waiting:
                if not follower.receive() or follower.has_ended or time.monotonic() > until:
                    why = _last_line(follower.error_text())
                    raise Refused("rank_not_started", rank=follower.rank, reason=why)

    def _join(self) -> None:
        _leave_groups()
        self._has_met = True
        with for_the_main_thread_alone(), socket.socket() as listening:
            # PyTorch's own socket would listen on all interfaces.
            listening.bind(("127.0.0.1", 0))
            listening.listen(self.size)
            port = self.port = listening.getsockname()[1]
            own = [f"{kind}:{one}" for kind, one in backends_of_ranks(self.size).items()]
            backend = ",".join(["cpu:gloo", *own]) if own else "gloo"  # which is of all devices
            for follower in self._followers:
                follower.send(to_bytes(Joining(follower.rank, self.size, port, backend)))
            store = TCPStore(
                "127.0.0.1",
                port,
                None,
                True,
                timeout=timedelta(seconds=COLLECTIVE_SECONDS),
                wait_for_workers=False,
                master_listen_fd=listening.detach(),
                use_libuv=False,  # the other one takes no listening socket in torch 2.6
            )
            Joining(0, self.size, port, backend).join(store)
            self.world = GroupMember.WORLD
            with without_output():
                self._alone = dist.new_group(
                    [0],
                    use_local_synchronization=True,
                    timeout=timedelta(seconds=COLLECTIVE_SECONDS),
                )

    def close(self) -> None:
        """End the followers and leave the process group, as far as that is still to be done."""
        self.is_closed = True
        for follower in self._followers:
            follower.close()
        if self._has_met:
            _leave_groups()
            self._has_met = False
        wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A span in which the default process group is this rank alone: nobody is waited for."""
        before = GroupMember.WORLD
        GroupMember.WORLD = None if self.is_closed else self._alone
        try:
            yield
        finally:
            GroupMember.WORLD = None if self.is_closed else before

    # ── Asking ──────────────────────────────────────────────────────────────────────

    @property
    def is_asking(self) -> bool:
        """Whether the followers are doing a request now, of which this is a part."""
        return self._asked is not None

    def ask(
        self,
        program: Program,
        phase: str,
        run: Callable[[], Result],
        request: str,
        *arguments: object,
    ) -> tuple[Result, list[Any]]:
        """Let all ranks do a request, this one by `run`; returns its result, and the others'.

        Raises what `run` raises, and LessonRaised where another rank fails in this phase. The
        group is closed where the ranks may stand at different places then.
        """
        released = tuple(self.released.popleft() for _ in range(len(self.released)))
        message = to_bytes(Request(request, arguments, released))
        is_main = threading.current_thread() is threading.main_thread()
        before, is_whole = -1, False
        try:
            if GroupMember.WORLD is self._alone:  # an interrupt has met the end of `alone`
                GroupMember.WORLD = self.world
            self._is_done_here, self._has_raised, self._failure = False, False, None
            for follower in self._followers:
                follower.answer = follower.here = follower.before = None
            self._count += 1
            self._asked = program
            if is_main:
                before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
            for follower in self._followers:
                follower.send(message)
            found = self._all_done(program, phase, run)
            is_whole = True
        except (LessonRaised, Refused):
            is_whole = all(f.answer for f in self._followers)
            raise
        finally:
            # Without a call in between, which another interrupt could end.
            self._asked = None
            self.is_closed |= not is_whole
            if is_main:
                signal.set_wakeup_fd(before)
            with self._deciding:
                self.is_closed |= self._failure is not None
            if self.is_closed:
                self.close()
        return found

    def _all_done(
        self, program: Program, phase: str, run: Callable[[], Result]
    ) -> tuple[Result, list[Any]]:
        error: BaseException | None = None
        result: Any = None
        try:
            result = run()
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it is raised again
            error = raised
            self._has_raised = True
        self._is_done_here = True
        while self._failure is None:
            waiting = [f for f in self._followers if f.answer is None]
            if not waiting:
                break
            wait([f.pipe for f in waiting], _TICK)
            for follower in waiting:
                self._receive(follower, self._count)
        for follower in self._followers:
            if follower.answer is not None:
                _show(follower.rank, follower.answer.output)
        self._raise_first(error, program, phase)
        return result, [f.answer.result for f in self._followers if f.answer is not None]

    def _receive(self, follower: FollowerProcess, number: int) -> None:
        """Take in what a follower has sent, and note if it has ended, during that request."""
        has_ended = follower.has_ended  # asked first: all that it has sent until then is read
        if (not follower.receive() or has_ended) and follower.answer is None:
            self._fail(number, self._failure_of(follower))

    def _raise_first(self, mine: BaseException | None, program: Program, phase: str) -> None:
        """Raise the error that tells most: the lesson's own before an error of the connection."""
        answers = [(f.rank, f.answer) for f in self._followers if f.answer is not None]
        refused = [Refused(a.refused[0], **a.refused[1]) for _, a in answers if a.refused]
        others = [a.raised for _, a in answers if a.raised is not None]
        if mine is not None and not _is_connection(str(mine)):
            is_shared = len(others) == len(self._followers)
            if isinstance(mine, LessonRaised) and not mine.stopped and not is_shared:
                own = RankFailure(0, on_rank(mine.error, 0), mine.line, mine.phase)
                raise own.as_error(program, phase) from mine
            raise mine
        if refused:
            raise refused[0]
        told = [f for f in others if not _is_connection(f.error.values.get("text", ""))]
        for failure in (*told, self._failure, *others):
            if failure is not None:
                raise failure.as_error(program, phase) from mine
        if mine is not None:
            raise mine

    # ── Watching ────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        """Watch requests that take long, until the group is closed."""
        number, waited, stopping, mine, now = 0, 0.0, 0.0, None, time.monotonic()
        while not self.is_closed:
            is_woken = wait([self._woken], _TICK)
            before, now = now, time.monotonic()
            if is_woken:
                numbers = os.read(self._woken, 4096)
                if not numbers:
                    break
                with self._deciding:  # a stop ends the present request, no later one
                    if signal.SIGINT in numbers and self._asked is not None:
                        stopping = now
                        self._signal(signal.SIGINT)
            program = self._asked
            if program is None or self._count != number:
                number, waited, mine = self._count, 0.0, None
                stopping = stopping if is_woken else 0.0
                continue
            if stopping and now - stopping > STOP_SECONDS:
                self._fail(number, RankFailure(0, STOPPED, stopped=True))
                continue
            past, mine = mine, Whereabouts.of(program.filename)
            for follower in self._followers:
                self._receive(follower, number)
            waiting = [f for f in self._followers if f.answer is None]
            if any(f.is_asked for f in waiting):
                continue  # one holds Python's lock, say, or is stopped: it may be computing
            # If the machine slept, or was too busy for this thread, not all time counts.
            is_stuck = self._is_done_here or mine.is_waiting_since(past)
            is_stuck &= all(f.here and f.here.is_waiting_since(f.before) for f in waiting)
            waited = waited + min(now - before, 2 * _TICK) if is_stuck else 0.0
            self._give_up(number, program, mine, waited)
            for follower in waiting:
                follower.ask_where(program.filename)
        os.close(self._woken)

    def _give_up(self, number: int, program: Program, mine: Whereabouts, seconds: float) -> None:
        """End a wait that can't come to its end."""
        places = {f.rank: f.here for f in self._followers if f.answer is None and f.here}
        if not self._is_done_here:
            places[0] = mine
        done = [rank for rank in range(self.size) if rank not in places]
        raised = self._has_raised or any(f.answer and f.answer.raised for f in self._followers)
        patience = TOGETHER_SECONDS
        if done:
            patience = RAISED_SECONDS if raised else APART_SECONDS
        if places and seconds > patience:
            self._fail(number, _apart(program, places, done))

    def _failure_of(self, follower: FollowerProcess) -> RankFailure:
        how = follower.how_ended()
        error = Remark("rank_ended", {"rank": follower.rank, "how": (how.code, how.values)})
        lines = follower.last_lines(self._asked.filename) if self._asked else []
        if not lines:
            return RankFailure(follower.rank, error)
        return RankFailure(follower.rank, error, lines[0], outer_line=lines[-1])

    def _fail(self, number: int, failure: RankFailure) -> None:
        """Note why the request of that number fails, unless it has ended by now.

        All followers are ended: what waits for them raises an error then.
        """
        with self._deciding:
            if self._asked is None or self._count != number:
                return
            self._failure = self._failure or failure
        for follower in self._followers:
            follower.end()

    def _signal(self, number: signal.Signals) -> None:
        for follower in self._followers:
            with suppress(ProcessLookupError):
                follower.process.send_signal(number)


class HeldByRanks:
    """A loop or a snapshot that the other ranks hold under a number, for as long as this lives."""

    def __init__(self, group: RankGroup, program: Program, kind: str) -> None:
        self.group, self.program, self.number = group, program, next(group.numbers)
        weakref.finalize(self, group.released.append, (kind, self.number))


def _apart(program: Program, places: dict[int, Whereabouts], done: list[int]) -> RankFailure:
    """The failure of ranks that wait for ranks that are done, or each for another."""
    rank = min(places)
    here = places[rank]
    if done:
        values = {"rank": rank, "operation": here.operation, "done": done}
        error = Remark("waits_for_ranks", values)
    else:
        waits = [(r, p.operation, *_where(program, p)) for r, p in sorted(places.items())]
        error = Remark("ranks_wait", {"waits": waits})
    return RankFailure(rank, error, here.line, outer_line=here.outer_line)


def _where(program: Program, at: Whereabouts) -> tuple[str, int | None]:
    """The phase, in which a learner's own code has no line of the file; in a script, the line."""
    phase = program.phase_of_line(at.outer_line) if at.outer_line else ""
    return (phase, None) if phase and not program.is_script else ("", at.line)


_CONNECTION = re.compile(r"gloo|Connection (closed|reset)|Timed out waiting|ncclRemoteError", re.I)


def _is_connection(message: str) -> bool:
    """Whether an error only tells that another rank does not answer.

    By its text: gloo's connections raise a plain RuntimeError, and other ranks send only text.
    """
    return _CONNECTION.search(message) is not None


def _last_line(text: str) -> str:
    """The last line of an error's text; empty if there is none."""
    lines = text.strip().splitlines()
    return one_line(shortened(lines[-1], 200)) if lines else ""


def _show(rank: int, output: str) -> None:
    """Print what a follower has printed, each line with its rank."""
    if output:
        lines = output.removesuffix("\n").split("\n")
        sys.stdout.write("".join(f"[rank {rank}] {text}\n" for text in lines))


class ProcessRanks:
    """The owner of this process's group of ranks: torch.distributed has one default group."""

    def __init__(self) -> None:
        self._group: RankGroup | None = None
        self._numbers = count(1)

    def group_of(self, size: int) -> RankGroup:
        """The group of `size` ranks; started if there is none."""
        if self._group is not None and self._group.is_closed:
            self._group.close()  # where an interrupt has come in between
            self._group = None
        self.end(unless_size=size)
        if self._group is None:
            self._group = RankGroup(size, self._numbers)
        return self._group

    def clean(self) -> None:
        """Let the other ranks undo what lessons have done to them, before the next Setup."""
        if self._group is not None:
            self._group.released.append(UNCLEAN)

    def end(self, *, unless_size: int = 0) -> None:
        """End the group, unless it has this size."""
        if self._group is not None and self._group.size != unless_size:
            self._group.close()
            self._group = None


RANKS = ProcessRanks()
