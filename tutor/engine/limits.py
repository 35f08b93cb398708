"""A bound on the memory that a lesson may take, so that a slip does not bring the machine down.

Linux only; elsewhere nothing is bounded. On a GPU there is no bound either: its driver
maps far more address space than it uses.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from tutor.errors import EngineError
from tutor.plain import one_line

DEFAULT_MEGABYTES = 1024
"""What a lesson may take beyond what torch takes itself, unless TUTOR_MEMORY_MB says more."""

LEAST_MEGABYTES, MOST_MEGABYTES = 64, 2**30
"""With less than the least, no lesson comes up."""

_STATUS = Path("/proc/self/status")


def limit_memory(device: str) -> None:
    """Let this process take so much more memory on the CPU; without bound on another device.

    Beyond it Python raises MemoryError and torch a RuntimeError, which name the line.
    """
    if not _STATUS.exists():
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if device != "cpu" else _data_bytes() + allowed_megabytes() * 2**20
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def allowed_megabytes() -> int:
    """The value of TUTOR_MEMORY_MB. Raises EngineError if it is no possible number."""
    asked = os.environ.get("TUTOR_MEMORY_MB", "").strip()
    if not asked:
        return DEFAULT_MEGABYTES
    is_number = asked.isascii() and asked.isdecimal() and len(asked) <= len(str(MOST_MEGABYTES))
    if not is_number or not LEAST_MEGABYTES <= int(asked) <= MOST_MEGABYTES:
        raise EngineError(
            f"TUTOR_MEMORY_MB is {one_line(asked)[:30]!r}: set it to a whole number of megabytes "
            f"from {LEAST_MEGABYTES} to {MOST_MEGABYTES}, or leave it unset"
        )
    return int(asked)


def _data_bytes() -> int:
    """The private writable memory that this process has mapped."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
