"""The training loops and phases that are found in the scripts of outline_scripts.txt.

Each of them says itself what is expected: a line that ends with `#: Predict` begins that phase,
with `#: Predict *` also a batch; one with `#: loop mode=… loss=…` is a loop that is listed.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tutor.python_syntax import first_line
from tutor.script.loops import outline_of
from tutor.script.outline import TrainingLoop, WhyNoLoop

_TEXT = Path(__file__).with_name("outline_scripts.txt").read_text(encoding="utf-8")
SCRIPTS = {
    name.strip(): source
    for name, _, source in (part.partition("\n") for part in _TEXT.split("##### ")[1:])
}
"""By name: the script."""

_MARK = re.compile(r"#: (.*)$")
_FACT = re.compile(r"(\w+)=(\S+)")


@dataclass(slots=True)
class Expected:
    """What the marks of a script say of one loop."""

    line: int
    facts: dict[str, str]
    phases: list[tuple[int, str, bool]] = field(default_factory=list)


def expected_of(source: str) -> list[Expected]:
    loops: list[Expected] = []
    waiting: list[tuple[int, str, bool]] = []
    for number, line in enumerate(source.splitlines(), 1):
        for mark in _MARK.findall(line):
            if mark.startswith("loop"):
                loops.append(Expected(number, dict(_FACT.findall(mark))))
            for part in () if mark.startswith("loop") else mark.split(", "):
                phase = (number, part.rstrip(" *"), part.endswith("*"))
                (loops[-1].phases if loops else waiting).append(phase)
    if loops:
        loops[0].phases[:0] = waiting
    return loops


def shown(loop: TrainingLoop, key: str) -> str:
    value: Any = getattr(loop, key)
    match value:
        case tuple():
            return ",".join(value)
        case dict():
            value = ",".join(f"{name}:{text}" for name, text in value.items())
    return str(value).replace(" ", "")


@pytest.mark.parametrize("name", SCRIPTS)
def test_loops_and_phases_are_found_as_the_script_says(name: str) -> None:
    source = SCRIPTS[name]
    outline, tree = outline_of(source), ast.parse(source)
    expected = expected_of(source)
    assert [loop.line for loop in outline.loops] == [one.line for one in expected]
    for loop, one in zip(outline.loops, expected, strict=True):
        found = sorted((p.line, p.column, p.name, p.starts_batch) for p in loop.phases)
        assert [(line, name, batch) for line, _, name, batch in found] == one.phases
        assert {key: shown(loop, key) for key in one.facts} == one.facts
        places = {(p.line, p.column) for p in loop.phases}
        assert len(places) == len(loop.phases)
        assert places <= {
            (first_line(n), n.col_offset) for n in ast.walk(tree) if isinstance(n, ast.stmt)
        }
        assert all(p.line <= p.end_line for p in loop.phases)


REFUSED = [
    (name.split(), source)
    for name, _, source in (
        part.partition("\n")
        for part in Path(__file__)
        .with_name("refused_scripts.txt")
        .read_text(encoding="utf-8")
        .split("##### ")[1:]
    )
]


@pytest.mark.parametrize(("head", "source"), REFUSED, ids=[" ".join(h) for h, _ in REFUSED])
def test_a_script_without_a_loop_to_step_is_refused(head: list[str], source: str) -> None:
    code, *rest = head
    values = dict(part.split("=") for part in rest)
    line, modules = values.pop("line", None), values.pop("modules", "").split()
    why = outline_of(source, modules).why_no_loop
    assert why is not None
    assert (why.code, why.line, why.values) == (code, line and int(line), values)


def test_code_that_is_nested_too_deeply_is_refused() -> None:
    names = "+".join(f"x{i}" for i in range(3000))
    source = f"for i in range(9):\n    w -= lr * ({names})\n"
    assert outline_of(source).why_no_loop == WhyNoLoop("nested_too_deeply")


def test_a_loop_that_can_be_stepped_is_listed_before_one_that_can_not() -> None:
    generator = next(source for head, source in REFUSED if head[0] == "generator_loop")
    outline = outline_of(generator + SCRIPTS["momentum"])
    assert [loop.mode for loop in outline.loops] == ["manual"]
    assert outline.why_no_loop is None


def test_functions_that_return_each_other_are_searched_once() -> None:
    text = """\
import torch
def first():
    return second()
def second():
    return first()
model = first()
for epoch in range(3):
    y_pred = model(x)
    loss = (y_pred - y) ** 2
    loss.backward()
    w -= 0.1 * w.grad
"""
    assert [loop.mode for loop in outline_of(text).loops] == ["autograd"]


@pytest.mark.parametrize(
    ("body", "is_regular"),
    [
        ("loss = f(w)\n    loss.backward()\n    opt.step()\n    if e: print(e)", True),
        ("loss = step()", True),
        ("if e: loss = f(w)\n    loss.backward()\n    opt.step()", True),
        ("for x in xs:\n        loss = f(w)\n        loss.backward()\n        opt.step()", False),
        ("if e:\n        loss = f(w)\n        loss.backward()\n        opt.step()", False),
        ("losses = [step() for x in xs]", False),
        ("step()\n    step()", False),
        ("opt.step(closure)", False),
    ],
)
def test_an_epoch_is_regular_if_each_phase_is_always_one_step_of_it(
    body: str, is_regular: bool
) -> None:
    inner = "\n    loss = f(w)\n    loss.backward()\n"
    code = f"def step():{inner}    opt.step()\ndef closure():{inner}    return loss\n"
    before = "opt = torch.optim.SGD([w])\n"
    (loop,) = outline_of(f"import torch\n{before}{code}for e in range(9):\n    {body}\n").loops
    assert loop.is_regular is is_regular


@pytest.mark.parametrize(
    ("body", "is_found"),
    [
        ("for x in xs:\n        loss = f(w)\n        loss.backward()\n        opt.step()", True),
        ("for x in xs:\n        print(step())", True),
        ("one_pass(xs)\n    print(e)", True),
        ("one_pass(xs)\n    one_pass(more)", False),
        ("for x in xs:\n        loss = step()\n        if loss < 1: break", False),
        ("for x in xs:\n        if x:\n            step()", False),
        ("for x in xs:\n        for k in x:\n            step()", False),
        ("while xs:\n        step()", False),
        ("step()", False),
    ],
)
def test_a_loop_over_batches_is_found_where_each_takes_a_gradient(
    body: str, is_found: bool
) -> None:
    inner = "loss = f(w)\n    loss.backward()\n    opt.step()\n"
    code = f"def step():\n    {inner}    return loss\n"
    code += "def one_pass(xs):\n    for x in xs:\n        step()\n"
    before = "import torch\nopt = torch.optim.SGD([w])\n"
    (loop,) = outline_of(f"{before}{code}for e in range(9):\n    {body}\n").loops
    assert (loop.batches_at is not None) is is_found
