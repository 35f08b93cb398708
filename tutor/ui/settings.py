"""The learner's settings: a small file in the platform's folder.

A file that can't be read or written is reported in one line and never stops the tutor.

The names of the themes, for the command line.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import msgspec
import platformdirs

from tutor import APP
from tutor.plain import one_line

ThemeName: TypeAlias = Literal["terminal", "dark", "light", "contrast"]
"""The terminal's own colours; light on dark; dark on light; white on black, nothing else."""

THEMES: tuple[ThemeName, ...] = get_args(ThemeName)
"""All themes, in the order of the key that changes them."""


class Settings(msgspec.Struct, frozen=True):
    """All settings, with their defaults."""

    theme: ThemeName = "terminal"
    mouse: bool = True
    """Whether the tutor handles the mouse; if not, the terminal does and can select text."""


def settings_file() -> Path:
    """The path of the settings file in the platform's configuration folder."""
    return platformdirs.user_config_path(APP) / "settings.json"


class SettingsFile:
    """The settings, saved in a file; without a file they last until the tutor ends."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.settings = Settings()
        self.trouble = ""
        """The error of reading or saving the settings, in one line; empty if there was none."""
        if file is not None:
            self._read(file)

    def _read(self, file: Path) -> None:
        try:
            self.settings = msgspec.json.decode(file.read_bytes(), type=Settings)
        except FileNotFoundError:
            return  # no settings have been saved yet
        except OSError as error:
            why = error.strerror or str(error)
            self.trouble = one_line(f"the settings can't be read: {why} ({file})")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.trouble = one_line(f"the settings are not used: {error} ({file})")

    def keep(self, settings: Settings) -> None:
        """Use these settings from now on, and save them atomically."""
        self.settings = settings
        if self._file is None:
            return
        beside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(msgspec.json.encode(settings) + b"\n")
            beside.replace(self._file)
            self.trouble = ""
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            why = error.strerror or str(error)
            self.trouble = one_line(f"this is not saved for the next time: {why} ({self._file})")
