"""The environment of a script while its code runs: arguments, modules, input, pictures and files.

They are those of `python train.py`, but that nobody answers its questions, pictures are drawn to
nowhere, and nothing of the learner's is changed (`redirected_files.py`).
"""

from __future__ import annotations

import functools
import importlib.machinery
import inspect
import io
import multiprocessing.context
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import torch
from torch.utils.data import DataLoader

from tutor.protocol.frame import Remark
from tutor.script.carried_modules import CarriedFinder
from tutor.script.redirected_files import LIBRARIES, RedirectedFiles
from tutor.training.devices import USUAL_THREADS

if TYPE_CHECKING:
    from tutor.script.script_group import ScriptGroup


class ScriptEnvironment:
    """The environment of one run of a script, entered while its code runs and left again."""

    def __init__(
        self,
        path: Path,
        module: ModuleType,
        arguments: Sequence[str],
        *,
        is_here: bool,
        carried: Mapping[str, bytes] | None = None,
        group: ScriptGroup | None = None,
    ) -> None:
        """`module` is the script's `__main__`; `arguments` are its `sys.argv`.

        `is_here`: it writes files where it wants. `carried`: the modules beside it, if it comes
        from another machine. `group`: on several ranks, the process group.
        """
        self.group = group
        self._notes: tuple[Remark, ...] = ()
        outside = _active[-1].outside if _active else _Outside.now()
        self.outside: _Outside = outside
        """The state that holds where no script's code runs."""
        self._argv, self._path = list(arguments), [str(path.parent), *outside.path]
        self._working = outside.folder
        # As torchrun has it: one for each rank, where nothing else is said.
        is_one = group is not None and "OMP_NUM_THREADS" not in os.environ
        self._threads = 1 if is_one else USUAL_THREADS
        self._start_method = None
        self._folder = str(path.parent)
        helpers = _active[-1]._modules.keys() if _active else ()
        self._known = sys.modules.keys() - helpers
        self._modules: dict[str, ModuleType] = {"__main__": module}
        """The script itself, and the modules beside it that it has imported."""
        self._count = 0
        self._input = _NoInput()
        folder = group.folder if group else None
        own = [path.parent, Path(self._working)]
        self.files = None if is_here else RedirectedFiles(own, folder)
        self._finder = _LibraryFinder(self.files)
        self._carried = CarriedFinder(path.parent, carried) if carried else None
        self._stack = ExitStack()
        os.environ["MPLBACKEND"] = "Agg"  # until the next lesson
        # `plt.show()` returns at once; that there is no window is no news to the learner.
        warnings.filterwarnings("ignore", message=".*non-interactive, and thus cannot be shown")

    @property
    def notes(self) -> tuple[Remark, ...]:
        """Notes for a reader of its figures."""
        is_aside = self.files is not None and self.files.has_written
        aside = (Remark("files_aside"),) if is_aside else ()
        return (*self._notes, *(self.group.notes if self.group else ()), *aside)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let the script's code find its environment inside.

        May be entered within itself, and within another one, which is left meanwhile.
        """
        other = _active[-1] if _active else None
        if other is self:
            if self.group is not None:  # it may have gone back to where it had it, or had not
                self.group.show()
            yield
            return
        if other is not None:
            other._leave()
        self._enter()
        _active.append(self)
        try:
            yield
        finally:
            _active.pop()
            self._leave()
            if other is not None:
                other._enter()

    def _enter(self) -> None:
        self.outside = _Outside.now()
        sys.argv, sys.path, sys.stdin = self._argv, self._path, self._input
        sys.dont_write_bytecode = True
        torch.set_num_threads(self._threads)
        _PROCESSES._actual_context = self._start_method
        sys.modules.update(self._modules)
        if self.outside.folder != self._working:
            os.chdir(self._working)
        self._count = len(sys.modules)
        load, set_interop = DataLoader.__init__, torch.set_num_interop_threads
        DataLoader.__init__ = self._without_workers(load)  # type: ignore[method-assign]
        self._stack.callback(setattr, DataLoader, "__init__", load)
        torch.set_num_interop_threads = _nothing
        self._stack.callback(setattr, torch, "set_num_interop_threads", set_interop)
        for finder in filter(None, (self._carried, self._finder)):
            sys.meta_path.insert(0, finder)
            self._stack.callback(sys.meta_path.remove, finder)
        self._finder.change_loaded()
        if self.group is not None:
            self._stack.enter_context(self.group.in_use())
        if self.files is not None:
            self._stack.enter_context(self.files.in_use())

    def _leave(self) -> None:
        self._stack.close()
        self._argv, self._path, self._working = sys.argv, sys.path, os.getcwd()
        self._threads, self._start_method = torch.get_num_threads(), _PROCESSES._actual_context
        self._take_modules(is_more=len(sys.modules) != self._count)
        self.outside.restore(self._working)

    def _take_modules(self, *, is_more: bool) -> None:
        """Take the script's own modules away: another run of it imports them anew."""
        if is_more:
            for name, module in list(sys.modules.items()):
                if self._is_own(name):
                    self._modules.setdefault(name, module)
        for name in self._modules:
            sys.modules.pop(name, None)

    def _is_own(self, name: str) -> bool:
        """Whether the script has imported a module from the folder that it stands in."""
        top = name.partition(".")[0]
        if top in self._known or top not in sys.modules:
            return False
        file = getattr(sys.modules[top], "__file__", None)
        beside = os.path.join(self._folder, top)
        return file in (f"{beside}.py", os.path.join(beside, "__init__.py"))

    def _without_workers(self, load: Callable[..., None]) -> Callable[..., None]:
        """`DataLoader.__init__`, which begins no processes: the data are loaded in this one."""

        @functools.wraps(load)
        def without_workers(loader: Any, *arguments: Any, **named: Any) -> None:
            given = inspect.signature(load).bind(loader, *arguments, **named)
            workers = given.arguments.get("num_workers", 0)
            if workers:
                for name in ("prefetch_factor", "persistent_workers", "multiprocessing_context"):
                    given.arguments.pop(name, None)
                given.arguments.update(num_workers=0, timeout=0)
                self._notes = (Remark("no_workers", {"workers": workers}),)
            load(*given.args, **given.kwargs)

        return without_workers


