"""Lessons are found by name and listed in order, whatever lies in the folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tutor import APP
from tutor.errors import LessonFileError
from tutor.lesson import library
from tutor.lesson.languages import language_of_locale
from tutor.lesson.model import Fault
from tutor.wording.notices import error_text


def put(
    folder: Path, slug: str, order: int | None = None, *, title: str = "", more: str = ""
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{slug}.md"
    line = "" if order is None else f"order: {order}\n"
    front = f"title: {title or slug.title()}\nsummary: S.\nparameters: [w]\n{line}{more}"
    path.write_text(f"---\n{front}---\n```python manual model\n```\n```python no-such\n```\n")
    return path


def own_folder(shelf: Path) -> Path:
    return shelf.parent / "data" / APP / "lessons"


def test_the_shipped_folder_is_beside_the_package_in_a_checkout() -> None:
    package = Path(library.__file__).parents[1]
    assert library.shipped_folder() == package.parent / "lessons"


def test_the_shipped_folder_is_inside_the_package_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tutor" / "lessons").mkdir(parents=True)
    monkeypatch.setattr(library, "__file__", str(tmp_path / "tutor" / "lesson" / "library.py"))
    assert library.shipped_folder() == tmp_path / "tutor" / "lessons"


def test_lessons_are_listed_by_order_and_then_by_slug(shelf: Path) -> None:
    for slug, order in (("c", 10), ("last", None), ("b", 20), ("a", 20)):
        put(shelf, slug, order)
    assert [h.slug for h in library.headlines()] == ["c", "a", "b", "last"]


def test_lessons_are_listed_by_chapter_in_the_order_of_the_shipped_ones(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shelf, "a", 3, more="chapter: Second\n")
    put(shelf, "b", 2, more="chapter: First\n")
    put(shelf, "c", 4, more="chapter: First\n")
    put(own_folder(shelf), "mine", 1)
    put(own_folder(shelf), "more", 1, more="chapter: Second\n")
    monkeypatch.setenv("TUTOR_LESSONS", "")
    found = library.headlines()
    assert [h.slug for h in found] == ["b", "c", "more", "a", "mine"]
    assert [h.chapter for h in found] == ["First", "First", "Second", "Second", ""]


def test_a_headline_tells_title_summary_and_modes(shelf: Path) -> None:
    path = put(shelf, "xor", 5, title="Two layers")
    assert library.headlines() == (
        library.Headline("xor", path, "Two layers", "S.", 5, ("manual", "model"), shipped=True),
    )


def test_the_learners_folders_come_after_and_are_marked_as_theirs(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shelf, "a", 3)
    put(own_folder(shelf), "b", 2)
    put(tmp_path / "one", "c", 1)
    put(tmp_path / "two", "d", 4)
    folders = [tmp_path / "one", tmp_path / "not there", tmp_path / "two"]
    monkeypatch.setenv("TUTOR_LESSONS", os.pathsep.join(map(str, folders)))
    assert [(h.slug, h.shipped) for h in library.headlines()] == [
        ("c", False),
        ("b", False),
        ("a", True),
        ("d", False),
    ]


def test_a_broken_file_is_a_headline_with_its_fault_and_the_list_goes_on(shelf: Path) -> None:
    put(shelf, "good")
    (shelf / "bad.md").write_text("no front matter")
    (shelf / "binary.md").write_bytes(b"\xff\xfe")
    (shelf / "folder.md").mkdir()
    (shelf / "gone.md").symlink_to(shelf / "nowhere")
    good, *broken = library.headlines()
    assert (good.slug, good.fault) == ("good", None)
    assert [h.slug for h in broken] == ["bad", "binary", "folder", "gone"]
    assert broken[0].title == "bad"
    faults = [h.fault for h in broken if h.fault is not None]
    assert [fault.code for fault in faults] == [
        "no_front_matter",
        "not_utf8",
        "is_folder",
        "no_file",
    ]
    assert faults[0].values == {"path": f"{shelf}/bad.md", "line": 1}


def test_subfolders_readmes_and_other_files_are_no_lessons(shelf: Path) -> None:
    put(shelf / "drafts", "xor")
    put(shelf / "en", "xor")
    put(shelf / "zh", "README")
    put(shelf, "README")
    put(shelf, ".hidden")
    (shelf / "notes.txt").write_text("x")
    assert library.headlines() == ()


def test_a_lesson_is_found_by_slug_or_by_path(shelf: Path, tmp_path: Path) -> None:
    mine = put(tmp_path / "elsewhere", "mine")
    shipped = put(shelf, "xor")
    assert library.find("xor") == shipped
    assert library.find(str(mine)) == mine


def test_a_path_without_a_folder_is_a_path(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "mine")
    monkeypatch.chdir(tmp_path)
    assert library.find("mine.md") == Path("mine.md")


def test_a_file_of_the_learner_never_hides_a_shipped_lesson(shelf: Path) -> None:
    shipped = put(shelf, "xor", 1)
    mine = put(own_folder(shelf), "xor", 0)
    assert library.find("xor") == shipped
    first, second = library.headlines()
    assert (first.path, first.fault) == (shipped, None)
    assert second.path == mine
    assert second.fault == Fault("slug_taken", {"path": str(mine), "slug": "xor"})


@pytest.mark.parametrize("file", ["mine.md", "mine.py", "mine.ipynb"])
def test_a_name_without_its_ending_gets_the_file_that_is_there_as_a_hint(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    put(shelf, "mines")
    here = shelf / "elsewhere"
    here.mkdir()
    (here / file).touch()
    monkeypatch.chdir(here)
    with pytest.raises(LessonFileError) as caught:
        library.find("mine")
    assert caught.value.values["near"] == [file]


def test_a_name_that_is_nearly_right_gets_a_hint(shelf: Path) -> None:
    put(shelf, "thermometer")
    for name, code in (("termometer", "no_lesson"), ("./thermometer.md", "no_path")):
        with pytest.raises(LessonFileError) as caught:
            library.find(name)
        assert (caught.value.code, caught.value.values["near"]) == (code, ["thermometer"])


@pytest.mark.parametrize("name", ["", "no\0such", "x" * 300, "\x1b[31m", "README", "../x"])
def test_a_name_that_is_nothing_is_one_plain_line(
    shelf: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shelf, "README")
    monkeypatch.chdir(shelf)  # what lies about where the tests are run is not its business
    with pytest.raises(LessonFileError) as caught:
        library.find(name)
    assert error_text(caught.value).isprintable()
    assert "`tutor list`" in error_text(caught.value)


# ── Languages ───────────────────────────────────────────────────────────────────────


def test_a_list_is_in_the_language_asked_for_where_there_is_such_a_file(shelf: Path) -> None:
    put(shelf, "a", 1, title="One")
    put(shelf, "b", 2, title="Two")
    put(shelf / "zh", "b", 2, title="二")
    assert [h.title for h in library.headlines()] == ["One", "Two"]
    first, second = library.headlines("zh")
    assert (first.title, first.language, first.languages) == ("One", "en", ("en",))
    assert (second.title, second.language, second.languages) == ("二", "zh", ("en", "zh"))
    assert second.shipped


def test_a_translation_without_an_original_is_listed_on_its_own(shelf: Path) -> None:
    put(own_folder(shelf) / "zh", "mine", title="我的")
    (mine,) = library.headlines("en")
    assert (mine.title, mine.language, mine.languages) == ("我的", "zh", ("zh",))
    assert library.find("mine", "en") == mine.path
    assert library.original_of(mine.path) is None


def test_a_lesson_is_found_in_the_language_asked_for_else_in_english(shelf: Path) -> None:
    english, chinese = put(shelf, "xor"), put(shelf / "zh", "xor")
    other = put(shelf, "line")
    assert library.find("xor") == english
    assert library.find("xor", "zh") == chinese
    assert library.find("line", "zh") == other
    assert library.find(str(english), "zh") == english  # a path means that very file
    assert library.find_all("xor") == {"en": english, "zh": chinese}
    assert library.original_of(chinese) == english


def test_the_learner_may_translate_a_shipped_lesson_but_never_replace_one(shelf: Path) -> None:
    shipped = put(shelf, "xor", 1)
    first, second = put(own_folder(shelf) / "zh", "xor", 1), put(shelf, "line", 2)
    assert [h.path for h in library.headlines("zh")] == [first, second]
    assert library.original_of(first) == shipped
    put(shelf / "zh", "xor", 1)
    *_, mine = library.headlines("zh")
    assert mine.path == first
    assert mine.fault is not None
    assert mine.fault.code == "slug_taken"


def test_a_path_that_is_too_long_has_no_translations(shelf: Path) -> None:
    path = shelf / f"{'x' * 5000}.md"
    assert library.find_all(str(path)) == {"en": path}


def test_a_path_brings_the_translations_beside_it(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, chinese = put(tmp_path / "my", "mine"), put(tmp_path / "my" / "zh", "mine")
    assert library.find_all(str(mine)) == {"en": mine, "zh": chinese}
    assert library.find_all(str(chinese)) == {"zh": chinese}
    assert library.headline(mine).languages == ("en", "zh")
    monkeypatch.chdir(chinese.parent)  # a path that does not name its folder
    here = library.headline(Path("mine.md"))
    assert (here.language, here.languages) == ("zh", ("en", "zh"))


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "ZH-TW"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zha_CN"}, "en"),
        ({}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_CN@x", "LANG": "en_US"}, "zh"),
        ({"LC_ALL": "C", "LC_MESSAGES": "zh_CN", "LANG": "zh_CN"}, "en"),
    ],
)
def test_the_locale_says_which_language(said: dict[str, str], language: str) -> None:
    assert language_of_locale(said) == language


# ── What a glance at the text tells ─────────────────────────────────────────────────


def test_a_headline_tells_what_the_lesson_builds_on(shelf: Path) -> None:
    put(shelf, "xor", more="builds_on: [line, loss]\n")
    assert library.headlines()[0].builds_on == ("line", "loss")


def test_a_headline_tells_the_exercises_by_id_and_kind(shelf: Path) -> None:
    path = put(shelf, "xor")
    with path.open("a") as file:
        file.write(
            "```yaml exercise\nid: first  # a note\nkind: predict\nset: {id: x}\n```\n"
            "~~~yaml exercise\nask: |\n  id: no\nkind: 'choose'\nid: \"b-2\"\n~~~\n"
            "```yaml exercise\nkind: reach\n```\n"  # what has no id is told when it is opened
            "````text\n```yaml exercise\nid: shown\nkind: reach\n```\n````\n"
            "```yaml\nid: other\nkind: reach\n```\n"
            "Text ```in a line```\n"
            "```yaml exercise\nid: third\nkind: repair\ncode: |\n  kind: none\n```\n"
        )
    (found,) = library.headlines()
    assert found.exercises == (("first", "predict"), ("b-2", "choose"), ("third", "repair"))
    assert found.modes == ("manual", "model")


def test_what_came_with_the_tutor_is_known_by_where_it_really_is(
    shelf: Path, tmp_path: Path
) -> None:
    shipped, mine = put(shelf, "xor"), put(tmp_path / "mine", "b")
    (shelf / "link.md").symlink_to(mine)
    (tmp_path / "in.md").symlink_to(shipped)
    (tmp_path / "loop.md").symlink_to(tmp_path / "loop.md")
    assert library.is_shipped(shipped)
    assert library.is_shipped(tmp_path / "in.md")
    assert not library.is_shipped(shelf / "link.md")
    assert not library.is_shipped(mine)
    assert not library.is_shipped(shelf / ".." / "mine" / "b.md")
    assert not library.is_shipped(tmp_path / "loop.md")


def test_a_list_of_lessons_costs_no_heavy_import(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    program = (
        "import sys\n"
        "from tutor.lesson import library\n"
        "assert 'mine' in [h.slug for h in library.headlines()]\n"
        "heavy = {'torch', 'textual', 'rich', 'markdown_it', 'tutor.formula.commands', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TUTOR_LESSONS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
