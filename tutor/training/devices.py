"""The devices of this machine, and the state of the random number generators of the process."""

from __future__ import annotations

import gc
import pickle
import random
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec
import numpy as np
import torch
from torch import get_rng_state, overrides, set_rng_state

from tutor.errors import Refused
from tutor.training.program import Program


class Accelerator(msgspec.Struct, frozen=True):
    """A kind of GPU, as PyTorch has it: all that the tutor has to know of it."""

    module: Any
    """PyTorch's module, as `torch.cuda`."""
    is_available: Callable[[], bool]
    is_numbered: bool = True
    """Whether there may be several: `cuda:1`."""
    name: str = ""
    """Its name, where PyTorch does not tell it."""
    lost_by: str = ""
    """Words in the RuntimeError after which no work of this process is taken any more."""
    backend: str = ""
    """The backend of torch.distributed between several of them; without one, ranks share one."""

    def about(self, device: str) -> str:
        """The name and the memory of one of them."""
        if self.name:
            return f"{self.name}, {self.module.recommended_max_memory() / 2**30:.0f} GiB"
        about = self.module.get_device_properties(torch.device(device))
        return f"{about.name}, {about.total_memory / 2**30:.0f} GiB"

    def names(self, kind: str) -> list[str]:
        """The names of those that are there; the first has no number."""
        if not self.is_available():
            return []
        count = self.module.device_count() if self.is_numbered else 1
        return [kind, *(f"{kind}:{i}" for i in range(1, count))]

    def has_been_used(self) -> bool:
        """Whether this process may have work on one; for mps, whether there is one."""
        return bool(self.module.is_initialized()) if self.is_numbered else self.is_available()

    def has_backend(self) -> bool:
        """Whether its own backend of torch.distributed is there."""
        name = f"is_{self.backend}_available"
        return bool(self.backend) and bool(getattr(torch.distributed, name, bool)())


ACCELERATORS: Mapping[str, Accelerator] = {
    "cuda": Accelerator(torch.cuda, torch.cuda.is_available, lost_by="CUDA error", backend="nccl"),
    "xpu": Accelerator(torch.xpu, torch.xpu.is_available),
    "mps": Accelerator(torch.mps, torch.backends.mps.is_available, False, "Apple GPU (Metal)"),
}
"""Each of DEVICE_KINDS but the CPU."""


def available() -> tuple[str, ...]:
    """The devices of this machine as torch names them: cpu, then cuda, cuda:1 …, xpu, mps."""
    found = (name for kind, one in ACCELERATORS.items() for name in one.names(kind))
    return ("cpu", *found)


def describe(device: str) -> str:
    """One line about a device: the GPU's name and memory, or the number of CPU threads."""
    if (found := _accelerator(device)) is not None:
        return found.about(device)
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' if threads > 1 else ''}"


def backends_of_ranks(ranks: int) -> dict[str, str]:
    """The backends of torch.distributed by kind, where each rank has a GPU of its own."""
    kinds = ACCELERATORS.items()
    return {k: a.backend for k, a in kinds if a.has_backend() and len(a.names(k)) >= ranks}


def device_of_rank(device: str, rank: int, ranks: int) -> str:
    """The device of one rank where the lesson is on `device`: its own GPU, if each has one."""
    return f"{device}:{rank}" if rank and device in backends_of_ranks(ranks) else device


def check(device: str) -> str:
    """`device` as it is usually written (`cuda:0` is `cuda`).

    Raises RunError, with the devices that are there, if it is none of them.
    """
    name = device.removesuffix(":0") if _accelerator(device) else device
    there = available()
    if name not in there:
        raise Refused("no_device", device=device, available=list(there))
    return name


def name_of(tensor: torch.Tensor) -> str:
    """The device of a tensor, as it is usually written: `cuda`, not `cuda:0`."""
    name = str(tensor.device)
    return name.removesuffix(":0")


