"""A learner's own script as a Program: the same heart runs it that runs a lesson."""

from __future__ import annotations

import re
import sys
from functools import partial
from types import ModuleType
from typing import TypeVar

import msgspec

from tutor.errors import Refused
from tutor.lesson.model import Lesson
from tutor.protocol.inspections import LoopReport
from tutor.script.driver import Driver
from tutor.script.environment import LogHandlers, ScriptEnvironment, ScriptGroup
from tutor.script.instrument import instrumented
from tutor.script.lesson import learning_rate_in
from tutor.script.line_places import full_place, short_place
from tutor.script.loops import outline_of
from tutor.script.outline import TrainingLoop, loop_report
from tutor.script.parameters import ParameterTable
from tutor.script.probe_loop import (
    NOTHING,
    ProbeLoop,
    for_targets,
    own_names_read,
    phase_statements,
    phases_with_code,
    sums_in,
)
from tutor.script.script_loop import ScriptLoop
from tutor.script.waiting_state import ExceptionHandlers
from tutor.training.devices import seed_all
from tutor.training.lesson_error import LessonRaised
from tutor.training.liveness import Liveness
from tutor.training.loop import Loop
from tutor.training.program import Program, boxed_of

L = TypeVar("L", bound=ScriptLoop)


def script_programs(lesson: Lesson) -> dict[str, Program]:
    """The program of a script's loop, by its one mode.

    Raises Refused where the script has no such loop.
    """
    program = script_opener(lesson).program
    return {program.mode: program}


def script_opener(lesson: Lesson) -> ScriptOpener:
    """The opener of a script at its loop. Raises Refused where the script has no such loop."""
    assert lesson.script is not None
    outline = outline_of(lesson.source)
    if not 0 < lesson.script.loop <= len(outline.loops):
        raise Refused("no_loop_number", number=lesson.script.loop, count=len(outline.loops))
    return ScriptOpener(lesson, outline.loops[lesson.script.loop - 1])


def script_report(loop: Loop) -> LoopReport:
    """The report on a script's loop, with the parameters and batches that it has now."""
    assert isinstance(loop, ScriptLoop)
    outline, found = loop.outline, loop.table.value(loop.outline.loss, loop.namespace)
    if loop.loss() is None and found is not None:  # the errors of all samples
        outline = msgspec.structs.replace(outline, loss="")
    return loop_report(outline, tuple(loop.parameters()), loop.progress.batches_in_all)


def _program_of(lesson: Lesson, loop: TrainingLoop, opener: ScriptOpener) -> Program:
    filename = str(lesson.path)
    return Program(
        name=lesson.slug,
        filename=filename,
        mode=loop.mode,
        parameters=(),
        learning_rate=0.0,
        epochs=loop.epochs or lesson.epochs[loop.mode],
        batches=1,
        warm_up=0,
        workers=lesson.workers,
        setup=None,
        loop=phases_with_code(lesson.source, filename, loop),
        epoch_code=NOTHING,
        report=None,
        watch=(),
        boxed=boxed_of(lesson),
        liveness=Liveness(frozenset(), None),
        open_loop=opener.open,
        open_probe=opener.open_probe,
        writes_here=lesson.script is not None and lesson.script.is_here,
        place_of=partial(full_place, lesson.path, lesson.source),
    )


