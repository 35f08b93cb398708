"""The command line: `tutor`, and what it can do without a screen."""

from tutor.cli.main import main

__all__ = ["main"]
