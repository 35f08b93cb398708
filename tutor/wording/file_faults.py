"""The sentences on files of lessons and scripts: why one can't be used, what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tutor.plain import one_line

if TYPE_CHECKING:
    from tutor.script.outline import Refusal
    from tutor.script.source import ScriptSource, SourceNote

_LESSON_FAULTS: Mapping[str, str] = {
    "no_file": "{path}: there is no such file",
    "not_permitted": "{path}: you may not read it; change its permissions",
    "unreadable": "{path}: it can't be read ({words})",
    "is_empty": "{path}: the file is empty; begin it with front matter between --- lines",
    "not_utf8": (
        "{path}:{line}: byte 0x{byte:02x} at offset {offset} is not UTF-8; save the file as UTF-8"
    ),
    "is_folder": "{path}: this is a directory; name a .md file in it",
    "not_plain_file": "{path}: this is not a plain file; name a .md file",
    "too_large": "{path}: the file is larger than 256 KB; a lesson is a few pages of text",
    "name_taken": "{path}: another lesson is already named `{slug}`; rename this one",
    "no_path": "there is no file {name}{hint}",
    "no_lesson": "no lesson is named `{name}`{hint}",
    "not_remembered": (
        "{file} can't be written ({words}): you will be asked about {name} again the next time"
    ),
}
_MISSING = ("no_file", "no_path", "no_lesson")
"""Codes of lessons that are not there."""

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


def lesson_fault_text(code: str, values: Mapping[str, Any], *, with_command: bool = False) -> str:
    """What is wrong with a lesson's file, as one line.

    `with_command`: of a lesson that is not there also the command that lists them.
    """
    if code not in _LESSON_FAULTS:
        from tutor.wording.diagnostics import diagnostic_message  # noqa: PLC0415 - seldom needed

        place = f"{values['path']}:{values['line']}: " if "line" in values else ""
        return one_line(place + diagnostic_message(code, values))
    text = _LESSON_FAULTS[code].format(**values, hint=hint_of(values.get("near", ())))
    if with_command and code in _MISSING:
        text += f"{'' if text.endswith('?') else ';'} `tutor list` shows the lessons"
    return one_line(text)


def hint_of(near: Sequence[str]) -> str:
    """The end of a sentence about an unknown name; empty if no name is near."""
    return f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""


def refusal_text(refusal: Refusal, name: str) -> str:
    """Why the script of this name can't be stepped, and what to do: `train.py:12: …`."""
    return _refusal_at(refusal, name if refusal.line is None else f"{name}:{refusal.line}")


def _refusal_at(refusal: Refusal, place: str) -> str:
    values = {"loss": "a loss", **refusal.values}
    return one_line(f"{place}: {_REFUSALS[refusal.code].format_map(values)}")


def refusal_in_source(refusal: Refusal, source: ScriptSource) -> str:
    """The same, with the line as people name it in a notebook: `[3]:4`."""
    if refusal.line is None or not source.cells:
        return refusal_text(refusal, source.path.name)
    return _refusal_at(refusal, source.full_place(refusal.line))


def source_note_text(note: SourceNote, source: ScriptSource) -> str:
    """The sentence on a line of a notebook that is not plain Python."""
    text = _NOTES[note.code].format(text=note.text)
    return one_line(f"{source.place(note.line)}: {text}")
