"""A script with hooks runs as without them, however its loop is written."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from textwrap import indent

import pytest

from tests.script.marked_scripts import bits, driver_of, plainly, to_the_end
from tutor.script.loops import outline_of

BODY = """
    loss = w * w  #: Loss
    w = w - 0.1 * 2 * w  #: Update
"""


def looped(head: str, *after: str, before: str = "", deep: int = 0, rest: str = "") -> str:
    """A script with a marked loop: its head, lines after the phases, and what follows."""
    more = "".join(f"    {line}\n" for line in after)
    return f"w = 1.0\n{before}" + indent(f"{head}  #: LOOP{BODY}{more}", " " * deep) + rest


TOP = {
    "for": looped("for epoch in range(3):", rest="print(w, epoch)"),
    "break": looped(
        "for e in range(9):", "if e == 2: break", rest="else:\n    print('no')\nprint(e)"
    ),
    "continue and else": looped(
        "for e in range(3):", "if e == 1: continue", "print(e)", rest="else:\n    print('all')"
    ),
    "while": looped(
        "while n < 3:", "n += 1", before="n = 0\n", rest="else:\n    print('over', n)"
    ),
    "while true": looped("while True:", "if w < 0.5: break", rest="print(w)"),
    "targets": looped("for i, (a, *b) in enumerate([(1, 2, 3), (4, 5)]):", rest="print(i, a, b)"),
    "target of an item": looped("for d['k'] in range(3):", before="d = {}\n", rest="print(d)"),
    "inner loops": looped(
        "for e in range(2):",
        "for i in range(9):",
        "    if i == 1: continue",
        "    if i == 3: break",
        "else:",
        "    print('never')",
        "while True:",
        "    break",
        rest="print(i)",
    ),
    "try and with": looped(
        "for e in range(9):",
        "try:",
        "    with open(__import__('os').devnull) as f:",
        "        if e == 1: continue",
        "        if e == 3: break",
        "finally:",
        "    print('left', e)",
        rest="print(f.closed)",
    ),
    "annotations": looped("for e in range(2):", "total: float = w", "k: int", rest="print(total)"),
    "names of all sorts": looped(
        "for e in range(2):",
        "squares = [(last := i) for i in range(e + 2)]",
        "pairs = {k: v for k, v in zip('ab', squares)}",
        "fs.append(lambda: e)",
        "import os.path as p, math",
        "def inner(a=e): return a + last",
        "class K: v = e",
        "match pairs:",
        "    case {'a': first, **more}: pass",
        "try:",
        "    1 / 0",
        "except ZeroDivisionError as error:",
        "    said = str(error)",
        "del squares",
        before="fs = []\n",
        rest="print([f() for f in fs], last, pairs, math.pi, inner(), K.v, first, more, said)\n"
        "print('squares' in globals(), 'error' in globals(), 'i' in globals())",
    ),
    "names by their text": looped(
        "for e in range(2):",
        "exec('k = e * 2')",
        "print(k, eval('e'), 'w' in locals(), 'e' in vars())",
    ),
    "outer loop": looped(
        "for e in range(2):", before="for k in range(3):\n", deep=4,
        rest="    else:\n        if k == 1: break\n    print(k)",
    ),
    "phases in a function": "def step(w):\n"
    "    loss = w * w  #: Loss*\n    return w - 0.2 * w  #: Update\n"
    "w = step(1.0)\n"
    "for e in range(3):  #: LOOP\n    w = step(w)\n    print(e)  #: Report\n",
}  # fmt: skip


def in_function(head: str, *after: str, call: str = "train(1.0)", rest: str = "") -> str:
    """The same with the loop in a function, which returns what `rest` says."""
    loop = looped(head, *after).removeprefix("w = 1.0\n")
    body = indent(loop, "    ")
    return f"def train(w, lr=0.1):\n    'its docstring'\n{body}{rest}print({call})\n"


IN_FUNCTIONS = {
    "parameters": in_function("for e in range(3):", rest="    return w, e\n"),
    "return in the loop": in_function("for e in range(9):", "if e == 2: return e, w"),
    "return None in the loop": in_function("for e in range(9):", "return", rest="    return 5\n"),
    "annotations": in_function("for e in range(2):", "total: float = w", rest="    return total\n"),
    "names of all sorts": in_function(
        "for e in range(2):",
        "s = [(last := i) for i in range(e + 2)]",
        "f = lambda: e",
        "try:",
        "    1 / 0",
        "except ZeroDivisionError as error:",
        "    said = str(error)",
        "match {'a': 1, 'b': 2}:",
        "    case {'a': first, **more}: pass",
        "import math as m",
        "del s",
        rest="    return f(), last, said, first, more, m.pi\n",
    ),
    "global": "w, n = 1.0, 0\n"
    + in_function("for e in range(3):", "global n", "n += 1", rest="    return w\n")
    + "print(n)",
    "called again": in_function("for e in range(2):", rest="    return w\n") + "print(train(2.0))",
    "calls itself": in_function(
        "for e in range(2):", "if w > 0.9: train(w / 2)", "print(e, w)", rest="    return w\n"
    ),
    "nonlocal": "w = 1.0\ndef make():\n    n = 0\n    def train(w):\n        nonlocal n\n"
    + indent(looped("for e in range(2):", "n += 1").removeprefix("w = 1.0\n"), "        ")
    + "        return n\n    return train\nt = make()\nprint(t(1.0), t(2.0))\n",
    "method": "class Base:\n    def log(self, v): print('base', v)\n"
    "class Fit(Base):\n    __n = 0\n    def log(self, v): pass\n"
    "    def train(self, w):\n        __k = 0\n"
    + indent(
        looped("for self.e in range(2):", "super().log(w)", "__k += 1", "Fit.__n += __k"), " " * 8
    )
    + "        return __k, self.__n\nprint(Fit().train(1.0))\n",
    "decorated": "import functools\ndef loud(f):\n    @functools.wraps(f)\n"
    "    def g(*a):\n        print('in')\n        return f(*a)\n    return g\n@loud\n"
    + in_function("for e in range(2):", rest="    return w\n"),
}


@pytest.mark.parametrize(
    "source", [*TOP.values(), *IN_FUNCTIONS.values()], ids=[*TOP, *IN_FUNCTIONS]
)
def test_script_with_hooks_does_what_it_does_without(source: str) -> None:
    names, printed = plainly(source)
    driver, output = driver_of(source), io.StringIO()
    with redirect_stdout(output):
        phases = to_the_end(driver)
    assert output.getvalue() == printed
    assert bits(driver.names) == names
    assert set(phases) == set(range(source.count("#:") - 1))


def test_lines_are_those_of_the_file() -> None:
    source = looped("for e in range(2):", "1 / (1 - e)")
    driver = driver_of(source)
    with pytest.raises(ZeroDivisionError) as caught:
        to_the_end(driver)
    assert caught.traceback[-1].lineno + 1 == source.splitlines().index("    1 / (1 - e)") + 1


@pytest.mark.parametrize(
    ("line", "loss"),
    [
        ("loss.backward()", 4.0),
        ("(loss := 3 * w).backward()", 6.0),
        ("(loss / 2).backward()", 2.0),
        ("scaler.scale(loss).backward()", 4.0),
        ("accelerator.backward(loss)", 4.0),
        ("self.fabric.backward(loss / 2)", 2.0),
        ("optimizer.backward(loss)", 4.0),
        ("engine_of_deepspeed.backward(loss)", 4.0),
        ("torch.autograd.backward([loss, out])", 4.0),
        ("torch.autograd.grad(loss, [w])", 4.0),
        ("grad(loss, [w])", 4.0),
        ("loss.backward(weight_of_loss)", 4.0),
        ("loss.backward(); other_loss.backward()", 4.0),
    ],
)
def test_loss_is_what_the_gradient_is_taken_of(line: str, loss: float) -> None:
    source = f"""
