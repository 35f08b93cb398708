"""Lessons and runs for these tests, made as for those of the training itself."""

from tests.training.conftest import start, write_lesson

__all__ = ["start", "write_lesson"]
