"""A file that is no readable text is one clear line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tutor.errors import LessonError
from tutor.lesson.document import read
from tutor.lesson.library import MAX_BYTES
from tutor.lesson.model import LessonDiagnostics


def refusal(path: Path) -> str:
    with pytest.raises(LessonError) as caught:
        read(path)
    assert not isinstance(caught.value, LessonDiagnostics)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "none.md")


def test_a_directory(tmp_path: Path) -> None:
    assert "is a directory" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b" \r\n\n"])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.md").write_bytes(content)
    assert "is empty" in refusal(tmp_path / "a.md")


def test_bytes_that_are_not_utf_8_are_told_with_line_and_offset(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"---\ntitle: caf\xe9\n---\n")
    told = refusal(tmp_path / "a.md")
    assert told.startswith(f"{tmp_path}/a.md:2: byte 0xe9 at offset 14 is not UTF-8")


def test_a_huge_file(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"x" * (MAX_BYTES + 1))
    assert "larger than 256 KB" in refusal(tmp_path / "a.md")


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.md")
    assert "not a plain file" in refusal(tmp_path / "a.md")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.md").write_text("x")
    monkeypatch.setattr(Path, "open", refused)  # root may read everything
    assert "you may not read it" in refusal(tmp_path / "a.md")


def test_links_that_go_round_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.md").symlink_to(tmp_path / "a.md")
    assert "it can't be read" in refusal(tmp_path / "a.md")


@pytest.mark.parametrize("name", ["a\0.md", "x" * 300 + ".md", "file.md/more.md"])
def test_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.md").write_text("x")
    assert "it can't be read" in refusal(tmp_path / name)


def test_a_name_with_an_escape_sequence_is_written_out(tmp_path: Path) -> None:
    assert "^[[31m" in refusal(tmp_path / "\x1b[31m.md")
