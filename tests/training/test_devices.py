"""The kinds of devices that PyTorch knows, on machines with other ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tutor.errors import RunError
from tutor.protocol.frame import DEVICE_KINDS
from tutor.training import devices
from tutor.training.devices import ACCELERATORS, Accelerator


def accelerator(count: int, **more: str) -> Accelerator:
    """A kind of which there are so many."""
    module = SimpleNamespace(
        device_count=lambda: count,
        get_device_properties=lambda device: SimpleNamespace(name="A", total_memory=8 * 2**30),
    )
    return Accelerator(module, lambda: count > 0, **more)  # type: ignore[arg-type]


def test_every_kind_but_the_cpu_is_described() -> None:
    assert ("cpu", *ACCELERATORS) == DEVICE_KINDS


def test_the_first_of_several_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"cuda": accelerator(0), "xpu": accelerator(3)}
    monkeypatch.setattr(devices, "ACCELERATORS", kinds)
    assert devices.available() == ("cpu", "xpu", "xpu:1", "xpu:2")
    assert devices.check("xpu:0") == "xpu"
    assert devices.check("xpu:2") == "xpu:2"
    assert devices.describe("xpu:2") == "A, 8 GiB"
    with pytest.raises(RunError, match="no_device"):
        devices.check("cuda")


def test_each_rank_has_a_gpu_of_its_own_where_there_are_enough_with_a_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = {"cuda": accelerator(2, backend="nccl"), "xpu": accelerator(4)}
    monkeypatch.setattr(devices, "ACCELERATORS", kinds)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    assert devices.backends_of_ranks(2) == {"cuda": "nccl"}
    assert [devices.device_of_rank("cuda", rank, 2) for rank in (0, 1)] == ["cuda", "cuda:1"]
    assert devices.device_of_rank("xpu", 1, 2) == "xpu"
    assert devices.device_of_rank("cpu", 1, 2) == "cpu"
    assert devices.backends_of_ranks(3) == {}
    assert devices.device_of_rank("cuda", 1, 3) == "cuda"
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    assert devices.backends_of_ranks(2) == {}


def test_a_gpu_without_memory_is_not_lost() -> None:
    assert devices.is_lost(RuntimeError("CUDA error: device-side assert triggered"))
    assert not devices.is_lost(RuntimeError("CUDA error: out of memory"))
    assert not devices.is_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not devices.is_lost(None)
