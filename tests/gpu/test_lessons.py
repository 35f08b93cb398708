"""The lessons on a GPU: all pass `tutor check --device`, and none computes in a random order."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests import shipped
from tests.gpu.stand_in import UncompiledMode, stand_in
from tests.terminal import TUTOR
from tests.training.conftest import lesson_text
from tutor.lesson.document import parse
from tutor.protocol.events import CheckFinding
from tutor.training import devices
from tutor.training.run import Run
from tutor.validation.lesson_check import findings
from tutor.wording.check_findings import check_line, check_message

QUICK = ("cpu-and-gpu", "broadcasting")
"""Lessons checked on the stand-in, too: for float64, and for sums. (All pass there, in minutes.)"""


def faults(path: Path, device: str) -> list[str]:
    found = findings(shipped.read_once(path), device=device)
    return [check_line(finding) for finding in found if not finding.is_note]


@pytest.mark.gpu
@pytest.mark.parametrize("path", shipped.ORIGINALS, ids=lambda path: path.stem)
def test_a_shipped_lesson_passes_the_check_on_the_gpu(path: Path, gpu: str) -> None:
    assert faults(path, gpu) == []


@pytest.mark.gpu
def test_the_command_checks_on_the_gpu_and_says_so(gpu: str) -> None:
    done = subprocess.run(
        [TUTOR, "check", "--device", gpu, "one-weight", "xor"],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].endswith(f"{gpu} ({devices.describe(gpu)})")


@pytest.mark.parametrize("slug", QUICK)
def test_a_lesson_passes_where_sums_round_otherwise_and_no_float64_is(slug: str) -> None:
    with stand_in(has_float64=False) as device:
        assert faults(shipped.FOLDER / f"{slug}.md", device) == []


ON_A_DEVICE = {
    "Setup": "x = torch.tensor([1.0, 2.0, 3.0], device=device)\n"
    "w = torch.tensor(0.5, device=device, requires_grad=True)",
    "Loss": "loss = ((y_pred - 2 * x) ** 2).mean()",
}


def found(device: str, **phases: str) -> list[CheckFinding]:
    text = lesson_text(**{**ON_A_DEVICE, **phases})
    return list(findings(parse(text, Path("test.md")), device=device))


def test_figures_that_differ_by_more_than_rounding_are_found() -> None:
    factor = "f = 1.0 if device == 'cpu' else {}\n"
    with stand_in() as device:
        setup = ON_A_DEVICE["Setup"] + "\n" + factor
        (wrong,) = found(device, Setup=setup.format("1.0001"), Predict="y_pred = f * w * x")
        assert "after epoch 1, loss is" in check_message(wrong)
        assert found(device, Setup=setup.format("1 + 1e-7"), Predict="y_pred = f * w * x") == []
        assert found("cpu", Setup=setup.format("1.0001"), Predict="y_pred = f * w * x") == []


def test_a_value_that_only_the_cpu_has_is_found() -> None:
    front = "---\ntitle: T\nsummary: S.\nparameters: [w]\nwatch: {first: there(w)}\n---\n"
    setup = ON_A_DEVICE["Setup"] + (
        "\ndef there(w):\n    assert device == 'cpu', 'no CPU'\n    return w\n"
    )
    lesson = parse(lesson_text(front, **{**ON_A_DEVICE, "Setup": setup}), Path("test.md"))
    with stand_in() as device:
        (wrong,) = findings(lesson, device=device)
    assert "first has no value" in check_message(wrong)
    assert list(findings(lesson)) == []


def test_a_lesson_that_needs_float64_on_its_device_is_found_where_there_is_none() -> None:
    setup = (
        "x = torch.tensor(np.ones(3), device=device)\n"
        + "w = torch.tensor(0.5, device=device, requires_grad=True)"
    )
    with stand_in(has_float64=False) as device:
        (wrong,) = found(device, Setup=setup)
    assert "Setup raised TypeError" in check_message(wrong)
    with stand_in() as device:
        assert found(device, Setup=setup) == []


RANDOM_ORDER = """
    index_add scatter_add scatter_reduce put index_copy cumsum histc bincount median kthvalue
    nll_loss2d_forward convolution convolution_backward max_unpool2d _ctc_loss_backward
    grid_sampler_2d_backward grid_sampler_3d_backward _embedding_bag_dense_backward
    upsample_linear1d_backward upsample_bilinear2d_backward upsample_bicubic2d_backward
    upsample_trilinear3d_backward reflection_pad1d_backward reflection_pad2d_backward
    replication_pad2d_backward max_pool3d_with_indices_backward avg_pool3d_backward
    _adaptive_avg_pool2d_backward adaptive_max_pool2d_backward
"""
"""Operations that PyTorch names as nondeterministic on CUDA.

Source: torch.use_deterministic_algorithms. What differentiates `gather`, `index_select` and
`repeat_interleave` calls `scatter_add` or `index_add`.
"""


class Operations(UncompiledMode):
    """The names of the operations that run, without the mark of those in place."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__.rstrip("_"))
        if str(func).endswith("scatter_.src"):
            self.names.add("scatter_reduce")
        return func(*args, **(kwargs or {}))


def runs() -> Iterator[Run]:
    for path in shipped.ORIGINALS:
        for mode in shipped.read_once(path).modes:
            yield Run(shipped.programs(path.stem), mode)


def test_no_lesson_computes_in_a_random_order_on_cuda() -> None:
    with Operations() as operations, redirect_stdout(StringIO()):
        for run in runs():
            run.run_to_without_frame(1)
    assert "mm" in operations.names
    assert operations.names.isdisjoint(RANDOM_ORDER.split())