def synchronize(device: str) -> None:
    """Wait until a GPU has done its work so far, so that a clock measures that, too."""
    if (found := _accelerator(device)) is not None:
        found.module.synchronize(*_numbered(device))


def free_memory() -> bool:
    """Return the memory of GPUs that nothing uses any more, which PyTorch keeps for later.

    False if one of them is lost.
    """
    used = [one.module for one in ACCELERATORS.values() if one.has_been_used()]
    if used:
        gc.collect()  # a lesson's functions hold the names that they are among
    try:
        for module in used:
            module.synchronize()
            module.empty_cache()
    except RuntimeError:
        return False
    return True


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether Python, NumPy or PyTorch got no memory, on the CPU or on a GPU.

    PyTorch has an error of its own for a GPU's memory, but not for mps and the CPU.
    """
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("can't allocate memory", "out of memory")
    )


def is_lost(error: BaseException | None) -> bool:
    """Whether a GPU takes no more work of this process: an assertion in a kernel ends all of it."""
    text = str(error) if isinstance(error, RuntimeError) else ""
    lost_by = (one.lost_by for one in ACCELERATORS.values() if one.lost_by)
    return any(words in text for words in lost_by) and not is_out_of_memory(error)


def _accelerator(device: str) -> Accelerator | None:
    """The kind of a device; None for the CPU."""
    return ACCELERATORS.get(device.partition(":")[0])


def _numbered(device: str) -> tuple[str, ...]:
    """The device as an argument of its module's functions, which some kinds lack."""
    found = _accelerator(device)
    return (device,) if found is not None and found.is_numbered else ()


def current_device(kind: str) -> int:
    """The number of the GPU of this kind that PyTorch uses where none is named."""
    module = ACCELERATORS[kind].module
    return int(module.current_device()) if module.is_initialized() else 0


def set_current_device(kind: str, number: int) -> None:
    """Use this GPU where none is named."""
    ACCELERATORS[kind].module.set_device(number)


def function_modes() -> list[Any]:
    """The modes that PyTorch's functions are called in; the default device is one of them."""
    return overrides._get_current_function_mode_stack()  # type: ignore[no-any-return, no-untyped-call]


def set_function_modes(modes: Sequence[Any]) -> None:
    """Let functions be called in these modes, the lowest first."""
    for _ in function_modes():
        overrides._pop_mode()  # type: ignore[no-untyped-call]
    for mode in modes:
        overrides._push_mode(mode)  # type: ignore[no-untyped-call]


def default_device() -> Any:
    """The function mode that `torch.set_default_device` has set; None if it has set none.

    PyTorch leaves it when it sets another.
    """
    return getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)


def set_default_device(mode: Any) -> None:
    """Set the mode of the default device; `set_function_modes` puts it among the others."""
    if mode is not None:
        torch._GLOBAL_DEVICE_CONTEXT.device_context = mode
    elif default_device() is not None:  # torch 2.6 takes None for a mode
        del torch._GLOBAL_DEVICE_CONTEXT.device_context


def autocast_depth() -> int:
    """The number of `torch.autocast` blocks that this thread is in.

    PyTorch keeps what it has cast until the outermost is left: one that is never left would let
    all later ones compute with old weights.
    """
    depth = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    return depth


def set_autocast_depth(depth: int) -> None:
    """Set the number of `torch.autocast` blocks."""
    for _ in range(depth - autocast_depth()):
        torch.autocast_increment_nesting()
    for _ in range(autocast_depth() - depth):
        torch.autocast_decrement_nesting()


USUAL_THREADS = torch.get_num_threads()
"""The number of CPU threads with which a Python program computes on this machine."""


def use_one_thread() -> None:
    """Let torch compute on one CPU thread: enough for lessons, and sums come out the same."""
    torch.set_num_threads(1)


