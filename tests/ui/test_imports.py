"""What the screen must not load: it is to stand before torch does."""

import subprocess
import sys

LISTING = """
import sys, tutor.cli.opening, tutor.lesson.cache, tutor.ui.app
print('\\n'.join(sys.modules))
"""


def test_the_app_is_imported_without_torch_and_without_what_loads_slowly() -> None:
    run = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "textual.app" in loaded
    slow = {"torch", "numpy", "pygments", "markdown_it", "yaml"}
    slow |= {"textual.widgets._text_area", "tutor.session.session", "tutor.formula"}
    assert not loaded & slow
