"""An image puts back all that a script can change, into the very same objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.script.marked_scripts import FILE, bits
from tutor.script import saved_state
from tutor.script.memory_image import MemoryImage, take_image

LIMIT = 2**30


def names_of(source: str) -> dict[str, Any]:
    """The names of code that has run as a script's module does."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("import torch\nimport numpy as np\n" + source, FILE, "exec"), names)
    return names


def has_image(names: dict[str, Any], before: MemoryImage | None = None, limit: int = LIMIT) -> bool:
    return take_image([names], FILE, "cpu", before, limit) is not None


def image_of(names: dict[str, Any], before: MemoryImage | None = None) -> MemoryImage:
    image = take_image([names], FILE, "cpu", before, LIMIT)
    assert image is not None
    return image


def more(names: dict[str, Any], code: str) -> None:
    exec(compile(code, FILE, "exec"), names)


MODEL = """
torch.manual_seed(0)
x = torch.randn(8, 3)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
"""
STEP = """
optimizer.zero_grad()
model(x).pow(2).mean().backward()
optimizer.step()
"""

CHANGES = {
    "numbers and text": ("a, b = 1, 'x'", "a += 1; b = None; c = 2"),
    "list": ("a = [3, 1, 2]; b = a", "a.sort(); a.append(4); b = [5]"),
    "nested": ("a = {'k': [1, {'m': (2, [3])}]}", "a['k'][1]['m'][1].append(4); a['k'].pop(0)"),
    "dict's order": ("a = {1: 1, 2: 2}", "a[1] = a.pop(1); b = a[3] = 3"),
    "ordered dict": (
        "from collections import OrderedDict\na = OrderedDict(a=1, b=2, c=3)",
        "a.move_to_end('a'); del a['b']; a['d'] = 4",
    ),
    "counter and defaultdict": (
        "from collections import *\na = Counter('aab'); b = defaultdict(list)",
        "a.update('abc'); b[1].append(2); del a['b']",
    ),
    "set": ("a = {1, 2}; b = frozenset(a)", "a.add(3); a.discard(1); b |= {4}"),
    "deque": ("from collections import deque\na = deque([1, 2], maxlen=2)", "a.append(3)"),
    "bytes": ("import array\na = bytearray(1); b = array.array('i', [1])", "a += b'c'; b[0] = 2"),
    "attributes": (
        "class A:\n    def __init__(self): self.v = [1]; self.__w = 0\n"
        "    def up(self): self.v.append(2); self.__w += 1; self.new = 1\na = A()",
        "a.up()",
    ),
    "slots": (
        "class A:\n    __slots__ = ('v', '__w', 'later')\n"
        "    def __init__(self): self.v = 1; self.__w = 0\n"
        "    def up(self): self.v += 1; self.__w += 1; self.later = 1\n"
        "    def all(self): return self.v, self.__w, hasattr(self, 'later')\n"
        "a = A(); shown = a.all()",
        "a.up(); shown = a.all()",
    ),
    "dataclass": (
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    v: int = 0\n"
        "    w: list = field(default_factory=list)\na = A()",
        "a.v = 5; a.w.append(1)",
    ),
    "named tuple": (
        "from typing import NamedTuple\nclass A(NamedTuple):\n    v: list\na = A([1])",
        "a.v.append(2)",
    ),
    "attributes of a class": (
        "class A:\n    n = 0\n    log = []\na = A()\n"
        "def shown(): return A.n, A.log, hasattr(A, 'new')\nb = shown()",
        "A.n += 1; A.log.append(1); A.new = 2; b = shown()",
    ),
    "function's default and attribute": (
        "def f(v, seen=[]):\n    seen.append(v)\n    f.calls = getattr(f, 'calls', 0) + 1\n"
        "    return list(seen), f.calls\na = f(0)",
        "a = f(1)",
    ),
    "closure": (
        "def make():\n    n = 0\n    def inc():\n        nonlocal n\n"
        "        n += 1\n        return n\n    return inc\ninc = make()\na = inc()",
        "a = inc()",
    ),
    "arrays": (
        "a = np.zeros((3, 4)); b = a[1:, ::2]; c = a.T; d = np.zeros(()); e = np.float64(1)\n"
        "f = np.asfortranarray(np.ones((2, 3))); g = np.zeros(2, dtype=[('i', 'i4'), ('f', 'f8')])",
        "b += 1; c[0] += 1; d += 1; e += 1; f[0] *= 2; g['i'] += 1",
    ),
    "arrays of objects": (
        "a = np.array([1, 'x', None, [2]], dtype=object); b = np.ma.array([1, 2], mask=[0, 1])",
        "a[0] = 5; a[3].append(3); b.mask[0] = 1",
    ),
    "array and tensor of one memory": (
        "a = np.zeros(3); t = torch.from_numpy(a)",
        "t += 1; a[0] = 5",
    ),
    "tensors that share memory": (
        "a = torch.zeros(6); b = a[:3]; c = a.view(2, 3)",
        "b += 1; c[1] += 2",
    ),
    "data": (
        "w = torch.ones(2, 2, requires_grad=True)",
        "w.data = w.data.T * 2; w.data = torch.zeros(3)",
    ),
    "gradients": (
        "w = torch.ones(2, requires_grad=True); v = torch.ones(2, requires_grad=True)\n"
        "w.sum().backward()",
        "w.grad += 1; (w * v).sum().backward(); w.grad = None",
    ),
    "frozen": (
        "w = torch.ones(2, requires_grad=True); v = torch.ones(2)",
        "w.requires_grad_(False); v.requires_grad_()",
    ),
    "leaf that becomes a part of a graph": (
        "w = torch.ones(2, requires_grad=True); total = torch.zeros(())",
        "total += w.sum()",
    ),
    "model": (
        f"{MODEL}optimizer = torch.optim.SGD(model.parameters(), lr=0.1)",
        f"{STEP}model.eval(); model[0].weight.grad = None; model.register_buffer('b', x)",
    ),
    **{
        f"optimizer {name}": (f"{MODEL}optimizer = torch.optim.{name}\n{STEP}", STEP)
        for name in (
            "SGD(model.parameters(), lr=0.1, momentum=0.9)",
            "Adam(model.parameters(), lr=torch.tensor(0.1), amsgrad=True, foreach=False)",
            "RMSprop([{'params': model[0].parameters(), 'lr': 1}, {'params': model[2].weight}])",
            "LBFGS(model.parameters()); optimizer.step = lambda: None",
        )
    },
    "first step of an optimizer": (
        f"{MODEL}optimizer = torch.optim.Adam(model.parameters())",
        f"{STEP}optimizer.add_param_group({{'params': [torch.ones(1)]}})",
    ),
    "schedulers": (
        f"{MODEL}optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "a = torch.optim.lr_scheduler.StepLR(optimizer, 1)\n"
        f"b = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)\n{STEP}",
        "a.step(); b.step(1.0); b.step(2.0)\nc = optimizer.param_groups[0]['lr']",
    ),
    "generators of its own": (
        "import random\na = np.random.default_rng(1); b = random.Random(2)\n"
        "c = torch.Generator().manual_seed(3); d = np.random.RandomState(4)\n"
        "def draw(): return a.random(), b.random(), torch.rand(1, generator=c), d.rand()",
        "draw()",
    ),
    "iterator of its own class": (
        "class Batches:\n    n = 0\n    def __next__(self):\n        self.n += 1\n"
        "        return self.n\na = Batches()",
        "next(a)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("setup", "change"), CHANGES.values(), ids=CHANGES)
def test_all_is_put_back(setup: str, change: str) -> None:
    names = names_of(setup)
    before, things = state(names), {k: id(v) for k, v in names.items()}
    image = image_of(names)
    after = list[Any]()
    for _ in range(2):  # the same again from there
        more(names, change)
        after.append(state(names))
        assert image.restore()
        assert state(names) == before
        assert {k: id(v) for k, v in names.items()} == things
    assert after[0] == after[1]
    assert after[0] != before


def state(names: dict[str, Any]) -> dict[str, Any]:
    """All that names lead to; a dict's order, and the next numbers of its generators."""
    found = bits(names)
    found["order"] = {
        n: list(t) for n, t in names.items() if isinstance(t, dict) and n != "__builtins__"
    }
    if "draw" in names:
        found["generators"] = [
            names["a"].bit_generator.state,
            names["b"].getstate(),
            names["c"].get_state().tolist(),
            str(names["d"].get_state()),
        ]
    return found


def test_random_numbers_are_drawn_again() -> None:
    names = names_of(
        "import random\ndef draw(): return random.random(), np.random.rand(), torch.rand(1)"
    )
    image = image_of(names)
    first = names["draw"]()
    image.restore()
    assert names["draw"]() == first


def test_equal_parts_are_shared_with_the_image_before() -> None:
    names = names_of("a = torch.zeros(1000); b = np.zeros(1000)")
    first = image_of(names)
    more(names, "a += 1")
    second = image_of(names, first)
    new = dict(second.part_sizes()).keys() - dict(first.part_sizes()).keys()
    assert 4000 <= sum(size for part, size in second.part_sizes() if part in new) < 8000


def test_large_data_are_copied_only_once_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_state, "LARGE", 1000)
    names = names_of("data = torch.arange(50000.); n = 0")
    first = image_of(names)
    assert sum(size for _, size in first.part_sizes()) < 40_000
    more(names, "n = 1")
    assert first.restore()
    assert names["n"] == 0
    more(names, "data[17] = -1")
    second = image_of(names, first)
    more(names, "data[5], data[6] = data[6].item(), data[5].item()")
    assert not first.restore()
    assert second.restore()
    assert names["data"][[5, 6, 17]].tolist() == [5.0, 6.0, -1.0]


@pytest.mark.parametrize(
    "change",
    ["a[[0, 1]] = a[[1, 0]]", "a[-1] += 1", "a.copy_(a.flip(0))", "a[9000] *= -1", "a += 1e-6 * a"],
)
def test_large_data_that_changed_are_told_from_the_same(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_state, "LARGE", 1000)
    names = names_of("torch.manual_seed(0); a = torch.randn(10001)")
    image = image_of(names)
    more(names, change)
    assert not image.restore()


def test_large_parameters_are_kept_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_state, "LARGE", 1000)
    names = names_of("w = torch.ones(1000, requires_grad=True)")
    image = image_of(names)
    more(names, "w.data += 1")
    assert image.restore()
    assert names["w"].sum() == 1000


