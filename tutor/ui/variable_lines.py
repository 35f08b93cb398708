"""The inspection of one variable in words: its value, its part in autograd, its gradient."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from tutor.plain import one_line
from tutor.protocol.frame import NO_VALUE, NONE, Value
from tutor.protocol.inspections import VariableInfo
from tutor.ui import text_styles
from tutor.ui.text_styles import Piece, line
from tutor.wording.number_format import is_single, short

HEIGHT = 4
"""The number of lines, the same for all names so that nothing jumps."""

_LEAST_VALUE = 12
"""The least width of a value in cells."""


def facts_lines(name: str, facts: VariableInfo | None, width: int) -> list[Content]:
    """HEIGHT lines on `name`; the facts of another name are never shown for it."""
    mine = facts if facts is not None and facts.name == name else None
    if mine is None:
        said: Sequence[Content] = [line(("…", text_styles.DIM))]
    elif mine.value == NO_VALUE:
        said = [line(("no value yet: the line that sets it has yet to run", text_styles.DIM))]
    else:
        said = [_value(mine, width), line(_autograd(mine, width)), line(*_gradient(mine))]
    shown = [_rule(name, mine.type if mine else "", width), *said]
    shown += [line()] * (HEIGHT - len(shown))
    return [content.truncate(width, ellipsis=True) for content in shown]


def _rule(name: str, kind: str, width: int) -> Content:
    """A line across, with the name and its type in it."""
    pieces: list[Piece] = [("── ", text_styles.DIM), (one_line(name), text_styles.STRONG), " "]
    if kind:
        pieces += [("── ", text_styles.DIM), one_line(kind), " "]
    rest = width - line(*pieces).cell_length
    return line(*pieces, ("─" * max(0, rest), text_styles.DIM))


def _value(facts: VariableInfo, width: int) -> Content:
    """The value and its kind of number."""
    kind = " · ".join(_kind(facts))
    room = max(_LEAST_VALUE, width - len(kind) - 3) if kind else width
    text = line((_shown(facts.value), text_styles.VALUE)).truncate(room, ellipsis=True)
    return text + line(("   " + kind, text_styles.DIM)) if kind else text


def _kind(facts: VariableInfo) -> list[str]:
    value = facts.value
    if not value.is_number:
        return [f"on {one_line(facts.device)}"] if facts.device else []
    words = [value.dtype] if value.dtype != facts.type else []
    if value.shape or "." in facts.type:
        words.append(f"shape {value.shape}")
    if facts.device:
        words.append(f"on {one_line(facts.device)}")
    return words


def _autograd(facts: VariableInfo, width: int) -> str:
    """Lines on the variable's part in autograd."""
    if facts.requires_grad is None:
        if facts.type.startswith("numpy."):
            return "a NumPy value: autograd does not track it"
        return "a plain number: autograd does not track it" if facts.value.is_number else ""
    if not facts.is_leaf:
        made = one_line(facts.grad_fn or "None")
        return f"not a leaf, requires_grad={facts.requires_grad}, grad_fn={made}"
    role = "backward() fills its .grad" if facts.requires_grad else "autograd does not follow it"
    words = f"a leaf, requires_grad={facts.requires_grad}"
    long = f"{words}, grad_fn=None: {role}"
    return long if len(long) <= width else f"{words}: {role}"


def _gradient(facts: VariableInfo) -> list[Piece]:
    """The variable's gradient; None in words, because None is not 0."""
    gradient = facts.gradient
    if gradient == NONE:
        return ["gradient None", (" (none yet: that is not the same as 0)", text_styles.DIM)]
    if gradient is not None:
        return ["gradient ", (_shown(gradient), text_styles.VALUE)]
    if facts.is_leaf is False:
        return [("no gradient of its own: autograd keeps those of leaves", text_styles.DIM)]
    return [("no gradient: none was asked for", text_styles.DIM)] if facts.is_leaf else []


def _shown(value: Value) -> str:
    """The number with as many digits as in the numbers pane."""
    return one_line(short(value, 6 if is_single(value) else 4))
