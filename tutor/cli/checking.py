"""`tutor check`: proves lessons, and tells what is wrong line by line."""

from __future__ import annotations

import argparse
import sys
import time

from tutor.cli.lessons import trusted_lesson
from tutor.errors import LessonError
from tutor.lesson import library
from tutor.plain import plain
from tutor.training.check import check
from tutor.training.devices import use_one_thread


def check_command(options: argparse.Namespace) -> int:
    """Prove the lessons named, or all that are shipped; status 1 if one fails."""
    names = options.lessons or [h.slug for h in library.headlines() if h.shipped]
    use_one_thread()
    results = [_check_one(name, options.trust) for name in names]
    return 0 if all(results) else 1


def _check_one(name: str, trust_now: bool) -> bool:
    started = time.perf_counter()
    try:
        lesson = trusted_lesson(name, trust_now=trust_now)
    except LessonError as error:
        _tell(str(error))
        return False
    found = check(lesson)
    for finding in found:
        _tell(str(finding))
    if not found:
        seconds = time.perf_counter() - started
        print(f"ok  {lesson.slug}  ({', '.join(lesson.modes)}; {seconds:.1f} s)", flush=True)
    return not found


def _tell(text: str) -> None:
    sys.stdout.flush()
    for line in plain(text).splitlines():
        print(f"tutor: {line}", file=sys.stderr)
