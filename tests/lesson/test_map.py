"""The map of lessons: every lesson below what it builds on, whatever the files say."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from msgspec.structs import replace

from tutor.lesson.library import Headline
from tutor.lesson.map import MapRow, fault_of, rows
from tutor.lesson.model import Fault


def lesson(slug: str, *builds_on: str) -> Headline:
    return Headline(slug, Path(f"/lessons/{slug}.md"), slug.title(), builds_on=builds_on)


def drawn(found: tuple[MapRow, ...]) -> list[str]:
    return [row.prefix + row.headline.slug for row in found]


def test_what_builds_on_a_lesson_stands_below_it_in_the_order_given() -> None:
    found = rows(
        [lesson("a"), lesson("b", "a"), lesson("c", "b"), lesson("d", "a"), lesson("e"),
         lesson("f", "c")]
    )  # fmt: skip
    assert drawn(found) == [
        "a",
        "├─ b",
        "│  └─ c",
        "│     └─ f",
        "└─ d",
        "e",
    ]
    assert [row.depth for row in found] == [0, 1, 2, 3, 1, 0]
    assert found[2].ascii_prefix() == "|  `- "


def test_a_lesson_with_several_prerequisites_stands_below_the_last_and_names_the_others() -> None:
    found = rows(
        [lesson("a"), lesson("b", "a"), lesson("c", "a"), lesson("both", "b", "c"),
         lesson("d", "b")]
    )  # fmt: skip
    assert drawn(found) == ["a", "├─ b", "│  └─ d", "└─ c", "   └─ both"]
    assert found[-1].also == ("b",)


def test_what_a_named_lesson_implies_is_not_named_again() -> None:
    found = rows([lesson("a"), lesson("b", "a"), lesson("x"), lesson("c", "b", "a", "x")])
    assert drawn(found) == ["a", "└─ b", "x", "└─ c"]
    assert found[-1].also == ("b",)
    found = rows([lesson("x"), lesson("a"), lesson("b", "a"), lesson("c", "b", "a", "x")])
    assert found[-1].also == ("x",)


def test_every_lesson_comes_after_all_that_it_builds_on_in_whatever_order_they_are_given() -> None:
    lessons = [
        lesson("a"), lesson("b", "a"), lesson("c", "a"), lesson("x", "e", "c"), lesson("e", "b"),
        lesson("y", "x", "a"),
    ]  # fmt: skip
    for given in permutations(lessons):
        found = rows(given)
        order = [row.headline.slug for row in found]
        assert sorted(order) == ["a", "b", "c", "e", "x", "y"]
        for at, row in enumerate(found):
            assert set(row.headline.builds_on) <= set(order[:at])
            assert row.fault is None


def test_a_cycle_is_told_at_each_of_its_lessons_and_hides_none() -> None:
    found = rows([lesson("start"), lesson("a", "c", "start"), lesson("b", "a"), lesson("c", "b"),
                  lesson("after", "c")])  # fmt: skip
    assert drawn(found) == ["start", "a", "└─ b", "   └─ c", "      └─ after"]
    faults = {row.headline.slug: row.fault for row in found}
    assert faults["a"] == Fault("builds_on_itself", {"cycle": ["a", "c", "b", "a"]})
    assert faults["b"] == Fault("builds_on_itself", {"cycle": ["b", "a", "c", "b"]})
    assert faults["after"] is faults["start"] is None


def test_a_lesson_that_builds_on_itself_alone_is_told() -> None:
    (row,) = rows([lesson("a", "a")])
    assert row.fault == Fault("builds_on_itself", {"cycle": ["a", "a"]})
    assert row.also == ()


def test_a_prerequisite_that_there_is_none_of_is_told_and_the_lesson_stays() -> None:
    found = rows([lesson("one-weight"), lesson("b", "one-wait")])
    assert drawn(found) == ["one-weight", "b"]
    values = {"slug": "one-wait", "lessons": ["one-weight"]}
    assert found[1].fault == Fault("unknown_prerequisite", values)
    unlike = Fault("unknown_prerequisite", {"slug": "zzz", "lessons": []})
    assert fault_of("b", {"b": ("zzz",), "a": ()}) == unlike


def test_two_lessons_of_one_slug_are_two_rows() -> None:
    assert drawn(rows([lesson("a"), lesson("a"), lesson("b", "a")])) == ["a", "└─ b", "a"]


def test_a_tree_stands_in_one_chapter_and_names_what_it_builds_on_in_others() -> None:
    chapters = {"a": "One", "b": "One", "c": "Two", "d": "Two", "e": "One"}
    given = [lesson("mine", "d"), lesson("a"), lesson("b", "a"), lesson("c", "b", "a"),
             lesson("d", "c", "b"), lesson("e", "d")]  # fmt: skip
    found = rows([replace(one, chapter=chapters.get(one.slug, "")) for one in given])
    assert drawn(found) == ["a", "└─ b", "e", "c", "└─ d", "mine"]
    assert [row.chapter for row in found] == ["One"] * 3 + ["Two"] * 2 + ["Other lessons"]
    assert [row.also for row in found] == [(), (), ("d",), ("b",), (), ("d",)]
    assert not any(row.fault for row in found)


def test_no_lessons_make_an_empty_map() -> None:
    assert rows([]) == ()