class ScriptOpener:
    """Runs a script to its training loop."""

    def __init__(self, lesson: Lesson, loop: TrainingLoop) -> None:
        self._lesson, self._loop = lesson, loop
        self._code = instrumented(lesson.source, str(lesson.path), loop)
        self._targets = for_targets(lesson.source)
        self._literal_rate = learning_rate_in(lesson.source, loop) or 0.0
        groups = phase_statements(lesson.source, loop)
        self._sums = sums_in(loop, groups)
        batch = [statement for group in groups.values() for statement in group]
        self._batch_reads = own_names_read(batch) if batch else None
        self._handlers = ExceptionHandlers(lesson.source, str(lesson.path))
        self._log_handlers = LogHandlers()
        self.program = _program_of(lesson, loop, self)

    def open(self, device: str, learning_rate: float, seed: int) -> ScriptLoop:
        """The loop, at its start. Raises LessonRaised, or Refused if the script ends before it."""
        if self.program.workers == 1:
            seed_all(seed)
            return self.opened(ScriptLoop, device, learning_rate)
        from tutor.script import ranked_script  # noqa: PLC0415 - few scripts need it

        return ranked_script.open_together(
            self._lesson,
            self.program,
            (device, learning_rate, seed),
            lambda kind, group: self.opened(kind, device, learning_rate, group),
        )

    def opened(
        self, kind: type[L], device: str, learning_rate: float, group: ScriptGroup | None = None
    ) -> L:
        """A loop of this kind, at its start. `group`: this rank's, where there are several."""
        self._log_handlers.put_back()
        if group is not None:
            group.set_environment()
        module = ModuleType("__main__")
        module.__file__ = self.program.filename
        vars(module)["__builtins__"] = __builtins__
        driver = Driver(self._code, module, self._handlers, self._loop.phases_with_gradients())
        options = self._lesson.script
        assert options is not None
        environment = ScriptEnvironment(
            self._lesson.path,
            module,
            [options.name or str(self._lesson.path), *options.arguments],
            is_here=options.is_here,
            sent_modules=options.modules,
            group=group,
        )
        outline, table = self._loop, self._table()
        loop = kind(self.program, outline, driver, device, table, environment, self._batch_reads)
        try:
            loop.start()
        except LessonRaised as error:
            raise _refusal_of(error, self.program) or error from error.__cause__
        if driver.loop is None:
            lesson, line = self._lesson, self._loop.line
            place = short_place(lesson.path, lesson.source, line)
            raise Refused("loop_not_reached", line=line, place=place)
        loop.own_rate = loop.learning_rate_of_script()
        if learning_rate not in (0.0, loop.own_rate):
            loop.set_learning_rate(loop.own_rate, learning_rate)
        return loop

    def _table(self) -> ParameterTable:
        return ParameterTable(self._loop, self._targets, self._literal_rate)

    def open_probe(self, device: str) -> ProbeLoop:
        """A loop for looking, without any names yet."""
        kind = ProbeLoop
        if self.program.workers > 1:
            from tutor.script import ranked_script  # noqa: PLC0415 - as above

            kind = ranked_script.LoneProbeLoop
        return kind(self.program, self._loop, device, self._table(), self._sums)


# ── The reasons, found only while it runs, why a script can't be stepped ──────────────────

_PACKAGES = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "IPython": "ipython",
    "OpenGL": "PyOpenGL",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "google": "protobuf",
    "hydra": "hydra-core",
    "imblearn": "imbalanced-learn",
    "mpl_toolkits": "matplotlib",
    "pkg_resources": "setuptools",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}
"""A module → the package that has it, where that has another name."""


_WANTS_RANKS = re.compile(r".* environment variable (RANK|WORLD_SIZE) .*|'(LOCAL_)?RANK'")
"""Errors of a script that reads variables of the environment that torchrun sets."""


def _refusal_of(raised: LessonRaised, program: Program) -> Refused | None:
    """The refusal of a script that raised before its loop; None where only it can help itself."""
    error = raised.__cause__
    if raised.line is None:
        return None
    place = {"place": program.place(raised.line), "line": raised.line}
    if isinstance(error, ModuleNotFoundError) and (module := _missing(error)):
        package = _PACKAGES.get(module, module.replace("_", "-"))
        return Refused("package_missing", module=module, package=package, **place)
    if isinstance(error, EOFError) and "reading a line" in str(error):
        return Refused("input_refused", **place)
    if program.workers == 1 and _WANTS_RANKS.fullmatch(str(error)):
        return Refused("needs_ranks", file=program.name, **place)
    return None


def _missing(error: ModuleNotFoundError) -> str:
    """The module that is not installed; empty if only a part of an installed one is missing."""
    module = (error.name or "").partition(".")[0]
    return "" if module in sys.modules else module
