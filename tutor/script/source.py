"""A learner's script or notebook as one Python text, the lines of which the whole tutor speaks of.

Of a notebook, the code cells one after the other. What IPython adds to Python (magics, shell
commands, help) becomes a comment, so that all lines stay where they are.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import re
import stat
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from tutor.errors import ScriptError
from tutor.script.line_places import HEADING, NOTEBOOK, Cell, full_place, named_place

MAX_BYTES = {".py": 4 * 2**20, NOTEBOOK: 128 * 2**20}
"""The end of a file's name → its limit: a notebook holds the pictures that its cells have drawn."""

_TIMED = re.compile(r"(\s*)%time\s+(\S.*)")
_MAGIC = re.compile(r"\s*%[A-Za-z_]|\s*[\w.,\[\] ]+=\s*%[A-Za-z_]")
_SHELL = re.compile(r"\s*!|\s*[\w.,\[\] ]+=\s*!")
_HELP = re.compile(r"\s*\?{1,2}[\w.%]+|\s*[\w.%\[\]()'\"]+\?{1,2}\s*$")
_CELL_MAGIC = re.compile(r"\s*%%(\w+)")
_AROUND_PYTHON = frozenset(
    {"time", "timeit", "capture", "prun", "mprun", "memit", "debug", "python", "python3", "wandb"}
)
"""Cell magics whose cell is Python that runs here."""


class SourceNote(msgspec.Struct, frozen=True):
    """A line of a notebook that does not run as it is."""

    code: str
    """`magic`, `cell_magic`, `shell`, `help`; `timed`: without `%time`, the line does run.

    `tutor.wording` has a sentence for each.
    """
    line: int
    text: str
    """The line as it stands in the notebook."""


class ScriptSource(msgspec.Struct, frozen=True, kw_only=True):
    """A script as it was read."""

    path: Path
    text: str
    """Its Python code."""
    digest: str
    """SHA-256 of the file's bytes, in hex."""
    notes: tuple[SourceNote, ...] = ()
    cells: tuple[Cell, ...] = ()
    """The cells, if it is a notebook."""
    origin: tuple[int, ...] = ()
    """A line → the file's own line, where the text was written anew."""

    def place(self, line: int) -> str:
        """A line as people name it: `train.py:12`, `[3]:4`."""
        line = self.origin[line - 1] if 0 < line <= len(self.origin) else line
        return named_place(self.path, self.cells, line)

    def full_place(self, line: int) -> str:
        """The place with the file's name in front, also for a notebook: `fit.ipynb [3]:4`."""
        return f"{self.path.name} {self.place(line)}" if self.cells else self.place(line)

    def lines(self, first: int, last: int) -> str:
        """The lines of a phase: `line 3`, `lines 3 to 5`, `[3]:4 to 6`, `[3]:4 to [4]:1`."""
        if not self.cells:
            return f"line {first}" if first == last else f"lines {first} to {last}"
        begin, end = self.place(first), self.place(last)
        if begin == end:
            return begin
        is_one = begin.partition(":")[0] == end.partition(":")[0]
        return f"{begin} to {end.partition(':')[2] if is_one else end}"


def read_script(path: Path) -> ScriptSource:
    """The script or notebook in a file. Raises ScriptError if it can't be read or is no Python."""
    data = _bytes(path)
    if path.suffix.lower() == NOTEBOOK:
        text, cells, notes = _joined(_cells(path, data))
    else:
        text, cells, notes = _decoded(path, data), (), ()
    _check_python(path, text, cells)
    digest = hashlib.sha256(data).hexdigest()
    return ScriptSource(path=path, text=text, digest=digest, notes=notes, cells=cells)


