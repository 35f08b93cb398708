"""`tutor check`: checks lessons, and reports what is wrong line by line.

With `--watch` it looks twice a second whether a file has changed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tutor.cli.lessons import trusted
from tutor.cli.terminal import connect_as_asked, names_script, warn, word
from tutor.engine.command_client import CommandClient, LessonAborted
from tutor.errors import LessonError
from tutor.lesson import library
from tutor.lesson.languages import ORIGINAL
from tutor.lesson.model import Diagnostic, Lesson, LessonDiagnostics
from tutor.lesson.related_lessons import diagnostics_beside_others
from tutor.plain import one_line
from tutor.protocol.commands import CheckLesson
from tutor.protocol.events import AnswersComputed, CheckFinding, DeviceDescribed, Event
from tutor.protocol.frame import Remark
from tutor.wording.check_findings import check_line
from tutor.wording.engine_remarks import abort_text, part_text, stopped_at
from tutor.wording.lesson_faults import lesson_fault_text
from tutor.wording.notices import error_text
from tutor.wording.number_format import counted

PART_SECONDS = 60.0
"""Seconds that one phase of one mode, or one exercise, may take."""

LOOK_SECONDS = 0.5
"""Seconds between two looks at the files."""

SETTLED = 0.1
"""Seconds that a file has to stay as it is: an editor may write it in parts."""

Stamp: TypeAlias = tuple[int, int, int] | None
"""The file's time, size and number; None where there is no file."""


def changed_files(
    files: Callable[[], Iterable[Path]], sleep: Callable[[float], None] = time.sleep
) -> Iterator[tuple[Path, ...]]:
    """The files that changed since the last look, forever; the first time all files.

    `files` is asked at every look, so one that is new is noticed. A file that is gone has
    changed, and so has a file that is back.
    """
    known: Mapping[Path, Stamp] = {}
    while True:
        now = _stamps(files())
        changed = _changed(known, now)
        while changed:
            sleep(SETTLED)
            later = _stamps(files())
            if later == now:
                break
            now, changed = later, _changed(known, later)
        if changed:
            yield changed
        known = now
        sleep(LOOK_SECONDS)


def _changed(known: Mapping[Path, Stamp], now: Mapping[Path, Stamp]) -> tuple[Path, ...]:
    return tuple(path for path, stamp in now.items() if known.get(path, ()) != stamp)


def _stamps(files: Iterable[Path]) -> Mapping[Path, Stamp]:
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except (OSError, ValueError):  # gone for the moment; reading it reports why
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def check_command(options: argparse.Namespace) -> int:
    """Check the lessons named, or all that are shipped; status 1 if one fails.

    With --watch it continues until Ctrl+C. Raises LessonError if what is to be watched is not
    there, or may not run.
    """
    wanted = _Wanted(options.lessons, options.lang)
    with CommandClient(connect=connect_as_asked(options)) as client:
        checker = _Checker(client, options)
        if options.watch:
            _Watch(wanted, checker, options.trust).run()
        return _check_wanted(wanted, checker)


def _check_wanted(wanted: _Wanted, checker: _Checker) -> int:
    files: dict[Path, None] = {}
    good = True
    for name in wanted.names:
        try:
            files.update(dict.fromkeys(wanted.files(name)))
        except LessonError as error:
            _report(error_text(error))
            good = False
    if good and not files:
        raise LessonError(f"there are no lessons in {wanted.language}: there is nothing to check")
    results = checker.check_all(files)
    if checker.device:
        print(_device_text(checker.device, dict(zip(files, results, strict=True))), flush=True)
    return 0 if good and all(results) else 1


def _device_text(device: str, results: Mapping[Path, bool]) -> str:
    """Whether all lessons run on a device, in one line; else which of them don't."""
    failed = {path.stem for path, is_good in results.items() if not is_good}
    count = len({path.stem for path in results})
    if not failed:
        all_of_them = "the lesson runs" if count == 1 else f"all {count} lessons run"
        return one_line(f"{all_of_them} on {device}")
    names = ", ".join(sorted(failed))
    most = f"{count - len(failed)} of {counted(count, 'lesson')}"
    return one_line(f"{most} run on {device}; these do not: {names}")


class _Wanted:
    """The lessons to check: those named, or all that are shipped."""

    def __init__(self, names: Sequence[str], language: str | None) -> None:
        self.names = names or [h.slug for h in library.headlines() if h.shipped]
        self._all = not names
        self.language = language

    def files(self, name: str) -> Sequence[Path]:
        """A lesson's files in all languages, or in the one. Raises LessonError without any."""
        if names_script(name):
            raise LessonError(
                f"{one_line(name)} is a script, not a lesson: "
                f"`tutor inspect {word(name)}` examines it"
            )
        found = library.find_all(name)
        if self._all:
            found = {code: path for code, path in found.items() if library.is_shipped(path)}
        if self.language is None:
            return tuple(found.values())
        if self.language in found or self._all:
            return tuple(path for code, path in found.items() if code == self.language)
        there = ", ".join(found)
        raise LessonError(one_line(f"{name} is not available in {self.language}, only in {there}"))


