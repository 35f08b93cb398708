"""The modules beside a script, taken along to a machine that has not got them."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tutor.errors import ScriptError
from tutor.script import source
from tutor.script.environment import ScriptEnvironment
from tutor.script.source import modules_beside

FILES = {
    "carried_net.py": "from carried_parts import layers\nimport carried_tools.sizes as sizes\n",
    "carried_parts/__init__.py": "from . import layers\n",
    "carried_parts/layers.py": "from .deep.er import depth\ncount = 0\n",
    "carried_parts/deep/__init__.py": "",
    "carried_parts/deep/er.py": "depth = 7\n\ndef fail():\n    return 1 / 0\n",
    "carried_tools/sizes.py": "width = 3\n",
    "never_imported.py": "",
}
"""`carried_tools` is a folder without `__init__.py`."""
SCRIPT = (
    "import carried_net, torch, os.path\nif True:\n    from carried_parts.layers import depth\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    for name, text in {**FILES, "train.py": SCRIPT}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (home / "torch").mkdir()  # of no modules, and no package
    return home


def environment(folder: Path) -> ScriptEnvironment:
    """The environment of the script where its folder is not."""
    modules = modules_beside(folder / "train.py", SCRIPT)
    shutil.rmtree(folder)
    module = ModuleType("__main__")
    return ScriptEnvironment(folder / "train.py", module, [], is_here=True, sent_modules=modules)


def run(environment: ScriptEnvironment, code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    with environment.entered():
        exec(compile(code, "train.py", "exec"), names)
    return names


def test_all_modules_that_it_imports_are_taken_and_no_others(folder: Path) -> None:
    found = modules_beside(folder / "train.py", SCRIPT)
    assert set(found) == set(FILES) - {"never_imported.py"}
    assert found["carried_tools/sizes.py"] == b"width = 3\n"


def test_they_are_imported_where_the_folder_is_not(folder: Path) -> None:
    names = run(environment(folder), SCRIPT + "width = carried_net.sizes.width")
    assert (names["depth"], names["width"]) == (7, 3)
    assert names["carried_net"].__file__ == str(folder / "carried_net.py")
    assert not folder.exists()
    assert not [name for name in sys.modules if name.startswith(("carried_net", "carried_parts"))]


def test_each_run_imports_them_anew(folder: Path) -> None:
    modules = modules_beside(folder / "train.py", SCRIPT)
    code = "from carried_parts import layers as m\nm.count += 1\ncount = m.count"
    for _ in range(2):
        module = ModuleType("__main__")
        there = ScriptEnvironment(
            folder / "train.py", module, [], is_here=True, sent_modules=modules
        )
        assert [run(there, code)["count"] for _ in range(2)] == [1, 2]


def test_an_error_in_one_shows_its_line(folder: Path) -> None:
    there = environment(folder)
    with pytest.raises(ZeroDivisionError) as raised, there.entered():
        exec("from carried_parts.deep import er\ner.fail()", {})
    assert "return 1 / 0" in "".join(traceback.format_exception(raised.value))


def test_too_much_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MOST_MODULE_BYTES", 20)
    with pytest.raises(ScriptError, match="modules_too_large"):
        modules_beside(folder / "train.py", SCRIPT)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_one_that_can_not_be_read_is_named(folder: Path) -> None:
    (folder / "carried_net.py").chmod(0)
    with pytest.raises(ScriptError, match=r"module_unreadable.*carried_net\.py"):
        modules_beside(folder / "train.py", SCRIPT)
