"""A learner's script on a GPU: stepped, gone back in, looked at and examined."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.script.marked_scripts import muted
from tutor.analysis.doctor.examination import examine
from tutor.analysis.graph import graph_of
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.protocol.frame import Frame, is_same_frame
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.program import script_programs
from tutor.script.source import ScriptSource
from tutor.training import devices
from tutor.training.probe import Probe
from tutor.training.run import Run

SCRIPT = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)
device = torch.device("{device}")
is_gpu = device.type == "cuda"
{before}
x = torch.randn(12, 3, device="cpu")
y = x.sum(1, keepdim=True)
loader = DataLoader(TensorDataset(x, y), batch_size=4, pin_memory=is_gpu)
model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Tanh(), nn.Linear(4, 1)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
scaler = torch.amp.GradScaler(device.type if is_gpu else "cpu", enabled=is_gpu)
for epoch in range(3):
    for xb, yb in loader:
        xb, yb = xb.to(device, non_blocking=True), yb.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, enabled=is_gpu):
            y_pred = model(xb)
            loss = nn.functional.mse_loss(y_pred.float(), yb)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    print(epoch, loss.item())
"""
DEFAULT_DEVICE = "torch.set_default_device(device)"


@pytest.fixture(params=["", DEFAULT_DEVICE], ids=["to", "default device"])
def lesson(request: pytest.FixtureRequest, device: str) -> Lesson:
    """The script whose tensors live on the device."""
    text = SCRIPT.format(device=device, before=request.param)
    source = ScriptSource(path=Path("train.py"), text=text, digest="")
    return lesson_of_script(source, outline_of(text), ScriptOptions())


def opened(lesson: Lesson) -> Run:
    run = Run(script_programs(lesson), quiet=muted)
    run.history.interval = run.history.spacing = 0.0
    run.clock.start(0.0)
    return run


def test_every_way_to_a_place_shows_the_same_to_the_bit(lesson: Lesson, device: str) -> None:
    run = opened(lesson)
    assert run.device == devices.name_of(torch.empty(0, device=device))
    seen = [run.frame()]
    while not (frame := run.step_phase()).is_over:
        seen.append(frame)
    assert len(seen) > 3 * 3 * 4
    for frame in (*seen[-2:-9:-1], *seen[::-7]):
        assert is_same_frame(run.seek(frame.at.epoch, frame.at.step), frame), frame.at
    ends: list[Frame] = [frame for frame in seen if frame.is_epoch_end]
    run.seek(0)
    assert is_same_frame(run.run_to(ends[-1].at.epoch), ends[-1])
    run.close()
    assert not devices.function_modes(), "the script's default device has gone with it"


def test_a_batch_is_looked_at(lesson: Lesson) -> None:
    run = opened(lesson)
    run.step_epoch()
    graph = graph_of(Probe(run.program, run.device, run.learning_rate, 0), run.standpoint())
    assert "phase_raised" not in {remark.code for remark in graph.remarks}
    assert {"loss", "model[0].weight"} <= {node.name for node in graph.nodes}
    run.close()


def test_the_doctor_finds_nothing(lesson: Lesson) -> None:
    report = examine(lesson, compiled=script_programs, quiet=muted)
    assert report.is_complete
    assert (report.findings, report.failed) == ((), ())
