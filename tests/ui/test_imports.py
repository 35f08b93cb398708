"""What the screen must not load: it is to stand before torch does."""

import subprocess
import sys

LOADING = "import sys, tutor.cli.opening, tutor.lesson.cache, tutor.ui.app"
LISTING = f"""
{LOADING}
print('\\n'.join(sys.modules))
"""
DATACLASSES = f"""
{LOADING}, tutor.ui.screens.lesson, tutor.training.program
from dataclasses import is_dataclass
for name, module in list(sys.modules.items()):
    own = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == name]
    print(*(f'{{name}}.{{c.__name__}}' for c in own if name[:6] == 'tutor.' and is_dataclass(c)))
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


def test_no_data_that_is_loaded_before_the_lessons_text_is_a_dataclass() -> None:
    run = subprocess.run(
        [sys.executable, "-c", DATACLASSES], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []
