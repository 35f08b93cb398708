"""Only code that was typed, or agreed to, on this machine has its seal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tutor.progress.store import KEY_BYTES, Seals, lines_of, read_lines

from .conftest import draft


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "data" / "draft-key"


def test_a_seal_holds_for_exactly_what_was_sealed_and_on_this_machine(
    key: Path, tmp_path: Path
) -> None:
    seals = Seals(key)
    sealed = seals.sealed(draft("w = 1"))
    assert seals.holds(sealed)
    assert Seals(key).holds(sealed)
    assert not seals.holds(replace(sealed, code="w = 2"))
    assert not seals.holds(replace(sealed, exercise="other"))
    assert not seals.holds(draft("w = 1"))
    assert not seals.holds(replace(sealed, seal="\udc80é"))
    assert not Seals(tmp_path / "another machine").holds(sealed)
    halved = seals.sealed(draft("w = '\ud800'"))
    assert seals.holds(replace(halved, code="w = '?'")), "as a database writes half a character"


def test_the_key_is_the_learners_own_and_whole(key: Path) -> None:
    Seals(key)
    assert key.stat().st_mode & 0o077 == 0
    assert len(key.read_bytes()) == KEY_BYTES
    assert list(key.parent.iterdir()) == [key]


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_key_that_is_none_is_made_anew(key: Path, content: bytes) -> None:
    key.parent.mkdir()
    key.write_bytes(content)  # an empty key would be everybody's
    sealed = Seals(key).sealed(draft())
    assert Seals(key).holds(sealed)
    assert len(key.read_bytes()) == KEY_BYTES


def test_where_no_key_can_be_kept_one_holds_until_the_end(
    key: Path, as_nobody: Callable[[], None]
) -> None:
    key.parent.mkdir(mode=0o555)
    as_nobody()
    seals = Seals(key)
    sealed = seals.sealed(draft())
    assert seals.holds(sealed)
    assert not Seals(key).holds(sealed)


def test_no_seal_leaves_or_enters_with_a_file(key: Path) -> None:
    sealed = Seals(key).sealed(draft("w = 1"))
    lines = [line.encode() for line in lines_of([sealed])]
    assert sealed.seal.encode() not in b"".join(lines)
    smuggled = lines[1].replace(b'"code"', b'"seal":"%s","code"' % sealed.seal.encode())
    assert read_lines([lines[0], smuggled], "file") == [draft("w = 1")]
