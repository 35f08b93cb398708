"""Hashes of a script's objects: the same in each run, and after going back."""

from __future__ import annotations

import gc

from tutor.script.waiting_state import CreationHashes


def own_class(hashes: CreationHashes) -> type:
    return hashes.in_class(type("Node", (), {}))


def test_hashes_count_in_the_order_in_which_the_script_asks() -> None:
    hashes = CreationHashes()
    node = own_class(hashes)
    first, second = node(), node()
    with hashes.counting():
        assert [hash(second), hash(first), hash(second)] == [1, 2, 1]
    assert hash(second) == 1, "seen from outside it is the same"


def test_to_look_at_an_object_does_not_count() -> None:
    hashes = CreationHashes()
    node = own_class(hashes)
    seen, other = node(), node()
    assert hash(seen) == hash(seen) != hash(other)
    with hashes.counting():
        assert [hash(other), hash(seen)] == [1, 2]


def test_what_a_script_does_again_after_going_back_gets_the_same_hashes() -> None:
    hashes = CreationHashes()
    node = own_class(hashes)
    kept, later = node(), node()
    with hashes.counting():
        assert [hash(kept), hash(later)] == [1, 2]
    hashes.counter[0] = 1  # as a memory image puts it back
    hashes.forget_later()
    again = node()
    with hashes.counting():
        assert [hash(kept), hash(again), hash(later)] == [1, 2, 3]


def test_an_object_that_is_gone_leaves_its_hash_to_none_that_follows_it() -> None:
    hashes = CreationHashes()
    node = own_class(hashes)
    with hashes.counting():
        assert hash(node()) == 1
        gc.collect()
        assert hash(node()) == 2, "though it may stand at the same address"


def test_a_class_with_an_own_hash_or_equality_keeps_it() -> None:
    hashes = CreationHashes()

    class Number:
        def __init__(self, value: int) -> None:
            self.value = value

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Number) and other.value == self.value

        def __hash__(self) -> int:
            return 99 + self.value

    assert hash(hashes.in_class(Number)(1)) == 100
    assert hashes.in_class(int) is int