@dataclass(frozen=True, slots=True)
class _Outside:
    """The settings that each script has for itself."""

    argv: list[str]
    path: list[str]
    input: TextIO
    writes_bytecode: bool
    main: ModuleType
    folder: str
    threads: int
    start_method: Any
    """That of `multiprocessing`, which may be chosen once: each run of a script chooses anew."""

    @classmethod
    def now(cls) -> _Outside:
        """As it is now."""
        main, writes = sys.modules["__main__"], not sys.dont_write_bytecode
        threads, method = torch.get_num_threads(), _PROCESSES._actual_context
        return cls(sys.argv, sys.path, sys.stdin, writes, main, os.getcwd(), threads, method)

    def restore(self, folder: str) -> None:
        """Let it be so again; `folder` is the working directory now."""
        sys.argv, sys.path, sys.stdin = self.argv, self.path, self.input
        sys.dont_write_bytecode = not self.writes_bytecode
        sys.modules["__main__"] = self.main
        torch.set_num_threads(self.threads)
        _PROCESSES._actual_context = self.start_method
        if folder != self.folder:
            os.chdir(self.folder)


_PROCESSES: Any = multiprocessing.context._default_context

_active: list[ScriptEnvironment] = []
"""The environments that are entered: each within the one before, which it takes the place of."""


class _NoInput(io.TextIOBase):
    """A standard input that nobody types anything into."""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> NoReturn:
        raise EOFError("EOF when reading a line")

    def readline(self, size: int = -1, /) -> NoReturn:  # type: ignore[override]
        raise EOFError("EOF when reading a line")


def _nothing(*_: Any, **__: Any) -> None:
    """In place of what opens a window or waits for one, or can be done once in a process."""


# ── Pictures ────────────────────────────────────────────────────────────────────────────


_QUIET: Mapping[str, tuple[str, ...]] = {
    "matplotlib": ("use",),
    "matplotlib.pyplot": ("show", "pause"),
}
"""By module of matplotlib: the functions that would open a window, wait, or choose a window."""


class _LibraryFinder(MetaPathFinder):
    """Finds modules as Python does, and changes those that would open windows or write files."""

    def __init__(self, files: RedirectedFiles | None) -> None:
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module that is to be changed; None for all others."""
        if name not in _QUIET and (self._files is None or name not in LIBRARIES):
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                self._change(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _change(self, module: ModuleType) -> None:
        if module.__name__ in _QUIET:
            _silence(module)
        if self._files is not None:
            self._files.take_library(module.__name__)

    def change_loaded(self) -> None:
        """Let matplotlib draw to nowhere where it is loaded already."""
        for name in _QUIET:
            if name in sys.modules:
                _silence(sys.modules[name])


def _silence(module: ModuleType) -> None:
    for name in _QUIET[module.__name__]:
        setattr(module, name, _nothing)
    choose = getattr(module, "switch_backend", None)
    if choose is not None and not isinstance(choose, functools.partial):
        module.switch_backend = functools.partial(_to_nowhere, choose)  # type: ignore[attr-defined]


def _to_nowhere(choose: Callable[[str], Any], _: str) -> None:
    """Choose the backend that draws into memory, whichever is asked for."""
    choose("agg")
