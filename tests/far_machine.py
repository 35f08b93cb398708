"""Another machine, in place: a command that looks like ssh, or a real sshd on a loopback port."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.terminal import TUTOR
from tests.waiting import wait_until

_PLACE_OF_SSH = """\
for command; do :; done
exec sh -c "exec $command"
"""


def pretend(patch: pytest.MonkeyPatch, folder: Path, *far_tutor: str, before: str = "") -> None:
    """Have `--on` run the command `far_tutor` in a shell here, after the commands `before`."""
    script = folder / "ssh.sh"
    script.write_text(f"{before}\n{_PLACE_OF_SSH}")
    patch.setenv("TUTOR_SSH", f"sh {shlex.quote(str(script))}")
    patch.setenv("TUTOR_REMOTE", shlex.join(far_tutor or (str(TUTOR),)))


HOST = "far-machine"

SIMULATED = (sys.executable, str(Path(__file__).with_name("simulated_far_end.py")))
"""A far end without torch: see there. Arguments for `sh` may follow."""

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


WHY_NO_SSHD = (
    "there is no sshd here (openssh-server)" if SSHD is None
    else "there is no ssh here (openssh-client)" if shutil.which("ssh") is None
    else ""
)  # fmt: skip
"""Why nobody can come in here; empty if somebody can."""


@dataclass
class Sshd:
    """A real sshd on a loopback port, and the ssh command that comes in."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def ssh(self, port: int, *options: str) -> str:
        """The command for ssh to this sshd, over any port that leads to it."""
        own = ("-F", "none", "-o", "HostName=127.0.0.1", "-p", str(port),
               "-i", str(self.folder / "key"),
               "-o", f"UserKnownHostsFile={self.folder / 'known'}", "-o", "BatchMode=yes",
               "-o", "HostKeyAlias=far-machine", "-o", "IdentitiesOnly=yes")  # fmt: skip
        return shlex.join(("ssh", *own, *options))

    def sessions(self) -> set[int]:
        """The processes of sshd that serve a connection."""
        found = set[int]()
        for pid in os.listdir("/proc"):
            with suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                if b"sshd" in line and int(parent) in {self.process.pid, *found}:
                    found.add(int(pid))
        return found


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """An sshd of its own: host key, configuration, keys that may come in, and port."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it then
    for name in ("host", "key"):
        made = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        subprocess.run(made, check=True)
    (folder / "authorized").write_bytes((folder / "key.pub").read_bytes())
    host_key = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"far-machine {host_key}")
    there = next(filter(_listens, (_start_sshd(folder) for _ in range(9))))
    try:
        try_out = shlex.split(there.ssh(there.port, "-o", "LogLevel=ERROR", HOST, "true"))
        tried = subprocess.run(try_out, capture_output=True, text=True, check=False)
        if tried.returncode and os.getuid() != 0:  # a system may forbid that to all but root
            pytest.skip(f"sshd lets nobody in: {tried.stderr.strip()}")
        assert not tried.returncode, tried.stderr + (folder / "log").read_text()
        yield there
    finally:
        there.process.terminate()
        there.process.wait()


def _listens(there: Sshd) -> bool:
    """Whether it does at last; another program may have taken its port first."""
    log = there.folder / "log"
    wait_until(lambda: b"listening" in log.read_bytes() or there.process.poll() is not None, "sshd")
    return there.process.poll() is None


def _start_sshd(folder: Path) -> Sshd:
    """Start one on a port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What the tests' own environment says where things are, the far end has to know, too.
    kept = {
        k: v
        for k, v in os.environ.items()
        if k.startswith(("PYTHON", "XDG", "TUTOR", "OMP", "HOME"))
    }
    settings = " ".join(f'"{name}={value}"' for name, value in kept.items())
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\nUsePAM no\n"
        f"PidFile none\nAuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\n"
        f"PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        + (f"SetEnv {settings}\n" if settings else "")
    )
    assert SSHD is not None
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen((SSHD, "-D", "-e", "-f", str(folder / "config")), stderr=log)
    return Sshd(folder, port, process)


class Line:
    """A loopback port that leads to another: its line can be slow, silent, or cut."""

    def __init__(self, to: int, delay: float = 0.0) -> None:
        """`delay`: seconds that everything takes, in each direction."""
        self.delay = delay
        self.is_silent = False
        """Whether it takes everything and passes on nothing."""
        self._to = to
        self._ends: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.carried = 0
        """Bytes so far, in both directions."""
        self._is_closed = False
        self._threads: list[threading.Thread] = []
        self._start(self._serve)

    def _start(self, run: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def cut(self) -> None:
        """End all connections; new ones may come."""
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it, and its threads: what a closed one waits for would be another file's soon."""
        self._is_closed = True
        self._threads[0].join()
        self._listening.close()
        self.cut()
        for thread in self._threads[1:]:
            thread.join()

    def _serve(self) -> None:
        while not self._is_closed:
            if not select.select([self._listening], [], [], 0.05)[0]:
                continue
            here, _ = self._listening.accept()
            self._ends.append(here)
            with suppress(OSError):  # there is nobody
                there = socket.create_connection(("127.0.0.1", self._to))
                self._ends.append(there)
                for source, target in ((here, there), (there, here)):
                    target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._start(self._pass, source, target)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        """Pass on what comes, each piece after the delay, without holding up the next."""
        due: list[tuple[float, bytes]] = []
        with suppress(OSError, ValueError):
            while True:
                wait = max(due[0][0] - time.monotonic(), 0.0) if due else None
                if select.select([source], [], [], wait)[0]:
                    data = source.recv(2**16)
                    due.append((time.monotonic() + self.delay, data))
                while due and due[0][0] <= time.monotonic():
                    data = due.pop(0)[1]
                    self.carried += len(data)
                    if not data:
                        raise OSError("the end")
                    if not self.is_silent:
                        target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def kill(pids: set[int]) -> None:
    """End processes at once."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
