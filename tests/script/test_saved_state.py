"""A script's open files go back to where an epoch ended, and lose nothing that was there before."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tutor.script.saved_state import FilePlace, file_place, set_file_place


def test_what_was_written_since_is_cut_off(tmp_path: Path) -> None:
    with open(tmp_path / "log.txt", "w") as log:
        log.write("epoch 1\n")
        place = file_place(log)
        log.write("epoch 2\n")
        set_file_place(log, place)
        log.write("again 2\n")
    assert (tmp_path / "log.txt").read_text() == "epoch 1\nagain 2\n"


def test_lines_are_appended_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("before\n")
    with open(path, "a") as log:
        log.write("1\n")
        place = file_place(log)
        log.write("2\n2\n")
        log.flush()
        set_file_place(log, place)
        log.write("3\n")
    assert path.read_text() == "before\n1\n3\n"


def test_old_content_behind_the_place_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"0123456789")
    with open(path, "r+b") as data:
        assert data.read(2) == b"01"
        place = file_place(data)
        assert place == FilePlace(2, 10)
        data.read(5)
        set_file_place(data, place)
        assert data.tell() == 2
    assert path.read_bytes() == b"0123456789"


def test_closed_file_cannot_go_back(tmp_path: Path) -> None:
    with open(tmp_path / "log.txt", "w") as log:
        place = file_place(log)
    with pytest.raises(ValueError, match="closed"):
        set_file_place(log, place)
    assert file_place(log) is None
    set_file_place(log, None)


def test_other_streams_have_no_place() -> None:
    assert file_place(io.StringIO("text")) is None
    assert sys.__stdout__ is None or file_place(sys.__stdout__) is None


def test_text_file_within_its_lines_tells_no_place(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("1\n2\n3\n")
    with open(tmp_path / "rows.txt") as rows:
        next(rows)
        with pytest.raises(OSError, match="tell"):
            file_place(rows)
