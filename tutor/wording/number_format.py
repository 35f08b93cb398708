"""Numbers as text, rounded to a useful number of digits; counts and lists of names.

Each number that a person reads is written by `number`, where its digits have to stay in their
places, or by `trimmed`, in a sentence or a label. `digits` is the number of significant digits, in
`number` about so many.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest

from tutor.digits import FORMULA_DIGITS, PLAIN_DIGITS, SUMMARY_DIGITS, rounded, significant
from tutor.plain import array_summary, one_line
from tutor.protocol.frame import Frame, Value
from tutor.training import time_limit

MINUS = "−"

NO_CHANGE_KNOWN = "–"
"""Stands for the change of an element that is NaN, or was."""

Span = tuple[int, int]
"""Start and end of a part of a text."""


# ── Numbers ─────────────────────────────────────────────────────────────────────────

_INTEGRAL = 1e6
"""Whole floats below this are shown without decimals: 30, and not 30.0000."""


def number(x: float, digits: int) -> str:
    """A number that keeps its zeros, for columns and where it changes in its place: `0.300000`.

    A whole number below a million has no decimals. Above 1 a number has `digits` digits, and at
    least one decimal: 12.3457 with 6. So that columns stay narrow, it has `digits` decimals below
    1 (0.051235), and one digit less with a power of ten (1.2346e−5): below 0.001, and where
    the digits do not suffice. Two digits are the fewest there.
    """
    if _is_whole(x):
        return _whole(x)
    if not 1e-3 <= abs(x) < 10**digits:
        return _printed(f"{x:.{max(1, digits - 2)}e}")
    before_point = max(0, math.floor(math.log10(abs(x))) + 1)
    return f"{x:.{max(1, digits - before_point)}f}".replace("-", MINUS)


def trimmed(x: float, digits: int = PLAIN_DIGITS) -> str:
    """A number without zeros at its end, for a sentence or a label: `0.01`, `−0.3333`, `1e−5`.

    A whole number below a million is written in full; another one is rounded to `digits` digits.
    """
    if _is_whole(x):
        return _whole(x)
    return _printed(significant(rounded(x, digits), max(digits, PLAIN_DIGITS)))


def _is_whole(x: float) -> bool:
    """Whether a number is shown without decimals: one below a million, NaN, or an infinity."""
    return not math.isfinite(x) or (abs(x) < _INTEGRAL and x == int(x))


def _whole(x: float) -> str:
    if math.isnan(x):
        return "NaN"
    return (f"{x:.0f}" if x else "0").replace("-", MINUS)


def _printed(text: str) -> str:
    """Python's text for a number as it is printed: `−1.5e−5` for `-1.5e-05`."""
    mantissa, e, exponent = text.partition("e")
    return (f"{mantissa}e{int(exponent)}" if e else mantissa).replace("-", MINUS)


# ── Values ──────────────────────────────────────────────────────────────────────────


# The same value is shown by several panes, and after the next step as the one before.
@lru_cache(512)
def value_text(
    value: Value,
    digits: int = FORMULA_DIGITS,
    write: Callable[[float, int], str] = number,
) -> str:
    """A value on one line, for a formula: `0.55500`, `[1 2 3]`, `[[1 2] [3 4]]`, `None`.

    It is safe to show, whatever the run has put into it. `write` is `number` or `trimmed`.
    """
    if not value.data:
        text = one_line(value_reason(value.why or value.text))
        return text if text or not value.is_number else "[]"
    if is_single(value):
        return _scalar(value, value.data[0], digits, write)
    if value.norm is not None:
        return array_summary(value.shape, summary(value, digits))
    texts = [_scalar(value, x, digits, write) for x in value.data]
    if value.size > len(texts) or len(value.shape) > 2:
        return "[" + " ".join(texts[:4]) + " …]"
    if len(value.shape) == 1:
        return "[" + " ".join(texts) + "]"
    return "[" + " ".join(f"[{' '.join(row)}]" for row in _rows(texts, value.shape[1])) + "]"


