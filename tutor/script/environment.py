"""The environment of a script while its code runs: arguments, modules, input, pictures and files.

They are as under `python train.py`, but that nobody answers its questions, pictures are drawn to
nowhere, and nothing of the learner's is changed (`redirected_files.py`).
"""

from __future__ import annotations

import functools
import io
import logging
import multiprocessing.context
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d
from torch.distributed.distributed_c10d import GroupMember
from torch.utils.data import DataLoader

from tutor.protocol.frame import Remark
from tutor.script.line_places import NOTEBOOK
from tutor.script.loader_workers import WorkersInTurn
from tutor.script.redirected_files import LIBRARIES, Patches, RedirectedFiles, in_places
from tutor.script.source import SentModuleFinder
from tutor.training.devices import (
    USUAL_THREADS,
    backends_of_ranks,
)


class ScriptEnvironment:
    """The environment of one run of a script, entered while its code runs and left again."""

    def __init__(
        self,
        path: Path,
        module: ModuleType,
        arguments: Sequence[str],
        *,
        is_here: bool,
        sent_modules: Mapping[str, bytes] | None = None,
        group: ScriptGroup | None = None,
    ) -> None:
        """`module` is the script's `__main__`; `arguments` are its `sys.argv`.

        `is_here`: it writes files where it wants. `sent_modules`: the modules beside it, if it
        comes from another machine. `group`: on several ranks, the process group.
        """
        self.group = group
        self._remarks: tuple[Remark, ...] = ()
        tutors = _active[-1]._tutors if _active else _ProcessSettings.now()
        self._tutors: _ProcessSettings = tutors
        """The settings that hold while no script's code runs, as they were last."""
        # As torchrun has it: one thread for each rank, where nothing else is said.
        is_one = group is not None and "OMP_NUM_THREADS" not in os.environ
        self._own = replace(
            tutors,
            argv=list(arguments),
            path=[str(path.parent), *tutors.path],
            input=_NoInput(),
            is_without_bytecode=True,
            main=module,
            folder=_own_folder(path) or tutors.folder,
            threads=1 if is_one else USUAL_THREADS,
            start_method=None,
            process_group=None,
        )
        self._folder = str(path.parent)
        helpers = _active[-1]._modules.keys() if _active else ()
        self._known = sys.modules.keys() - helpers
        self._modules: dict[str, ModuleType] = {"__main__": module}
        """The script itself, and the modules beside it that it has imported."""
        if path.suffix == NOTEBOOK:
            vars(module)["display"] = _display
        self._count = 0
        own, shared = [path.parent, Path(tutors.folder)], group.folder if group else None
        self.files = None if is_here else RedirectedFiles(own, shared, self._is_script)
        self._finder = _LibraryFinder(self.files)
        self._sent = SentModuleFinder(path.parent, sent_modules) if sent_modules else None
        self._stack = ExitStack()
        os.environ["MPLBACKEND"] = "Agg"  # until the next lesson
        # `plt.show()` returns at once; the learner need not be told that there is no window.
        warnings.filterwarnings("ignore", message=".*non-interactive, and thus cannot be shown")

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Notes to show the learner."""
        has_written = self.files is not None and self.files.has_written
        of_files = (Remark("files_aside"),) if has_written else ()
        return (*self._remarks, *(self.group.remarks if self.group else ()), *of_files)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let the script's code find its environment inside.

        May be entered within itself, and within another one, which is left meanwhile.
        """
        other = _active[-1] if _active else None
        if other is self:
            if self.group is not None:  # going back may have changed whether it is in it
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
        self._tutors = _ProcessSettings.now()
        sys.modules.update(self._modules)
        self._own.apply()
        self._count = len(sys.modules)
        in_turn = self._with_workers_in_turn(DataLoader._get_iterator)
        patches: Patches = {
            DataLoader: {"_get_iterator": in_turn},
            torch: {"set_num_interop_threads": _nothing},
        }
        self._stack.enter_context(in_places(patches))
        for finder in filter(None, (self._sent, self._finder)):
            sys.meta_path.insert(0, finder)
            self._stack.callback(sys.meta_path.remove, finder)
        self._finder.change_loaded()
        if self.group is not None:
            self._stack.enter_context(self.group.in_use())
        if self.files is not None:
            self._stack.enter_context(self.files.in_use())

    def _leave(self) -> None:
        self._stack.close()
        self._own = _ProcessSettings.now()
        self._take_modules(is_more=len(sys.modules) != self._count)
        self._tutors.apply()

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

    def _is_script(self, names: Mapping[str, Any]) -> bool:
        """Whether these are the global names of the script, or of a module beside it."""
        return names is vars(self._modules["__main__"]) or self._is_own(str(names.get("__name__")))

    def _with_workers_in_turn(self, iterator_of: Callable[..., Any]) -> Callable[..., Any]:
        """`DataLoader._get_iterator`, which begins no processes."""

        def get_iterator(loader: DataLoader[Any]) -> Any:
            if not loader.num_workers:
                return iterator_of(loader)
            self._remarks = self._remarks or (
                Remark("workers_in_turn", {"workers": loader.num_workers}),
            )
            return WorkersInTurn(loader)

        return get_iterator


