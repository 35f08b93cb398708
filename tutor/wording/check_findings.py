"""The words for what `tutor check` finds wrong with a lesson and its exercises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tutor.digits import BOUND_DIGITS, EXACT_DIGITS
from tutor.lesson.model import AUTOGRAD
from tutor.plain import one_line
from tutor.protocol.events import CheckFinding
from tutor.wording.lesson_faults import fault_message
from tutor.wording.number_format import trimmed, value_reason
from tutor.wording.remarks import remark_text
from tutor.wording.templates import Words, filled, modes_text, shape_text

_TEMPLATES: Mapping[str, str] = {
    # ── The run of a mode
    "no_memory": (
        "the memory limit of lessons is too low to check this one; make its tensors smaller, "
        "or set TUTOR_MEMORY_MB to more megabytes"
    ),
    "no_memory_on": "{device} has too little memory",
    "runs_differ": "two runs{device:on} differ; take all random numbers from np or torch",
    "runs_differ_on": (
        "two runs{device:on} differ; take all random numbers from np or torch; an operation may "
        "add in a varying order there: write `torch.use_deterministic_algorithms(True)` in Setup"
    ),
    "back_differs": "going back{device:on} to epoch {epoch}, step {step} shows other values",
    "draws_on_device": "draws random numbers{device:on}, so its figures differ from the CPU's",
    "not_shown": "{label} has no value: {reason:why}",
    "not_shown_misnamed": "{label} has no value: {slip:fault}",
    "not_shown_unbound": "{label} has no value: it names something that the mode does not compute",
    "not_shown_in_time": "{label} has no value: {reason:why}; make it faster, or leave it out",
    "printed_much": (
        "it printed {characters:,} characters during the check, which are not shown; the check is "
        "faster with fewer"
    ),
    # ── Figures on a device
    "figure_differs": (
        "after epoch {epoch}, {figure:whose} is {found:exact} on {device} and "
        "{wanted:exact} on the CPU{place:at_index}; rounding explains {allowed:bound}"
    ),
    "figure_of_other_shape": (
        "after epoch {epoch}, {figure:whose} has another shape on {device}, or is missing on the "
        "CPU; rounding explains {allowed:bound}"
    ),
    # ── Gradients
    "checked_by_sample": "the gradient was checked at {samples:counts}",
    "gradient_missing": (
        "the gradient differs from {measure:that_of}: there is no gradient of {name}: it is read "
        "from `{name}.grad`, or if {name} requires no gradient from the variable `d{name}`"
    ),
    "gradient_shape": (
        "the gradient differs from {measure:that_of}: for {name} its shape is {found:shape}, "
        "not {right:shape}"
    ),
    "gradient_differs": (
        "the gradient differs from {measure:that_of}: for {name} it is {found}, not {right}"
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
    "cannot_begin": "the exercise can't begin here: {cause}",
    "misnamed": "`{id}`: {slip:fault}",
    "phase_fails": "the phase that is asked about can't be run: {cause}",
    "asked_again_alike": "asked again, the answer is {answer} once more; {has_again:advice}",
    "answer_unfit": "the answer {value:is_what}; {choices:answers}",
    "wrong_unfit": "this wrong answer {value:is_what}; {choices:answers}",
    "wrong_is_right": "this wrong answer is right: {answer}; choose another",
    "wrong_twice": "this is {answer}, as on line {line}: its reply would never be given",
    "working_of_no_number": (
        "`{source}` in `working` {value:is_what} before the phase; it must be a number"
    ),
    "working_fails": "this working can't be shown: {error}",
    "working_not_one_number": "this working can't be shown: `{source}` is not one number",
    "working_lengths_differ": (
        "this working can't be shown: the arrays in a sum have different numbers of elements"
    ),
    "working_terms": ("this working can't be shown: a sum of {terms} terms; write out 1 to {most}"),
    "working_differs": ("before the phase this is {found}, but the answer is {answer}; correct it"),
    "no_truth": "this {value:is_what}; it must be True or False",
    "truth_of_array": (
        "this asks whether a whole array is true, and `losses` is an array; "
        "write `len(losses) > 0 and …`, or `(…).all()`"
    ),
    "met_at_start": "the condition holds from the start; ask for more",
    "met_by_waiting": (
        "after {epochs} epochs the condition holds with nothing changed; ask for more"
    ),
    "solution_fails": "the solution can't be run: {cause}",
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
        "`code` of `{id}` can't be run ({cause}); write `symptom: {{error: part of that}}`"
    ),
    "mistake_raises_other": (
        "this is not a part of the error that `code` of `{id}` raises; copy a part of it: {cause}"
    ),
    "repair_fails": "`solution` of `{id}` can't be run for {epochs} epochs; correct it: {cause}",
    "repair_misses": (
        "after {epochs} epochs of `solution` of `{id}` the condition does not hold; correct "
        "`solution` or `condition`, or give it more `epochs`"
    ),
    "no_graph": "there is no graph: {cause}",
    "nothing_to_ask": "there is nothing to ask here: {cause}",
    "too_many_questions": (
        "there are {count} questions here, more than {most}; take a smaller graph"
    ),
    "gradient_not_finite": "the gradient in `{of}` has no finite answer ({expected})",
    "local_not_finite": "`{of}` has no finite answer ({expected})",
}
"""The templates by code."""


_UNEXPECTED: Mapping[str, str] = {
    "none": "has no value ({reason:why})",
    "text": "is the text “{text}”",
    "array": "is an array of shape {shape:shape}",
    "number": "is {number}",
    "other": "is {text}",
}
"""The words for a value that can't be an answer, by the code that `unexpected` gives it."""


