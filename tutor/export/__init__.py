"""A lesson to take along: as a script, as a notebook, and the files they are written to.

Made from the lesson alone, without running it: never imports torch. The figures of a run
as a table are written by whoever has the run.
"""

from tutor.export.code import ExportSettings
from tutor.export.files import free_path, new_file, write
from tutor.export.notebook import notebook
from tutor.export.script import script

__all__ = ["ExportSettings", "free_path", "new_file", "notebook", "script", "write"]
