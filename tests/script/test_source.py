"""Scripts and notebooks as they are read."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tutor.errors import ScriptError
from tutor.lesson.document import read
from tutor.lesson.library import find
from tutor.lesson.model import ScriptOptions
from tutor.script.lesson import lesson_of_script
from tutor.script.line_places import (
    Cell,
    cells_in,
    full_place,
    place_in_code,
    short_place,
    step_place,
)
from tutor.script.loops import outline_of
from tutor.script.source import MAX_BYTES, ScriptSource, read_script
from tutor.wording.notices import error_text


def script(folder: Path, data: bytes, name: str = "train.py") -> ScriptSource:
    path = folder / name
    path.write_bytes(data)
    return read_script(path)


def notebook(folder: Path, *cells: str | dict[str, Any], **top: Any) -> ScriptSource:
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    found = [c if isinstance(c, dict) else {**code, "source": c} for c in cells]
    book = {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": found, **top}
    return script(folder, json.dumps(book).encode(), "lesson.ipynb")


def lines(source: ScriptSource) -> list[str]:
    return source.text.rstrip("\n").split("\n")


def notes(source: ScriptSource) -> list[tuple[str, int]]:
    return [(note.code, note.line) for note in source.notes]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"x = 1\n", "x = 1\n"),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        (b"x = 1\r\ny = 2\r\n", "x = 1\ny = 2\n"),
        (b"x = 1\ry = 2\r", "x = 1\ny = 2\n"),
        ("η = 0.1".encode(), "η = 0.1"),
        (
            "# -*- coding: latin-1 -*-\ns = 'é'\n".encode("latin-1"),
            "# -*- coding: latin-1 -*-\ns = 'é'\n",
        ),
    ],
)
def test_a_script_is_decoded_as_python_does(tmp_path: Path, data: bytes, text: str) -> None:
    source = script(tmp_path, data)
    assert source.text == text
    assert source.digest == hashlib.sha256(data).hexdigest()
    assert source.place(2) == "train.py:2"


@pytest.mark.parametrize(
    ("data", "codes", "line"),
    [
        (b"x = 1\ny = (\n", ["syntax_error"], ":2"),
        (b"x = 1\n# \xff\n", ["not_encoded"], ":2"),
        (b"# coding: nonsense\n", ["unknown_coding"], ""),
        (b"a\n" * 3 + b"s = '\xe9'\n", ["not_encoded"], ":4"),
        (b"x = 1\n\x00\n", ["no_python", "syntax_error"], ""),  # by Python's version
        (b"  \n", ["is_empty"], ""),
        (b"(" * 5000, ["no_python", "syntax_error"], ""),
    ],
)
def test_what_is_no_python_is_told_with_its_line(
    tmp_path: Path, data: bytes, codes: list[str], line: str
) -> None:
    with pytest.raises(ScriptError) as error:
        script(tmp_path, data)
    assert error.value.code in codes
    assert error.value.values["place"].startswith(f"{tmp_path / 'train.py'}{line}")
    assert "\n" not in error_text(error.value)


def test_what_can_not_be_read_is_told(tmp_path: Path) -> None:
    large = tmp_path / "large.py"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES[".py"] + 1)
    for path in (tmp_path, tmp_path / "none.py", large, Path("a\0b.py"), Path("/dev/null")):
        with pytest.raises(ScriptError):
            read_script(path)


def test_cells_follow_each_other_below_their_headings(tmp_path: Path) -> None:
    prose = {"cell_type": "markdown", "metadata": {}, "source": "# Prose"}
    source = notebook(tmp_path, "x = 1\ny = 2", prose, "", "print(x)\n")
    assert lines(source) == ["# %% [1]", "x = 1", "y = 2", "# %% [2]", "print(x)"]
    assert source.cells == (Cell(1, "1"), Cell(4, "2"))
    assert source.place(3) == "[1]:2"
    assert source.place(5) == "[2]:1"
    assert notes(source) == []


@pytest.mark.parametrize(
    ("counts", "labels"),
    [((3, 7), "37"), ((8, 2), "82"), ((3, None), "12"), ((4, 4), "12"), ((None, None), "12")],
)
def test_cells_are_numbered_as_jupyter_does(
    tmp_path: Path, counts: tuple[int | None, ...], labels: str
) -> None:
    """Unless each has been run once: then as Jupyter will, once it has run all of them."""
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "source": "x = 1"}
    source = notebook(tmp_path, *({**code, "execution_count": count} for count in counts))
    assert "".join(cell.label for cell in source.cells) == labels
    assert source.place(4) == f"[{labels[1]}]:1"


def test_what_ipython_adds_becomes_a_comment(tmp_path: Path) -> None:
    source = notebook(
        tmp_path,
        "%matplotlib inline\n!pip install torch \\\n   numpy\nfiles = !ls\nx = 1",
        "x?\n?x\nprint??\ny = 2",
        "if x:\n    !ls\n    %timeit x\nelse:\n    y = 1",
        "%%bash\nif true; then\n    ls\nfi",
        "%%time\nz = 3\n%time w = x + z",
    )
    ast.parse(source.text)
    assert [name for name in ("x", "y", "z", "w") if f"\n{name} = " in source.text] == list("xyzw")
    assert lines(source)[1:6] == [
        "# %matplotlib inline",
        "# !pip install torch \\",
        "#    numpy",
        "# files = !ls",
        "x = 1",
    ]
    assert [code for code, _ in notes(source)] == [
        *("magic", "shell", "shell", "shell"),
        *("help", "help", "help"),
        *("shell", "magic"),
        *("cell_magic",) * 4,
        *("cell_magic", "timed"),
    ]
    for note in source.notes:
        assert note.text in lines(source)[note.line - 1] or note.code == "timed"


def test_the_indentation_of_a_cells_first_line_is_left_out_as_in_ipython(tmp_path: Path) -> None:
    source = notebook(tmp_path, "\n  x = 1\n  if x:\n    y = 2\n", "  %cd ..\n  z = 3")
    assert lines(source)[1:5] == ["", "x = 1", "if x:", "  y = 2"]
    assert lines(source)[6:] == ["# %cd ..", "z = 3"]


def test_code_that_only_looks_like_a_magic_stays(tmp_path: Path) -> None:
    cell = (
        's = """\n!no shell\n%no magic\n"""\nx = (7\n  % 4)\ny = 7 \\\n  % 4\nt = "%d" % 3\n%cd ..'
    )
    source = notebook(tmp_path, cell)
    assert notes(source) == [("magic", 11)]
    assert lines(source)[1:10] == cell.split("\n")[:-1]


def test_a_notebook_of_an_old_format_is_read(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "input": ["x = 1\n", "y = 2"], "outputs": [], "language": "python"}
    sheets = [{"cells": [{**cell, "collapsed": False, "metadata": {}}], "metadata": {}}]
    book = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": sheets}
    source = script(tmp_path, json.dumps(book).encode(), "old.ipynb")
    assert lines(source) == ["# %% [1]", "x = 1", "y = 2"]


def test_a_faulty_notebook_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="syntax_error") as error:
        notebook(tmp_path, "x = 1", "y = 2\nz = (")
    assert str(error.value.values["place"]).endswith(" [2]:2")
    with pytest.raises(ScriptError, match="other_language"):
        notebook(tmp_path, "x = 1", metadata={"kernelspec": {"language": "julia", "name": "j"}})
    with pytest.raises(ScriptError, match="no_cell"):
        notebook(tmp_path)
    for data in (b"{", b"[1]", b"\xff\xfe", b'{"nbformat": 4}'):
        with pytest.raises(ScriptError, match="no_notebook") as error:
            script(tmp_path, data, "bad.ipynb")
        assert "\n" not in error_text(error.value)


def test_a_line_of_a_notebook_is_named_by_its_cell(tmp_path: Path) -> None:
    source = notebook(tmp_path, "a = 1\nb = 2", "c = 3\nd = 4\ne = 5")
    path = source.path
    assert cells_in(path, source.text) == source.cells == (Cell(1, "1"), Cell(4, "2"))
    assert short_place(path, source.text, 6) == "[2]:2"
    assert full_place(path, source.text, 6) == f"{path} [2]:2"
    assert (source.lines(5, 5), source.lines(5, 7)) == ("[2]:1", "[2]:1 to 3")
    assert source.lines(2, 5) == "[1]:1 to [2]:1"
    script = tmp_path / "fit.py"
    assert short_place(script, source.text, 6) == "line 6"
    assert full_place(script, source.text, 6) == f"{script}:6"


def test_a_line_that_runs_next_is_named_with_its_function_if_the_loop_is_elsewhere() -> None:
    text = """
class T:
    def step(self):
        self.w -= 0.1 * self.dw
    def fit(self):
        for i in range(3):
            loss = self.loss()
            self.step()
"""
    source = ScriptSource(path=Path("fit.py"), text=text, digest="")
    lesson = lesson_of_script(source, outline_of(text), ScriptOptions())
    assert step_place(lesson, 4) == "line 4 in step"
    assert step_place(lesson, 7) == "line 7"


def test_a_line_of_a_lesson_is_quoted_where_its_file_is_not_at_hand(tmp_path: Path) -> None:
    shipped = read(find("one-weight"))
    update = shipped.phase("Update")
    assert update is not None
    fence = update.fences("manual")[0]
    row = fence.code.split("\n")[0].strip()
    assert place_in_code(shipped)(fence.line) == f"`{row}` in Update"
    copy = tmp_path / "mine.md"
    copy.write_text(shipped.source, encoding="utf-8")
    assert place_in_code(read(copy))(fence.line) == f"line {fence.line} of mine.md"
