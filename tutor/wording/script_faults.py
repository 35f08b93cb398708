"""The sentences on a learner's script: why it can't be read, stepped or made a lesson.

And on PyTorch's errors, from `torch_errors.toml`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from difflib import SequenceMatcher
from functools import cached_property, lru_cache
from pathlib import Path

import msgspec

from tutor.errors import ScriptError
from tutor.plain import one_line
from tutor.script.source import ScriptSource, SourceNote
from tutor.wording.lesson_faults import fault_message
from tutor.wording.templates import Words, filled

_NO_LOOP = (
    "there is no training loop in it. The tutor steps a `for` or `while` loop that computes a "
    "gradient and changes the parameters with it"
)
_TO_TOP_LEVEL = "write the loop at the top level of the file"

_SENTENCES: Mapping[str, str] = {
    # ── A script without a loop to step
    "no_loop": f"{_NO_LOOP}: write one, or name another file",
    "step_without_loop": (
        "the training step on this line is not in a loop. Put it in one "
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
        "the condition of this `while` runs the training step, and the tutor steps only the "
        "loop's body. Move the step into the body"
    ),
    "fit_of_library": (
        "`{call}` runs the training loop inside a library, where the tutor can't stop it. Write "
        "the loop yourself: a `for` loop with `loss.backward()` and `optimizer.step()`"
    ),
    "other_framework": (
        "{framework} trains here, and the tutor steps loops of PyTorch, NumPy and plain Python "
        "alone. Write the loop with one of these"
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
        "the loop is directly in the body of a class, and the tutor can't step it there. Move "
        "it into a function or to the top level of the file"
    ),
    # ── A file that can't be read
    "is_folder": "this is a folder; name a .py or .ipynb file in it",
    "not_plain_file": "this is not a plain file; name a .py or .ipynb file",
    "file_too_large": "the file is larger than {most} MiB; name a script",
    "no_file": "there is no such file; check the name",
    "not_permitted": "you may not read it; change its permissions",
    "unreadable": "it can't be read ({words}); name a .py or .ipynb file",
    "is_empty": "the file is empty; write a training loop in it",
    "unknown_coding": "{words}; save the file as UTF-8",
    "not_encoded": "byte 0x{byte:02x} is not {encoding}; save the file as UTF-8",
    "syntax_error": "{words}; fix it, then open it again",
    "no_python": "it can't be read as Python ({words}); fix it",
    "no_notebook": "this is not a Jupyter notebook ({words}); save it again in Jupyter",
    "other_language": "its language is {language}; the tutor steps Python",
    "no_cell": "it has no code cell; write a training loop in one",
    "module_unreadable": "it can't be read ({words}), and the script imports it",
    "modules_too_large": (
        "the modules beside it that it imports are larger than {most} MB: copy them to the other "
        "machine and run tutor there"
    ),
    # ── A script that can't become a lesson
    "lesson_not_right": (
        "the lesson made from it is not right ({fault:fault}); make the script simpler"
    ),
    "loop_in_function": (
        "the loop is in `{function}`. A lesson can be made of a loop at the top level of the "
        "file, in a function that is called once from there, or in a method of a class that has "
        "one instance and no base class. Move the loop to one of these places"
    ),
    "loop_in_method": (
        "the loop is in the method `{method}`, and a lesson has no classes. The tutor writes "
        "methods as functions, but not here: {why:obstacle}. Change that, or move the loop to the "
        "top level of the file"
    ),
    "while_loop": (
        "a lesson has a fixed number of epochs, and this `while` does not say how many it runs; "
        "write `for epoch in range(100):`, with `if …: break` as its last lines if it ends early"
    ),
    "loop_in_with": (
        f"the loop is in a `with` block, and a lesson's phases can't be; {_TO_TOP_LEVEL}"
    ),
    "loop_in_loop": (
        "this loop trains anew in each of its passes, and a lesson trains once; take the training "
        "loop out of it"
    ),
    "loop_in_condition": (
        f"the loop runs on a condition, and a lesson's always runs; {_TO_TOP_LEVEL}"
    ),
    "loop_not_run_plainly": f"the loop is not run by a plain statement here; {_TO_TOP_LEVEL}",
    "loop_with_else": "a lesson's loop has no `else`; leave it out",
    "leaves_loop": (
        "`{word}` ends the loop, or one pass of it, before the end of the phases, and a lesson's "
        "loop can't; move it behind them, or leave it out"
    ),
    "function_used_twice": (
        "`{name}` is used more than once, and a lesson runs its loop once; call it once"
    ),
    "function_not_plain": "`{name}` has a decorator, `*` or `**` arguments; make it plain",
    "argument_without_value": "`{name}` is given no value here; pass one",
    "name_of_two_things": (
        "`{name}` means one thing here and another in `{function}`; rename one of them"
    ),
    "phase_of_no_lesson": (
        "a lesson made from a script can't have the phase {phase}; leave it out"
    ),
    "phase_behind_batches": (
        "{phase} comes after the loop over batches, and a lesson runs all its phases in each "
        "batch; move it into that loop"
    ),
    "phase_in_function": (
        "{phase} is in `{function}`, which the loop does not call by a line of its own, once in "
        "each batch. Write its code into the loop, where a lesson has its phases one below the "
        "other"
    ),
    "phase_in_closure": (
        "{phase} is in `{function}`, which the optimizer may call several times in one step, and a "
        "lesson runs each phase once in a batch; take an optimizer that needs no closure, and "
        "write the phases into the loop, one below the other"
    ),
    "phase_in_inner_block": (
        "{phase} is inside another statement of the loop, and a lesson has its phases one below "
        "the other; move it out of there"
    ),
    "phase_twice": (
        "this is a second {phase}, and a lesson has one in a batch; leave one out. (`tutor FILE` "
        "steps the script as it is.)"
    ),
    "no_line_of_loss": (
        "a lesson needs a line for the loss alone, and the loop has none; write one such as "
        "`loss = …`"
    ),
    "no_number_of_epochs": (
        "the code does not say how many times the loop runs; write `range(100)`, for example"
    ),
    "number_of_batches_changes": (
        "the number of batches may change from epoch to epoch, and a lesson's is always the same; "
        "write a number: `for i in range(4):`"
    ),
    "reads_loop_variable": (
        "the loop reads `{target}`, and a lesson's loop has no such variable; write "
        "`for epoch in range(100):`"
    ),
    "no_name_of_loss": "the code names no loss; write `loss = …` in the loop",
    "other_name_of_loss": "a lesson calls its loss `loss`, but here it is `{name}`; rename it",
    "binds_batch": "a lesson's code is given `batch`, the number of the batch; rename yours",
    "asks_for_input": "it asks for input, and a lesson can't; leave that out",
    "reads_arguments": (
        "it needs arguments on its command line, and a lesson has none; give each a default"
    ),
    "opens_window": "it opens a window, and a lesson can't; leave that out",
    "draws_picture": (
        "a lesson draws no pictures of its own, and this one can't be left out alone; take it out"
    ),
    "parameters_not_told": "the code does not say which parameters it updates; update them by name",
    "parameters_in_one_name": (
        "`{name}` holds several parameters, and a lesson names each of them; write them as `w1`, "
        "`w2`, …"
    ),
    "parameter_is_no_name": (
        "the parameter `{name}` belongs to an object, and a lesson needs a plain name for each "
        "parameter; write each of them as a variable: `w1`, `b1`, `w2`, …"
    ),
    "gradients_of_own_class": (
        "a class of the file computes the gradients, and a lesson can't watch its objects; use "
        "tensors of PyTorch"
    ),
    "no_line_of_gradient": (
        "no line computes the gradient of `{name}` alone; write `d{name} = …` before the update"
    ),
    "gradients_without_names": (
        "a lesson needs a name for each gradient that a function returns; write a line such as "
        "`dw, db = torch.autograd.grad(loss, (w, b))`"
    ),
    "gradient_in_update": "the gradient `{name}` has no line before the update; write one",
    "parameter_elsewhere": (
        "`{parameter}` has no name in the code before the loop, and a lesson needs one; create it "
        "there"
    ),
}
"""The templates of ScriptError by code, without the place."""

_OBSTACLES: Mapping[str, str] = {
    "not_plain": "`{name}` has a base class, a decorator, or more in it than methods",
    "decorated": "the method `{name}` has a decorator, or no `self`",
    "not_one_instance": "`{name}` is named in more places than one, which makes its one instance",
    "passed_on": "`{name}`, the instance, is used for more than its attributes",
    "ambiguous": "the attribute or method `{name}` has a name that stands for something else, too",
}
"""Why a class can't be written as functions."""

