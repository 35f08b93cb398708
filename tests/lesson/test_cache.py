"""Headlines and lessons that were read before: used again only while nothing has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.lesson.test_library import put
from tests.training.conftest import lesson_text
from tutor import formula
from tutor.errors import LessonError
from tutor.lesson import cache, document, library


@pytest.fixture
def reads(shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The files that are read or parsed, as they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found: list[str] = []
    headline, parse = library.headline, document.parse
    monkeypatch.setattr(library, "headline", lambda p, *a: found.append(p.stem) or headline(p, *a))
    monkeypatch.setattr(document, "parse", lambda s, p: found.append(p.stem) or parse(s, p))
    return found


def test_only_files_that_have_changed_are_read_for_the_list(shelf: Path, reads: list[str]) -> None:
    for slug in ("a", "b"):
        put(shelf, slug, more="chapter: One\n")
    as_read = library.headlines()
    assert cache.headlines() == as_read
    reads.clear()
    assert cache.headlines() == as_read
    assert reads == []
    put(shelf, "b", 5, title="Changed")
    put(shelf, "c")
    (shelf / "a.md").unlink()
    assert [(h.slug, h.title) for h in cache.headlines()] == [("b", "Changed"), ("c", "C")]
    assert sorted(reads) == ["b", "c"]


def test_a_translation_that_comes_is_listed(shelf: Path, reads: list[str]) -> None:
    put(shelf, "a")
    cache.headlines()
    put(shelf / "zh", "a", title="甲")
    assert cache.headlines() == library.headlines()
    assert cache.headlines("zh") == library.headlines("zh")


def test_a_headline_is_read_where_the_list_has_an_older_one(shelf: Path, reads: list[str]) -> None:
    path = put(shelf, "a")
    assert cache.headline(path) == library.headline(path)
    cache.headlines()
    reads.clear()
    assert cache.headline(path).title == "A"
    assert reads == []
    put(shelf, "a", title="Changed")
    assert cache.headline(path).title == "Changed"


def test_a_lesson_is_parsed_once_for_each_text(reads: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(lesson_text())
    first = cache.read(path)
    assert cache.read(path) == first == document.read(path)
    assert reads == ["a", "a"]  # by the cache, and by `document.read`
    path.write_text(lesson_text() + "\nMore.\n")
    assert cache.read(path) == document.read(path) != first
    path.write_text("no lesson")
    with pytest.raises(LessonError):
        cache.read(path)


def test_what_other_code_has_made_is_not_used(
    reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.md"
    path.write_text(lesson_text())
    cache.read(path)
    monkeypatch.setattr(cache, "_reader", lambda: "another")
    cache.read(path)
    assert reads == ["a", "a"]


def test_the_cache_depends_on_every_file_that_shapes_a_lesson() -> None:
    """The modules that are loaded to read one, and the table of signs in formulas."""
    script = (
        "import sys; from pathlib import Path; from tutor.lesson import document, library\n"
        "path = next(library.shipped_folder().glob('*.md'))\n"
        "library.headline(path), document.read(path)\n"
        "print(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'tutor'],"
        " sep='\\n')"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    files = {
        *os.fsdecode(loaded.stdout).splitlines(),
        str(Path(formula.__file__).with_name("symbols.txt")),
    }
    assert files <= {entry.path for entry in cache._read_by()}


OTHER = {"reader": cache._reader(), "content": {}}
"""A cache file by this code with something else in it."""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 9,
        b"\x80",
        b"\x82\xa6reader\xa0\xa7content\x80",
        msgspec.msgpack.encode(OTHER),
    ],
    ids=["empty", "bytes", "no-keys", "other-code", "other-content"],
)
def test_a_cache_that_is_spoiled_is_made_anew(
    content: bytes, reads: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.md"
    path.write_text(lesson_text())
    first = cache.read(path)
    (kept,) = (file for file in (tmp_path / "cache").rglob("*") if file.is_file())
    kept.write_bytes(content)
    assert cache.read(path) == first
    reads.clear()
    assert cache.read(path) == first
    assert reads == []


def test_without_a_place_for_the_cache_all_is_read(
    shelf: Path, reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = put(shelf, "a")
    os.utime(path)
    assert cache.headlines() == library.headlines()
    path.write_text(lesson_text())
    assert cache.read(path) == document.read(path)