class Randomness(msgspec.Struct, frozen=True):
    """The state of Python's, numpy's and torch's generators, each packed into bytes."""

    python: tuple[int, bytes, float | None] | None
    numpy: tuple[Any, ...] | None
    """These two are None where nothing draws from them: they take long to read."""
    cpu: bytes
    device: bytes | None

    @classmethod
    def now(cls, device: str, program: Program | None = None) -> Randomness:
        """The state at this moment, on the CPU and on `device`.

        With `program`, only of the generators that its code may draw from.
        """
        cpu, found = _bytes(get_rng_state()), _accelerator(device)
        if program is not None and not program.may_draw and found is None:
            return cls(None, None, cpu, None)
        on_gpu = None if found is None else found.module.get_rng_state(*_numbered(device))
        version, numbers, gauss = random.getstate()
        return cls(
            (version, array("I", numbers).tobytes(), gauss),
            _packed(np.random.get_state()),
            cpu,
            None if on_gpu is None else _bytes(on_gpu),
        )

    def restore(self, device: str) -> None:
        """Put the generators back into this state."""
        if self.python is not None:
            version, numbers, gauss = self.python
            random.setstate((version, tuple(array("I", numbers)), gauss))
        if self.numpy is not None:
            np.random.set_state(_unpacked(self.numpy))
        set_rng_state(_state(self.cpu))
        found = _accelerator(device)
        if self.device is not None and found is not None:
            found.module.set_rng_state(_state(self.device), *_numbered(device))

    def sharing(self, before: Randomness) -> Randomness:
        """The state, with the parts of `before` where they are equal: so they are held once."""
        pairs = ((getattr(self, name), getattr(before, name)) for name in self.__struct_fields__)
        return Randomness(*(old if new == old else new for new, old in pairs))

    def part_sizes(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part, which may be shared."""
        yield id(self.python), len(self.python[1]) if self.python else 0
        yield id(self.numpy), len(self.numpy[1]) if self.numpy else 0
        yield id(self.cpu), len(self.cpu)
        yield id(self.device), len(self.device or b"")


@contextmanager
def untouched_randomness(device: str, program: Program | None = None) -> Iterator[None]:
    """A span after which the random generators are as before, whatever is drawn inside.

    With `program`, only the generators that its code may draw from, which takes less time.
    """
    before = Randomness.now(device, program)
    try:
        yield
    finally:
        before.restore(device)


class GeneratorUser(Protocol):
    """A run, or a rank's loop, that draws random numbers in turn with others."""

    randomness: Randomness | None
    """The generators' state as it left them, while another one owns them."""

    @property
    def device(self) -> str:
        """The device of its tensors."""


class SharedGenerators:
    """The process's random number generators, which runs, or loops, take in turn."""

    def __init__(self) -> None:
        self.holder: GeneratorUser | None = None
        """The run, or loop, that they are set for."""

    def leave(self) -> None:
        """Let nobody hold them: their last holder will find them as they are now."""
        if self.holder is not None:
            self.holder.randomness = Randomness.now(self.holder.device)
        self.holder = None

    def take(self, holder: GeneratorUser) -> None:
        """Set them as this holder left them."""
        if self.holder is holder:
            return
        self.leave()
        if holder.randomness is not None:
            holder.randomness.restore(holder.device)
        self.holder = holder


def seed_all(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators (torch's on every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if len(available()) > 1:
        torch.manual_seed(seed)
    else:  # `manual_seed` would also note the call stack, for a GPU that is not there
        torch.default_generator.manual_seed(seed)


def _packed(state: Any) -> tuple[Any, ...]:
    """NumPy's state with its numbers as bytes; the state of a replaced generator, pickled."""
    if isinstance(state, tuple):
        name, key, *rest = state
        return (name, key.tobytes(), *rest)
    return "", pickle.dumps(state)


def _unpacked(packed: tuple[Any, ...]) -> Any:
    name, key, *rest = packed
    return (name, np.frombuffer(key, dtype=np.uint32), *rest) if name else pickle.loads(key)


def _bytes(state: torch.Tensor) -> bytes:
    return state.numpy().tobytes()


def _state(packed: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(packed, dtype=np.uint8).copy())
