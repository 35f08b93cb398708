"""A name's live value as plain data: tensors, arrays and Python numbers become Values.

The gradient of a parameter stands in its `.grad`, or in a variable of the code, `dw`.

Every thing has a value: what torch or NumPy can't give as numbers (a complex or a nested
tensor, one on the device `meta`, an array of objects) is described by its dtype and shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
import torch

from tutor.digits import significant
from tutor.lesson.model import gradient_variable
from tutor.plain import cut_short, one_line, shortened
from tutor.protocol.frame import MAX_ELEMENTS, NONE, Value

T = TypeVar("T")
Array: TypeAlias = np.ndarray[Any, Any]
"""An array of any shape and dtype."""

RELATIVE = 1e-5
"""The largest difference of two gradients that agree, by the size of the larger."""

_LONGEST_TEXT = 200
_LARGEST_DENSE = 2**24
"""Elements of a sparse tensor that are written out to be read; a larger one is only named."""
_LARGEST_SUMMARIZED = 2**26
"""Elements whose mean and norm are computed: they take some hundredths of a second."""


def value_of(thing: Any) -> Value:
    """The first MAX_ELEMENTS numbers of `thing`, its shape and its dtype; words where it has none.

    Raises nothing but KeyboardInterrupt, whatever the lesson's own class does.
    """
    try:
        return _value_of(thing)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a lesson's class may raise anything, exit() too
        return text_value(f"{type(thing).__name__}: it can't be read ({named(error)})")


def _value_of(thing: Any) -> Value:
    if thing is None:
        return NONE
    if isinstance(thing, torch.Tensor):
        return _of_tensor(thing)
    if isinstance(thing, bool | int | float):
        return Value((_as_float(thing),), (), type(thing).__name__)
    if isinstance(thing, np.ndarray | np.generic):
        return _of_array(np.asanyarray(thing))
    if isinstance(thing, complex):
        return Value((), (), "complex", significant(thing))
    return text_value(_short_repr(thing))


def text_value(text: str) -> Value:
    """A Value that is words, not numbers."""
    return Value((), (), "text", cut_short(text, _LONGEST_TEXT))


def no_value(why: str) -> Value:
    """A Value that is only the code of a reason."""
    return Value((), (), "text", why=why)


def is_spoiled(tensor: torch.Tensor) -> bool:
    """Whether autograd no longer knows how a tensor was computed, and raises if asked.

    That happens to one of several views (`for w_k in w`) whose base is updated in place.
    """
    try:
        tensor.is_leaf  # noqa: B018 - asked for the error alone
    except RuntimeError:
        return True
    return False


def is_finite(thing: Any) -> bool:
    """Whether every element is finite; True for things that hold no numbers, or can't be read."""
    return _read(_is_finite, thing, True)


def _is_finite(thing: Any) -> bool:
    if isinstance(thing, torch.Tensor):
        plain = _plain(thing)
        if plain is None:
            numbers = _to_numbers(thing)
            return numbers is None or bool(np.isfinite(numbers).all())
        if plain.device.type == "cpu":  # of few numbers, NumPy tells it in a third of the time
            return bool(np.isfinite(plain.numpy()).all())
        return bool(torch.isfinite(plain).all())
    if isinstance(thing, int | float | complex | np.ndarray | np.generic):
        try:
            return bool(np.isfinite(thing).all())
        except TypeError:  # an array of objects or text, an integer beyond 64 bits
            return True
    return True


def to_numpy(thing: Any) -> Array | None:
    """The real numbers in `thing` as an array of their own (a copy); None if it holds none.

    A dtype that NumPy has not got (bfloat16, the float8 ones) becomes float32, in which its
    numbers are the same.
    """
    numbers = to_numbers(thing)
    return None if numbers is None or numbers.dtype.kind == "c" else numbers


def to_numbers(thing: Any) -> Array | None:
    """The numbers of `to_numpy`, complex ones among them."""
    return _read(_to_numbers, thing, None)


def _to_numbers(thing: Any) -> Array | None:
    if isinstance(thing, torch.Tensor):
        tensor = _complex(thing) if thing.is_complex() else _plain(thing)
        return None if tensor is None else tensor.cpu().numpy().copy()
    if isinstance(thing, bool | int | float | complex | np.ndarray | np.generic):
        array = np.array(thing)
        return array if array.dtype.kind in "biufc" else None
    return None


