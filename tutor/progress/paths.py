"""The paths of the progress file and of the files named after it."""

from __future__ import annotations

import os
from datetime import datetime
from itertools import count
from pathlib import Path

import platformdirs

APP = "gradient-tutor"
FILE = "TUTOR_PROGRESS"
"""The environment variable that names another file."""


def progress_file() -> Path:
    """The file in the platform's data folder, or the one that TUTOR_PROGRESS names."""
    named = os.environ.get(FILE)
    if named:
        return Path(os.path.abspath(os.path.expanduser(named)))
    return platformdirs.user_data_path(APP) / "progress.sqlite3"


def free_name(file: Path, what: str, suffix: str = "") -> Path:
    """A name beside the file that says what it is and of when, and that nothing bears yet."""
    stem = f"{file.name}.{what}-{datetime.now():%Y%m%d-%H%M%S}"
    names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
    paths = (file.with_name(name + suffix) for name in names)
    return next(path for path in paths if not os.path.lexists(path))