import torch
from torch.autograd import grad
class Library:
    def __getattr__(self, name): return lambda loss=None, *more: loss
class Run: fabric = Library()
scaler = accelerator = optimizer = engine_of_deepspeed = Library()
self, lr, gradient, weight_of_loss = Run(), 0.1, 2.0, torch.tensor(1.0)
w = torch.tensor(2.0, requires_grad=True)
for e in range(1):  #: LOOP
    loss = w * w  #: Loss
    other_loss = 3 * w
    out = 5 * w
    {line}  #: Gradient
    w.data -= lr * gradient  #: Update
"""
    (found,) = outline_of(source).loops
    driver = driver_of(
        source, loss="", losses_at=found.losses_at, other_losses_at=found.other_losses_at
    )
    to_the_end(driver)
    assert driver.loss.value == loss


@pytest.mark.parametrize("call", ["self.backward(X, y)", "backward(loss, X)", "net.backward(loss)"])
def test_method_of_the_file_that_is_called_like_a_librarys_takes_no_loss(call: str) -> None:
    source = f"""
class Net:
    def backward(self, *of):
        self.dw = 2 * self.w
    def train(self, X, y, net):
        for epoch in range(5):
            out = X * self.w
            loss = (out - y) ** 2
            {call}
            self.w -= 0.1 * self.dw
def backward(loss, X):
    net.dw = 2 * net.w
net = Net()
net.train(X, y, net)
"""
    (found,) = outline_of(source).loops
    assert (found.mode, found.loss, found.losses_at) == ("manual", "loss", ())


def test_loss_is_known_before_its_gradient_is_taken() -> None:
    driver = driver_of(
        "for e in range(1):  #: LOOP\n    a, loss = 1, 2.5  #: Loss\n    e  #: Update"
    )
    driver.go_on()
    assert driver.has_next_pass()
    assert (driver.begin_pass(), driver.loss.value) == (0, None)
    assert (driver.resume(), driver.loss.value) == (1, 2.5)
    driver.close()
