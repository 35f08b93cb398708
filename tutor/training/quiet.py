"""What is entered while a lesson's code runs again only to find something out.

The run that the learner steps may print; a replay or a trial must not print once more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Quiet = Callable[[], AbstractContextManager[object]]