# ── Computation graphs ──────────────────────────────────────────────────────────────

GRAPH = "w = torch.ones(2, requires_grad=True); loss = (w * w).sum()"


def test_tensor_of_a_graph_is_kept_with_it() -> None:
    names = names_of(GRAPH)
    loss = names["loss"]
    image = image_of(names)
    more(names, "loss = (w * 3).sum()")
    assert image.restore()
    assert names["loss"] is loss
    names["loss"].backward()
    assert names["w"].grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("change", ["total += w.sum()", "total.detach_()"])
def test_graph_that_has_changed_in_place_cannot_be_put_back(change: str) -> None:
    names = names_of(f"{GRAPH}\ntotal = 0 + loss")
    image = image_of(names)
    more(names, change)
    assert not image.restore()


def test_view_of_a_parameter_is_no_graph_of_its_own() -> None:
    names = names_of("w = torch.ones(4, requires_grad=True); v = w.view(2, 2)")
    image = image_of(names)
    more(names, "with torch.no_grad(): w += 1")
    assert image.restore()
    assert names["v"].sum() == 4


def test_memory_that_a_graph_holds_is_counted() -> None:
    code = "x = torch.ones(100, 50)\nw = torch.ones(50, 80, requires_grad=True)\n"
    names = names_of(f"{code}loss = torch.tanh(x @ w).sum()")
    held = image_of(names)
    assert 100 * 80 * 4 <= sum(held.held.values()) < 3 * 100 * 80 * 4
    assert not has_image(names, limit=60_000)
    more(names, "loss.backward()")
    freed = image_of(names)
    assert sum(freed.held.values()) < 1000


