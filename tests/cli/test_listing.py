"""`tutor list`: what there is to learn, in whose language, and what builds on what."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.cli.conftest import Tutor
from tutor.cli import lessons, main
from tutor.wording.layout import cut

LADDER = ("one-weight", "line-through-origin", "sum-or-mean")
LADDER += ("twenty-points", "thermometer", "xor")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped lessons: `a`, in Chinese too; `b`, which builds on it; `bad`."""
    folder = tmp_path / "lessons"
    (folder / "zh").mkdir(parents=True)
    front = "summary: S.\nparameters: [w]\nmodes: [manual, autograd]\n"
    exercise = "```yaml exercise\nid: first\nkind: choose\n```\n"
    (folder / "a.md").write_text(f"---\ntitle: One\norder: 1\n{front}---\n{exercise}")
    (folder / "zh" / "a.md").write_text(f"---\ntitle: 一个权重\norder: 1\n{front}---\n{exercise}")
    (folder / "b.md").write_text(f"---\ntitle: Two\norder: 2\nbuilds_on: [a]\n{front}---\n")
    (folder / "bad.md").write_text(f"---\ntitle: Bad\nordre: 2\n{front}---\n")
    monkeypatch.setattr("tutor.lesson.library.shipped_folder", lambda: folder)
    return folder


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes standard output a terminal of so many columns."""
    return lambda columns: monkeypatch.setattr(lessons, "screen", lambda: columns)


def test_list_has_the_shipped_lessons_in_order_for_people_and_programs(tutor: Tutor) -> None:
    lines = tutor("list").stdout.splitlines()
    slugs = [line.split()[0] for line in lines if line.startswith("  ")]
    assert [slug for slug in slugs if slug in LADDER] == list(LADDER)
    listed = json.loads(tutor("list", "--json").stdout)
    assert [lesson["slug"] for lesson in listed] == slugs
    chapters = dict.fromkeys(lesson["chapter"] for lesson in listed)
    assert list(chapters) == [line for line in lines if not line.startswith("  ")]
    ladder = {lesson["slug"]: lesson for lesson in listed}
    assert ladder["xor"]["modes"] == ["manual", "autograd", "optimizer", "model"]


def test_json_tells_all_that_a_program_may_ask(tutor: Tutor, shelf: Path) -> None:
    first, second, bad = json.loads(tutor("list", "--json").stdout)
    assert first == {
        "slug": "a",
        "title": "One",
        "summary": "S.",
        "chapter": None,
        "modes": ["manual", "autograd"],
        "languages": ["en", "zh"],
        "builds_on": [],
        "exercises": [{"id": "first", "kind": "choose"}],
        "path": str(shelf / "a.md"),
    }
    assert second["builds_on"] == ["a"]
    assert second["exercises"] == []
    assert "unknown key `ordre`" in bad["fault"]


def test_a_line_has_slug_title_modes_exercises_and_what_comes_first(
    tutor: Tutor, shelf: Path
) -> None:
    assert tutor("list").stdout.splitlines() == [
        "a    One  manual, autograd  1 exercise",
        "b    Two  manual, autograd              after a",
        f"bad  bad  {shelf}/bad.md:3: unknown key `ordre`; did you mean `order`?",
    ]


def in_chapters(shelf: Path) -> None:
    """`b` and `c`, which builds on `a` and `b`, stand in chapters, `a` and `bad` in none."""
    two = (shelf / "b.md").read_text()
    (shelf / "b.md").write_text(two.replace("order: 2", "order: 2\nchapter: Later"))
    three = two.replace("order: 2", "order: 1\nchapter: Latest").replace("[a]", "[a, b]")
    (shelf / "c.md").write_text(three)


def test_lessons_stand_below_their_chapters_and_the_others_last(
    tutor: Tutor, shelf: Path, screen: Callable[[int], None]
) -> None:
    in_chapters(shelf)
    screen(40)
    *lines, bad = tutor("list").stdout.splitlines()
    assert lines == [
        "Latest",
        "  c    Two  manual, autograd",
        "Later",
        "  b    Two  manual, autograd",
        "Other lessons",
        "  a    One  manual, autograd  1 exercise",
    ]
    assert bad.startswith("  bad  bad ")
    listed = json.loads(tutor("list", "--json").stdout)
    assert [lesson["chapter"] for lesson in listed] == ["Latest", "Later", None, None]


def test_the_map_shows_chapter_by_chapter_and_names_what_stands_in_another(
    tutor: Tutor, shelf: Path
) -> None:
    in_chapters(shelf)
    assert tutor("list", "--map").stdout.splitlines()[:6] == [
        "Latest",
        "  c    Two (after b)",
        "Later",
        "  b    Two (after a)",
        "Other lessons",
        "  a    One",
    ]


def test_a_narrow_screen_does_without_the_last_columns_but_tells_faults_in_full(
    tutor: Tutor, shelf: Path, screen: Callable[[int], None]
) -> None:
    screen(40)
    one, two, bad = tutor("list").stdout.splitlines()
    assert (one, two) == ("a    One  manual, autograd  1 exercise", "b    Two  manual, autograd")
    assert bad.endswith("did you mean `order`?")
    screen(20)
    assert tutor("list").stdout.splitlines()[0] == "a    One  manual, a…"


def test_lang_and_the_locale_say_which_language_is_listed(
    tutor: Tutor, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chinese = tutor("list", "--lang", "zh").stdout.splitlines()
    assert chinese[0] == "a    一个权重  manual, autograd  1 exercise"
    assert chinese[1] == "b    Two       manual, autograd              after a"
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert tutor("list").stdout.splitlines() == chinese
    assert "一个权重" not in tutor("list", "--lang", "en").stdout


def test_a_language_that_there_is_none_of_is_wrong_usage(tutor: Tutor) -> None:
    for command in (["list"], ["run", "xor"], ["export", "xor"], ["check"], ["open"], []):
        done = tutor(*command, "--lang", "tlh")
        assert done.returncode == 2
        assert "there is no lesson in 'tlh'; available: en, zh" in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_map_shows_what_builds_on_what(tutor: Tutor, shelf: Path) -> None:
    (shelf / "c.md").write_text((shelf / "b.md").read_text().replace("[a]", "[b, none]"))
    done = tutor("list", "--map")
    assert done.stdout.splitlines() == [
        "a        One",
        "└─ b     Two",
        "   └─ c  Two: it builds on `none`, which is not a lesson; `tutor list` shows the lessons",
        f"bad      bad: {shelf}/bad.md:3: unknown key `ordre`; did you mean `order`?",
    ]
    assert done.returncode == 0


def test_the_map_is_drawn_in_letters_where_there_are_no_lines(
    tutor: Tutor, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons, "_has_lines", lambda: False)
    assert tutor("list", "--map").stdout.splitlines()[1] == "`- b  Two"


def test_one_long_title_does_not_widen_the_rows_of_the_others(
    tutor: Tutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "long.md").write_text(
        f"---\ntitle: {'T' * 5000}\nsummary: S.\nparameters: [w]\n---\n"
    )
    before = tutor("list").stdout.splitlines()
    monkeypatch.setenv("TUTOR_LESSONS", str(tmp_path))
    lines = tutor("list").stdout.splitlines()
    assert lines[: len(before)] == before
    assert "T" * 5000 in lines[-1]


def test_a_line_of_any_length_is_cut_at_once() -> None:
    assert cut("x" * 200_000, 80) == "x" * 79 + "…"
    assert cut("数" * 50, 80) == "数" * 39 + "…"
    assert cut("short", 80) == "short"


def test_the_map_of_the_shipped_lessons_has_no_faults_and_fits_80_columns(
    tutor: Tutor, screen: Callable[[int], None]
) -> None:
    screen(80)
    lines = tutor("list", "--map").stdout.splitlines()
    assert len(lines) == len(tutor("list").stdout.splitlines())
    assert not [line for line in lines if "builds on" in line]
    assert max(map(len, lines)) <= 80


def test_list_knows_no_map_in_json(tutor: Tutor) -> None:
    assert tutor("list", "--json", "--map").returncode == 2


def test_a_locale_without_chinese_still_lists_all(shelf: Path) -> None:
    where = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with redirect_stdout(where):
        assert main(["list", "--json", "--lang", "zh"]) == 0
    where.seek(0)
    assert json.loads(where.read())[0]["title"] == "一个权重"


def test_a_plain_list_tells_each_cycle_of_lessons_once(tutor: Tutor, shelf: Path) -> None:
    assert tutor("list").stderr == ""
    one = shelf / "a.md"
    one.write_text(one.read_text().replace("order: 1", "order: 1\nbuilds_on: [b]"))
    done = tutor("list")
    assert done.returncode == 0
    assert done.stderr == (
        "tutor: a → b → a build on one another; fix `builds_on` in one of them\n"
    )
