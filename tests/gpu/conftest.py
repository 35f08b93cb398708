"""The device of these tests: a GPU, and in its place the CPU (see `stand_in`).

    pytest tests/gpu                          all, on this machine's first GPU
    TUTOR_TEST_DEVICE=mps pytest tests/gpu    on another device

A test that asks for `device` runs on both; one marked `gpu` needs a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.gpu.stand_in import stand_in
from tutor.training import devices

GPU = os.environ.get("TUTOR_TEST_DEVICE") or next(iter(devices.available()[1:]), "")
"""The device to test; empty where there is none."""

needs_gpu = pytest.mark.skipif(not GPU, reason="PyTorch finds no GPU on this machine")


@pytest.fixture(
    params=["stand-in", pytest.param("gpu", marks=[pytest.mark.gpu, needs_gpu])], scope="module"
)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a device besides the CPU."""
    if request.param == "gpu":
        yield GPU
        devices.free_memory()
        return
    with stand_in() as name:
        yield name


@pytest.fixture
def gpu() -> str:
    """The name of the GPU, for tests that are marked `gpu`."""
    if not GPU:
        pytest.skip("PyTorch finds no GPU on this machine")
    return GPU
