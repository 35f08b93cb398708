"""A bound on the memory that a lesson may take, so that a slip does not bring the machine down.

Linux only; elsewhere nothing is bounded. On a GPU there is no bound either: its driver
maps far more address space than it uses.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

DEFAULT_MEGABYTES = 1024
"""What a lesson may take beyond what torch takes itself, unless TUTOR_MEMORY_MB says more."""

_STATUS = Path("/proc/self/status")


def limit_memory(device: str) -> None:
    """Let this process take so much more memory on the CPU; without bound on another device.

    Beyond it Python raises MemoryError and torch a RuntimeError, which name the line.
    """
    if not _STATUS.exists():
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if device != "cpu" else _data_bytes() + _allowed_megabytes() * 2**20
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _allowed_megabytes() -> int:
    asked = os.environ.get("TUTOR_MEMORY_MB", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else DEFAULT_MEGABYTES


def _data_bytes() -> int:
    """The private writable memory that this process has mapped."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
