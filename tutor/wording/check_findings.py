"""The words for what `tutor check` finds wrong with a lesson and its exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from tutor.digits import BOUND_DIGITS, EXACT_DIGITS, PLAIN_DIGITS, significant
from tutor.plain import one_line
from tutor.protocol.events import Finding
from tutor.wording.inspections import remark_text
from tutor.wording.lesson_faults import fault_message
from tutor.wording.number_format import value_reason

Values: TypeAlias = Mapping[str, Any]

_PLAIN, _EXACT, _BOUND = (f".{digits}g" for digits in (PLAIN_DIGITS, EXACT_DIGITS, BOUND_DIGITS))

_TEMPLATES: Mapping[str, str] = {
    # ── The run of a mode
    "no_memory": (
        "the memory limit of lessons is too low to check this one; make its tensors smaller, "
        "or set TUTOR_MEMORY_MB to more megabytes"
    ),
    "no_memory_on": "{device} has too little memory",
    "runs_differ": "two runs{on} differ; take all random numbers from np or torch",
    "runs_differ_on": (
        "two runs{on} differ; take all random numbers from np or torch; an operation may add in "
        "a varying order there: write `torch.use_deterministic_algorithms(True)` in Setup"
    ),
    "back_differs": "going back{on} to epoch {epoch}, step {step} shows other values",
    "draws_on_device": "draws random numbers{on}, so its figures differ from the CPU's",
    "not_shown": "{label} has no value: {reason}",
    "not_shown_misnamed": "{label} has no value: {slip}",
    "not_shown_unbound": "{label} has no value: it names something that the mode does not compute",
    "not_shown_in_time": "{label} has no value: {reason}; make it faster, or leave it out",
    "printed_much": (
        "it printed {characters:,} characters during the check, which are not shown; the check is "
        "faster with fewer"
    ),
    # ── Figures on a device
    "figure_differs": (
        f"after epoch {{epoch}}, {{figure}} is {{found:{_EXACT}}} on {{device}} and "
        f"{{wanted:{_EXACT}}} on the CPU{{place}}; rounding explains {{allowed:{_BOUND}}}"
    ),
    "figure_of_other_shape": (
        "after epoch {epoch}, {figure} has another shape on {device}, or is missing on the CPU; "
        f"rounding explains {{allowed:{_BOUND}}}"
    ),
    # ── Gradients
    "checked_by_sample": "the gradient was checked at {samples}",
    "gradient_missing": (
        "the gradient differs from {measure}: there is no gradient of {name}; that of a tensor is "
        "read from its `.grad`, and that of an array from a name such as `dw`"
    ),
    "gradient_shape": (
        "the gradient differs from {measure}: for {name} its shape is {found}, not {right}"
    ),
    "gradient_differs": (
        "the gradient differs from {measure}: for {name} it is "
        f"{{found:{_PLAIN}}}, not {{right:{_PLAIN}}}"
    ),
    "own_gradient_is_right": (
        "own_gradient names a mode whose gradient differs on purpose, but it is the gradient of "
        "its loss: take {mode} out of own_gradient"
    ),
    "parameter_is_container": (
        "{name} is a {kind}: give each tensor in it a name of its own in Setup, and list those "
        "names under parameters"
    ),
    "parameter_without_numbers": (
        "{name} holds no numbers to train ({kind}): a parameter is a tensor, array or number"
    ),
    "parameter_is_whole": (
        "{name} is a whole number ({kind}): write it with a decimal point, as in 0.0"
    ),
    "loss_is_no_number": "the loss is not a number",
    "loss_is_array": "the loss is {kind}: make it a single number, as mean() or sum() do",
    "loss_is_complex": "the loss is {kind}: make it real, as abs() or .real do",
    # ── Exercises
    "cannot_begin": "the exercise can't begin here: {why}",
    "misnamed": "`{id}`: {slip}",
    "phase_fails": "the phase that is asked about can't be run: {why}",
    "asked_again_alike": "asked again, the answer is {answer} once more; {advice}",
    "answer_unfit": "{again}the answer {value}; {choices}",
    "wrong_unfit": "{again}this wrong answer {value}; {choices}",
    "wrong_is_right": "{again}this wrong answer is right: {answer}; choose another",
    "wrong_twice": "{again}this is {answer}, as on line {line}: its reply would never be given",
    "working_of_no_number": (
        "{again}`{source}` in `working` {value} before the phase; it must be a number"
    ),
    "working_fails": "{again}this working can't be shown: {error}",
    "working_not_one_number": "{again}this working can't be shown: `{source}` is not one number",
    "working_lengths_differ": (
        "{again}this working can't be shown: the arrays in a sum have different numbers of elements"
    ),
    "working_terms": (
        "{again}this working can't be shown: a sum of {terms} terms; write out 1 to {most}"
    ),
    "working_differs": (
        f"{{again}}before the phase this is {{found:{_PLAIN}}}, "
        "but the answer is {answer}; correct it"
    ),
    "no_truth": "this {value}; it must be True or False",
    "truth_of_array": (
        "this asks whether a whole array is true, and `losses` is an array; "
        "write `len(losses) > 0 and …`, or `(…).all()`"
    ),
    "met_at_start": "the condition holds from the start; ask for more",
    "met_by_waiting": (
        "after {epochs} epochs the condition holds with nothing changed; ask for more"
    ),
    "solution_fails": "the solution can't be run: {why}",
    "solution_misses": (
        "after {epochs} epochs of the solution the condition does not hold; correct the solution, "
        "or the condition"
    ),
    "mistake_raises_nothing": (
        "`code` of `{id}` raises nothing in {epochs} epochs; put the mistake into `code`, or fix "
        "`symptom`"
    ),
    "mistake_not_seen": (
        "after {epochs} epochs of `code` of `{id}` this does not hold; say what does go wrong, or "
        "put the mistake into `code`"
    ),
    "met_with_mistake": (
        "the condition of `{id}` holds with the mistake in `code`, too; ask for more"
    ),
    "mistake_raises": (
        "`code` of `{id}` can't be run ({why}); write `symptom: {{error: part of that}}`"
    ),
    "mistake_raises_other": (
        "this is not a part of the error that `code` of `{id}` raises; copy a part of it: {why}"
    ),
    "repair_fails": "`solution` of `{id}` can't be run for {epochs} epochs; correct it: {why}",
    "repair_misses": (
        "after {epochs} epochs of `solution` of `{id}` the condition does not hold; correct "
        "`solution` or `condition`, or give it more `epochs`"
    ),
    "no_graph": "there is no graph: {why}",
    "nothing_to_ask": "there is nothing to ask here: {why}",
    "too_many_questions": (
        "there are {count} questions here, more than {most}; take a smaller graph"
    ),
    "gradient_not_finite": "the gradient in `{of}` has no finite answer ({expected})",
    "local_not_finite": "`{of}` has no finite answer ({expected})",
}
"""The templates by code."""


def check_line(finding: Finding) -> str:
    """A finding as one line: its place in the file, and the message."""
    return one_line(f"{finding.path}:{finding.line}: {check_message(finding)}")


def check_message(finding: Finding) -> str:
    """The words of a finding, with the modes that it is about before them."""
    what, modes = finding.what, finding.what.modes
    why = remark_text(finding.why) if finding.why is not None else ""
    if what.code in _TEMPLATES:
        shown = {name: _shown(name, value) for name, value in what.values.items()}
        text = _TEMPLATES[what.code].format(why=why, **shown)
    else:
        text = remark_text(what)
    return one_line(f"mode{'s'[: len(modes) - 1]} {', '.join(modes)}: {text}" if modes else text)


def _samples(samples: Sequence[Sequence[Any]]) -> str:
    return ", ".join(f"{count} of the {size} numbers of {name}" for count, size, name in samples)


def _value(found: Values) -> str:
    """An unexpected value: `is an array of shape (4,)`."""
    match found:
        case {"error": error}:
            return f"has no value ({value_reason(error)})"
        case {"string": text}:
            return f"is the text “{text}”"
        case {"shape": shape}:
            return f"is an array of shape {tuple(shape)}"
        case {"number": number}:
            return f"is {significant(number)}"
    return f"is {found['text']}"


def _choices(choices: Sequence[str]) -> str:
    if not choices:
        return "it must be one finite number"
    return f"it must be a key of `choices`: {', '.join(choices)}"


_COMPOSED: Mapping[str, Callable[[Any], Any]] = {
    "on": lambda device: f" on {device}" if device else "",
    "place": lambda index: f" at {list(index)}" if index else "",
    "figure": lambda figure: f"the gradient of {figure[0]}" if figure[1] else figure[0],
    "again": lambda is_again: "asked again, " if is_again else "",
    "advice": lambda has_again: (
        "choose other numbers" if has_again else "write `again: [{set: …}]`"
    ),
    "measure": lambda measure: (
        "autograd's" if measure == "autograd" else "that of finite differences"
    ),
    "samples": _samples,
    "value": _value,
    "reason": value_reason,
    "slip": lambda slip: fault_message(*slip),
    "choices": _choices,
}
"""The words for parameters, by their name."""


def _shown(name: str, value: Any) -> Any:
    if make := _COMPOSED.get(name):
        return make(value)
    return tuple(value) if isinstance(value, list) else value  # a shape, as Python writes it
