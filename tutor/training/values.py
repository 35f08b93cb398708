"""A name's live value as plain data: tensors, arrays and Python numbers become Values.

Knows torch and numpy; knows nothing of runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tutor.training.frame import MAX_ELEMENTS, NONE, Value

_LONGEST_TEXT = 200


def value_of(thing: Any) -> Value:
    """What `thing` looks like: its first MAX_ELEMENTS numbers, its shape and its dtype."""
    if thing is None:
        return NONE
    if isinstance(thing, torch.Tensor):
        return _of_tensor(thing)
    if isinstance(thing, bool | int | float):
        return Value((_as_float(thing),), (), type(thing).__name__)
    if isinstance(thing, np.ndarray | np.generic):
        return _of_array(np.asarray(thing))
    return text_value(_short_repr(thing))


def text_value(text: str) -> Value:
    """A Value that is words, not numbers."""
    if len(text) > _LONGEST_TEXT:
        text = text[: _LONGEST_TEXT - 1] + "…"
    return Value((), (), "text", text)


def is_spoiled(tensor: torch.Tensor) -> bool:
    """Whether autograd can't say any more where it came from, and raises if asked.

    So it is with one of several views (`for w_k in w`) whose base was then updated in place.
    """
    try:
        tensor.is_leaf  # noqa: B018 - asked for the error alone
    except RuntimeError:
        return True
    return False


def is_finite(thing: Any) -> bool:
    """Whether every element is finite; True for what is not numeric."""
    if isinstance(thing, torch.Tensor):
        return bool(torch.isfinite(thing).all())
    if isinstance(thing, int | float | np.ndarray | np.generic):
        try:
            return bool(np.isfinite(thing).all())
        except TypeError:  # an array of objects or text
            return True
    return True


def to_numpy(thing: Any) -> np.ndarray[Any, Any] | None:
    """The numbers in `thing` as an array of their own (a copy), or None if it holds none."""
    if isinstance(thing, torch.Tensor):
        return thing.detach().cpu().numpy().copy()
    if isinstance(thing, bool | int | float | np.ndarray | np.generic):
        array = np.array(thing)
        return array if array.dtype.kind in "biuf" else None
    return None


def _of_tensor(tensor: torch.Tensor) -> Value:
    if tensor.is_complex():
        return text_value(_short_repr(tensor.detach()))
    flat = tensor.detach().reshape(-1)
    numbers = (flat if len(flat) <= MAX_ELEMENTS else flat[:MAX_ELEMENTS]).tolist()
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Value(tuple(map(float, numbers)), tuple(tensor.shape), dtype)


def _of_array(array: np.ndarray[Any, Any]) -> Value:
    if array.dtype.kind not in "biuf":
        return text_value(_short_repr(array))
    flat = array.reshape(-1)[:MAX_ELEMENTS]
    return Value(tuple(map(float, flat.tolist())), array.shape, str(array.dtype))


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an int beyond 1e308
        return float("inf") if number > 0 else float("-inf")


def _short_repr(thing: Any) -> str:
    try:
        return repr(thing)
    except Exception as error:  # noqa: BLE001 - a lesson's own __repr__ may raise anything
        return f"{type(thing).__name__} (its repr raised {type(error).__name__})"
