"""A file that is no readable text is one clear line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tutor.errors import LessonFileError
from tutor.lesson.document import read
from tutor.lesson.library import MAX_BYTES
from tutor.wording.notices import error_text


def refusal(path: Path) -> str:
    """The code of the error; its parameters name the file."""
    with pytest.raises(LessonFileError) as caught:
        read(path)
    assert caught.value.values["path"] == str(path)
    return caught.value.code


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.md") == "no_file"


def test_a_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "is_folder"


@pytest.mark.parametrize("content", [b"", b" \r\n\n"])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.md").write_bytes(content)
    assert refusal(tmp_path / "a.md") == "is_empty"


def test_bytes_that_are_not_utf_8_are_told_with_line_and_offset(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"---\ntitle: caf\xe9\n---\n")
    with pytest.raises(LessonFileError) as caught:
        read(tmp_path / "a.md")
    assert caught.value.code == "not_utf8"
    place = {"line": 2, "offset": 14, "byte": 0xE9}
    assert caught.value.values == {"path": f"{tmp_path}/a.md", **place}


def test_a_huge_file(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"x" * (MAX_BYTES + 1))
    assert refusal(tmp_path / "a.md") == "file_too_large"


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.md")
    assert refusal(tmp_path / "a.md") == "not_plain_file"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.md").write_text("x")
    monkeypatch.setattr(Path, "open", refused)  # root may read everything
    assert refusal(tmp_path / "a.md") == "not_permitted"


def test_links_that_go_round_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.md").symlink_to(tmp_path / "a.md")
    assert refusal(tmp_path / "a.md") == "unreadable"


@pytest.mark.parametrize("name", ["a\0.md", "x" * 300 + ".md", "file.md/more.md"])
def test_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.md").write_text("x")
    assert refusal(tmp_path / name) == "unreadable"


def test_a_name_with_an_escape_sequence_is_written_out(tmp_path: Path) -> None:
    with pytest.raises(LessonFileError) as caught:
        read(tmp_path / "\x1b[31m.md")
    assert "^[[31m" in error_text(caught.value)
    assert error_text(caught.value).isprintable()
