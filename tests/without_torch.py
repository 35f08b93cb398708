"""The tutor over the simulated engine of `tests/ui`, for what needs no torch. Run as a script."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.ui.fake_engine import FakeEngine
from tutor.cli import main, opening

COMMAND = (sys.executable, __file__)
"""What starts it; arguments of `tutor` may follow."""

if __name__ == "__main__":
    opening.EngineClient = lambda terminal, host: FakeEngine()  # type: ignore[assignment,misc]
    sys.exit(main())