_NOTES: Mapping[str, str] = {
    "magic": "the magic `{text}` is left out",
    "cell_magic": "`{text}` is left out: it belongs to a cell magic",
    "shell": "the shell command `{text}` is left out",
    "help": "the question `{text}` is left out",
    "timed": "`{text}` is run without its magic",
}


def script_error_text(error: ScriptError) -> str:
    """Why a script can't be used, and what to do: `train.py:12: …`."""
    values = {"loss": "a loss", **error.values}
    words: Words = {
        "fault": lambda fault, _: fault_message(*fault),
        "obstacle": lambda why, _: _OBSTACLES[why[0]].format(name=why[1]),
    }
    return one_line(f"{values['place']}: {filled(_SENTENCES[error.code], values, words)}")


def source_note_text(note: SourceNote, source: ScriptSource) -> str:
    """The sentence on a line of a notebook that is not plain Python."""
    text = _NOTES[note.code].format(text=note.text)
    return one_line(f"{source.place(note.line)}: {text}")


# ── PyTorch's errors, found by a part of their message ──────────────────────────────

LIKE_ENOUGH = 0.5
"""The least likeness (difflib's ratio of words) at which a message is offered as the nearest."""


class TorchError(msgspec.Struct, frozen=True, dict=True):
    """One kind of error."""

    key: str
    """`changed in place`: the name of the kind."""
    patterns: tuple[str, ...]
    """Regular expressions, each for a part of the message."""
    meaning: str
    """Two or three sentences, with code between backticks."""
    advice: str
    lesson: str
    """The slug of the lesson that explains it."""
    exercise: str = ""
    """The exercise that reproduces it, if there is one."""
    detail: str = ""
    """A template for what the message's own numbers say: the groups of the patterns."""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(f"(?:{p})" for p in self.patterns), re.IGNORECASE)

    def is_in(self, message: str) -> bool:
        """Whether the message is one of this kind."""
        return self._pattern.search(message) is not None

    def detail_of(self, message: str) -> str:
        """The sentences on a message's numbers; "" if it has none."""
        found = self._pattern.search(message)
        groups = {} if found is None else found.groupdict()
        return self.detail.format(**groups) if groups and None not in groups.values() else ""

    def likeness(self, message: str) -> float:
        """The share of a message's words that one of the patterns has, from 0 to 1."""
        words = _words(message)
        return max(SequenceMatcher(None, _words(p), words).ratio() for p in self.patterns)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z_]{2,}", text.lower())


@lru_cache(maxsize=1)
def torch_errors() -> tuple[TorchError, ...]:
    """All known kinds of errors."""
    text = Path(__file__).with_name("torch_errors.toml").read_text("utf-8")
    return tuple(
        TorchError(
            key=entry["key"],
            patterns=tuple(entry["patterns"]),
            meaning=" ".join(entry["meaning"].split()),
            advice=" ".join(entry["advice"].split()),
            lesson=entry["lesson"],
            exercise=entry.get("exercise", ""),
            detail=" ".join(entry.get("detail", "").split()),
        )
        for entry in tomllib.loads(text)["error"]
    )


def torch_error_of(message: str) -> TorchError | None:
    """The kind of error that a message is one of; None if it is not known."""
    return next((known for known in torch_errors() if known.is_in(message)), None)


def nearest_error(message: str) -> TorchError | None:
    """The known error whose message is most like this one; None if none is like it."""
    best = max(torch_errors(), key=lambda known: known.likeness(message))
    return best if best.likeness(message) >= LIKE_ENOUGH else None