@lru_cache(512)
def value_lines(value: Value, digits: int) -> tuple[str, ...]:
    """An array as lines, its columns aligned; the last line counts the elements left out."""
    if not value.data or value.norm is not None:
        return (value_text(value, digits),)
    texts = [_scalar(value, x, digits) for x in value.data]
    lines = boxed_rows(texts, value.shape[-1] if value.shape else 1)
    left_out = value.size - len(value.data)
    return (*lines, f"… {left_out} more") if left_out else tuple(lines)


def summary(value: Value, digits: int = SUMMARY_DIGITS) -> dict[str, str]:
    """The mean and the norm of an array, by name."""
    figures = mean_and_norm(value)
    return dict(zip(("mean", "norm"), (number(x, digits) for x in figures or ()), strict=False))


def mean_and_norm(value: Value) -> tuple[float, float] | None:
    """Mean and norm of an array; as the engine computed them, if not all elements are here."""
    if value.mean is not None and value.norm is not None:
        return value.mean, value.norm
    if not value.data or len(value.data) < value.size:
        return None
    return sum(value.data) / len(value.data), math.hypot(*value.data)


def is_single(value: Value) -> bool:
    """Whether there is at most one number to show, whatever array it lies in."""
    return not value.data or value.size == 1


def _scalar(
    value: Value, x: float, digits: int, write: Callable[[float, int], str] = number
) -> str:
    return str(bool(x)) if value.dtype == "bool" else write(x, digits)


def _rows(texts: Sequence[str], width: int) -> list[Sequence[str]]:
    return [texts[i : i + width] for i in range(0, len(texts), width)] if width else []


def boxed_rows(texts: Sequence[str], width: int) -> list[str]:
    """The texts as rows of a matrix, `width` to a row, decimal points below each other."""
    rows = _rows(texts, width)
    if len(rows) > 1 and all(len(row) == width for row in rows):
        columns = [align_points(column) for column in zip(*rows, strict=True)]
        rows = list(zip(*columns, strict=True))
    return [f"[{'  '.join(row)}]" for row in rows]


def align_points(texts: Sequence[str]) -> list[str]:
    """The texts padded so that their decimal points stand in one column."""
    parts = [text.partition(".") for text in texts]
    left = max((len(p[0]) for p in parts), default=0)
    right = max((len(p[1]) + len(p[2]) for p in parts), default=0)
    return [whole.rjust(left) + (dot + rest).ljust(right) for whole, dot, rest in parts]


def index_of(flat: int, shape: Sequence[int]) -> list[int]:
    """The index, in an array of this shape, of the element that is counted row by row."""
    index: list[int] = []
    for length in reversed(shape):
        flat, place = divmod(flat, length)
        index.insert(0, place)
    return index


_REASONS: Mapping[str, str] = {
    "too_slow": "it did not finish within {seconds} s",
    "too_much_memory": "it takes more memory than a lesson may",
    "interrupted": "stopped: it did not finish",
    "left_out": "it is not evaluated: it did not finish",
    "nested_too_deeply": "it is nested too deeply",
    "future_import": "`from __future__ import` has no place in a lesson; leave it out",
}
"""By code: why an expression has no value, or code is not Python."""


def value_reason(why: str) -> str:
    """The words for a reason; an error's text, which is no code, as it is."""
    seconds = trimmed(time_limit.EXPRESSION_SECONDS)
    return _REASONS[why].format(seconds=seconds) if why in _REASONS else why


# ── Changes of values ───────────────────────────────────────────────────────────────


def change_texts(now: Value, was: Value | None, digits: int) -> tuple[str, ...]:
    """The change of each element; nothing without a like value before."""
    if was is None or now.shape != was.shape:
        return ()
    return tuple(change_text(a, b, digits) for a, b in zip(now.data, was.data, strict=False))


def change_text(now: float, was: float, digits: int) -> str:
    """The change of a number: an arrow and the amount, `=` if there is none."""
    if math.isnan(now) or math.isnan(was):
        return ""
    if now == was:
        return "="
    return ("▲" if now > was else "▼") + number(abs(now - was), digits)