def _bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _script_error(path, "is_folder")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever
            raise _script_error(path, "not_plain_file")
        most = MAX_BYTES.get(path.suffix.lower(), MAX_BYTES[".py"])
        if status.st_size > most:
            raise _script_error(path, "file_too_large", most=most // 2**20)
        data = path.read_bytes()
    except FileNotFoundError:
        raise _script_error(path, "no_file") from None
    except PermissionError:
        raise _script_error(path, "not_permitted") from None
    except (OSError, ValueError) as error:  # a ValueError: a path with a NUL character in it
        words = str(getattr(error, "strerror", None) or error)
        raise _script_error(path, "unreadable", words=words) from None
    if not data.strip():
        raise _script_error(path, "is_empty")
    return data


def _script_error(path: Path, code: str, **values: object) -> ScriptError:
    return ScriptError(code, place=str(path), **values)


def _decoded(path: Path, data: bytes) -> str:
    """The text of a Python file, by Python's own rules: its coding line, byte order mark, CRLF."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:  # an unknown coding, or the first lines are not UTF-8
        raise _script_error(path, "unknown_coding", words=error.msg or str(error)) from None
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        values = {"byte": data[error.start], "encoding": encoding}
        raise ScriptError("not_encoded", place=f"{path}:{line}", **values) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_python(path: Path, text: str, cells: tuple[Cell, ...]) -> None:
    try:
        ast.parse(text)
    except SyntaxError as error:
        place = full_place(path, text, error.lineno or 1)
        raise ScriptError("syntax_error", place=place, words=error.msg) from None
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes, endless nesting
        raise _script_error(path, "no_python", words=str(error)) from None


# ── Notebooks ─────────────────────────────────────────────────────────────────────


def _cells(path: Path, data: bytes) -> Iterator[tuple[str, str]]:
    """The labels and texts of a notebook's code cells that are not empty.

    Notebooks of older formats are brought up to date.
    """
    import nbformat  # noqa: PLC0415 - slow to load, and only for notebooks

    reads: Callable[..., Any] = nbformat.reads
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without an id, and the like
            book = reads(data.decode("utf-8-sig"), as_version=4)
        code = [cell for cell in book.cells if cell.cell_type == "code" and cell.source.strip()]
        counts = [cell.get("execution_count") for cell in code]
        texts = [str(cell.source) for cell in code]
    except Exception as error:  # noqa: BLE001 - nbformat raises what JSON, traitlets and keys raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise _script_error(path, "no_notebook", words=reason) from None
    language = str(book.metadata.get("kernelspec", {}).get("language", "python"))
    if language.lower() not in ("python", ""):
        raise _script_error(path, "other_language", language=language)
    if not texts:
        raise _script_error(path, "no_cell")
    yield from zip(_labels(counts), texts, strict=True)


def _labels(counts: Sequence[object]) -> Iterator[str]:
    """The numbers that Jupyter shows beside cells, or will show once it has run all of them."""
    known = [count for count in counts if type(count) is int and 0 < count < 10**6]
    is_run = len({*known}) == len(counts)
    yield from (f"{count if is_run else at}" for at, count in enumerate(counts, 1))


def _joined(
    cells: Iterable[tuple[str, str]],
) -> tuple[str, tuple[Cell, ...], tuple[SourceNote, ...]]:
    """The cells as one text, each below its heading; the cells' places; the notes."""
    lines: list[str] = []
    found: list[Cell] = []
    notes: list[SourceNote] = []
    for label, cell in cells:
        lines.append(HEADING.format(label))
        found.append(Cell(len(lines), label))
        for line, (code, shown) in zip(_cell_lines(cell), _python_lines(cell), strict=True):
            lines.append(shown)
            if code:
                notes.append(SourceNote(code, len(lines), line.strip()))
    return "\n".join(lines) + "\n", tuple(found), tuple(notes)


def _cell_lines(cell: str) -> list[str]:
    """The lines of a cell, without the first one's indentation, as in IPython."""
    text = cell.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.removesuffix("\n").split("\n") if text else []
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    return [line.removeprefix(indent) for line in lines]


def _python_lines(cell: str) -> list[tuple[str, str]]:
    """The lines of a cell as Python, each with the code of its note, "" if it is as it was."""
    lines = _cell_lines(cell)
    if _is_python("\n".join(lines)):
        return [("", line) for line in lines]
    first = next((at for at, line in enumerate(lines) if line.strip()), 0)
    magic = _CELL_MAGIC.match(lines[first]) if lines else None
    if magic and magic[1] not in _AROUND_PYTHON:
        return [("cell_magic" if line.strip() else "", f"# {line}".rstrip()) for line in lines]
    return list(_without_magics(lines, first if magic else None))


def _is_python(cell: str) -> bool:
    try:
        ast.parse(cell)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _without_magics(lines: list[str], cell_magic: int | None) -> Iterator[tuple[str, str]]:
    """The lines with a comment in place of each magic, shell command and question."""
    code: list[str] = []
    before = ""
    for at, line in enumerate(lines):
        kind = before or _code_of(line, at == cell_magic)
        kind = "" if kind and not before and _is_open(code) else kind
        is_continued = bool(before)
        before = kind if kind and line.rstrip().endswith("\\") else ""
        if not kind:
            code.append(line)
            yield "", line
        elif timed := _TIMED.fullmatch(line):
            code.append(timed[1] + timed[2])
            yield "timed", code[-1]
        else:
            yield kind, f"# {line}" if is_continued else _comment(line)


def _code_of(line: str, is_cell_magic: bool) -> str:
    if is_cell_magic:
        return "cell_magic"
    kinds = (("magic", _MAGIC), ("shell", _SHELL), ("help", _HELP))
    return next((code for code, pattern in kinds if pattern.match(line)), "")


def _comment(line: str) -> str:
    """The line as a comment; where it is indented, as a statement that does nothing."""
    stripped = line.lstrip()
    indent = line[: len(line) - len(stripped)]
    if not stripped:
        return line
    return f"{indent}pass  # {stripped}" if indent else f"# {stripped}"


def _is_open(lines: Sequence[str]) -> bool:
    """Whether code ends within a bracket, a long string or a joined line."""
    try:
        for _ in tokenize.generate_tokens(iter([f"{line}\n" for line in lines]).__next__):
            pass
    except tokenize.TokenError as error:
        return "multi-line" in str(error) or "triple-quoted" in str(error)
    except SyntaxError:  # it stays so, whatever follows
        return False
    return False


# ── The modules beside a script ───────────────────────────────────────────────────

MOST_MODULE_BYTES = 4 * 2**20
"""Bytes of modules that are carried: code of a learner's own has some ten thousand."""


def modules_beside(path: Path, source: str) -> dict[str, bytes]:
    """The content of all modules in the script's folder that it imports, and that these import.

    By their path in that folder. Of a package, all modules are taken. Raises ScriptError if they
    are too many, or one can't be read.
    """
    folder, found, waiting = path.absolute().parent, dict[str, bytes](), [source.encode()]
    while waiting:
        for file in _files(folder, _imported(waiting.pop())):
            name = file.relative_to(folder).as_posix()
            if name in found or file == path.absolute():
                continue
            try:
                found[name] = file.read_bytes()
            except OSError as error:
                words = error.strerror or str(error)
                raise _script_error(file, "module_unreadable", words=words) from error
            waiting.append(found[name])
            if sum(map(len, found.values())) > MOST_MODULE_BYTES:
                raise _script_error(path, "modules_too_large", most=MOST_MODULE_BYTES // 2**20)
    return found


def _imported(source: bytes) -> set[str]:
    """The first names of all modules that a piece of code imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # which the import will say, where it is reached
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _files(folder: Path, names: set[str]) -> Iterator[Path]:
    for name in sorted(names):
        module, package = folder / f"{name}.py", folder / name
        if module.is_file() and not (package / "__init__.py").is_file():
            yield module
        elif package.is_dir():
            yield from sorted(package.rglob("*.py"))


# ── Modules that came with a script from another machine ─────────────────────────────────


class SentModuleFinder(MetaPathFinder):
    """Finds modules that were sent with the script, as if they stood in the script's folder."""

    def __init__(self, folder: Path, modules: Mapping[str, bytes]) -> None:
        self._folder, self._modules = folder, modules

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module, a package, or a folder of modules; None for all others."""
        place = name.replace(".", "/")
        for file, inside in ((f"{place}/__init__.py", [str(self._folder / place)]),
                             (f"{place}.py", None)):  # fmt: skip
            if file in self._modules:
                where = str(self._folder / file)
                loader = SentModuleLoader(name, where, self._modules[file])
                return importlib.util.spec_from_file_location(
                    name, where, loader=loader, submodule_search_locations=inside
                )
        is_folder = any(file.startswith(f"{place}/") for file in self._modules)
        if not is_folder or PathFinder.find_spec(name, path) is not None:
            return None  # an installed package comes before a folder without `__init__.py`
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(self._folder / place)]
        return spec


class SentModuleLoader(SourceFileLoader):
    """Loads a module from its content in memory; no bytecode is read or written."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_data(self, path: str) -> bytes:
        """The content of the module's file."""
        if path != self.path:
            raise OSError(f"{path} was not sent")
        return self._content

    def path_stats(self, path: str) -> Mapping[str, object]:
        """Raise OSError: there is no file, so that no bytecode can belong to it."""
        raise OSError(f"{path} is not here")
