"""The words for what the doctor finds."""

from __future__ import annotations

from collections.abc import Mapping

from tutor.plain import one_line
from tutor.protocol.findings import CodeFix, DoctorFinding, Evidence
from tutor.wording.number_format import setting

_TEXTS: Mapping[str, str] = {
    "gradients_not_reset": (
        "the gradient of `{variable}` is not reset: the update uses {used}, the sum of this "
        "gradient, {own}, and an earlier one, {old}."
    ),
    "lost_leaf": (
        "from this line on `{variable}` is a new tensor, and no leaf that asks for a gradient: "
        "`{variable}.grad` was {gradient_before}, and is {gradient} after the next backward."
    ),
    "broadcast_in_loss": (
        "`{variable}` of shape {shape} is compared with a shape {other_shape}: the loss is over "
        "{differences} differences, each number with each, instead of {samples}."
    ),
    "parameter_unused": (
        "`{variable}` is not used to compute the loss: it had a gradient in {gradients} of "
        "{passes} backward passes."
    ),
    "parameter_cut_off": (
        "`{variable}` is used, but here it is cut off from the loss: it had a gradient in "
        "{gradients} of {passes} backward passes."
    ),
    "gradient_always_zero": (
        "the gradient of `{variable}` is {gradient} in all {passes} backward passes, while the "
        "loss is {loss}: it does not learn."
    ),
    "frozen_in_optimizer": (
        "an optimizer holds `{variable}`, which does not ask for a gradient (requires_grad is "
        "{requires_grad}): after {passes} backward passes its gradient is {gradient}."
    ),
    "parameter_not_held": (
        "the optimizer does not hold `{variable}`: its gradient is {gradient}, and its change "
        "{change}. The optimizer holds {held} tensors, and {left_out} of the loss are left out."
    ),
    "layers_in_list": (
        "`{variable}` is in a plain list, which the model does not register: its gradient is "
        "{gradient}, and its change {change}."
    ),
    "tensor_not_registered": (
        "`{variable}` is no parameter that the model registers: its gradient is {gradient}, and "
        "its change {change}."
    ),
    "optimizer_holds_old_tensors": (
        "{gone} of the {held} tensors that the optimizer holds are no longer the model's: the "
        "gradient of `{variable}` is {gradient}, and its change {change}."
    ),
    "softmax_before_cross_entropy": (
        "`{variable}` holds probabilities (a row adds up to {row_sum}), but cross-entropy applies "
        "the softmax itself: with {classes} classes the loss can't fall below {lowest}."
    ),
    "softmax_before_nll": (
        "`{variable}` holds probabilities (a row adds up to {row_sum}), but this loss takes their "
        "logarithms: it falls to {lowest}, and not to 0."
    ),
    "sigmoid_before_logits": (
        "`{variable}` holds probabilities, from {smallest} to {largest}, but this loss applies the "
        "sigmoid itself: it can't fall below {lowest} where the target is 1."
    ),
    "gradient_off_by_factor": (
        "`{variable}` is {gradient}, which is {factor} times the slope of the loss, {slope} (by "
        "finite differences)."
    ),
    "gradient_of_wrong_sign": (
        "`{variable}` is {gradient}, but the slope of the loss is {slope} (by finite differences): "
        "the sign is wrong."
    ),
    "gradient_transposed": (
        "`{variable}` is the transpose of the loss's gradient: one element is {gradient}, but its "
        "slope is {slope} (by finite differences)."
    ),
    "gradient_wrong": (
        "`{variable}` is {gradient}, but the slope of the loss is {slope} (by finite differences)."
    ),
    "loss_kept_with_graph": (
        "`{variable}` keeps the graphs of {kept} losses after {epochs} epochs, and memory grows "
        "with each: only the last loss needs its graph ({needed})."
    ),
}
"""By code: a sentence, into which the variable and the numbers are put."""


def finding_text(finding: DoctorFinding) -> str:
    """One to three lines: what is wrong, how to fix it, and where it is explained."""
    values = {name: _shown(value) for name, value in finding.numbers.items()}
    variable = one_line(finding.variable)
    text = _TEXTS[finding.code].format(**values, variable=variable)
    place = f"Line {finding.line}: " if finding.line else ""
    lines = [f"{place}{text if place else text[0].upper() + text[1:]}"]
    if finding.fix is not None:
        lines.append(_fix_text(finding.fix))
    if finding.lesson:
        lines.append(_lesson_text(finding))
    return "\n".join(lines)


def _fix_text(fix: CodeFix) -> str:
    code = "`; `".join(one_line(line) for line in fix.code.split("\n"))
    where = {"instead": "Write", "before": "Put before", "after": "Put after"}[fix.place]
    line = fix.line if fix.place != "after" else fix.end_line
    text = f"{where} line {line}: `{code}`."
    if fix.place == "instead":
        text = f"Instead of line {line} write `{code}`."
    if fix.loss_with is None:
        return text
    without = "the code stops" if fix.loss_without is None else f"{setting(fix.loss_without)}"
    return (
        f"{text} With it the loss after {fix.epochs} epochs is {setting(fix.loss_with)}, "
        f"without it {without}."
    )


def _lesson_text(finding: DoctorFinding) -> str:
    exercise = f" --exercise {finding.exercise}" if finding.exercise else ""
    return f"The lesson {finding.lesson} explains it: tutor {finding.lesson}{exercise}"


def _shown(value: Evidence) -> str:
    if isinstance(value, bool | str):
        return one_line(str(value))
    if isinstance(value, tuple):
        return f"({', '.join(map(str, value))}{',' if len(value) == 1 else ''})"
    return setting(value)
