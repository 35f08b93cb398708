"""Hashes of a script's objects that do not follow their addresses.

Python computes the hash of an object from its address, and a set's order follows the hashes: what
adds numbers up in such an order differs in its last digit from run to run, as micrograd's gradients
do. Here the hash of an object of the script's own classes is the count of such objects when the
script first asked for it. So a run comes out the same each time, and after going back.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


class CreationHashes:
    """The hashes of one run's objects."""

    def __init__(self) -> None:
        self.counter = [0]
        """The number of hashes given in the script; a list, which a MemoryImage can put back."""
        self._given: dict[int, tuple[int, Any]] = {}
        """An object's id → its hash, and what takes it out when the object is gone."""
        self._given_outside: dict[int, tuple[int, Any]] = {}
        """The same for hashes that the tutor asks for: looking at a run does not count."""
        self._is_inside = False

    @contextmanager
    def counting(self) -> Iterator[None]:
        """A span in which the script itself runs."""
        self._is_inside = True
        try:
            yield
        finally:
            self._is_inside = False

    def in_class(self, made: T) -> T:
        """Give a class these hashes, if it has Python's own; other things stay as they are."""
        names = ("__hash__", "__eq__")
        is_plain = all(getattr(made, name, None) is getattr(object, name) for name in names)
        if isinstance(made, type) and is_plain and made.__weakrefoffset__:
            with suppress(AttributeError, TypeError):  # its metaclass allows none
                made.__hash__ = self._method()  # type: ignore[assignment, method-assign]
        return made

    def forget_later(self) -> None:
        """Forget the hashes that were given after the moment of the counter, which is put back."""
        later = [key for key, (number, _) in self._given.items() if number > self.counter[0]]
        for key in later:
            del self._given[key]

    def _method(self) -> Callable[[Any], int]:
        def hash_of(thing: Any) -> int:
            given, key = self._given, id(thing)
            if not self._is_inside:
                given = given if key in given else self._given_outside
            if key not in given:
                number = -2 - len(given)
                if self._is_inside:
                    number = self.counter[0] = self.counter[0] + 1
                given[key] = number, weakref.ref(thing, lambda _: given.pop(key, None))
            return given[key][0]

        return hash_of
