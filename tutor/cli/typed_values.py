"""The values that are typed on the command line, read and checked."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from tutor.errors import EngineError, Refused
from tutor.lesson.languages import LANGUAGES

LANGUAGE_NAMES = ", ".join(LANGUAGES)


def names_script(name: str | None) -> bool:
    """Whether the command line names a script or a notebook, and no lesson."""
    return name is not None and name.lower().endswith((".py", ".ipynb"))


def read_script_name(text: str) -> str:
    """The name of a script or notebook. Raises ArgumentTypeError for any other."""
    if not names_script(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a script (.py, .ipynb)")
    return text


def read_host(text: str) -> str:
    """The machine that `--on` names. Raises ArgumentTypeError if it can be none."""
    from tutor.engine.connection import checked_host  # noqa: PLC0415 - rarely wanted
    from tutor.wording.notices import error_text  # noqa: PLC0415

    try:
        return checked_host(text)
    except EngineError as error:
        raise argparse.ArgumentTypeError(error_text(error)) from None


def read_language(text: str) -> str:
    """The code of a language that lessons are in. Raises ArgumentTypeError for others."""
    if text not in LANGUAGES:
        raise argparse.ArgumentTypeError(
            f"there is no lesson in {text!r}; available: {LANGUAGE_NAMES}"
        )
    return text


def _read_by(name: str) -> Callable[[str], Any]:
    """The reader of typed values that has this name; what it raises becomes an error of usage."""

    def read(text: str) -> Any:
        from tutor.wording import parameter_input  # noqa: PLC0415 - rarely wanted

        try:
            return getattr(parameter_input, name)(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None

    return read


read_count, read_seed, read_rate = map(_read_by, ("read_count", "read_seed", "read_learning_rate"))


def check_mode(mode: str | None, modes: Sequence[str]) -> None:
    """Raise Refused if the lesson is known to have no such mode."""
    if mode and modes and mode not in modes:
        raise Refused("no_mode", mode=mode, available=modes)
