"""The errors that a person is shown.

Each error's text, or the sentence for its code, is one line fit for the terminal: what is wrong,
where, and what to do. Code that fails in a way not listed here is a bug and may show a traceback.
"""


class TutorError(Exception):
    """The root of the errors that are shown in one line, without a traceback."""


class LessonError(TutorError):
    """A lesson that can't be read, found or trusted."""


class RunError(TutorError):
    """A run that can't carry out a request, or a lesson's own code that raised."""


class CodedError(TutorError):
    """An error as a code, which `tutor.wording` has a sentence for, and its parameters."""

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(f"{code}: {values}")
        self.code, self.values = code, values


class CodeRaised(CodedError, RunError):
    """An error of a lesson's or a script's own code: lesson_raised, or script_raised."""


class FormulaError(CodedError):
    """A formula that can't be read as LaTeX."""


class WorkingError(CodedError):
    """A calculation that can't be written out in numbers."""


class LessonFileError(CodedError, LessonError):
    """A lesson's file that can't be found, read or trusted."""


class ScriptError(CodedError, LessonError):
    """A script or notebook that can't be read, stepped or made a lesson; `place` says where."""


class Refused(CodedError, RunError):
    """A refusal of a run."""

    @property
    def is_usage(self) -> bool:
        """Whether the command line asks for a thing that is not there."""
        return self.code in ("no_mode", "no_device")


class FileThere(Refused):
    """A file of this name that may not be replaced."""


class EngineError(CodedError):
    """The process that holds the run, or the way to it, can't be started or has ended."""


class ProgressError(CodedError):
    """The progress file, or a file to import, can't be read or written."""


class UsageError(TutorError):
    """The command line can't be understood; the exit status is 2."""