def changed_spans(now: str, was: str) -> tuple[Span, ...]:
    """The spans of the digits that have changed, in a number or an array on one line.

    Each number is compared with the one in the same place, decimal point below decimal
    point; all of it has changed if it is one more or one less, or no number.
    """
    new, old = list(_WORD.finditer(now)), _WORD.findall(was)
    if len(new) != len(old):
        return ((0, len(now)),) if now else ()
    spans: list[Span] = []
    for word, before in zip(new, old, strict=True):
        if word.group() != before:
            first, end = _changed_digits(word.group(), before)
            spans.append((word.start() + first, word.start() + end))
    return tuple(spans)


def _changed_digits(now: str, was: str) -> Span:
    """The digits from the first that differs; all of them where sign or magnitude do."""
    new, old = _NUMBER.fullmatch(now), _NUMBER.fullmatch(was)
    if not new or not old or not _alike(new, old):
        return 0, len(now)
    mantissas = zip_longest(_pointed(new), _pointed(old), fillvalue="0")
    same = len(now)
    for index, (a, b) in enumerate(mantissas):
        if a != b:
            same = index
            break
    first, end = new.start("mantissa") + same, new.end("mantissa")
    return (first, end) if first < end else (0, len(now))


def _pointed(number: re.Match[str]) -> str:
    return number["mantissa"] if "." in number["mantissa"] else number["mantissa"] + "."


def _alike(a: re.Match[str], b: re.Match[str]) -> bool:
    """Whether two numbers have the same sign, magnitude and exponent."""
    return (a["sign"], len(a["whole"]), a["e"]) == (b["sign"], len(b["whole"]), b["e"])


_WORD = re.compile(r"[^\s\[\]]+")

_NUMBER = re.compile(
    rf"(?P<sign>[{MINUS}-]?)(?P<mantissa>(?P<whole>\d+)(\.\d+)?)(?P<e>e[{MINUS}-]?\d+)?"
)


# ── Counts, times and names ─────────────────────────────────────────────────────────


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 epoch`, `2 epochs`, `3 entries`, `4 passes`; another `plural` where it has one."""
    if not plural:
        is_entry, is_pass = noun.endswith("y"), noun.endswith("s")
        plural = f"{noun[:-1]}ies" if is_entry else f"{noun}es" if is_pass else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def article(number: int) -> str:
    """`a` or `an`, as it is said before a whole number: an 8, an 11, an 80."""
    first = f"{number:,}".partition(",")[0]
    return "an" if first[0] == "8" or first in ("11", "18") else "a"


def of_batches(frame: Frame) -> str:
    """`2 of 3`; `2` in the first epoch of a script, where nobody knows how many there are."""
    is_first = bool(frame.next_line) and frame.at.epoch <= 1 and not frame.is_epoch_end
    return f"{frame.batch + 1}" if is_first else f"{frame.batch + 1} of {frame.batches}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; empty where there are none."""
    *others, last = names or ("",)
    return f"{', '.join(others)} and {last}" if others else last


def time_left(seconds: float | None) -> str:
    """`about 12 s left`, `about 3 min left`; empty if it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit} left"
    return f"about {seconds:.0f} s left" if seconds >= 1 else "less than 1 s left"


def speed(rate: float, per: str = "/") -> str:
    """`120 epochs/s`, `2.3 s/epoch`, `4.5 min/epoch`; empty if it is not known."""
    if not rate > 0:
        return ""
    if rate >= 1:
        return f"{_two_digits(rate)} epochs{per}s"
    seconds = 1 / rate
    units = (("h", 3600), ("min", 60), ("s", 1))
    unit, size = next(one for one in units if seconds >= 1.5 * one[1] or one[1] == 1)
    return f"{_two_digits(seconds / size)} {unit}{per}epoch"


def _two_digits(x: float) -> str:
    return f"{x:.2g}" if x < 99.5 else f"{x:.0f}"


LEARNING_RATE = "a positive number, at most a million"
"""The numbers that a learning rate may be."""
