"""The words for what the doctor finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tutor.plain import json_number, one_line
from tutor.protocol.inspections import CodeFix, DoctorFinding, DoctorReport, ForkLosses
from tutor.wording.number_format import counted, trimmed
from tutor.wording.templates import Values, Words, filled, shape_text, shown

_TEXTS: Mapping[str, str] = {
    "gradients_not_reset": (
        "the gradient of `{variable}`{more} is not reset: the update uses {used}, the sum of this "
        "gradient, {own}, and an earlier one, {old}."
    ),
    "reset_before_update": (
        "the gradient of `{variable}`{more} is reset between `backward()` and the update: it was "
        "{gradient}, and the optimizer's step finds {used}."
    ),
    "lost_leaf": (
        "from this line on `{variable}` is a new tensor, not a leaf that requires a gradient: "
        "`{variable}.grad` was {gradient_before}, and is {gradient} after the next backward."
    ),
    "broadcast_in_loss": (
        "`{variable}` of shape {shape:shape} is compared with a tensor of shape "
        "{other_shape:shape}: the loss is computed from {differences} differences, each number "
        "with every other, instead of {samples}."
    ),
    "broadcast_in_gradient": (
        "`{left}` of shape {shape:shape} minus `{right}` of shape {other_shape:shape} subtracts "
        "each number of one from each of the other. So the update turns `{variable}` of shape "
        "{before:shape} into shape {after:shape}."
    ),
    "parameter_reshaped": (
        "the update turns `{variable}` of shape {before:shape} into shape {after:shape}, because "
        "what it adds has another shape: give both the same shape."
    ),
    "parameter_unused": (
        "`{variable}`{more} is not used to compute the loss: it had a gradient in {gradients} of "
        "{passes} backward passes."
    ),
    "parameter_cut_off": (
        "`{variable}`{more} is used, but here it is cut off from the loss: it had a gradient in "
        "{gradients} of {passes} backward passes."
    ),
    "gradient_always_zero": (
        "the gradient of `{variable}`{more} is {gradient} in all {passes} backward passes, while "
        "the loss is {loss}: it does not learn."
    ),
    "frozen_in_optimizer": (
        "an optimizer holds `{variable}`{more}, which does not require a gradient (requires_grad "
        "is {requires_grad}): after {passes} backward passes its gradient is {gradient}."
    ),
    "parameter_not_held": (
        "the optimizer does not hold `{variable}`, so it never changes it: its gradient is "
        "{gradient}, and its change is {change}. The optimizer holds {held:tensors}. Of the "
        "tensors that the loss depends on, it lacks {left_out}."
    ),
    "layers_in_list": (
        "`{variable}` is in a plain list, which the model does not register: its gradient is "
        "{gradient}, and its change is {change}."
    ),
    "tensor_not_registered": (
        "`{variable}` is not a parameter that the model registers: its gradient is {gradient}, and "
        "its change is {change}."
    ),
    "optimizer_holds_old_tensors": (
        "{gone} of the {held} tensors that the optimizer holds are no longer the model's: the "
        "gradient of `{variable}` is {gradient}, and its change is {change}."
    ),
    "softmax_before_cross_entropy": (
        "`{variable}` holds probabilities (a row adds up to {row_sum}), but cross-entropy applies "
        "the softmax itself: with {classes} classes the loss can't fall below {lowest}."
    ),
    "softmax_before_nll": (
        "`{variable}` holds probabilities (a row adds up to {row_sum}), but this loss takes their "
        "logarithms: its lowest value is {lowest}, not 0."
    ),
    "sigmoid_before_logits": (
        "`{variable}` holds probabilities, from {smallest} to {largest}, but this loss applies the "
        "sigmoid itself: it can't fall below {lowest} where the target is 1."
    ),
    "gradient_off_by_factor": (
        "`{variable}` is {factor} times what it should be: it is {gradient}, and "
        "{is_added:minus}the slope of the loss is {slope} (by finite differences)."
    ),
    "gradient_scaled": (
        "`{variable}` is {factor} times the true gradient{parameters:shared}: it is {gradient}, "
        "and {is_added:minus}the slope of the loss is {slope} (by finite differences). A constant "
        "factor is no mistake: each step is as long as with {factor} times the learning rate."
    ),
    "gradient_added": (
        "the update adds `{variable}` to `{parameter}`, so the loss climbs: `{variable}` is "
        "{gradient}, and the slope of the loss is {slope} (by finite differences). Subtract it."
    ),
    "gradient_of_wrong_sign": (
        "`{variable}` is {gradient}, but {is_added:minus}the slope of the loss is {slope} (by "
        "finite differences): the sign is wrong."
    ),
    "gradient_transposed": (
        "`{variable}` is the transpose of the loss's gradient: one element is {gradient}, but its "
        "slope is {slope} (by finite differences)."
    ),
    "gradient_wrong": (
        "`{variable}` is {gradient}, but {is_added:minus}the slope of the loss is {slope} (by "
        "finite differences)."
    ),
    "loss_kept_with_graph": (
        "`{variable}` still holds the graph of each loss that was added to it: {kept} graphs in "
        "epoch {epochs}, and more with every batch. What is only reported needs none."
    ),
    "diverges": (
        "The loss grows from {loss} to {loss_later} in epoch {epoch}. The learning "
        "rate{variable:named} is {rate}, and here the loss falls only with one below {bound}: "
        "{limit} / {curvature}, the curvature of the loss along the gradient."
    ),
    "first_not_finite": (
        "The first number that is not finite is computed in `{variable}`: `{operation}` turns "
        "{argument:known} into {result}."
    ),
    "first_gradient_not_finite": (
        "The first gradient that is not finite is computed at `{operation}`, in `{variable}`: it "
        "receives the gradient {got}, its argument is {argument:known}, and it passes on {gave}."
    ),
    "data_not_finite": "Of the {size} numbers in `{variable}`, {count} are NaN or infinite.",
    "evaluated_in_training_mode": (
        "`{variable}` is evaluated in training mode, with {layer}: an output is {in_training}, and "
        "after `{variable}.eval()` it is {in_evaluation} for the same input."
    ),
    "evaluated_with_graph": (
        "`{variable}` is evaluated without `torch.no_grad()`: autograd records a graph of {nodes} "
        "nodes, where {wanted} are needed, because no backward follows."
    ),
    "trained_in_evaluation_mode": (
        "`{variable}` is trained in evaluation mode, in which {layer} does not work as in "
        "training: {in_training:batches} ran in training mode, and the next {in_evaluation} in "
        "evaluation mode."
    ),
    "dropout_in_evaluation": (
        "`dropout` does not know the mode of the model: in evaluation it drops `{variable}` with "
        "the probability {dropped}, not {wanted}. Give it `training=self.training`."
    ),
    "scheduler_first": (
        "`{variable}.step()` comes before the first `optimizer.step()` (steps of the scheduler: "
        "{scheduler_steps}, of the optimizer: {optimizer_steps}), so the schedule runs ahead: its "
        "first rate is {rate}, but the first update uses {used}."
    ),
    "loss_arguments_swapped": (
        "`{function}` takes the prediction first. Here `{variable}` comes first, which depends on "
        "no parameter: the loss is {loss:raised}, and in the right order it is "
        "{loss_in_order:raised}."
    ),
    "not_log_probabilities": (
        "`{function}` takes log-probabilities: exp of a row of `{variable}` adds up to {sum}, not "
        "to {wanted}."
    ),
    "not_probabilities": (
        "`{function}` takes probabilities, from {least} to {most}, but `{variable}` holds {given}."
    ),
    "one_class": (
        "`{function}` sees {classes} class in `{variable}`: its probability is always 1, and the "
        "loss always {loss}."
    ),
    "targets_not_probabilities": (
        "A target in `{variable}` is {target}, but `{function}` takes targets from {least} to "
        "{most}."
    ),
    "targets_not_indices": (
        "The targets `{variable}` are {dtype}, but `{function}` takes class indices as {wanted}."
    ),
    "targets_not_float": (
        "The targets `{variable}` are {dtype}, but `{function}` takes them as {wanted}."
    ),
    "data_require_gradient": (
        "`{variable}` is data and requires a gradient: {size} numbers that nothing reads are "
        "added to its `.grad` in each backward (norm {first} at first, {last} now)."
    ),
    "gradients_vanish": (
        "The gradient vanishes on its way through {layers} layers: {last} at `{last_layer}`, "
        "{first} at `{variable}` (root mean square)."
    ),
    "gradients_explode": (
        "The gradient explodes on its way through {layers} layers: {last} at the output of the "
        "last (`{last_layer}`), {first} at that of the first (`{variable}`; root mean square)."
    ),
    "accumulated_without_division": (
        "{backwards} mean losses are added up before one update: the gradient of `{variable}` has "
        "the norm {used}; their mean has the norm {mean}. Divide each loss by {backwards}."
    ),
    "not_seeded": (
        "Two runs differ: the first loss is {loss}, and {other} in another run. `{variable}` draws "
        "random numbers, and no line sets a seed for them."
    ),
    "seeded_late": (
        "Two runs differ: the first loss is {loss}, and {other} in another run. `{variable}` draws "
        "random numbers before {seed_place} sets a seed."
    ),
}
"""The sentences by code, into which the variable and the numbers are put."""

_NO_MISTAKES = frozenset({"gradient_scaled", "not_seeded", "seeded_late"})
"""The codes of findings that are worth knowing, and no mistakes."""


def _named(variable: str, _: Values) -> str:
    """A name behind the word for it; nothing where the code has only a number, or no place."""
    return "" if not variable or variable[0].isdecimal() else f" `{variable}`"


_WORDS: Words = {
    "shape": shape_text,
    "named": _named,
    "batches": lambda count, _: counted(count, "batch", "batches"),
    "tensors": lambda count, _: counted(count, "tensor"),
    "raised": lambda loss, _: "an error" if loss is None else shown(loss),
    "known": lambda number, _: "unknown" if number is None else shown(number),
    "shared": lambda count, _: ", and so are all others" if count > 1 else "",
    "minus": lambda is_added, _: "minus " if is_added else "",
}


def line_place(line: int) -> str:
    """The place of a line in a file that has no cells: `line 12`."""
    return f"line {line}"


def finding_text(finding: DoctorFinding, place_of: Callable[[int], str] = line_place) -> str:
    """One to three lines: what is wrong, how to fix it, and where it is explained.

    `place_of` names a line as people do: in a notebook, `[3]:4`.
    """
    count = finding.numbers.get("parameters")
    more = f" (and of {count - 1} more)" if isinstance(count, int) and count > 1 else ""
    values = {"variable": finding.variable, "more": more, "is_added": False}
    if isinstance(seed_line := finding.numbers.get("seed_line"), int):
        values["seed_place"] = place_of(seed_line)
    text = filled(_TEXTS[finding.code], {**values, **finding.numbers}, _WORDS)
    where = place_of(finding.line) if finding.line else ""
    place = f"{where[0].upper()}{where[1:]}: " if where else ""
    lines = [f"{place}{text if place else text[0].upper() + text[1:]}"]
    if finding.fix is not None:
        lines.append(_fix_text(finding.fix, place_of))
    if finding.lesson:
        lines.append(_lesson_text(finding))
    return "\n".join(lines)


def finding_values(
    finding: DoctorFinding, place_of: Callable[[int], str] = line_place
) -> dict[str, Any]:
    """A finding as an object of JSON, in which NaN and infinities are strings."""
    values: dict[str, Any] = _json_values(msgspec.to_builtins(finding))
    return {"text": finding_text(finding, place_of), **values}


def _json_values(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _json_values(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_json_values(value) for value in thing]
    return json_number(thing) if isinstance(thing, float) else thing


def report_text(report: DoctorReport) -> str:
    """One or two sentences on a whole report: how much was found, and in how much."""
    epochs = counted(report.epochs, "epoch")
    remarks = sum(finding.code in _NO_MISTAKES for finding in report.findings)
    mistakes = len(report.findings) - remarks
    found = counted(mistakes, "mistake") if mistakes else "No mistakes"
    found += f" and {counted(remarks, 'remark')}" if remarks else ""
    texts = [f"{found} found. The doctor stepped through {epochs} of this code."]
    if not report.is_complete:
        seen = {0: "before the end of the first epoch", 1: "in the first epoch"}
        where = seen.get(report.epochs, f"in the first {epochs}")
        texts = [f"{found} found {where}; the rest of the code was not examined."]
    if (fork := report.together) is not None:
        losses = _losses_text(fork, fork.loss_with)
        texts += [f"With the {fork.fixes} fixes {losses}"] if losses else []
    if report.taught:
        taught = counted(report.taught, "mistake")
        verb = "are" if report.taught > 1 else "is"
        texts.append(f"{taught} that the lesson makes on purpose {verb} left out.")
    return " ".join(texts)


def _fix_text(fix: CodeFix, place_of: Callable[[int], str]) -> str:
    code = "`; `".join(one_line(line) for line in fix.code.split("\n"))
    place = place_of(fix.end_line if fix.place == "after" else fix.line)
    text = f"Add {fix.place} {place}: `{code}`."
    if fix.place == "instead":
        text = f"Instead of {place} write `{code}`." if fix.code else f"Delete {place}."
    if fix.loss_with is None:
        return text
    losses = _losses_text(fix, fix.loss_with)
    return f"{text} With it {losses}" if losses else text


def _losses_text(fork: CodeFix | ForkLosses, loss: float) -> str:
    """The end of a sentence on what fixes do to the loss; "" where that proves nothing."""
    with_it, epochs = trimmed(loss), counted(fork.epochs, "epoch")
    if fork.loss_first is not None and fork.loss_without is not None:
        if not loss < fork.loss_first:
            return ""
        return (
            f"the loss is another function, which falls from {trimmed(fork.loss_first)} after the "
            f"first epoch to {with_it} after {epochs}."
        )
    without = "the code stops" if fork.loss_without is None else trimmed(fork.loss_without)
    if with_it == without:  # as printed: a difference that nobody can see proves nothing
        return ""
    pronoun = "it" if isinstance(fork, CodeFix) else "them"
    return f"the loss after {epochs} is {with_it}, without {pronoun} {without}."


def _lesson_text(finding: DoctorFinding) -> str:
    exercise = f" --exercise {finding.exercise}" if finding.exercise else ""
    return f"The lesson {finding.lesson} explains it: tutor {finding.lesson}{exercise}"
