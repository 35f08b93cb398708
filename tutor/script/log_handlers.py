"""The handlers of the process's loggers, put back before a script runs anew.

Loggers belong to the process: a script that adds a handler to one would add a second one when it
runs again, and each of its lines would be logged twice.
"""

from __future__ import annotations

import logging


class LogHandlers:
    """The handlers of all loggers, as they were at one moment."""

    def __init__(self) -> None:
        self._handlers = {logger.name: tuple(logger.handlers) for logger in _loggers()}

    def put_back(self) -> None:
        """Take off what has been added since, and add what has been taken off."""
        for logger in _loggers():
            logger.handlers[:] = self._handlers.get(logger.name, ())


def _loggers() -> list[logging.Logger]:
    named = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(each for each in named if isinstance(each, logging.Logger))]
