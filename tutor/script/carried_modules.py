"""The modules beside a script that it imports, carried to another machine with it.

`modules_beside` reads them here; there a `CarriedFinder` imports them from memory.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

from tutor.errors import ScriptError

MOST_BYTES = 4 * 2**20
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
                raise ScriptError(f"{file} can't be read: {error.strerror or error}") from error
            waiting.append(found[name])
            if sum(map(len, found.values())) > MOST_BYTES:
                raise ScriptError(
                    f"{path}: the modules beside it that it imports have more than "
                    f"{MOST_BYTES // 2**20} MB: copy them to the other machine and run tutor there"
                )
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


class CarriedFinder(MetaPathFinder):
    """Finds modules that were carried here, as if they stood in the script's folder."""

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
                loader = _CarriedLoader(name, where, self._modules[file])
                return importlib.util.spec_from_file_location(
                    name, where, loader=loader, submodule_search_locations=inside
                )
        is_folder = any(file.startswith(f"{place}/") for file in self._modules)
        if not is_folder or PathFinder.find_spec(name, path) is not None:
            return None  # an installed package comes before a folder without `__init__.py`
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(self._folder / place)]
        return spec


class _CarriedLoader(SourceFileLoader):
    """Loads a module from its content in memory; no bytecode is read or written."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_data(self, path: str) -> bytes:
        """The content of the module's file."""
        if path != self.path:
            raise OSError(f"{path} was not carried here")
        return self._content

    def path_stats(self, path: str) -> Mapping[str, object]:
        """Raise OSError: there is no file, so that no bytecode can belong to it."""
        raise OSError(f"{path} is not here")
