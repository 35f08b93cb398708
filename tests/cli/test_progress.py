"""`tutor progress`: shown, taken along, merged, and forgotten with a backup."""

from __future__ import annotations

import codecs
import io
import json
import shlex
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import wcwidth
from msgspec.structs import replace

from tests.cli.conftest import Tutor
from tests.progress.conftest import deed, draft, place
from tutor.cli import progress
from tutor.progress import Record, now
from tutor.progress.store import Store


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kept here" / "progress.sqlite3"
    monkeypatch.setenv("TUTOR_PROGRESS", str(path))
    return path


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped lessons: `begin`, and `xor` with three exercises."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    front = "summary: S.\nparameters: [w]\nmodes: [manual, autograd]\n---\n"
    exercises = "".join(
        f"```yaml exercise\nid: {name}\nkind: predict\n```\n\n"
        for name in ("first", "second", "third")
    )
    (folder / "begin.md").write_text(f"---\ntitle: One\norder: 1\n{front}")
    (folder / "xor.md").write_text(f"---\ntitle: XOR\norder: 2\n{front}{exercises}")
    monkeypatch.setattr("tutor.lesson.library.shipped_folder", lambda: folder)
    return folder


def put(file: Path, *records: Record) -> None:
    with closing(Store(file)) as store:
        store.add(records)


def kept(file: Path) -> list[Record]:
    with closing(Store(file)) as store:
        return store.records()


@pytest.fixture
def some(file: Path) -> list[Record]:
    records: list[Record] = [
        deed("tried"),
        deed("hinted"),
        deed("done", minutes=1),
        deed("shown", "second", minutes=2),
        deed("done", "second", minutes=3),
        deed("tried", "gone", minutes=4),
        deed("skipped", "x", "mine", minutes=5),
        place("xor", epoch=12, minutes=6),
        draft(),
    ]
    put(file, *records)
    return records


def test_nothing_yet_says_what_to_type(tutor: Tutor, file: Path) -> None:
    assert tutor("progress").stdout == (
        "Nothing has been done yet. Type `tutor` to choose a lesson,\n"
        "or `tutor begin` to begin with the first.\n"
    )


def test_the_table_has_a_line_for_each_lesson(tutor: Tutor, file: Path, some: object) -> None:
    done = tutor("progress")
    head, xor, mine, blank, total, last = done.stdout.splitlines()
    assert head.split() == ["lesson", "done", "tries", "hints", "last", "visit", "left", "at"]
    assert xor.split()[:6] == ["xor", "2", "of", "3", "1", "1"]
    assert xor.endswith("  epoch 12, manual")
    assert mine.split()[:4] == ["mine", "0", "0", "0"]
    assert (blank, total) == ("", "2 exercises done, 1 skipped, in 2 lessons.")
    assert last == "You were last in xor: `tutor xor` opens it."
    assert done.stderr == ""


def test_progress_is_counted_by_chapter(
    tutor: Tutor, file: Path, some: object, shelf: Path
) -> None:
    for slug, chapter in (("begin", "First"), ("xor", "Then")):
        path = shelf / f"{slug}.md"
        path.write_text(path.read_text().replace("order:", f"chapter: {chapter}\norder:"))
    _, first, then, xor, others, mine, *_ = tutor("progress").stdout.splitlines()
    assert first.split() == ["First", "0", "of", "0"]
    assert then.split() == ["Then", "2", "of", "3"]
    assert xor.startswith("  xor ")
    assert (others, mine.split()[:2]) == ("Other lessons", ["mine", "0"])
    told = json.loads(tutor("progress", "--json").stdout)
    assert [lesson["chapter"] for lesson in told["lessons"]] == ["Then", None]
    assert told["chapters"] == [
        {"title": "First", "lessons": ["begin"], "done": 0, "skipped": 0, "of": 0},
        {"title": "Then", "lessons": ["xor"], "done": 2, "skipped": 0, "of": 3},
    ]


def test_no_line_is_wider_than_the_screen(
    tutor: Tutor, file: Path, some: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "screen", lambda: 80)
    put(file, place("一" * 40, epoch=10**9), deed(lesson="\x1b[31mred"))
    lines = tutor("progress").stdout.splitlines()
    assert max(map(wcwidth.wcswidth, lines)) <= 80
    assert any(line.endswith("…") for line in lines)
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("ago", "words"), [(0, "today 12:30"), (1, "yesterday"), (30, "31 Jan"), (400, "2025-01-26")]
)
def test_a_visit_is_told_as_people_do(ago: int, words: str) -> None:
    noon = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
    assert progress._day(noon - timedelta(days=ago), noon) == words


