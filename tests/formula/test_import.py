"""Importing the package must be cheap: the screen does it before it paints."""

import subprocess
import sys


def test_an_import_loads_nothing_heavy():
    code = (
        "import sys, tutor.formula; from tutor.formula import Formula, Picture, draw, parse;"
        "print([m for m in ('latex2mathml', 'wcwidth', 'torch', 'textual', 'rich', 'numpy')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