@dataclass(frozen=True, slots=True)
class _ProcessSettings:
    """Settings of the process that the tutor and each script have for themselves."""

    argv: list[str]
    path: list[str]
    input: Any
    is_without_bytecode: bool
    main: ModuleType
    folder: str
    threads: int
    start_method: Any
    """The start method of `multiprocessing`, which a program may set only once."""
    process_group: Any
    """PyTorch's default process group."""

    @classmethod
    def now(cls) -> _ProcessSettings:
        """The settings as they are now."""
        of_python = sys.argv, sys.path, sys.stdin, sys.dont_write_bytecode, sys.modules["__main__"]
        threads, method = torch.get_num_threads(), _PROCESSES._actual_context
        return cls(*of_python, os.getcwd(), threads, method, GroupMember.WORLD)

    def apply(self) -> None:
        """Set all of them."""
        sys.argv, sys.path, sys.stdin = self.argv, self.path, self.input
        sys.dont_write_bytecode, sys.modules["__main__"] = self.is_without_bytecode, self.main
        torch.set_num_threads(self.threads)
        _PROCESSES._actual_context = self.start_method
        is_there = self.process_group in distributed_c10d._world.pg_map
        GroupMember.WORLD = self.process_group if is_there else None
        if os.getcwd() != self.folder:
            os.chdir(self.folder)


def _own_folder(path: Path) -> str:
    """The folder that Jupyter starts a notebook in; "" for a script, and for a copy from afar."""
    return str(path.parent.resolve()) if path.suffix == NOTEBOOK and path.parent.is_dir() else ""


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


def _display(*things: object, **_: object) -> None:
    """The `display` that Jupyter gives each notebook."""
    for thing in things:
        print(repr(thing))


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing, in place of a function that opens a window, waits, or works only once."""


# ── Pictures ────────────────────────────────────────────────────────────────────────────


_QUIET: Mapping[str, tuple[str, ...]] = {
    "matplotlib": ("use",),
    "matplotlib.pyplot": ("show", "pause"),
}
"""A module of matplotlib → its functions that open a window, wait, or choose a window."""


class _LibraryFinder(MetaPathFinder):
    """Finds modules as Python does, and changes those that would open windows or write files."""

    def __init__(self, files: RedirectedFiles | None) -> None:
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
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


# ── Loggers ───────────────────────────────────────────────────────────────────────────────


class LogHandlers:
    """The handlers of all loggers, as they were at one moment, put back before a script runs anew.

    Loggers belong to the process: a script that adds a handler to one would add a second one when
    it runs again, and each of its lines would be logged twice.
    """

    def __init__(self) -> None:
        self._handlers = {logger.name: tuple(logger.handlers) for logger in _loggers()}

    def put_back(self) -> None:
        """Remove handlers that have been added since, and add those that have been removed."""
        for logger in _loggers():
            logger.handlers[:] = self._handlers.get(logger.name, ())


def _loggers() -> list[logging.Logger]:
    named = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(each for each in named if isinstance(each, logging.Logger))]


# ── The process group of a script on several ranks ────────────────────────────────────

_DESTROY = dist.destroy_process_group


@dataclass
class ScriptGroup:
    """The process group of a script's run on one rank, as the script finds it.

    The ranks belong to one group already, which outlives the script: what the script's own
    `init_process_group` and `destroy_process_group` do is to have it, and to have it no longer.
    """

    rank: int
    size: int
    port: int
    """The port of this machine at which the ranks have met."""
    world: Any
    """The process group of all ranks."""
    folder: Path | None = None
    """The folder for the files that all ranks write; None if they write where they want."""
    is_joined: bool = False
    """Whether the script has the group now."""
    remarks: tuple[Remark, ...] = field(default=())
    """Notes for a reader of its figures."""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A span in which the script's code finds its group, if it has it, and asks for it here."""
        self.show()
        own = {"init_process_group": self._join, "destroy_process_group": self._leave}
        modules = (dist, distributed_c10d, device_mesh)
        with in_places({m: {n: own[n] for n in own if n in vars(m)} for m in modules}):
            yield

    def show(self) -> None:
        """Let the script's code find the group, or none, as it has it now."""
        GroupMember.WORLD = self.world if self.is_joined else None

    def set_environment(self) -> None:
        """Set the variables of the environment that torchrun sets."""
        rank, size = str(self.rank), str(self.size)
        ranks = dict.fromkeys(("RANK", "LOCAL_RANK", "ROLE_RANK"), rank)
        sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_WORLD_SIZE"), size)
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.port), "GROUP_RANK": "0"}
        started = {"TORCHELASTIC_RUN_ID": "tutor", "TORCHELASTIC_RESTART_COUNT": "0"}
        os.environ.update(ranks | sizes | place | started)

    def _join(
        self,
        backend: str | None = None,
        init_method: str | None = None,
        timeout: object = None,
        world_size: int = -1,
        rank: int = -1,
        *_: object,
        **__: object,
    ) -> None:
        """Join the group: what a script gets for `init_process_group`."""
        if self.is_joined:
            raise ValueError("trying to initialize the default process group twice!")
        for name, given, own in (("rank", rank, self.rank), ("world_size", world_size, self.size)):
            if given not in (-1, own):
                raise ValueError(f"init_process_group has {name}={given}, but here it is {own}")
        wanted = str(backend or "gloo").lower()
        is_gloo = all(part.endswith(("gloo", "undefined")) for part in wanted.split(","))
        if not is_gloo and not any(b in wanted for b in backends_of_ranks(self.size).values()):
            self.remarks = (Remark("backend_as_gloo", {"backend": wanted, "ranks": self.size}),)
        self.is_joined = True
        self.show()

    def _leave(self, group: Any = None) -> None:
        """Leave the group, or destroy one of the script's own: its `destroy_process_group`."""
        if group is not None and group is not self.world:
            _DESTROY(group)
        elif not self.is_joined:
            raise ValueError("Invalid process group specified")
        else:
            self.is_joined = False
            self.show()
