"""The words for what an inspection remarks: on gradients, graphs, plots and variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tutor.digits import FACTOR_DIGITS, RATIO_DIGITS, rounded
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import FINITE_DIFFERENCE
from tutor.wording.engine_remarks import engine_remark_text, phase_text
from tutor.wording.number_format import counted, listed, trimmed
from tutor.wording.templates import Values, filled, shape_text

_DIFFERENCES = "finite differences"
_MEASURES = {FINITE_DIFFERENCE: _DIFFERENCES, f"own_{FINITE_DIFFERENCE}": f"its own {_DIFFERENCES}"}

_ADDED_UP = "gradients added up (was the reset forgotten?)"

_REMARKS: Mapping[str, str] = {
    # ── The modes side by side
    "none_finite": "not finite: there is nothing to compare",
    "others_agree": "the others agree",
    "no_differences": f"no {_DIFFERENCES}: its code does not compute in float64",
    "differences_unsure": f"the loss is too large, or too flat, for {_DIFFERENCES} to tell",
    "sampled": "{checked} of {size} elements checked",
    # ── The graph of one step
    "by_hand": "A gradient by hand has no graph. Change to a mode with autograd.",
    "by_hand_in_script": (
        "This script computes its gradient without PyTorch's autograd, so there is no graph."
    ),
    "name_not_set_yet": (
        "The next batch needs `{name}`, which the code before it has yet to set. Take a step first."
    ),
    "no_gradient_asked": (
        "The loss depends on nothing that requires a gradient (requires_grad): no graph."
    ),
    "only_forward": "Nothing calls backward in this phase: only the forward pass is shown.",
    "backward_elsewhere": "Backward was called on something other than `loss`.",
    "not_all_seen": "Parts of it could not be examined.",
    "not_traced": "The graph was not traced to its end.",
    "values_after_answer": "The values of the operations appear when you have answered.",
    "plot_after_answer": "This plot appears when you have answered.",
    "nodes_left_out": "{count} more nodes further down are left out.",
    "backward_again": (
        "The code changed the gradient, then called backward again: the last call is shown."
    ),
    "backward_times": "Backward was called {times} times: the gradients are added up.",
    "handed_back": "The gradients were returned, not added to `.grad`.",
    # ── Its local gradients
    "no_backward": "Nothing calls backward in this phase: no backward pass to step through.",
    "nothing_computed": "The loss is a leaf itself: nothing was computed.",
    "mixes_numbers": "`{expression}` combines its numbers: they can't be asked about one by one.",
    "unknown_local_gradient": (
        "`{expression}` can't be asked about: its local gradient is not known."
    ),
    "no_number": "`{expression}` is not a number: only numbers can be asked about.",
    "too_many_numbers": (
        "`{expression}` holds {count} numbers: only up to {most} can be asked about."
    ),
    # ── Plots
    "too_large_to_draw": "its numbers are too large to draw: the run diverges",
    "complex_parameter": "a parameter is complex: two numbers for each of its elements",
    "no_numbers": "the parameters are not numbers",
    "parameters_not_finite": "the parameters are not finite",
    "loss_not_finite": "the loss is not finite here",
    "no_gradient": "there is no gradient to plot the loss along",
    "gradient_is_zero": "the gradient is 0: there is no direction to plot the loss along",
    "no_epoch_yet": "no epoch has ended yet",
    "slow_set_up": "the epochs would run again, from a start that takes {seconds:.0f} s",
    "writes_files": "the epochs would run again, and the script would write its files again",
    "data_not_named": "the names of the data are not known (a lesson gives them by `data: …`)",
    "data_no_numbers": "{input} and {target} hold no numbers to draw",
    "several_targets": "there is more than one number of {target} for each of {input}",
    "several_predictions": "{prediction} is not one number for each of {input}",
    "features_for_line": "each sample has {count} inputs, and a line takes one",
    "no_number_finite": "no number of {input} is finite",
    "not_all_numbers_finite": "not all numbers of {input} are finite",
    "no_other_inputs": "{prediction} can't be computed for other inputs",
    # ── Variables
    "no_attribute": "there is nothing to show of .{attribute}",
    "not_computed": "not computed yet: {phase} binds it",
    "inner_name": "a name inside a function or a class: it has a value only while that runs",
    "unknown_name": "nothing has this name here",
    "spoiled_view": "a view of a tensor that was updated in place: its path in the graph is lost",
    "no_leaf": "not a leaf: backward passes through it and keeps no gradient here",
    "gradient_by_hand": "its gradient is {gradient}, computed by hand",
}
"""The templates of remarks, by code."""


def inspection_text(remark: Remark) -> str | None:
    """A remark of an inspection in words; None if its code is none of these."""
    if make := _COMPOSED.get(remark.code):
        return make(remark.values, remark.modes)
    if make := _MISTAKES.get(remark.code):
        where = "in float64 " if remark.values.get("in_float64") else ""
        verb = _VERBS.get(remark.code, "is")
        words = make(remark.values, remark.modes)
        return f"{where}{listed(remark.modes)} {_verb(verb, remark.modes)} {words}"
    if template := _REMARKS.get(remark.code):
        return filled(template, remark.values)
    return None


# ── The modes side by side ──────────────────────────────────────────────────────────


def _factor(v: Values, modes: Sequence[str]) -> str:
    factor, count = v["factor"], v.get("count")
    guess = f" (if there are {count} samples)" if count else ""
    reasons = {
        "sum": f"a sum where the mean was meant{guess}",
        "mean": f"a mean where the sum was meant{guess}",
        "square": "is the 2 of a square's derivative missing?",
        "added_up": _ADDED_UP,
    }
    reason = reasons.get(v.get("reason", ""), "")
    if factor < 0 and v.get("reason") != "added_up":
        reason = f"opposite sign, and {reason}" if reason else "opposite sign"
    return f"{_times(v)}{': ' if reason else ''}{reason}"


def _times(v: Values) -> str:
    """`4 times autograd`; close to 1 with as many digits as show that: `1.00004 times`."""
    factor = v["factor"]
    digits = FACTOR_DIGITS if abs(rounded(factor, RATIO_DIGITS)) == 1 else RATIO_DIGITS
    return f"{trimmed(factor, digits)} times {measure_text(v['measure'])}"


def _elements(v: Values, modes: Sequence[str]) -> str:
    index, count, total = v["index"], v["count"], v["total"]
    numbers = f"{trimmed(v['found'])}, not {trimmed(v['right'])}"
    if not index:
        return f"from {measure_text(v['measure'])}: {numbers}"
    place = _element_words(index, is_complex=v["is_complex"])
    if count == 1:
        return f"in {place}: {numbers}"
    kind = "number" if v["is_complex"] else "element"
    many = f"every {kind}" if count == total else f"{count} of {total} {kind}s"
    return f"in {many}, most in {place}: {numbers}"


def _element_words(index: Sequence[int], *, is_complex: bool) -> str:
    """`element [0, 1]`; of a complex number `the imaginary part of element [0]`."""
    if is_complex:
        part = f"the {('real', 'imaginary')[index[-1]]} part"
        return f"{part} of {_element_words(index[:-1], is_complex=False)}" if index[:-1] else part
    return f"element {[*index]}"


def _shape(shape: Sequence[int]) -> str:
    return shape_text(shape) if shape else "of a single number"


def _raised(v: Values, _: Sequence[str]) -> str:
    error = engine_remark_text(Remark(*v["error"]))
    if "phase" not in v:
        return error
    line = f", line {v['line']}" if v["line"] else ""
    return f"{error} ({phase_text(v['phase'])}{line})"


_MISTAKES: Mapping[str, Callable[[Values, Sequence[str]], str]] = {
    "factor": _factor,
    "added_up": lambda v, _: f"the old and the new one: {_ADDED_UP}",
    "zero": lambda v, _: f"0 where {measure_text(v['measure'])} {_be(v)} not",
    "opposite": lambda v, _: f"the opposite sign of {measure_text(v['measure'])}",
    "conjugate": lambda v, _: f"the complex conjugate of {measure_text(v['measure'])}",
    "transposed": lambda v, _: f"{_possessive(v)} transposed",
    "row": lambda v, _: f"in row {v['index'] + 1}, {v['parameter']}[{v['index']}]",
    "column": lambda v, _: f"in column {v['index'] + 1}, {v['parameter']}[:, {v['index']}]",
    "elements": _elements,
    "shape": lambda v, _: f"the shape {_shape(v['shape'])}, not {_shape(v['right'])}",
    "not_finite": lambda v, _: f"not finite where {measure_text(v['measure'])} {_be(v)}",
    "raised": _raised,
    "no_variable": lambda v, _: f"no gradient d{v['parameter']} in its code",
    "none": lambda v, _: "None: no gradient",
    "right_for_another_loss": lambda v, _: f"right for its own loss, but {_another_loss(v)}",
    "factor_of_another_loss": lambda v, _: f"{_times(v)}, as {_another_loss(v)}",
}
"""The words for the modes' mistakes, by code; they follow the modes' names and the verb."""

_VERBS = {
    **dict.fromkeys(("opposite", "shape", "no_variable"), "has"),
    **dict.fromkeys(("row", "column", "elements"), "differs"),
    "raised": "raised",
    "none": "gives",
}
_PLURAL = {"is": "are", "has": "have", "gives": "give", "differs": "differ", "agrees": "agree",
           "takes": "take", "its": "their"}  # fmt: skip


def _verb(singular: str, modes: Sequence[str]) -> str:
    return singular if len(modes) == 1 else _PLURAL.get(singular, singular)


def measure_text(measure: str) -> str:
    """The measure of a gradient: a mode, or finite differences."""
    return _MEASURES.get(measure, measure)


def _be(v: Values) -> str:
    return "are" if v["measure"] in _MEASURES else "is"


def _possessive(v: Values) -> str:
    """`autograd's`; `finite differences'`."""
    return measure_text(v["measure"]) + ("'" if v["measure"] in _MEASURES else "'s")


def _another_loss(v: Values) -> str:
    return f"its loss is {trimmed(v['loss'])}, not {trimmed(v['right_loss'])}"


def _rounding(v: Values) -> str:
    """The part of the gradient's size that is rounding; empty if nothing is."""
    if "rounding" not in v:
        return ""
    part, kind = v["rounding"], f"{v['dtype']} rounding".lstrip()
    if part > _NEAR_ZERO:
        return f" except for {kind} ({part:.1%} of the size, so close to 0)"
    return f" except for {kind} ({part:.0e} of the size)".replace("e-0", "e-")


