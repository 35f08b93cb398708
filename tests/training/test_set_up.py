"""PyTorch's optimizers and DDP before and after something loads its compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys, torch
import torch.distributed as dist
from pathlib import Path
from torch.nn.parallel import DistributedDataParallel
from tests.training import test_kinds_of_values as kinds_of_values
from tests.training.conftest import lesson_text, shipped
from tutor.engine.process_state import CleanProcess
from tutor.lesson.document import parse

clean = CleanProcess()
for _ in range(2):
    shipped("adam", "optimizer").step_epoch()
    assert "torch._dynamo" not in sys.modules, "it takes as long as to load torch"
    assert clean.restore() is None, "the second lesson of a process"

def trained(kind):
    w = torch.tensor([[2.0, -1.0], [0.5, 3.0]], requires_grad=True)
    optimizer = kind([w])
    grad_is_enabled = []

    def loss():
        optimizer.zero_grad()
        found = (w * w).sum()
        found.backward()
        grad_is_enabled.append(torch.is_grad_enabled())
        return found

    for _ in range(3):
        loss()
        optimizer.step(loss)
        optimizer.load_state_dict(optimizer.state_dict())
    optimizer.add_param_group({"params": [torch.zeros(2, 2, requires_grad=True)]})
    assert torch.is_grad_enabled()
    return w.tolist(), grad_is_enabled

kinds = [
    kind for kind in vars(torch.optim).values()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    and kind not in (torch.optim.Optimizer, torch.optim.SparseAdam, torch.optim.LBFGS)
]
assert len(kinds) > 10
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)

def replicated():
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(2, 1))
    model(torch.ones(3, 2)).sum().backward()
    return [(p.tolist(), p.grad.tolist()) for p in model.parameters()], model._use_python_reducer

before = [trained(kind) for kind in kinds], replicated()
assert "torch._dynamo" not in sys.modules
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
assert "torch._dynamo" in sys.modules
after = [trained(kind) for kind in kinds], replicated()
assert before == after
assert all(values != [[2.0, -1.0], [0.5, 3.0]] for values, _ in before[0])

# Here and not among the other kinds of values: the compiler takes as long to load as torch.
setup = "w = torch.tensor(0.0, requires_grad=True)\\nx = torch.tensor([1.0, 2.0])\\n"
setup += "f = torch.compile(lambda w, x: w * x, backend='eager')"
text = lesson_text(kinds_of_values.BOTH, Setup=setup, Predict="y_pred = f(w, x)")
compiled = parse(text, Path("compiled.md"))
for statement in kinds_of_values.OF_EACH:
    statement(compiled)
"""


def test_they_step_the_same_and_load_no_compiler_and_a_lesson_may_compile() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
