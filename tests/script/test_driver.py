"""A script waits at its loop and at each phase, and its stack gets what it would get anyway."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from textwrap import indent
from typing import Any

import numpy as np
import pytest
import torch

from tests.script.marked_scripts import driver_of, plainly, to_the_end
from tutor.script import loop_progress
from tutor.script.driver import Driver
from tutor.script.loop_progress import PASS_END, LoopItems
from tutor.training import devices
from tutor.training.devices import autocast_depth

LOOP = """
for e in range(4):  #: LOOP
    loss = e * 1.0  #: Loss
    {more}  #: Update
"""
STOP = "class Stop(Exception): pass\n"


def run(driver: Driver) -> str:
    """What a script prints to its end."""
    output = io.StringIO()
    with redirect_stdout(output):
        to_the_end(driver)
    return output.getvalue()


def loop(more: str, deep: int = 0) -> str:
    return LOOP.format(more=more).strip("\n").replace("\n", "\n" + " " * deep)


CAUGHT = {
    "around the loop": f"{STOP}try:\n    {loop('if e == 2: raise Stop(e)', 4)}\n"
    "except (KeyError, Stop) as error:\n    print('stopped', error, e)\n"
    "finally:\n    print('over')\nprint(e)",
    "around the call": f"{STOP}def train():\n    {loop('if e == 2: raise Stop', 4)}\n    return e\n"
    "def main():\n    try:\n        return train()\n    except Stop:\n        return 'main'\n"
    "print(main())",
    "a class of the function": f"def train():\n    class Own(Exception): pass\n    try:\n"
    f"        {loop('if e == 2: raise Own', 8)}\n    except Own:\n        return e\nprint(train())",
    "suppressed": f"from contextlib import suppress\nwith suppress(ValueError):\n"
    f"    {loop('if e == 2: raise ValueError', 4)}\nprint(e)",
    "everything": f"try:\n    {loop('1 / (e - 2)', 4)}\nexcept:\n    print('bare', e)",
    "of the iterable": f"{STOP}def items():\n    yield 1\n    raise Stop\ntry:\n"
    f"    {loop('pass', 4).replace('range(4)', 'items()')}\nexcept Stop:\n    print('items', e)",
    "of the condition": f"{STOP}n = 0\ndef more():\n    if n == 2: raise Stop\n    return True\n"
    "try:\n    while more():  #: LOOP\n        loss = n  #: Loss\n        n += 1  #: Update\n"
    "except Stop:\n    print('condition', n)",
    "in the body": loop("exec('try: 1 / 0\\nexcept ZeroDivisionError: print(e)')"),
}


@pytest.mark.parametrize("source", CAUGHT.values(), ids=CAUGHT)
def test_script_catches_what_its_loop_raises(source: str) -> None:
    """Phase by phase, and where whole passes run."""
    _, printed = plainly(source)
    assert run(driver_of(source)) == printed
    driver, output, passes = driver_of(source), io.StringIO(), list[int]()
    with redirect_stdout(output):
        driver.go_on()
        count = driver.run_passes(9, lambda: passes.append(1))
        driver.go_on()
    assert output.getvalue() == printed
    assert count == len(passes)
    assert driver.has_ended


NOT_CAUGHT = {
    "no handler": loop("1 / (e - 2)"),
    "another class": f"try:\n    {loop('1 / (e - 2)', 4)}\nexcept KeyError: pass",
    "no handler of its own": f"try:\n    {loop('1 / (e - 2)', 4)}\nfinally:\n    print('over')",
    "a handler that does not guard": f"try:\n    pass\nexcept Exception: pass\nelse:\n"
    f"    {loop('1 / (e - 2)', 4)}",
    "around the definition": f"try:\n    def train():\n        {loop('1 / (e - 2)', 8)}\n"
    "except Exception: pass\ntrain()",
    "a name that is not bound": f"try:\n    {loop('1 / (e - 2)', 4)}\nexcept Missing: pass",
}


@pytest.mark.parametrize("source", NOT_CAUGHT.values(), ids=NOT_CAUGHT)
def test_stack_waits_where_nothing_catches_the_error(source: str) -> None:
    driver = driver_of(source)
    with redirect_stdout(io.StringIO()) as output, pytest.raises(ZeroDivisionError):
        to_the_end(driver)
    assert not driver.is_gone
    assert output.getvalue() == ""
    assert driver.go_back(driver.loop, 1, driver.thread_settings())
    driver.has_next_pass()
    assert driver.begin_pass() == 0
    driver.close()


@pytest.mark.parametrize("code", ["", "0", "None"])
def test_exit_without_an_error_is_the_end(code: str) -> None:
    source = f"import sys\ntry:\n    {loop(f'if e == 1: sys.exit({code})', 4)}\n"
    source += "finally:\n    print('left', e)\nprint('never')"
    driver, output = driver_of(source), io.StringIO()
    with redirect_stdout(output), pytest.raises(SystemExit):
        to_the_end(driver)
    assert (output.getvalue(), driver.is_gone) == ("left 1\n", True)


def test_interrupt_is_the_learners() -> None:
    source = f"try:\n    {loop('raise KeyboardInterrupt', 4)}\nexcept KeyboardInterrupt: pass"
    driver = driver_of(source)
    with pytest.raises(KeyboardInterrupt):
        to_the_end(driver)
    assert not driver.is_gone
    driver.close()


def test_pass_that_catches_everything_can_be_given_up() -> None:
    driver = driver_of(
        "log = []\nfor e in range(2):  #: LOOP\n    while True:\n        try:\n"
        "            log.append(e)  #: Loss\n            log.append(-e)  #: Update\n"
        "        except BaseException:\n            log.append('caught')\n"
        "            if len(log) > 3: break\n"
    )
    driver.go_on()
    driver.has_next_pass()
    assert [driver.begin_pass(), driver.resume()] == [0, 1]
    driver.close()
    assert driver.names["log"][:2] == [0, "caught"]


def test_loop_within_itself_runs_through() -> None:
    source = "def train(n):\n" + "    " + loop("if n: train(n - 1)", 4) + "\n    return e\ntrain(1)"
    driver = driver_of(source)
    assert to_the_end(driver).count(0) == 4 + 4 * 4
    assert driver.executions == 1


def test_second_execution_of_the_loop_is_another() -> None:
    driver = driver_of("def train(k):\n    " + loop("k", 4) + "\ntrain(1)\ntrain(2)")
    driver.go_on()
    first = driver.loop
    assert driver.run_passes(9, lambda: None) == 4
    driver.go_on()
    assert driver.loop is not first
    assert driver.executions == 2
    assert not driver.go_back(first, 1, driver.thread_settings())
    driver.close()


def test_names_of_a_function_are_known_after_it_has_returned() -> None:
    driver = driver_of("def train(k, model):\n    " + loop("k += 1", 4) + "\ntrain(1, 'net')")
    driver.go_on()
    waiting = driver.loop
    driver.run_passes(9, lambda: None)
    driver.go_on()
    assert driver.is_gone
    assert driver.go_back(waiting, 4, driver.thread_settings())
    names: dict[str, Any] = {}
    for scope in driver.scopes():
        names.update(scope)
    assert (names["k"], names["model"], names["e"]) == (5, "net", 3)


# ── Thread settings ─────────────────────────────────────────────────────────────────


def test_script_and_tutor_have_settings_of_their_own() -> None:
    driver = driver_of(
        "import torch, numpy as np\n"
        "torch.set_default_dtype(torch.float64)\nnp.seterr(divide='raise')\nseen = []\n"
        "with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):\n"
        "    for e in range(2):  #: LOOP\n"
        "        seen.append(torch.is_grad_enabled())  #: Loss\n"
        "        seen.append((torch.ones(1).dtype, torch.is_autocast_enabled('cpu')))  #: Update\n"
        "        seen.append(np.geterr()['divide'])\n"
        "seen.append(torch.is_grad_enabled())"
    )
    before, depth = np.geterr(), autocast_depth()
    driver.go_on()
    while driver.has_next_pass():
        number = driver.begin_pass()
        while number != PASS_END:
            assert torch.is_grad_enabled()
            assert torch.get_default_dtype() == torch.float32
            assert not torch.is_autocast_enabled("cpu")
            assert autocast_depth() == depth, "else its block would not be the outermost here"
            assert np.geterr() == before
            number = driver.resume()
    driver.go_on()
    assert driver.names["seen"] == [False, (torch.float64, True), "raise"] * 2 + [True]
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("before", "loop"),
    [
        ("torch.set_default_device('meta')\n", "for e in range(2):  #: LOOP"),
        ("", "with torch.device('meta'):\n  for e in range(2):  #: LOOP"),
    ],
)
def test_script_has_a_default_device_of_its_own(before: str, loop: str) -> None:
    """Two at a time: the second sets it while the first waits."""
    code = f"import torch\n{before}seen = []\n{loop}\n" + (
        "    seen.append(torch.ones(1).device.type)  #: Loss\n"
        "    seen.append(torch.get_default_device().type)  #: Update\n"
    )
    drivers = driver_of(code), driver_of(code)
    for driver in drivers:
        driver.go_on()
        driver.begin_pass()
        assert torch.ones(1).device.type == "cpu"
    for driver in drivers:
        assert to_the_end_of_loop(driver) == ["meta"] * 4
        assert torch.ones(1).device.type == torch.get_default_device().type == "cpu"
        driver.close()
    assert not devices.function_modes()


def to_the_end_of_loop(driver: Driver) -> list[str]:
    """Run the pass that waits, and the others; returns what the script has seen."""
    while driver.resume() != PASS_END:
        pass
    driver.run_passes(9, lambda: None)
    driver.go_on()
    return list(driver.names["seen"])


def test_settings_are_gone_back_to() -> None:
    driver = driver_of(
        "import torch, numpy as np\nseen = []\n"
        "with torch.no_grad(), np.errstate(divide='raise'):\n"
        "    for e in range(2):  #: LOOP\n"
        "        seen.append((torch.is_grad_enabled(), np.geterr()['divide']))  #: Loss\n"
    )
    driver.go_on()
    waiting, settings = driver.loop, driver.thread_settings()
    driver.run_passes(9, lambda: None)
    driver.go_on()
    assert driver.go_back(waiting, 0, settings)
    driver.run_passes(9, lambda: None)
    assert driver.names["seen"] == [(False, "raise")] * 4


def test_nothing_waits_within_a_transform_of_functions() -> None:
    driver = driver_of(
        "import torch\ndef f(w):\n    loss = (w * w).sum()  #: Loss\n    return loss\n"
        "w = torch.ones(2)\nfor e in range(2):  #: LOOP\n"
        "    w = w - 0.1 * torch.func.grad(f)(w)  #: Update\n"
    )
    assert to_the_end(driver) == [1, 1]


def test_threads_run_through() -> None:
    driver = driver_of(
        "import threading\ndef work():\n    total.append(1)  #: Loss\ntotal = []\n"
        "for e in range(2):  #: LOOP\n    t = threading.Thread(target=work)  #: Update\n"
        "    t.start()\n    t.join()\n"
    )
    assert to_the_end(driver) == [1, 1]
    assert driver.names["total"] == [1, 1]


# ── Items ───────────────────────────────────────────────────────────────────────────


def items_of(iterable: Any) -> LoopItems:
    return LoopItems(iterable, lambda: "cpu")


def test_plain_items_are_counted_ahead() -> None:
    for iterable, left in (
        (range(5), 5),
        ([1, 2], 2),
        (enumerate(range(3)), 3),
        (zip([1, 2, 3], (4, 5), strict=False), 2),
        ({"a": 1}.items(), 1),
        (torch.zeros(3, 2), 3),
        (iter([1, 2]), 2),
    ):
        items = items_of(iterable)
        assert items.is_plain
        assert items.left(0) == left
        assert items.has(0)
        assert items.left(1) == left - 1


def test_items_that_are_computed_are_not_asked_ahead() -> None:
    for iterable in ((n for n in [1]), map(str, [1]), enumerate(map(str, [1]))):
        items = items_of(iterable)
        assert not items.is_plain
        assert items.left(0) is None


def test_items_draw_the_same_numbers_again() -> None:
    items = items_of(torch.rand(1).item() for _ in range(3))
    torch.manual_seed(1)
    drawn = []
    for n in range(3):
        assert items.has(n)
        drawn.append((items[n], torch.rand(1).item()))
    torch.manual_seed(1)
    for n in range(3):
        assert items.has(n)
        assert drawn[n] == (items[n], torch.rand(1).item())
    assert not items.has(3)


def test_error_of_the_iterable_is_raised_again() -> None:
    def failing() -> Any:
        yield 1
        raise ValueError("no more")

    items = items_of(failing())
    assert items.has(0)
    for _ in range(2):
        with pytest.raises(ValueError, match="no more"):
            items.has(1)


def test_oldest_items_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_progress, "_MOST_BYTES", 1000)
    monkeypatch.setattr(loop_progress, "_MOST_ITEMS", 3)
    for items in (items_of(torch.zeros(100) for _ in range(5)), items_of(enumerate(range(5)))):
        assert all(items.has(n) for n in range(5))
        assert (items.keeps(1), items.keeps(3), items.count) == (False, True, 5)


def test_a_script_comes_out_the_same_whatever_addresses_its_objects_have() -> None:
    source = """