# ── What has no image ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "code",
    [
        "a = iter([1])",
        "a = (n for n in [1])",
        "a = {'k': [zip([1])]}",
        "a = torch.eye(2).to_sparse()",
    ],
)
def test_what_cannot_be_copied_has_no_image(code: str) -> None:
    assert not has_image(names_of(code))


def test_image_too_large_is_none() -> None:
    names = names_of("a = torch.zeros(1000)")
    assert not has_image(names, limit=3000)
    assert has_image(names, image_of(names), limit=3000)


def test_tables_are_put_back() -> None:
    pytest.importorskip("pandas")
    names = names_of(
        "import pandas as pd\na = pd.DataFrame({'l': np.zeros(2)}); b = pd.Series([1.0, 2.0])\n"
        "def shown(): return a.to_dict(), b.to_dict(), list(a.columns), len(a['l'])"
    )
    image, before = image_of(names), names["shown"]()
    for _ in range(2):
        more(names, "a.loc[0, 'l'] = 5.0; a['e'] = 1; a.loc[9] = 1.0; b.loc[7] = 3.0; b[0] = 9.0")
        assert names["shown"]() != before
        assert image.restore()
        assert names["shown"]() == before


def test_what_only_shows_is_left_alone() -> None:
    names = names_of(
        "import logging, tqdm, sys\na = logging.getLogger('x'); b = sys.stdout\n"
        "c = tqdm.tqdm(range(3), disable=True)"
    )
    assert has_image(names)


def test_module_beside_the_script_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counter_of_test.py").write_text("n = [0]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = names_of("import counter_of_test")
    image = take_image([names], str(tmp_path / "train.py"), "cpu", None, LIMIT)
    more(names, "counter_of_test.n.append(1)")
    assert image.restore()
    assert names["counter_of_test"].n == [0]
