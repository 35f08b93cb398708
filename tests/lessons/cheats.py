"""Code that brings a repair's run to its end without fixing the mistake.

For every repair the same ways are tried. The mistake stays, or its error is caught, or the phase
does nothing, or its result is replaced by a constant. After each of these, the parameters are set
to what the solution makes of them; where the mistake stays, also the learning rate, the data or
the loss are changed. Of conditions that lacked some of their parts, these ways have found every
one that any way found, also of those with the parameters set first.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from tutor.lesson.exercise import Repair
from tutor.lesson.model import SETUP, Lesson
from tutor.training.run import Run
from tutor.validation.exercise_check import ExerciseTrial

RATES = (0, 0.1, 0.5, 4)
"""Multiples of the exercise's learning rate."""


def cheats(trial: ExerciseTrial, exercise: Repair) -> Iterator[tuple[str, str]]:
    """Pairs of what is done, in words, and the code that does it."""
    solved = trial.from_the_start(exercise.stage, exercise.epochs, exercise.solution_code)
    made = _made_by_setup(trial, exercise)
    tensors = all(_is_tensor(solved, name) for name in solved.program.parameters)
    results = dict(_results(solved, tensors))
    beside = dict(_rates(solved, made)) | dict(_changed_data(solved, made)) | _no_loss(exercise)
    if tensors:
        beside["result in a new leaf"] = _with_results(solved, "{value}.requires_grad_()", False)
    for base, code in _bases(trial.lesson, exercise, solved):
        leaves_the_mistake = base in ("broken", "error caught")
        if base != "broken":
            yield base, code
        else:  # `tutor check` tries that alone
            yield "result set, then broken", f"{results['result set']}\n{code}"
        for label, addition in (results | (beside if leaves_the_mistake else {})).items():
            yield f"{base}, then {label}", f"{code}\n{addition}"


def _made_by_setup(trial: ExerciseTrial, exercise: Repair) -> Mapping[str, Any]:
    return trial.from_the_start(exercise.stage, 0, exercise.solution_code).loop.namespace.copy()


# ── What becomes of the mistake ─────────────────────────────────────────────────────


def _bases(lesson: Lesson, exercise: Repair, solved: Run) -> Iterator[tuple[str, str]]:
    yield "broken", exercise.code
    if exercise.symptom.error:
        caught = textwrap.indent(exercise.code, "    ")
        yield "error caught", f"try:\n{caught}\nexcept Exception:\n    pass"
    if exercise.phase == SETUP:
        return
    yield "nothing", "pass"
    names = solved.program.parameters
    nothing = f"0 * ({' + '.join(f'{name}.sum()' for name in names)})"
    match exercise.phase:
        case "Loss":
            yield "loss of 0", f"loss = {nothing}"
        case "Gradient":
            yield "gradient of 0", "\n".join(_zero_gradient(solved, name) for name in names)
        case "Predict" if lesson.data is not None:
            data = lesson.data
            yield "target as prediction", f"{data.prediction} = {data.target} + {nothing}"


def _zero_gradient(run: Run, name: str) -> str:
    if _is_tensor(run, name):
        return f"{name}.grad = torch.zeros_like({name})"
    return f"d{name} = {name} * 0"


def _is_tensor(run: Run, name: str) -> bool:
    (answer,) = run.evaluate([f"isinstance({name}, torch.Tensor)"])
    return bool(answer.data[0])


# ── What is done beside it ──────────────────────────────────────────────────────────


def _results(solved: Run, tensors: bool) -> Iterator[tuple[str, str]]:
    yield "result set", _with_results(solved, "{value}", tensors)
    yield "half the way to the result", _with_results(solved, "({name} + {value}) / 2", tensors)


def _with_results(solved: Run, new: str, in_place: bool) -> str:
    lines = []
    for name, found in solved.frame().values.items():
        value = f"np.array({list(found.data)}, dtype=np.float32).reshape({found.shape})"
        if _is_tensor(solved, name):
            value = f"torch.from_numpy({value})"
        kept = f"{name}.data.copy_({{}})" if in_place else f"{name} = {{}}"
        lines.append(kept.format(new.format(name=f"{name}", value=value)))
    return "with torch.no_grad():\n" + textwrap.indent("\n".join(lines), "    ")


def _rates(solved: Run, made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for factor in RATES:
        change = f"learning_rate = {solved.learning_rate * factor!r}"
        if "optimizer" in made:
            change += "\nfor group in optimizer.param_groups:\n    group['lr'] = learning_rate"
        yield f"rate times {factor}", change


def _changed_data(solved: Run, made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kinds = (np.ndarray, np.floating, torch.Tensor)
    names = solved.program.parameters
    data = [name for name, v in made.items() if isinstance(v, kinds) and name not in names]
    for name in data:
        yield f"{name} set to 0", f"{name} = {name} * 0"
    if len(data) > 1:
        yield "all data set to 0", "\n".join(f"{name} = {name} * 0" for name in data)
    (is_there,) = solved.evaluate(["y_pred.shape == y.shape"])
    if is_there.dtype == "bool":
        answer = "y_pred.detach()" if _is_tensor(solved, "y_pred") else "y_pred"
        yield "prediction as target", f"if 'y_pred' in globals():\n    y = {answer}"


def _no_loss(exercise: Repair) -> dict[str, str]:
    if exercise.phase in (SETUP, "Predict"):
        return {}
    return {"loss set to 0": "loss = loss * 0\nlosses = np.zeros(1000)"}
