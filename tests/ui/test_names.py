"""Which names of the code one can point at."""

import pytest

from tutor.lesson.model import Fence
from tutor.ui.variables import Name, meaningful_names, name_beside, on_next_line, same_name


def names(*codes: str) -> list[str]:
    return [
        name.text for name in meaningful_names([Fence(c, 10 * i) for i, c in enumerate(codes, 1)])
    ]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("y_pred = w * x", "y_pred w x"),
        ("w -= learning_rate * w.grad", "w learning_rate w.grad"),
        ("w = model.linear.weight", "w model.linear.weight"),
        ("loss.backward()", "loss"),
        ("w.grad.zero_()", "w.grad"),
        ("loss = ((y_pred - y) ** 2).mean()", "loss y_pred y"),
        ("x = torch.tensor([1, 2], dtype=torch.float32, device=device)", "x device"),
        ("z = x[batch] @ w1.T", "z x batch w1.T"),
        ("print(len(x), float(w))", "x w"),
        ("with torch.no_grad():\n    w -= 1", "w"),
        ("import math as m\ny = m.pi * x", "y x"),
        ("total = sum(p * p for p in params)", "total params"),
        ("squared = lambda v: v * v", "squared"),
        ("print(f'loss {loss}')", "loss"),
        ("# w is a weight", ""),
        ("this is no Python", ""),
    ],
)
def test_names_are_values_and_neither_modules_nor_functions(code: str, found: str) -> None:
    assert names(code) == found.split()


def test_what_lives_inside_a_function_or_a_class_is_left_out() -> None:
    network = "class Line:\n    def forward(self, x):\n        return self.w * x\n"
    function = "def f(z):\n    return z\n"
    assert names(network, function, "y = f(a)\n") == ["y", "a"]


def test_what_is_called_is_a_name_if_the_code_has_assigned_it() -> None:
    assert names("model = Line()", "y_pred = model(x)") == ["model", "y_pred", "model", "x"]


def test_a_place_is_a_line_of_the_file_and_characters_as_shown() -> None:
    found = meaningful_names([Fence("if ŷ:\n\tß = ŷ * w\n", 40)])
    assert found[-1] == Name("w", 41, 12, 13)


def test_from_name_to_name_and_from_line_to_line() -> None:
    found = meaningful_names([Fence("y = w * x\n# nothing\nloss = y - t\n", 1)])
    y, w, x, loss, y2, t = found
    assert name_beside(found, y, 1) == w
    assert name_beside(found, y, -1) is None
    assert on_next_line(found, x, 1) == y2
    assert on_next_line(found, t, -1) == x
    assert on_next_line(found, loss, 1) is None


def test_in_other_code_the_same_name_is_found_again() -> None:
    chosen = Name("w", 5, 0, 1)
    other = meaningful_names([Fence("y = w * x\n", 30)])
    assert same_name(other, chosen) == Name("w", 30, 4, 5)
    assert same_name(other, Name("dw", 5, 0, 2)) is None
