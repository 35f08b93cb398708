"""A lesson as a script or a notebook that runs without the tutor, made without running it.

The figures of a run as a table are written by `tutor.training.series`.
"""

from tutor.export.code import ExportSettings
from tutor.export.files import free_path, new_file, write
from tutor.export.notebook import notebook
from tutor.export.script import script

__all__ = ["ExportSettings", "free_path", "new_file", "notebook", "script", "write"]
