"""The devices of this machine, and the message for one that it lacks."""

from __future__ import annotations

import torch

from tutor.errors import RunError


def available() -> tuple[str, ...]:
    """The devices of this machine as torch names them: cpu, then cuda, cuda:1 …, mps."""
    found = ["cpu"]
    if torch.cuda.is_available():
        found += ["cuda", *(f"cuda:{i}" for i in range(1, torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def describe(device: str) -> str:
    """One line about a device: the GPU's name and memory, or the number of CPU threads."""
    if device.startswith("cuda"):
        about = torch.cuda.get_device_properties(torch.device(device))
        return f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
    if device == "mps":
        return "Apple GPU (Metal)"
    return f"{torch.get_num_threads()} threads"


def check(device: str) -> str:
    """`device` as it is usually written (`cuda:0` is `cuda`).

    Raises RunError, listing the devices that are there, if it is none of them.
    """
    name = "cuda" if device == "cuda:0" else device
    there = available()
    if name not in there:
        raise RunError(f"no device {device!r} on this machine; available: {', '.join(there)}")
    return name


def synchronize(device: str) -> None:
    """Wait until a GPU has done what it was given, so that a clock measures its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(torch.device(device))
    elif device == "mps":
        torch.mps.synchronize()


def use_one_thread() -> None:
    """Let torch compute on one CPU thread: enough for lessons, and sums come out the same."""
    torch.set_num_threads(1)
