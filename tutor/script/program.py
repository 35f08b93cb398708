"""A learner's own script as a Program: the same heart runs it that runs a lesson."""

from __future__ import annotations

from functools import partial
from types import CodeType, ModuleType

from tutor.errors import Refused
from tutor.lesson.model import Lesson
from tutor.protocol.inspections import LoopReport
from tutor.script.driver import Driver
from tutor.script.environment import ScriptEnvironment
from tutor.script.exception_handlers import ExceptionHandlers
from tutor.script.instrument import instrumented
from tutor.script.lesson import learning_rate_in
from tutor.script.line_places import full_place, short_place
from tutor.script.log_handlers import LogHandlers
from tutor.script.loops import outline_of
from tutor.script.outline import TrainingLoop, loop_report
from tutor.script.parameters import ParameterTable
from tutor.script.phase_code import for_targets, phase_statements, phases_with_code
from tutor.script.probe_loop import ProbeLoop
from tutor.script.script_loop import ScriptLoop
from tutor.training.liveness import Liveness
from tutor.training.loop import Loop
from tutor.training.program import Program, boxed_of

_NOTHING = compile("", "<phase>", "exec")


def script_programs(lesson: Lesson) -> dict[str, Program]:
    """The program of a script's loop, by its one mode.

    Raises Refused where the script has no such loop.
    """
    assert lesson.script is not None
    outline = outline_of(lesson.source)
    if outline.refusal is not None:
        raise Refused(outline.refusal.code, line=outline.refusal.line, **outline.refusal.values)
    if not 0 < lesson.script.loop <= len(outline.loops):
        raise Refused("no_loop_number", number=lesson.script.loop, count=len(outline.loops))
    loop = outline.loops[lesson.script.loop - 1]
    return {loop.mode: program_of(lesson, loop)}


def script_report(loop: Loop) -> LoopReport:
    """A script's loop as it is told, with the parameters that it has now."""
    assert isinstance(loop, ScriptLoop)
    return loop_report(loop.outline, tuple(loop.parameters()))


def program_of(lesson: Lesson, loop: TrainingLoop) -> Program:
    """The program of one loop of a script."""
    filename = str(lesson.path)
    code = instrumented(lesson.source, filename, loop)
    opener = _Opener(lesson, loop, code)
    program = Program(
        name=lesson.slug,
        filename=filename,
        mode=loop.mode,
        parameters=(),
        learning_rate=0.0,
        epochs=loop.epochs or lesson.epochs[loop.mode],
        batches=1,
        warm_up=0,
        workers=1,
        setup=None,
        loop=phases_with_code(lesson.source, filename, loop),
        epoch_code=_NOTHING,
        report=None,
        watch=(),
        boxed=boxed_of(lesson),
        liveness=Liveness(frozenset(), None),
        open_loop=opener.open,
        open_probe=opener.open_probe,
        place_of=partial(full_place, lesson.path, lesson.source),
    )
    opener.program = program
    return program


class _Opener:
    """Runs a script to its training loop."""

    program: Program

    def __init__(self, lesson: Lesson, loop: TrainingLoop, code: CodeType) -> None:
        self._lesson, self._loop, self._code = lesson, loop, code
        self._targets = for_targets(lesson.source)
        self._literal_rate = learning_rate_in(lesson.source, loop) or 0.0
        self._handlers = ExceptionHandlers(lesson.source, str(lesson.path))
        self._log_handlers = LogHandlers()

    def open(self, device: str, learning_rate: float) -> ScriptLoop:
        """The loop, at its start. Raises LessonRaised, or Refused if the script ends before it."""
        self._log_handlers.put_back()
        module = ModuleType("__main__")
        module.__file__ = self.program.filename
        vars(module)["__builtins__"] = __builtins__
        driver = Driver(self._code, module, self._handlers)
        options = self._lesson.script
        assert options is not None
        environment = ScriptEnvironment(
            self._lesson.path,
            module,
            [options.name or str(self._lesson.path), *options.arguments],
            is_here=options.is_here,
            carried=options.modules,
        )
        loop = ScriptLoop(self.program, self._loop, driver, device, self._table(), environment)
        loop.start()
        if driver.loop is None:
            lesson, line = self._lesson, self._loop.line
            place = short_place(lesson.path, lesson.source, line)
            raise Refused("loop_not_reached", line=line, place=place)
        loop.phase_statements = phase_statements(self._lesson.source, self._loop)
        if learning_rate not in (0.0, loop.learning_rate()):
            loop.set_learning_rate(loop.learning_rate(), learning_rate)
        return loop

    def _table(self) -> ParameterTable:
        return ParameterTable(self._loop, self._targets, self._literal_rate)

    def open_probe(self, device: str) -> ProbeLoop:
        """A loop for looking, without any names yet."""
        return ProbeLoop(self.program, self._loop, device, self._table())
