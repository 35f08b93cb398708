"""A file is written whole or not at all, and never over another one unasked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tutor.errors import FileThere, RunError
from tutor.export import free_path, new_file, write


def test_what_is_written_is_the_text_to_the_character(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    assert write("ŷ = 1\r\n\x0c", path) == path
    assert path.read_bytes() == "ŷ = 1\r\n\x0c".encode()


def test_a_file_that_is_there_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("mine")
    with pytest.raises(FileThere, match=r"file_there.*a\.py"):
        write("new", path)
    assert path.read_text() == "mine"


def test_even_a_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileThere):
        write("new", path)
    assert not (tmp_path / "elsewhere").exists()


def test_force_replaces_and_keeps_the_permissions_and_the_link(tmp_path: Path) -> None:
    path, link = tmp_path / "a.py", tmp_path / "link.py"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write("new", link, force=True)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["a.py", "link.py"]


@pytest.mark.parametrize("force", [False, True])
def test_what_breaks_off_leaves_no_half_file(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "a.csv"
    if force:
        path.write_text("old")

    def break_off() -> None:
        with new_file(path, force) as file:
            file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.csv", "old")] * force


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("name", "reason"), [("nosuch/a.py", "no_folder"), ("a" * 300 + ".py", "too long")]
)
def test_why_it_cannot_be_written_is_told_in_words(
    tmp_path: Path, name: str, reason: str, force: bool
) -> None:
    with pytest.raises(RunError, match=reason):
        write("new", tmp_path / name, force)
    assert os.listdir(tmp_path) == []


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.py").mkdir()
    with pytest.raises(FileThere):
        write("new", tmp_path / "a.py")
    with pytest.raises(RunError, match="path_is_folder"):
        write("new", tmp_path / "a.py", force=True)
    assert os.listdir(tmp_path) == ["a.py"]


def test_a_free_name_is_numbered(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        path = free_path(tmp_path, "xor", "manual", ".py")
        path.touch()
        names.append(path.name)
    assert names == ["xor-manual.py", "xor-manual-2.py", "xor-manual-3.py"]


@pytest.mark.parametrize(
    ("slug", "name"), [("../../etc/x", "etc-x-m.py"), ("-rf *", "rf-m.py"), ("..", "m.py")]
)
def test_a_name_stays_in_its_folder(tmp_path: Path, slug: str, name: str) -> None:
    assert free_path(tmp_path, slug, "m", ".py") == tmp_path / name