def _complex(tensor: torch.Tensor) -> torch.Tensor | None:
    """A complex tensor in a dtype that NumPy has, conjugated where that was only noted."""
    tensor = tensor.detach()
    if tensor.is_nested or tensor.is_meta or tensor.numel() > _LARGEST_DENSE:
        return None
    if tensor.dtype is torch.complex32:
        tensor = tensor.to(torch.complex64)
    return tensor.to_dense().resolve_conj().resolve_neg()


def like(thing: Any, array: Array) -> Any:
    """The numbers of `array` on the device of `thing`, and in its dtype if that has fractions."""
    if isinstance(thing, torch.Tensor):
        has_fractions = thing.is_floating_point() or thing.is_complex()
        dtype = thing.dtype if has_fractions else torch.get_default_dtype()
        # Converted here: mps has no float64.
        return torch.from_numpy(np.asarray(array)).to(dtype).to(thing.device)
    known = isinstance(thing, np.ndarray | np.generic) and thing.dtype.kind == "f"
    return np.asarray(array, dtype=thing.dtype if known else np.float64)


@overload
def real_pairs(array: Array) -> Array: ...
@overload
def real_pairs(array: None) -> None: ...
def real_pairs(array: Array | None) -> Array | None:
    """The array; of complex numbers the real and the imaginary part, along one more axis."""
    if array is None or array.dtype.kind != "c":
        return array
    return np.stack([array.real, array.imag], axis=-1)


def _read(read: Callable[[Any], T], thing: Any, otherwise: T) -> T:
    """The result of `read`; `otherwise` if a class of the lesson raises in it."""
    try:
        return read(thing)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a lesson's class may raise anything, exit() too
        return otherwise


def dtype_and_shape(thing: Any) -> str:
    """`complex64, shape (2,)`, with the layout and the device where these are unusual."""
    dtype = str(thing.dtype).removeprefix("torch.")
    parts = [one_line(dtype)[:40]]
    if isinstance(thing, torch.Tensor) and thing.is_nested:
        return f"{dtype}, nested, of {thing.size(0)} tensors"
    if len(thing.shape):
        parts.append(f"shape {tuple(thing.shape)}")
    if isinstance(thing, torch.Tensor):
        if thing.layout is not torch.strided:
            parts.append(str(thing.layout).removeprefix("torch."))
        if thing.is_meta:
            parts.append("on the device meta, without numbers")
    return ", ".join(parts)


@cache
def _dtype_name(dtype: torch.dtype | np.dtype[Any]) -> str:
    return str(dtype).removeprefix("torch.")


# ── Tensors ─────────────────────────────────────────────────────────────────────────


def _of_tensor(tensor: torch.Tensor) -> Value:
    dtype = _dtype_name(tensor.dtype)
    if tensor.is_nested:
        return Value((), (), dtype, dtype_and_shape(tensor))
    shape = tuple(tensor.shape)
    plain = _plain(tensor, MAX_ELEMENTS)
    if plain is None:
        return Value((), shape, dtype, _complex_text(tensor) or dtype_and_shape(tensor))
    numbers = plain.cpu().numpy().ravel().tolist()  # by torch alone, it takes five times as long
    mean, norm = _mean_and_norm(tensor)
    return Value(tuple(map(float, numbers)), shape, dtype, mean=mean, norm=norm)


def _mean_and_norm(tensor: torch.Tensor) -> tuple[float, float] | tuple[None, None]:
    """Mean and norm of a tensor that a Value can't hold, from one read of its device."""
    if not MAX_ELEMENTS < tensor.numel() <= _LARGEST_SUMMARIZED or tensor.dtype is torch.bool:
        return None, None
    numbers = _plain(tensor)
    if numbers is None:
        return None, None
    if numbers.dtype is not torch.float64:
        numbers = numbers.float()
    if numbers.device.type == "cpu":  # by one thread: on a busy machine, torch waits for others
        return float(numbers.numpy().mean()), float(torch.linalg.vector_norm(numbers))
    mean, norm = torch.stack([numbers.mean(), torch.linalg.vector_norm(numbers)]).tolist()
    return mean, norm


def _complex_text(tensor: torch.Tensor) -> str:
    """A single complex number in digits; "" for all else."""
    if not tensor.is_complex() or tensor.numel() != 1 or tensor.is_meta:
        return ""
    return significant(complex(tensor.detach().to_dense().cpu().reshape(()).item()))


