"""Which file the progress is kept in. Opens nothing."""

from __future__ import annotations

import os
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
