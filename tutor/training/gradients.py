"""Where the gradient of a parameter stands: in its `.grad`, or in a variable of the code, `dw`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tutor.lesson.model import gradient_variable
from tutor.training.values import Array, like


def is_by_hand(parameter: Any) -> bool:
    """Whether PyTorch never computes its gradient: an array, a number, a tensor that needs none."""
    return not isinstance(parameter, torch.Tensor) or not parameter.requires_grad


def is_variable(parameter: Any, *, stores_grad: bool) -> bool:
    """Whether its gradient is a variable of the code, `dw`.

    `stores_grad`: whether the code assigns gradients to `.grad`; then a tensor's stands there.
    """
    return is_by_hand(parameter) and not (stores_grad and isinstance(parameter, torch.Tensor))


def stored_gradient(parameter: Any) -> torch.Tensor | None:
    """The `.grad` of a tensor; None of anything else.

    A tensor in mid-graph has none, and asking it prints a warning into the output of the code.
    """
    if not isinstance(parameter, torch.Tensor):
        return None
    return parameter.grad if parameter.is_leaf or parameter.retains_grad else None


def gradient_of(
    name: str, parameter: Any, names: Mapping[str, Any], *, stores_grad: bool = False
) -> Any:
    """The gradient of a parameter as it is now in the names of the code; None if there is none."""
    stored = stored_gradient(parameter)
    if stored is None and is_variable(parameter, stores_grad=stores_grad):
        return names.get(gradient_variable(name))
    return stored


def set_gradient(
    name: str, gradient: Array | None, names: dict[str, Any], *, has_variable: bool
) -> None:
    """Give a parameter a gradient; none where it does not fit.

    `has_variable`: the code keeps gradients by hand in variables; else a tensor's is its `.grad`.
    """
    parameter, variable = names.get(name), gradient_variable(name)
    own = None if gradient is None else np.array(gradient)  # code may add to it in place
    if isinstance(parameter, torch.Tensor):
        fits = own is not None and own.size == parameter.numel()
        own = like(parameter, own).reshape(parameter.shape) if fits and own is not None else None
        if not (has_variable and is_by_hand(parameter)):
            if parameter.is_leaf:
                parameter.grad = own
            return
    names.pop(variable, None)
    if own is not None:
        names[variable] = own