def _plain(tensor: torch.Tensor, most: int | None = None) -> torch.Tensor | None:
    """The tensor (or its first `most` elements) strided, real, and of a dtype that NumPy has.

    None if it has no such numbers.
    """
    tensor = tensor.detach()
    if tensor.is_nested or tensor.is_meta or tensor.is_complex():
        return None
    try:
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        if tensor.layout is not torch.strided:
            if tensor.numel() > _LARGEST_DENSE:
                return None
            tensor = tensor.to_dense()
        if most is not None and tensor.numel() > most:
            tensor = tensor.reshape(-1)[:most]
        if tensor.is_neg():
            tensor = tensor.resolve_neg()
        return tensor if tensor.dtype in _NUMPY_HAS else tensor.float()
    except (RuntimeError, NotImplementedError, TypeError):
        return None  # torch has no such conversion of a dtype of less than a byte, say


_NUMPY_HAS = frozenset(
    [
        *(torch.float64, torch.float32, torch.float16, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8),
        *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    ]
)


# ── Arrays and numbers ──────────────────────────────────────────────────────────────


def _of_array(array: Array) -> Value:
    dtype = _dtype_name(array.dtype)
    if array.dtype.kind == "c":
        is_one = array.size == 1
        text = significant(complex(array.reshape(-1)[0])) if is_one else dtype_and_shape(array)
        return Value((), array.shape, dtype, text)
    if array.dtype.kind not in "biuf" or isinstance(array, np.ma.MaskedArray):
        text = _short_repr(array) if array.size <= MAX_ELEMENTS else dtype_and_shape(array)
        return text_value(one_line(text))
    part = array if array.size <= MAX_ELEMENTS else array[_first(array)]
    flat = part.reshape(-1)[:MAX_ELEMENTS]
    mean, norm = _mean_and_norm_of_array(array)
    return Value(tuple(map(float, flat.tolist())), array.shape, dtype, mean=mean, norm=norm)


def _mean_and_norm_of_array(array: Array) -> tuple[float, float] | tuple[None, None]:
    if not MAX_ELEMENTS < array.size <= _LARGEST_SUMMARIZED or array.dtype.kind == "b":
        return None, None
    with np.errstate(all="ignore"):  # infinities, which the lesson warns of itself
        numbers = np.asarray(array, np.float64)
        return float(numbers.mean()), norm_of(numbers)


def norm_of(array: Array) -> float:
    """The square root of the sum of squares, in float64; for so few numbers BLAS's threads cost."""
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.square(array.astype(np.float64, copy=False)).sum()))


def _first(array: Array) -> tuple[slice, ...]:
    """A part that has the first MAX_ELEMENTS elements: to flatten all may copy all."""
    inner = 1
    cuts = [slice(None)] * array.ndim
    for axis in reversed(range(array.ndim)):
        if inner >= MAX_ELEMENTS:
            cuts[axis] = slice(0, 1)
        else:
            cuts[axis] = slice(0, -(-MAX_ELEMENTS // max(inner, 1)))
        inner *= array.shape[axis]
    return tuple(cuts)


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an int beyond 1e308
        return float("inf") if number > 0 else float("-inf")


def _short_repr(thing: Any) -> str:
    try:
        return repr(thing)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a lesson's own __repr__ may raise anything
        return f"{type(thing).__name__} (its repr raised {type(error).__name__})"


def named(error: BaseException) -> str:
    """The type and the message of an error, on one line; its type alone if it can't say more."""
    try:
        return one_line(shortened(f"{type(error).__name__}: {error}"))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - its __str__ is the lesson's own as well
        return type(error).__name__


def largest_size(array: Array) -> float:
    """The largest absolute value; 0 if there is none that is finite."""
    finite = array[np.isfinite(array)]
    return float(np.abs(finite).max(initial=0.0))


def is_near(one: Array, other: Array) -> bool:
    """Whether two arrays are the same but for the rounding of float32."""
    one, other = (real_pairs(a).astype(np.float64).ravel() for a in (one, other))
    if one.size != other.size:
        return False
    near = RELATIVE * max(largest_size(one), largest_size(other))
    return bool(np.allclose(one, other, rtol=0, atol=near, equal_nan=True))


# ── Gradients ───────────────────────────────────────────────────────────────────────


def is_by_hand(parameter: Any) -> bool:
    """Whether PyTorch never computes its gradient: an array, a number, a tensor that needs none."""
    return not isinstance(parameter, torch.Tensor) or not parameter.requires_grad


def has_gradient_variable(parameter: Any, *, stores_grad: bool) -> bool:
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
    if stored is None and has_gradient_variable(parameter, stores_grad=stores_grad):
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