class _Checker:
    """Checks lessons, and prints what is wrong with each."""

    def __init__(self, client: CommandClient, options: argparse.Namespace) -> None:
        self._client = client
        self._options = options
        self._of_host = f" of {options.on}" if options.on else ""
        self.device = ""
        """The device that all is run on, described, if one was asked for and is there."""

    def check_all(self, paths: Iterable[Path]) -> list[bool]:
        """Whether each lesson passes the check."""
        passed: set[Path] = set()
        results = []
        for path in paths:
            results.append(self._check(path, passed))
            if results[-1]:
                passed.add(path.absolute())
        return results

    def _check(self, path: Path, passed: Collection[Path]) -> bool:
        """Whether a lesson passes the check. Translations of checked lessons aren't run again."""
        started = time.perf_counter()
        try:
            lesson = trusted(path, trust_now=self._options.trust)
        except LessonError as error:
            _report(error_text(error))
            if isinstance(error, LessonDiagnostics):
                _report(f"{path}: once that is fixed, the code and the exercises are checked, too")
            return False
        beside = diagnostics_beside_others(lesson)
        found: list[Diagnostic | CheckFinding] = [*lesson.warnings, *beside]
        answers: list[str] = []
        if beside or library.original_of(path.absolute()) not in passed:
            asked = CheckLesson(
                lesson=lesson, with_answers=self._options.answers, device=self._options.device
            )
            result = findings(self._client, asked)
            found += result.findings
            answers = result.answers
            self.device = result.device + self._of_host if result.device else self.device
        for finding in found:
            if isinstance(finding, CheckFinding):
                _report(check_line(finding))
            else:
                _report(lesson_fault_text(*finding.in_file()))
        good = all(isinstance(finding, CheckFinding) and finding.is_note for finding in found)
        if good:
            seconds = time.perf_counter() - started
            print(f"ok  {_name(lesson)}  ({_about(lesson)}; {seconds:.1f} s)", flush=True)
        for answer in answers:
            print(f"    {one_line(answer)}", flush=True)
        return good


@dataclass(slots=True)
class CheckResult:
    """All that is wrong with a lesson, its answers, and the device that it ran on, described."""

    findings: list[CheckFinding] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    device: str = ""


def findings(
    client: CommandClient, command: CheckLesson, seconds: float = PART_SECONDS
) -> CheckResult:
    """All that is wrong with a lesson, what it does to its process included; its answers.

    At Ctrl+C, the part that was being checked is printed. Raises EngineError if there is no
    process to check it in, and Refused if there is no such device.
    """
    result, lesson = CheckResult(), command.lesson

    def on_event(event: Event) -> None:
        match event:
            case CheckFinding():
                result.findings.append(event)
            case AnswersComputed(exercise=exercise, texts=texts):
                found = ", then ".join(text or "none" for text in texts)
                result.answers.append(one_line(f"{exercise}: {found}"))
            case DeviceDescribed():
                result.device = f"{event.device} ({event.text})"

    try:
        client.do(command, on_event, seconds)
    except LessonAborted as error:
        what = f"{part_text(error.part)} {abort_text(error.how)}"
        note = Remark("text", {"text": f"{what}; nothing more of this lesson was checked"})
        result.findings.append(
            CheckFinding(path=str(lesson.path), line=error.part.line, remark=note)
        )
    except KeyboardInterrupt as stopped:
        if where := stopped_at(lesson, stopped):
            _report(f"stopped at {where}")
        raise
    return result


def _name(lesson: Lesson) -> str:
    return lesson.slug if lesson.language == ORIGINAL else f"{lesson.language}/{lesson.slug}"


def _about(lesson: Lesson) -> str:
    count = len(lesson.exercises)
    return f"{', '.join(lesson.modes)}; {counted(count, 'exercise')}"


def _report(text: str) -> None:
    sys.stdout.flush()
    warn(text)


class _Watch:
    """Checks lessons again whenever one of their files changes."""

    def __init__(self, wanted: _Wanted, checker: _Checker, trust: bool) -> None:
        self._wanted = wanted
        self._checker = checker
        self._files = {name: wanted.files(name) for name in wanted.names}
        """The files of each lesson, by its name, as they were found last."""
        own = [f for f in self._all_files() if not library.is_shipped(f)]
        if own and not trust:
            raise LessonError(
                f"{one_line(str(own[0]))} is Python code that runs whenever you save it: "
                "give --trust to let it"
            )

    def run(self) -> None:
        """Check until Ctrl+C, which ends the command. Nothing that is wrong with a file does."""
        for changed in changed_files(self._files_now):
            print(f"\n---- {time.strftime('%H:%M:%S')} {_names(changed)} ----", flush=True)
            results = self._checker.check_all(
                path
                for files in self._files.values()
                if set(files) & set(changed)
                for path in files
            )
            bad = results.count(False)
            state = f"{bad} of {len(results)} with faults" if bad else "all is well"
            print(f"{state}; waiting for changes (Ctrl+C ends)", flush=True)

    def _files_now(self) -> Sequence[Path]:
        for name in self._files:
            try:
                self._files[name] = self._wanted.files(name)
            except LessonError:  # gone for the moment: reading it reports that
                continue
        return self._all_files()

    def _all_files(self) -> Sequence[Path]:
        return [path for files in self._files.values() for path in files]


def _names(changed: Sequence[Path]) -> str:
    return one_line(str(changed[0])) if len(changed) == 1 else f"{len(changed)} files"