_NEAR_ZERO = 1e-3
"""Rounding above this part of a gradient means that its parts have cancelled each other."""


def _kink(v: Values, modes: Sequence[str]) -> str:
    """The element on a kink, its two slopes, and the slope that each mode takes."""
    taken: dict[str, list[str]] = {}
    for mode, number in zip(modes, v["taken"], strict=True):
        taken.setdefault(_slope(number), []).append(mode)
    takes = ", ".join(f"{listed(m)} {_verb('takes', m)} {number}" for number, m in taken.items())
    place = f" in element {[*v['index']]}" if v["index"] else ""
    more = f"; and on {v['more']} more" if v["more"] else ""
    sides = f"{_slope(v['left'])} on the left and {_slope(v['right'])} on the right"
    return f"on a kink{place}: the slope is {sides}; {takes}{more}"


def _slope(number: float) -> str:
    """A slope to RATIO_DIGITS; a -0 and what is next to nothing are 0."""
    return trimmed(number if abs(number) > 1e-9 else 0.0, RATIO_DIGITS)


def _another_function(v: Values, modes: Sequence[str]) -> str:
    more = [f"it has {' and '.join(v['more'])} too"] if v["more"] else []
    less = [f"it has no {' and '.join(v['less'])}"] if v["less"] else []
    return (
        f"{listed(modes)} {_verb('is', modes)} another function ({', and '.join(more + less)}) "
        f"and {_verb('agrees', modes)} with {_verb('its', modes)} own {_DIFFERENCES}"
    )


def _held(v: Values, modes: Sequence[str]) -> str:
    names = v["parameters"]
    be, value = ("is", "its value") if len(names) == 1 else ("are", "their values")
    held = f"{' and '.join(names)} {be} held at {value} in Setup"
    return f"in {listed(modes)} {held}: {v['leader']} has none"


_COMPOSED: Mapping[str, Callable[[Values, Sequence[str]], str]] = {
    "only": lambda v, modes: f"only {listed(modes)} {_verb('has', modes)} {v['parameter']}",
    "agree": lambda v, _: f"agree{_rounding(v)}",
    "agrees_with_differences": lambda v, _: f"agrees with {_DIFFERENCES}{_rounding(v)}",
    "independent": lambda _, modes: (
        f"{listed(modes)} {_verb('gives', modes)} None, as the loss does not depend on it"
    ),
    "kink": _kink,
    "another_function": _another_function,
    "held": _held,
    "features_for_plane": lambda v, _: (
        f"each sample has {counted(v['count'], 'input')}, and a plane takes two"
    ),
}
"""The functions that compose remarks on no mistake, by code, of its values and the modes' names."""