def check_line(finding: CheckFinding) -> str:
    """A finding as one line: its place in the file, and the message."""
    return one_line(f"{finding.path}:{finding.line}: {check_message(finding)}")


def check_message(finding: CheckFinding) -> str:
    """The words of a finding, with the modes that it is about before them."""
    remark = finding.remark
    if template := _TEMPLATES.get(remark.code):
        cause = remark_text(finding.cause) if finding.cause is not None else ""
        text = filled(template, {"cause": cause, **remark.values}, _WORDS)
        text = f"asked again, {text}" if remark.values.get("again") else text
    else:
        text = remark_text(remark)
    return one_line(f"{modes_text(remark.modes)}: {text}" if remark.modes else text)


def _samples(samples: Sequence[tuple[int, int, str]]) -> str:
    return ", ".join(f"{count} of the {size} numbers of {name}" for count, size, name in samples)


def _answers(choices: Sequence[str]) -> str:
    if not choices:
        return "it must be one finite number"
    return f"it must be a key of `choices`: {', '.join(choices)}"


_WORDS: Words = {
    "on": lambda device, _: f" on {device}" if device else "",
    "at_index": lambda index, _: f" at {list(index)}" if index else "",
    "whose": lambda figure, _: f"the gradient of {figure[0]}" if figure[1] else figure[0],
    "exact": lambda number, _: trimmed(number, EXACT_DIGITS),
    "bound": lambda number, _: trimmed(number, BOUND_DIGITS),
    "shape": shape_text,
    "advice": lambda has_again, _: (
        "choose other numbers" if has_again else "write `again: [{set: …}]`"
    ),
    "that_of": lambda measure, _: (
        "autograd's" if measure == AUTOGRAD else "that of finite differences"
    ),
    "counts": lambda samples, _: _samples(samples),
    "is_what": lambda unexpected, _: filled(_UNEXPECTED[unexpected[0]], unexpected[1], _WORDS),
    "why": lambda reason, _: value_reason(reason),
    "fault": lambda fault, _: fault_message(*fault),
    "answers": lambda choices, _: _answers(choices),
}
"""The words that the templates name after a colon."""
