"""`tutor progress`: what has been done, taken along, brought back, or forgotten."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from tutor.cli.progress_table import json_of, overviews, print_table
from tutor.errors import ProgressError, UsageError
from tutor.export import FileThere, new_file
from tutor.lesson import files, library
from tutor.plain import one_line, plain
from tutor.progress.paths import free_name, progress_file
from tutor.progress.records import Counts, Record
from tutor.progress.store import Store
from tutor.progress.transfer import lines_of, read_lines

_LIMIT = 256 * 2**20
"""Bytes of a file to import; nobody works through so many exercises."""


def progress_command(options: argparse.Namespace) -> int:
    """Do what was asked for. Raises ProgressError if the progress can't be read or written."""
    actions = {"export": _export, "import": _import, "reset": _reset}
    with _open() as store:
        actions.get(options.action, _show)(store, options)
    return 0


@contextmanager
def _open() -> Iterator[Store]:
    """The progress file. What is wrong with it is told, if it does not stop us."""
    store = Store(progress_file())
    try:
        if store.notice:
            print(f"tutor: {store.notice}", file=sys.stderr)
        yield store
        if store.trouble:
            print(f"tutor: {store.trouble}", file=sys.stderr)
    finally:
        store.close()


def _show(store: Store, options: argparse.Namespace) -> None:
    found = overviews(store.exercises(), store.places(), library.headlines())
    if options.json:
        print(json_of(found, store))
    elif found:
        print_table(found)
    else:
        usable = [headline.slug for headline in library.headlines() if not headline.diagnostic]
        print("Nothing has been done yet. Type `tutor` to choose a lesson", end="")
        print(f",\nor `tutor {one_line(usable[0])}` to begin with the first." if usable else ".")


def _export(store: Store, options: argparse.Namespace) -> None:
    records = store.records()
    if str(options.file) == "-":
        _print_lines(records)
        return
    try:
        _write(records, options.file, options.force)
    except FileThere as error:
        raise FileThere(f"{error}; give --force to replace it") from None
    print(one_line(f"{_entries(len(records))} written to {options.file}"))


def _import(store: Store, options: argparse.Namespace) -> None:
    name = "standard input" if str(options.file) == "-" else one_line(str(options.file))
    records = read_lines(_read(options.file, name).splitlines(), name)
    new = store.merge(records)
    if new.all:
        print(f"New of the {_entries(len(records))} in {name}: {_words(new)}.")
    else:
        print(f"Nothing new in {name}: {_entries(len(records))}, all known.")


def _reset(store: Store, options: argparse.Namespace) -> None:
    lesson = _lesson(store, options.lesson) if options.lesson else None
    count = len(store.records(lesson))
    if not count:
        print("There is nothing to forget.")
        return
    what = f"all progress in {one_line(lesson)}" if lesson else "all progress in all lessons"
    if not options.yes and not _agrees(f"Forget {what} ({_entries(count)})?"):
        print("Nothing was forgotten.")
        return
    backup = free_name(store.file, "backup", ".jsonl")
    store.forget(lesson, lambda records: _write(records, backup))
    kept = one_line(str(backup))
    print(f"Forgot {what}. A backup is kept; to bring it back:\n  tutor progress import {kept}")


def _lesson(store: Store, name: str) -> str:
    """The slug that is meant by a slug or a lesson's file. Raises UsageError if none is."""
    known = {record.lesson for record in store.records()}
    slug = files.slug_of(Path(name)) if name.endswith(".md") else name
    if slug not in known and not any(h.slug == slug for h in library.headlines()):
        near = get_close_matches(slug, known, n=3)
        hint = f"; did you mean {' or '.join(f'`{one_line(n)}`' for n in near)}?" if near else ""
        raise UsageError(one_line(f"nothing has been done in a lesson named `{slug}`") + hint)
    return slug


def _agrees(question: str) -> bool:
    """Ask at the terminal. Raises UsageError where there is nobody to ask."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("there is no terminal to ask at; give --yes to forget without a question")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _read(path: Path, name: str) -> bytes:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_LIMIT + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_LIMIT + 1)
    except OSError as error:
        raise ProgressError(one_line(f"{name}: can't be read: {error.strerror}")) from None
    if len(data) > _LIMIT:
        raise ProgressError(f"{name}: too long to be progress")
    return data


def _write(records: Sequence[Record], path: Path, force: bool = False) -> None:
    with new_file(path, force) as file:
        file.writelines(lines_of(records))
        file.flush()
        os.fsync(file.fileno())  # what is forgotten after it must be safe by then


def _print_lines(records: Sequence[Record]) -> None:
    """To the character into a file or a pipe, as UTF-8; harmless on a terminal."""
    text = "".join(lines_of(records))
    if sys.stdout.isatty():
        print(plain(text), end="")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _words(new: Counts) -> str:
    """The number of new records in words: 12 deeds, 1 place."""
    parts = []
    for noun, count in (("deed", new.deeds), ("place", new.places), ("draft", new.drafts)):
        if count:
            parts.append(f"{count} {noun}{'' if count == 1 else 's'}")
    return ", ".join(parts)