class Plain:
    pass
class Equal:
    def __eq__(self, other):
        return True
    def __hash__(self):
        return 7
spare = [Plain() for _ in range(SPARE)]
kept = {Plain(): n for n in range(50)}
order = [kept[thing] for thing in set(kept)]
own = hash(Equal())
for epoch in range(1):  #: LOOP
    loss = 1  #: Loss
"""
    orders = []
    for spare in (3, 1000):
        driver = driver_of(source.replace("SPARE", str(spare)))
        driver.go_on()
        orders.append(driver.names["order"])
        assert driver.names["own"] == 7
    assert orders[0] == orders[1]


@pytest.mark.parametrize("is_in_function", [False, True])
def test_code_of_the_loop_has_the_names_that_it_has_in_the_file(is_in_function: bool) -> None:
    source = """
import sys
def name():
    code = sys._getframe(1).f_code
    return code.co_name, code.co_qualname
seen = []
left = [0, 0]
while name() and left:  #: LOOP
    left.pop()
    class Own:
        def method(self): pass
    loss = 1  #: Loss
    seen += [name(), Own.__qualname__, Own.method.__qualname__, (lambda: 0).__qualname__]
print(seen)
"""
    if is_in_function:
        source = f"def train():\n{indent(source, '    ')}\ntrain()\n"
    _, printed = plainly(source)
    assert run(driver_of(source)) == printed
