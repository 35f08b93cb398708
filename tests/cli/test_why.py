"""`tutor why`: the errors in a program's output, explained."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.cli.conftest import Tutor
from tests.shipped import lesson

TRACEBACK = """epoch 0 \x1b[31mloss\x1b[0m 0.5
{path}:2: UserWarning: Using a target size (torch.Size([3, 1])) that is different to the input size
  loss = F.mse_loss(y_pred, y)
Traceback (most recent call last):
  File "{path}", line 4, in <module>
    loss.backward()
RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
"""
CODE = "import torch\nloss = F.mse_loss(y_pred, y)\nloss = loss.detach()\nloss.backward()\n"


def from_program(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(output.encode())))


def test_output_is_passed_on_and_its_error_and_its_warnings_are_explained(
    tutor: Tutor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "train.py"
    path.write_text(CODE)
    from_program(monkeypatch, TRACEBACK.format(path=path))
    done = tutor("why")
    assert done.returncode == 0
    assert done.stdout.startswith("epoch 0 ^[[31mloss^[[0m 0.5\n"), "nothing obeys it"
    _, _, explained = done.stdout.partition("RuntimeError: element 0")[2].partition("RuntimeError")
    for part in (f"{path}:4", "line 3: loss = loss.detach()", "tutor detach --exercise",
                 f"{path}:2", "tutor broadcasting --exercise"):  # fmt: skip
        assert part in explained


def test_a_message_alone_is_explained(tutor: Tutor, home: Path) -> None:
    done = tutor("why", "grad", "can be implicitly created only for scalar outputs")
    assert done.returncode == 0
    assert lesson("vector-backward").title in done.stdout
    assert "tutor vector-backward --exercise no-scalar" in done.stdout


def test_an_empty_message_is_refused(tutor: Tutor, home: Path) -> None:
    done = tutor("why", "")
    assert (done.returncode, done.stdout) == (2, "")


def test_an_unknown_message_is_said_to_be_unknown(tutor: Tutor, home: Path) -> None:
    done = tutor("why", "NameError: name 'los' is not defined")
    assert done.returncode == 1
    assert "does not know" in done.stdout


def test_output_without_an_error_has_nothing_to_explain(
    tutor: Tutor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_program(monkeypatch, "epoch 1\nepoch 2\n")
    done = tutor("why")
    assert done.returncode == 0
    assert done.stdout.startswith("epoch 1\nepoch 2\n")
