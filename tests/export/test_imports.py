"""A script is written at once: nothing that loads slowly is needed for it."""

import subprocess
import sys

LISTING = "import sys, tutor.export, tutor.cli.writing; print('\\n'.join(sys.modules))"


def test_exporting_a_script_needs_no_torch() -> None:
    run = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "tutor.export.formats" in loaded
    assert not loaded & {"torch", "numpy", "textual"}