def test_json_tells_all_of_it(tutor: Tutor, file: Path, some: object) -> None:
    told = json.loads(tutor("progress", "--json").stdout)
    assert (told["file"], told["trouble"], told["last"]) == (str(file), "", "xor")
    xor, mine = told["lessons"]
    assert (xor["slug"], xor["title"], xor["done"], xor["of"]) == ("xor", "XOR", 2, 3)
    assert xor["exercises"][0] == {
        "id": "first",
        "kind": "predict",
        "state": "done",
        "tries": 1,
        "hints": 1,
        "first_done": "2026-03-02T09:01:00.000000+00:00",
        "last": "2026-03-02T09:01:00.000000+00:00",
        "solution_seen_first": False,
    }
    assert [exercise["id"] for exercise in xor["exercises"]] == ["first", "second"]
    assert xor["exercises"][1]["solution_seen_first"]
    assert xor["left"]["epoch"] == 12
    assert xor["left"]["fork"] is None
    assert (mine["title"], mine["of"], mine["left"], mine["skipped"]) == (None, None, None, 1)


# ── Export and import ───────────────────────────────────────────────────────────────


def test_what_is_exported_can_be_imported_elsewhere_once(
    tutor: Tutor, file: Path, some: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "mine.jsonl"
    assert tutor("progress", "export", str(taken)).stdout == f"9 entries written to {taken}\n"
    monkeypatch.setenv("TUTOR_PROGRESS", str(tmp_path / "other"))
    assert tutor("progress", "import", str(taken)).stdout == (
        f"Added from the 9 entries in {taken}: 7 exercise entries, 1 bookmark, 1 draft.\n"
    )
    assert kept(tmp_path / "other") == some
    again = tutor("progress", "import", str(taken)).stdout
    assert again == f"Nothing new in {taken}: all of its 9 entries are already here.\n"
    assert kept(tmp_path / "other") == some


def test_an_import_merges_what_two_machines_have(
    tutor: Tutor, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    put(file, deed(), place("xor", epoch=1, minutes=1), place("begin", epoch=5, minutes=5))
    put(other, deed(), place("xor", epoch=2, minutes=2), place("begin", epoch=4, minutes=4))
    exported = tmp_path / "taken"
    monkeypatch.setenv("TUTOR_PROGRESS", str(other))
    tutor("progress", "export", str(exported))
    monkeypatch.setenv("TUTOR_PROGRESS", str(file))
    assert ": 1 exercise entry, 1 bookmark.\n" in tutor("progress", "import", str(exported)).stdout
    with closing(Store(file)) as store:
        assert store.exercises()[0].tries == 2
        assert {place.lesson: place.epoch for place in store.places()} == {"xor": 2, "begin": 5}


def test_a_dash_is_a_pipe(
    tutor: Tutor, file: Path, some: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = tutor("progress", "export", "-").stdout
    assert len(lines.splitlines()) == 10
    monkeypatch.setenv("TUTOR_PROGRESS", str(tmp_path / "other"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert "9 entries in standard input" in tutor("progress", "import", "-").stdout
    assert kept(tmp_path / "other") == some


def test_a_file_is_replaced_only_on_demand(
    tutor: Tutor, file: Path, some: object, tmp_path: Path
) -> None:
    taken = tmp_path / "mine"
    taken.write_text("mine")
    refused = tutor("progress", "export", str(taken))
    assert (refused.returncode, taken.read_text()) == (1, "mine")
    assert "give --force to replace it" in refused.stderr
    assert tutor("progress", "export", str(taken), "--force").returncode == 0
    assert taken.read_text().startswith('{"format":"gradient-tutor progress","version":1')


HEAD = b'{"format":"gradient-tutor progress","version":1,"exported":"2026-03-02T09:00:00Z"}\n'
GOOD = b'{"type":"draft","lesson":"a","exercise":"b","code":"c","at":"2026-03-02T09:00:00Z"}\n'


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", ":1: this is not a file of `tutor progress export`"),
        (b'{"holidays": true}\n', ":1: this is not a file of"),
        (b"\xff\x00\n", ":1: this is not a file of"),
        (HEAD.replace(b":1,", b":2,"), ":1: written by a newer version of the tutor"),
        (HEAD + GOOD + b"\n{}\n", ":4: not a line that `tutor progress export` writes"),
        (HEAD + GOOD + GOOD[:40], ":3: not a line"),
        (HEAD + GOOD.replace(b'"code":"c",', b""), ":2: not a line that"),
        (HEAD + GOOD.replace(b"T09:00:00Z", b""), ":2: not a line"),
        (HEAD + GOOD.replace(b"2026", b"9999"), ":2: not a line"),
        (HEAD + GOOD.replace(b'"c"', b'"\xff"'), ":2: not a line"),
    ],
)
def test_a_bad_file_is_named_with_its_line_and_nothing_is_imported(
    tutor: Tutor, file: Path, tmp_path: Path, content: bytes, complaint: str
) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(content)
    done = tutor("progress", "import", str(bad))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"tutor: {bad}{complaint}" in done.stderr
    assert kept(file) == []


def test_a_file_that_an_editor_has_marked_as_utf8_is_imported(
    tutor: Tutor, file: Path, tmp_path: Path
) -> None:
    marked = tmp_path / "marked"
    marked.write_bytes(codecs.BOM_UTF8 + HEAD + GOOD)
    assert ": 1 draft.\n" in tutor("progress", "import", str(marked)).stdout


def test_what_comes_from_the_future_does_not_win_for_ever(
    tutor: Tutor, file: Path, tmp_path: Path
) -> None:
    ahead, later = tmp_path / "ahead", tmp_path / "later"
    ahead.write_bytes(HEAD + GOOD.replace(b"2026", b"2999"))
    tutor("progress", "import", str(ahead))
    (record,) = kept(file)
    assert record.at <= now()
    written = now().isoformat().encode()
    later.write_bytes(HEAD + GOOD.replace(b"2026-03-02T09:00:00Z", written))
    assert ": 1 draft.\n" in tutor("progress", "import", str(later)).stdout


def test_a_file_that_is_not_there_is_told(tutor: Tutor, file: Path, tmp_path: Path) -> None:
    done = tutor("progress", "import", str(tmp_path / "gone"))
    assert done.stderr == f"tutor: {tmp_path / 'gone'}: can't be read: No such file or directory\n"


# ── Reset ───────────────────────────────────────────────────────────────────────────


def test_without_a_terminal_nothing_is_forgotten_unasked(
    tutor: Tutor, file: Path, some: list[Record]
) -> None:
    done = tutor("progress", "reset")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    assert kept(file) == some


def test_what_is_forgotten_can_be_brought_back(
    tutor: Tutor, file: Path, some: list[Record]
) -> None:
    told = tutor("progress", "reset", "xor", "--yes").stdout
    assert told.startswith("Deleted all progress in xor. A backup is kept")
    assert [record.lesson for record in kept(file)] == ["mine"]
    *command, backup = shlex.split(told.splitlines()[-1])
    assert command == ["tutor", "progress", "import"]
    assert Path(backup).parent == file.parent
    tutor("progress", "import", backup)
    assert sorted(kept(file), key=repr) == sorted(some, key=repr)


def test_all_of_it_can_be_forgotten(tutor: Tutor, file: Path, some: object) -> None:
    assert "all progress in all lessons" in tutor("progress", "reset", "--yes").stdout
    assert kept(file) == []
    assert tutor("progress", "reset").stdout == "There is nothing to delete.\n"


@pytest.mark.parametrize(("answer", "is_left"), [("y\n", 0), ("n\n", 9), ("\n", 9), ("", 9)])
def test_at_a_terminal_it_asks(
    tutor: Tutor,
    file: Path,
    some: object,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    is_left: int,
) -> None:
    typed = io.StringIO(answer)
    monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", typed)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    done = tutor("progress", "reset")
    assert "Delete all progress in all lessons (9 entries)? [y/N]" in done.stderr
    assert len(kept(file)) == is_left


def test_a_lesson_that_nobody_has_opened_is_wrong_usage(
    tutor: Tutor, file: Path, some: object
) -> None:
    done = tutor("progress", "reset", "xorr", "--yes")
    assert done.returncode == 2
    assert "lesson named `xorr`; did you mean `xor`?" in done.stderr


# ── Trouble ─────────────────────────────────────────────────────────────────────────


def test_a_damaged_file_is_told_beside_what_could_be_saved(tutor: Tutor, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("no database\n" * 100)
    done = tutor("progress")
    assert done.stdout.startswith("Nothing has been done yet.")
    assert done.stderr.startswith("tutor: the progress file was damaged: ")
    assert tutor("progress").stderr == ""


def test_a_place_that_can_not_be_written_is_told_in_one_line(tutor: Tutor, file: Path) -> None:
    file.mkdir(parents=True)
    for action in ([], ["--json"], ["export", "-"], ["reset", "--yes"]):
        done = tutor("progress", *action)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"tutor: progress is not saved: it is a folder ({file})\n"


def test_the_help_shows_how(tutor: Tutor) -> None:
    assert "  tutor progress " in tutor("--help").stdout
    for action in ("export", "import", "reset"):
        assert f"example:\n  tutor progress {action}" in tutor("progress", action, "--help").stdout


def test_a_lesson_without_exercises_says_so(tutor: Tutor, file: Path) -> None:
    put(file, place("begin", epoch=0))
    row = tutor("progress").stdout.splitlines()[1]
    assert row.split()[:5] == ["begin", "none", "here", "0", "0"]
    assert row.endswith("  the start, manual")


def test_nothing_that_a_file_from_elsewhere_says_is_obeyed_by_the_terminal(
    tutor: Tutor, file: Path
) -> None:
    evil = "\x1b]0;gone\x07\x9b2J\u202e"
    put(
        file,
        replace(place("xor"), mode=evil, device=evil, fork=evil, exercise=evil),
        replace(place(f"lesson {evil}")),
        replace(deed("done"), exercise=evil, kind=evil),
        replace(deed("tried"), lesson=evil),
    )
    for arguments in (("progress",), ("progress", "--json"), ("progress", "reset", evil)):
        done = tutor(*arguments)
        told = (done.stdout + done.stderr).replace("\n", "")
        assert told.isprintable(), arguments
