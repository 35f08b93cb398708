"""The parameters of a script are found by looking, and named as its code names them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.script.marked_scripts import FILE
from tutor.script.outline import ScriptPhase, TrainingLoop
from tutor.script.parameters import ParameterTable, unwrapped

PHASES = (ScriptPhase("Loss", 1, 0, 1, True),)


def names_of(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(f"import torch\nimport numpy as np\nnn = torch.nn\n{source}", FILE, "exec"), names)
    return names


def table_of(source: str, **known: Any) -> tuple[ParameterTable, dict[str, Any]]:
    names = names_of(source)
    targets = known.pop("targets", ())
    loop = TrainingLoop(
        **{"line": 1, "column": 0, "end_line": 1, "mode": "model", "phases": PHASES} | known
    )
    table = ParameterTable(loop, frozenset(targets), 0.25)
    table.look(names)
    return table, names


LEAF = "torch.ones(2, requires_grad=True)"
FOUND = {
    "leaves": (f"w = {LEAF}; x = torch.ones(2); z = w * 2", ["w"]),
    "module": ("net = nn.Linear(2, 1)", ["net.weight", "net.bias"]),
    "parts of a module": (
        "net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1, bias=False)))",
        ["net[0].weight", "net[0].bias", "net[1][0].weight"],
    ),
    "lists and dicts": (
        f"p = {{'w': {LEAF}, 'b': [{LEAF}, {LEAF}]}}",
        ['p["w"]', 'p["b"][0]', 'p["b"][1]'],
    ),
    "attributes of an own class": (
        f"class A:\n    def __init__(self):\n        self.w = {LEAF}\n"
        "        self.net = nn.Linear(1, 1, bias=False)\na = A()",
        ["a.w", "a.net.weight"],
    ),
    "those of the optimizer": (
        f"v = {LEAF}; net = nn.Linear(1, 1)\nopt = torch.optim.SGD([net.bias, v], lr=1)",
        ["net.bias", "v"],
    ),
    "those of two optimizers": (
        f"a = {LEAF}; b = {LEAF}\nx = torch.optim.SGD([b], lr=1); y = torch.optim.Adam([a])",
        ["b", "a"],
    ),
    "shared once": (
        "net = nn.Linear(1, 1, bias=False); w = net.weight\nopt = torch.optim.SGD([w], lr=1)",
        ["net.weight"],
    ),
    "optimizer in an object": (
        f"class T: pass\nt = T(); t.w = {LEAF}; t.opt = torch.optim.SGD([t.w], lr=1)",
        ["t.w"],
    ),
    "none": ("x = torch.ones(2); f = nn.Linear; y = np.ones(2)", []),
}


@pytest.mark.parametrize(("source", "expressions"), FOUND.values(), ids=FOUND)
def test_expressions_name_what_is_trained(source: str, expressions: list[str]) -> None:
    table, names = table_of(source)
    assert sorted(table.expressions) == sorted(expressions)
    for expression, thing in table.read(names).items():
        assert thing is eval(expression, names)


def test_loop_targets_are_the_last_choice() -> None:
    table, _ = table_of(f"a = {LEAF}\nps = [a, {LEAF}]\nfor p in ps: pass", targets=("p",))
    assert list(table.expressions) == ["a", "ps[1]"]


def test_numbers_by_hand_are_those_of_the_outline() -> None:
    table, names = table_of(
        "w = 0.5; p = {'b': np.ones(2)}; dw = 3.0; grads = {'b': np.full(2, 4.0)}; x = np.ones(9)",
        mode="manual",
        parameters=("w", "p['b']", "missing"),
        gradients={"p['b']": "grads['b']"},
    )
    assert list(table.expressions) == ["w", "p['b']"]
    assert table.gradient("w", names) == 3.0
    assert table.gradient("p['b']", names).tolist() == [4.0, 4.0]
    del names["dw"], names["p"]
    assert table.gradient("w", names) is None
    assert table.read(names) == {"w": 0.5, "p['b']": None}


def test_gradients_of_tensors_and_of_an_own_class() -> None:
    table, names = table_of(f"w = {LEAF}\n(w * 3).sum().backward()")
    assert table.gradient("w", names).tolist() == [3.0, 3.0]
    names["w"] = names["w"] * 2  # no leaf any more: to ask it for its gradient would warn
    assert table.gradient("w", names) is None
    table, names = table_of(
        "class Value:\n    data, grad = 0.5, 2.0\nw = Value()",
        mode="manual",
        parameters=("w",),
    )
    assert (table.read(names), table.gradient("w", names)) == ({"w": 0.5}, 2.0)


@pytest.mark.parametrize(
    ("source", "rates", "rate"),
    [
        (f"w = {LEAF}; lr = 9\nopt = torch.optim.SGD([w], lr=0.5)", ("lr",), 0.5),
        (f"w = {LEAF}\nopt = torch.optim.SGD([w], lr=torch.tensor(0.5))", (), 0.5),
        ("lr = 0.125", ("lr",), 0.125),
        ("class A: pass\nargs = A(); args.lr = np.float64(0.5)", ("alpha", "args.lr"), 0.5),
        ("lr = 'fast'; rates = [1, 2]", ("lr", "rates"), 0.25),
        ("w = 1", (), 0.25),
    ],
)
def test_learning_rate(source: str, rates: tuple[str, ...], rate: float) -> None:
    table, names = table_of(source, rates=rates)
    assert table.learning_rate(names) == rate


def test_optimizer_is_the_one_of_now() -> None:
    table, names = table_of(f"w = {LEAF}\nopt = torch.optim.SGD([w], lr=0.5)")
    new = names["opt"] = torch.optim.Adam([names["w"]], lr=0.01)
    assert table.optimizers(names) == [new]
    assert table.learning_rate(names) == 0.01


def test_parameters_stay_the_same_until_forgotten() -> None:
    table, names = table_of(f"w = {LEAF}")
    names["v"] = names["w"].detach().clone().requires_grad_()
    table.look(names)
    assert list(table.expressions) == ["w"]
    table.forget()
    table.look(names)
    assert list(table.expressions) == ["w", "v"]


def test_objects_that_raise_when_read_are_nothing() -> None:
    table, names = table_of(
        f"class A:\n    def __getitem__(self, k): raise OSError\na = A()\nv = {LEAF}",
        parameters=("a[0]",),
    )
    assert list(table.expressions) == ["v"]
    assert table.value("a[0]", names) is None
    assert table.value("not python", names) is None


@pytest.mark.parametrize("thing", [1, 0.5, None, np.float32(2), np.ones(2), torch.ones(2), "text"])
def test_numbers_stay_what_they_are(thing: object) -> None:
    assert unwrapped(thing) is thing
