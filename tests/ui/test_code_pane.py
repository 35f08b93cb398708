"""The code pane: its marks, the cursor on the names, the facts, and the difference."""

from contextlib import AbstractAsyncContextManager

import pytest
from msgspec.structs import replace

from tutor.lesson.model import Fence
from tutor.protocol.frame import NONE, Value
from tutor.protocol.inspections import VariableInfo
from tutor.session.run_view import Inspections, RunView
from tutor.ui.code_lines import fence_rows
from tutor.ui.lines import ACTIVE, LinesPane
from tutor.ui.panes.code import CodePane
from tutor.ui.variables import HEIGHT, variable_lines

from .fake_engine import scalar
from .lessons import lesson
from .panes import OnePane, frame, running, view

WEIGHT = VariableInfo(
    name="w",
    value=scalar(0.3),
    type="torch.Tensor",
    device="cpu",
    requires_grad=True,
    is_leaf=True,
    grad_fn="",
    gradient=NONE,
)


class CodeApp(OnePane):
    """Keeps the names that were chosen."""

    def __init__(self, first: RunView) -> None:
        super().__init__(CodePane(id="code"), first)
        self.chosen: list[str] = []

    def on_lines_pane_inspects(self, message: LinesPane.Inspects) -> None:
        self.chosen.append(str(message.changes["name"]))

    @property
    def code(self) -> CodePane:
        assert isinstance(self.pane, CodePane)
        return self.pane

    async def tell(self, info: VariableInfo) -> None:
        assert self.view is not None
        await self.show(replace(self.view, inspections=Inspections(variable=info)))


def shown(
    now: RunView, *keys: str, size: tuple[int, int] = (60, 30)
) -> AbstractAsyncContextManager[CodeApp]:
    return running(CodeApp(now), *keys, size=size)


def reversed_text(app: CodeApp) -> list[str]:
    return [
        content.plain[span.start : span.end]
        for content in app.pane.lines
        for span in content.spans
        if span.style == ACTIVE
    ]


# ── Marks ───────────────────────────────────────────────────────────────────────────


async def test_what_has_just_run_and_what_is_about_to_run_bear_different_marks() -> None:
    async with shown(view(frame(1, 2))) as app:
        marked = [row for row in app.text.split("\n") if not row.startswith("  ")]
        assert marked == [
            "┃ Loss",
            "┃ # how far off",
            "┃ loss = ((y_pred - y) ** 2).mean()",
            "▶ Gradient",
        ]
        await app.show(replace(view(frame(0, 0)), frame=None))
        assert not {"┃", "▶"} & {*app.text}, "before PyTorch is there"


# ── The cursor ──────────────────────────────────────────────────────────────────────


async def test_arrows_go_from_name_to_name_and_stop_at_the_ends() -> None:
    async with shown(view(frame(1, 1)), "right", "right", "right", "left", "up") as app:
        assert app.chosen == ["loss", "y_pred", "y", "y_pred", "w"]  # from what is about to run
        for _ in range(5):
            app.code.action_name(-1)
        assert app.code.chosen == "x"
        for _ in range(30):
            app.code.action_name(1)
        assert app.code.chosen == "w.grad"
        assert reversed_text(app) == ["w.grad"]
        await app.press("backspace")
        assert (app.code.chosen, reversed_text(app), app.code.foot) == ("", [], 0)


async def test_up_and_down_scroll_while_no_name_is_chosen() -> None:
    async with shown(view(frame(0, 0)), size=(60, 8)) as app:
        await app.press("home", "down", "down")
        assert app.chosen == []
        assert app.pane.scroll_offset.y == 2
        await app.press("up")
        assert app.pane.scroll_offset.y == 1


async def test_the_chosen_name_is_in_view_above_the_facts() -> None:
    async with shown(view(frame(0, 0)), size=(40, 12)) as app:
        for _ in range(30):
            app.code.action_name(1)
        await app.pilot.pause()
        assert app.code.chosen == "w.grad"
        rows = app.screen_rows
        assert any("w.grad = None" in row for row in rows[:-HEIGHT])
        assert rows[-HEIGHT].startswith(" ── w.grad ")


async def test_in_another_mode_the_same_name_stays_chosen_or_none() -> None:
    async with shown(view(frame(1, 4)), "right") as app:
        assert app.code.chosen == "w.grad"
        await app.press("up")
        assert app.code.chosen == "w"
        await app.show(view(frame(1, 3, "manual")))
        assert app.code.chosen == "w"
        await app.show(view(frame(1, 4)))
        await app.press("down")
        assert app.code.chosen == "w.grad"
        await app.show(view(frame(1, 4, "manual")))
        assert app.code.chosen == ""
    assert app.chosen == ["w.grad", "w", "w.grad", ""]


async def test_a_name_in_a_folded_line_is_chosen_where_it_stands() -> None:
    async with shown(view(frame(1, 2, "manual")), size=(24, 30)) as app:
        await app.press(*["right"] * 4)
        assert app.code.chosen == "y"
        row = next(c for c in app.pane.lines if any(s.style == ACTIVE for s in c.spans))
        assert row.plain.startswith("↪ ")


@pytest.mark.parametrize(
    ("code", "rows"),
    [
        ("x = torch.ones(4, device=device)", ["  x = torch.ones(4, ", "↪ device=device)"]),
        ("w=w-learning_rate*gradient", ["  w=w-learning_rate*", "↪ gradient"]),
        ("a_name_without_any_end_to_it = 1", ["  a_name_without_any_end", "↪ _to_it = 1"]),
        ('text = "数数数数数数数数数数"', ['  text = "数数数数数数数', '↪ 数数数"']),
    ],
)
def test_a_line_too_long_is_folded_between_words_and_no_character_is_lost(
    code: str, rows: list[str]
) -> None:
    fence = Fence(code + "\n", 1)
    found = list(fence_rows(fence, 24, "  ", None, None))
    assert [row.content.plain for row in found] == rows
    assert "".join(code[row.start : row.end] for row in found) == code


