"""The sentences about a learner's script: why it can't be stepped, and which lines are left out."""

from __future__ import annotations

from collections.abc import Mapping

from tutor.plain import one_line
from tutor.script.outline import Refusal
from tutor.script.source import ScriptSource, SourceNote

_NO_LOOP = (
    "there is no training loop in it. The tutor steps a `for` or `while` loop that computes a "
    "gradient and changes the parameters with it"
)
_REFUSALS: Mapping[str, str] = {
    "no_loop": f"{_NO_LOOP}: write one, or name another file",
    "step_without_loop": (
        "the training step on this line stands in no loop. Put it in a loop "
        "(`for epoch in range(100):`), then open the file again"
    ),
    "no_update": (
        "this loop computes {loss}, but nothing changes the parameters. Add the gradient and the "
        "update (`loss.backward()`, `optimizer.step()`), then open the file again"
    ),
    "no_backward": (
        "this loop updates the parameters, but nothing computes their gradients. Add "
        "`loss.backward()` before the update, then open the file again"
    ),
    "update_in_condition": (
        "the condition of this `while` runs the training step, and the tutor steps only what "
        "stands in the loop. Move the step into the loop's body"
    ),
    "fit_of_library": (
        "`{call}` runs the training loop inside a library, where the tutor can't stop it. Write "
        "the loop yourself: a `for` loop with `loss.backward()` and `optimizer.step()`"
    ),
    "loop_in_module": (
        "the training loop is in the module `{module}`: this line calls `{name}`. Move the "
        "loop, or the call, so that both are in one file, and open that file"
    ),
    "generator_loop": (
        "the function `{function}` contains `yield`, and the tutor can't step a loop in a "
        "generator. Move the loop into a function without `yield`"
    ),
    "async_loop": (
        "the loop is asynchronous (`async`), and the tutor can't step it. Write it as a plain loop"
    ),
    "nested_too_deeply": (
        "its code is nested too deeply to be read. Split its longest expression into several"
    ),
    "loop_in_class_body": (
        "the loop stands directly in the body of a class, and the tutor can't step it there. Move "
        "it into a function or to the top level of the file"
    ),
}

_NOTES: Mapping[str, str] = {
    "magic": "the magic `{text}` is left out",
    "cell_magic": "`{text}` is left out: it belongs to a cell magic",
    "shell": "the shell command `{text}` is left out",
    "help": "the question `{text}` is left out",
    "timed": "`{text}` runs without its magic",
}


def refusal_text(refusal: Refusal, name: str) -> str:
    """Why the script of this name can't be stepped, and what to do: `train.py:12: …`."""
    values = {"loss": "a loss", **refusal.values}
    where = name if refusal.line is None else f"{name}:{refusal.line}"
    return one_line(f"{where}: {_REFUSALS[refusal.code].format_map(values)}")


def refusal_in_source(refusal: Refusal, source: ScriptSource) -> str:
    """The same, with the line as people name it in a notebook: `[3]:4`."""
    if refusal.line is None or not source.cells:
        return refusal_text(refusal, source.path.name)
    return refusal_text(
        Refusal(refusal.code, None, refusal.values),
        source.full_place(refusal.line),
    )


def source_note_text(note: SourceNote, source: ScriptSource) -> str:
    """The sentence on a line of a notebook that is not plain Python."""
    text = _NOTES[note.code].format(text=note.text)
    return one_line(f"{source.place(note.line)}: {text}")