# ── Facts ───────────────────────────────────────────────────────────────────────────


async def test_the_facts_stay_at_the_foot_while_the_code_scrolls() -> None:
    async with shown(view(frame(1, 2)), "right", size=(78, 9)) as app:
        await app.tell(WEIGHT)
        words = "\n".join(row.plain for row in app.code.lines[-app.code.foot :])
        assert f"── {app.code.chosen} ─" in words
        assert app.code.chosen != "w"
        assert "0.3" not in words, "these are facts of another name"
        assert "leaf" not in words
        await app.press("right")
        assert app.code.chosen == "w"
        await app.tell(WEIGHT)
        for key in ("home", "end", "pageup"):
            await app.press(key)
            rows = app.screen_rows
            assert len(rows) == 8
            assert rows[-4].startswith(" ── w ── torch.Tensor ──")
            assert rows[-3].endswith(" 0.300000   float32 · shape () · on cpu")
            assert "a leaf, requires_grad=True" in rows[-2]
            assert "gradient None" in rows[-1]
        await app.press("end")
        assert "w.grad = None" in app.screen_rows[-5]


def words(info: VariableInfo, width: int = 58) -> list[str]:
    lines = [content.plain.rstrip() for content in variable_lines(info.name, info, width)]
    assert len(lines) == HEIGHT
    assert max(map(len, lines)) <= width
    return lines[1:]


def test_no_gradient_yet_is_not_zero() -> None:
    assert words(WEIGHT)[2].startswith("gradient None (none yet: that is not the same as 0)")
    zero = VariableInfo(
        name="w", value=scalar(0.3), type="torch.Tensor", is_leaf=True, gradient=scalar(0)
    )
    assert words(zero)[2] == "gradient 0"


def test_what_an_operation_made_names_it_and_keeps_no_gradient() -> None:
    made = VariableInfo(
        name="y_pred",
        value=Value((0.3, 0.6), (2,), "float32"),
        type="torch.Tensor",
        device="cuda:0",
        requires_grad=True,
        is_leaf=False,
        grad_fn="MulBackward0",
    )
    value, autograd, gradient = words(made)
    assert value == "[0.3000 0.6000]   float32 · shape (2,) · on cuda:0"
    assert autograd == "not a leaf, requires_grad=True, grad_fn=MulBackward0"
    assert gradient.startswith("no gradient of its own")


@pytest.mark.parametrize(
    ("info", "first", "second"),
    [
        (VariableInfo(name="lr", value=Value((0.01,)), type="float"), "0.010000", "a plain number"),
        (
            VariableInfo(name="x", value=Value((1.0,), (), "float32"), type="numpy.float32"),
            "1   float32 · shape ()",
            "a NumPy value: autograd",
        ),
        (
            VariableInfo(name="net", value=Value((), (), "text", "Line\x1b[2J(1, 1)"), type="Line"),
            "Line^[[2J(1, 1)",
            "",
        ),
        (VariableInfo(name="dw"), "no value yet", ""),
    ],
)
def test_what_is_no_tensor_says_what_it_is(info: VariableInfo, first: str, second: str) -> None:
    value, autograd, gradient = words(info)
    assert value.startswith(first)
    assert autograd.startswith(second)
    assert gradient == ""


def test_a_long_value_leaves_room_for_what_it_is() -> None:
    big = Value(tuple(0.1 * i for i in range(64)), (8, 8), "float32")
    info = VariableInfo(name="w", value=big, type="torch.nn.parameter.Parameter", device="cpu")
    assert words(info)[0].endswith("…   float32 · shape (8, 8) · on cpu")


# ── The difference ──────────────────────────────────────────────────────────────────


async def test_the_difference_shows_signs_words_and_what_it_comes_to() -> None:
    async with shown(view(frame(1, 2)), "right") as app:
        assert app.code.turn_difference() == "manual"
        await app.pilot.pause()
        rows = app.text.split("\n")
        at = rows.index("▶ Gradient")
        assert rows[at + 1 : at + 3] == [
            "- dw = (2 * x * (y_pred - y)).mean()",
            "+ loss.backward()",
        ]
        assert "  Predict  the same in both" in rows
        legend, gone, _ = (content.plain for content in app.code.lines[-app.code.foot :])
        assert legend.startswith("── - manual   + autograd (runs now) ──")
        assert gone == "What you stop writing when autograd takes over: 1 line"
        await app.press("right", "down", "left")
        assert app.chosen == ["loss", ""], "it has no names to point at"
        assert app.code.turn_difference() == ""
        await app.pilot.pause()
        assert "y_pred = w * x" in app.text


async def test_climbing_the_ladder_goes_on_comparing() -> None:
    async with shown(view(frame(1, 2, "manual"))) as app:
        assert app.code.turn_difference() == "autograd"
        await app.show(view(frame(1, 2)))
        assert app.code.difference_to == "manual"
        assert "+ loss.backward()" in app.text


async def test_a_hidden_pane_forgets_the_difference_of_the_lesson_before() -> None:
    async with shown(view(frame(1, 1))) as app:
        assert app.code.turn_difference() == "manual"
        app.code.display = False
        another = replace(lesson(), digest="fedcba9876543210" * 4)
        await app.show(replace(view(frame(1, 1)), lesson=another))
        assert app.code.turn_difference() == "manual"
