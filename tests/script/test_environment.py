"""The environment that a script runs in: its files, modules, arguments, input and pictures."""

from __future__ import annotations

import ast
import glob
import io
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.distributed_c10d import GroupMember
from torch.utils.data import DataLoader

from tutor.script import environment
from tutor.script.environment import ScriptEnvironment
from tutor.script.memory_image import take_image

Run = Callable[..., Any]


class Script:
    """A script in a folder that is the working directory; its code runs in its environment."""

    def __init__(
        self, folder: Path, *arguments: str, is_here: bool = False, name: str = "train.py"
    ) -> None:
        self.module = ModuleType("__main__")
        self.environment = ScriptEnvironment(
            folder / name, self.module, ["train.py", *arguments], is_here=is_here
        )
        self.names = vars(self.module)

    def run(self, code: str) -> dict[str, Any]:
        with self.environment.entered():
            exec(compile(code, "train.py", "exec"), self.names)
        return self.names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    (tmp_path / "own.txt").write_text("mine")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_text("1,2\n")
    return tmp_path


@pytest.fixture
def script(folder: Path) -> Script:
    return Script(folder)


def state(folder: Path) -> dict[str, Any]:
    """All that is in a folder: the bytes and the time of each file."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    found = {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}
    return {**found, "folders": sorted(str(p) for p in folder.rglob("*") if p.is_dir())}


WRITES = {
    "open": "open('own.txt', 'w').write('new')",
    "append": "open('own.txt', 'a').write(' and more')",
    "change": "f = open('own.txt', 'r+'); f.write('M'); f.close()",
    "path": "from pathlib import Path; Path('own.txt').write_text('new')",
    "whole path": "import os; open(os.path.abspath('own.txt'), 'w').write('new')",
    "touch": "from pathlib import Path; Path('own.txt').touch()",
    "number": "import os; os.close(os.open('own.txt', os.O_WRONLY | os.O_TRUNC))",
    "torch": "import torch; torch.save({'w': 1}, 'own.txt')",
    "torch by name": "import torch; torch.save({'w': 1}, f='own.txt')",
    "torch.jit": "import torch; torch.jit.script(torch.nn.Linear(1, 1)).save('own.txt')",
    "torch.export": "import torch; net = torch.nn.Linear(1, 1); "
    "torch.export.save(torch.export.export(net, (torch.ones(1),)), 'own.pt2')",
    "numpy": "import numpy as np; np.save('own.npy', np.ones(3))",
    "text of numpy": "import numpy as np; np.savetxt('own.txt', np.ones(3))",
    "numpy's file": "import numpy as np; np.ones(3).tofile('own.txt')",
    "folders": "import os; os.makedirs('runs/a/b', exist_ok=True)",
    "copy": "import shutil; shutil.copy2('own.txt', 'data/copy.txt')",
    "copied over": "import shutil; shutil.copy('data/x.csv', 'own.txt')",
    "renamed": "import os; open('a', 'w').close(); os.replace('a', 'own.txt')",
    "cut": "import os; os.truncate('own.txt', 1)",
    "rights": "import os; os.chmod('own.txt', 0o600)",
    "archive": "import tarfile; tarfile.open('own.tar', 'w').add('own.txt')",
    "packed": "import gzip; gzip.open('own.gz', 'wb').write(b'x')",
    "database": "import sqlite3; sqlite3.connect('own.db').execute('create table t (x)')",
    "log": "import logging; logging.FileHandler('own.log').emit(logging.makeLogRecord({}))",
    "link": "import os; os.symlink('data', 'link')",
}


@pytest.mark.parametrize("code", WRITES.values(), ids=WRITES.keys())
def test_what_a_script_writes_changes_nothing_of_the_learners(
    code: str, folder: Path, script: Script
) -> None:
    before = state(folder)
    script.run(code)
    assert state(folder) == before
    files = script.environment.files
    assert files is not None
    assert files.folder is not None
    assert files.folder.exists()
    files.delete()
    assert not files.folder.exists()


DELETIONS = {
    "remove": "import os; os.remove('own.txt')",
    "unlink": "from pathlib import Path; Path('own.txt').unlink()",
    "tree": "import shutil; shutil.rmtree('data')",
    "tree with a new file": "import shutil; open('data/n', 'w').close(); shutil.rmtree('data')",
    "rename": "import os; os.rename('own.txt', 'other.txt')",
    "move": "import shutil; shutil.move('own.txt', 'other.txt')",
    "folder": "import os; os.makedirs('empty', exist_ok=True); os.rmdir('data')",
}


@pytest.mark.parametrize("code", DELETIONS.values(), ids=DELETIONS.keys())
def test_a_script_deletes_nothing_of_the_learners(code: str, folder: Path, script: Script) -> None:
    before = state(folder)
    with pytest.raises(PermissionError, match="--here"):
        script.run(code)
    assert state(folder) == before


def test_a_script_deletes_what_it_has_written_in_place_of_the_learners(
    folder: Path, script: Script
) -> None:
    before = state(folder)
    names = script.run("""
import glob, os, shutil
for path in ("own.txt", "data/x.csv"):
    with open(path, "w") as file:
        file.write("new")
os.remove("own.txt")
shutil.rmtree("data")
there = [os.path.exists(p) for p in ("own.txt", "data", "data/x.csv")]
listed = [name for name in os.listdir(".") if name in ("own.txt", "data")]
found = glob.glob("*.txt") + glob.glob("data/*")
os.makedirs("data")
open("data/y.csv", "x").close()
open("own.txt", "x").close()
after = os.listdir("data"), open("own.txt").read()
""")
    assert names["there"] == [False, False, False]
    assert names["listed"] == names["found"] == []
    assert names["after"] == (["y.csv"], "")
    assert state(folder) == before


PROGRAMS = {
    "shell": "import os; os.system('echo new > own.txt')",
    "run": "import subprocess; subprocess.run(['sh', '-c', 'echo new > own.txt'])",
    "output": "import subprocess; subprocess.check_output('echo new > own.txt', shell=True)",
    "pipe": "import os; os.popen('echo new > own.txt').read()",
    "in place of this one": "import os; os.execv('/bin/true', ['true'])",
    "by its number": "import os; os.posix_spawn('/bin/true', ['true'], {})",
    "process": "import multiprocessing as mp; mp.get_context('spawn').Process(target=len).start()",
    "module": "import beside; beside.begin()",
}


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_script_starts_no_programs(code: str, folder: Path, script: Script) -> None:
    beside = "import subprocess\ndef begin():\n    subprocess.call('echo > own.txt', shell=True)\n"
    (folder / "beside.py").write_text(beside)
    before = state(folder)
    with pytest.raises(PermissionError, match="--here"):
        script.run(code)
    assert state(folder) == before


def test_a_library_may_start_programs_and_so_may_a_script_that_writes_here(
    folder: Path, script: Script
) -> None:
    library = ModuleType("library")
    exec("import subprocess\ndef ask():\n    return subprocess.call('true')\n", vars(library))
    script.names["library"] = library
    assert script.run("code = library.ask()")["code"] == 0
    here = Script(folder, is_here=True)
    assert here.run("import os; code = os.system('true')")["code"] == 0


def test_a_script_finds_what_it_has_written_beside_what_is_there(script: Script) -> None:
    names = script.run("""
import glob, os, shutil, numpy as np, torch
from pathlib import Path
os.makedirs("data/new")
with open("data/new/w.txt", "w") as file:
    file.write("1")
Path("own.txt").write_text("changed")
torch.save(torch.ones(2), "data/w.pt")
np.savetxt("data/a.txt", np.ones(2))
text, copied = open("own.txt").read(), shutil.copy("own.txt", "copy.txt")
there = [os.path.exists(p) for p in ("own.txt", "data/new/w.txt", "data/new", "data/x.csv", "no")]
listed, found = sorted(os.listdir("data")), sorted(glob.glob("data/*.*"))
walked = sorted(name for _, _, files in os.walk(".") for name in files)
loaded, array = torch.load("data/w.pt"), np.loadtxt("data/a.txt")
iterated = sorted(p.name for p in Path("data").iterdir())
os.remove("data/w.pt"); shutil.rmtree("data/new"); os.rename("copy.txt", "moved.txt")
after = sorted(os.listdir("data")), Path("moved.txt").read_text()
""")
    assert names["text"] == "changed"
    assert names["there"] == [True, True, True, True, False]
    assert names["listed"] == names["iterated"] == ["a.txt", "new", "w.pt", "x.csv"]
    assert names["found"] == ["data/a.txt", "data/w.pt", "data/x.csv"]
    assert names["walked"] == ["a.txt", "copy.txt", "own.txt", "w.pt", "w.txt", "x.csv"]
    assert torch.equal(names["loaded"], torch.ones(2))
    assert np.array_equal(names["array"], np.ones(2))
    assert names["after"] == (["a.txt", "x.csv"], "changed")


def test_errors_are_those_of_python(script: Script) -> None:
    for code, error in (
        ("open('no/such.txt', 'w')", FileNotFoundError),
        ("open('no.txt')", FileNotFoundError),
        ("open('own.txt', 'x')", FileExistsError),
        ("import os; os.mkdir('data')", FileExistsError),
        ("import os; os.remove('no.txt')", FileNotFoundError),
        ("open('data', 'w')", OSError),
    ):
        with pytest.raises(error):
            script.run(code)


def test_here_a_script_writes_where_it_wants(folder: Path) -> None:
    script = Script(folder, is_here=True)
    script.run("import os; open('new.txt', 'w').write('x'); os.remove('own.txt')")
    assert (folder / "new.txt").read_text() == "x"
    assert not (folder / "own.txt").exists()


def test_two_runs_see_each_other_s_files_and_modules_not_at_all(folder: Path) -> None:
    (folder / "helper_of_two.py").write_text("count = 0")
    one, two = Script(folder), Script(folder)
    one.run("import helper_of_two as h; h.count += 1; open('a', 'w').close()")
    names = two.run("import os, helper_of_two as h; there, count = os.path.exists('a'), h.count")
    assert (names["there"], names["count"]) == (False, 0)
    assert one.run("import helper_of_two; count = helper_of_two.count")["count"] == 1
    assert "helper_of_two" not in sys.modules
    assert not (folder / "__pycache__").exists()


def test_installed_modules_stay_where_the_folder_is_that_of_the_installation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment of Python often lies beside the script."""
    installed = folder / "venv" / "site-packages"
    (installed / "a_package_of_venv").mkdir(parents=True)
    (installed / "a_package_of_venv" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(installed))
    Script(folder).run("import a_package_of_venv")
    assert sys.modules.pop("a_package_of_venv", None)
    parts = folder / "parts_of_script"
    parts.mkdir()
    (parts / "__init__.py").touch()
    (parts / "one.py").touch()
    Script(folder).run("import parts_of_script.one")
    assert not [name for name in sys.modules if name.startswith("parts_of_script")]


def test_a_run_within_another_has_an_environment_of_its_own(folder: Path) -> None:
    """A run that goes back may begin the script anew."""
    (folder / "helper_of_both.py").write_text("count = 0")
    one = Script(folder, "one")
    with one.environment.entered():
        exec("import os, helper_of_both as h; h.count = 1; open('a', 'w'); os.makedirs('sub')")
        exec("os.chdir('sub'); import sys; sys.path.append('more')")
        two = Script(folder, "two")
        names = two.run("""
import os, sys, helper_of_both as h
seen = h.count, sys.argv[1], os.path.exists("a"), os.getcwd(), "more" in sys.path
""")
        assert names["seen"] == (0, "two", False, str(folder), False)
        with one.environment.entered():
            assert sys.argv[1] == "one"
        assert sys.modules["helper_of_both"].count == 1
        assert sys.path[-1] == "more"
        assert os.path.exists("../a")
    assert "helper_of_both" not in sys.modules


def test_outside_everything_is_as_it_was(folder: Path, script: Script) -> None:
    functions = open, io.open, os.open, os.stat, os.listdir, os.remove, shutil.rmtree, torch.save
    init, place = DataLoader.__init__, (sys.argv, sys.path, sys.stdin, os.getcwd())
    with suppress(ZeroDivisionError):
        script.run("import os; os.makedirs('sub'); os.chdir('sub'); open('a', 'w').close(); 1 / 0")
    assert functions == (
        open, io.open, os.open, os.stat, os.listdir, os.remove, shutil.rmtree, torch.save
    )  # fmt: skip
    assert init is DataLoader.__init__
    assert place == (sys.argv, sys.path, sys.stdin, os.getcwd())
    assert sys.modules["__main__"] is not script.module
    assert script.run("import os; there = os.path.exists('a')")["there"]  # in its own folder
    kept = script.run("from os import listdir")["listdir"]
    assert kept(folder) == os.listdir(folder)


def test_arguments_and_module_are_those_of_a_script(folder: Path) -> None:
    script = Script(folder, "--epochs", "3")
    names = script.run("""
import sys, pickle, dataclasses
arguments, first = sys.argv, sys.path[0]
@dataclasses.dataclass
class Config:
    rate: "float" = 0.1
again = pickle.loads(pickle.dumps(Config(0.5)))
sys.path.append("more")
""")
    assert names["arguments"] == ["train.py", "--epochs", "3"]
    assert names["first"] == str(folder)
    assert names["again"].rate == 0.5
    assert script.run("import sys; path = sys.path")["path"][-1] == "more"
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(names["again"])  # the tutor has another __main__


@pytest.mark.parametrize("code", ["input('n? ')", "import sys; sys.stdin.read()",
                                  "import sys; list(sys.stdin)"])  # fmt: skip
def test_nobody_answers_a_script(code: str, script: Script) -> None:
    with pytest.raises(EOFError, match="reading a line"):
        script.run(code)


_WORKERS = """
import random
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info


class Counts:
    def __init__(self):
        self.seen, self.sums = {"by": [[0]]}, np.zeros(2)

    def add(self, at):
        self.seen["by"][0].append(at)
        self.sums += at
        return len(self.seen["by"][0]), float(self.sums[1])


class Noisy(Dataset):
    def __init__(self):
        self.own, self.count, self.counts = np.random.default_rng(5), 0, Counts()
        self.same = self.counts.add, self.counts

    def __len__(self):
        return 11

    def __getitem__(self, at):
        self.count += 1
        drawn = random.random(), np.random.rand(), torch.rand(1).item(), self.own.random()
        seen = *self.same[0](at), len(self.same[1].seen["by"][0])
        return at, *drawn, self.count, *seen, get_worker_info().id


class Listed:
    def __init__(self):
        self.items = []

    def __call__(self, items):
        self.items += items
        return torch.utils.data.default_collate(items) + [torch.tensor(len(self.items))]


class Stream(IterableDataset):
    def __init__(self, start, end):
        self.start, self.end = start, end

    def __iter__(self):
        for at in range(self.start, self.end):
            yield at, random.random(), get_worker_info().seed


def share(number):
    own = get_worker_info().dataset
    own.start, own.end = own.start + 2 * number, own.start + 2 * number + 4 * number + 2


def batches():
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    loaders = [
        DataLoader(Noisy(), 2, shuffle=True, num_workers=2, timeout=600),
        DataLoader(Noisy(), 2, num_workers=3, persistent_workers=True, drop_last=True),
        DataLoader(Stream(0, 12), 2, num_workers=2, worker_init_fn=share, prefetch_factor=4),
        DataLoader(Noisy(), 2, num_workers=2, collate_fn=Listed()),
    ]
    for loader in [*loaders, *loaders[:2]]:
        for batch in loader:
            yield [part.tolist() for part in batch]
        yield [torch.rand(1).item(), random.random(), np.random.rand()]
    yield [part.tolist() for part in next(iter(loaders[1]))]


if __name__ == "__main__":
    found = [*batches()]
    print(found)
"""


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_in_turn_load_the_batches_of_processes(folder: Path, script: Script) -> None:
    (folder / "loaders.py").write_text(_WORKERS)
    command = [sys.executable, "-W", "ignore", "loaders.py"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    before = torch.get_num_threads(), torch.utils.data.get_worker_info()
    assert script.run(_WORKERS)["found"] == ast.literal_eval(printed)
    assert (torch.get_num_threads(), torch.utils.data.get_worker_info()) == before
    (remark,) = script.environment.remarks
    assert (remark.code, remark.values) == ("workers_in_turn", {"workers": 2})


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_worker_changes_its_own_copy_of_what_a_dataset_holds(script: Script) -> None:
    names = script.run("""
import threading
import torch
from torch.utils.data import DataLoader, Dataset

class Changing(Dataset):
    def __init__(self):
        self.seen, self.tally, self.lock = [[]], torch.zeros(1), threading.Lock()
        self.views = self.tally, self.tally.view(1, 1)

    def __len__(self):
        return 4

    def __getitem__(self, at):
        with self.lock:
            self.seen[0].append(at)
            self.tally += 1
        return at, len(self.seen[0]), self.views[1].item()

data = Changing()
found = [[part.item() for part in batch] for batch in DataLoader(data, 1, num_workers=2)]
""")
    assert names["found"] == [[0, 1, 1.0], [1, 1, 1.0], [2, 2, 2.0], [3, 2, 2.0]]
    assert (names["data"].seen, names["data"].tally.item()) == ([[]], 0.0)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_persistent_workers_can_be_kept_and_put_back_between_epochs(script: Script) -> None:
    names = script.run(f"""{_WORKERS}
loader = DataLoader(Noisy(), 3, num_workers=2, persistent_workers=True)
def epoch():
    return [[part.tolist() for part in batch] for batch in loader]
epoch()
""")
    image = take_image([names], "train.py", "cpu", None, 10**9)
    assert image is not None
    first = script.run("found = epoch()")["found"]
    assert script.run("found = epoch()")["found"] != first
    assert image.restore()
    assert script.run("found = epoch()")["found"] == first


@pytest.mark.parametrize(("name", "is_its_folder"), [("train.py", False), ("train.ipynb", True)])
def test_a_notebook_runs_in_its_own_folder_as_in_jupyter(
    name: str, is_its_folder: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    script = Script(folder, name=name)
    script.run("import os; found = os.path.exists('own.txt')")
    assert script.names["found"] is is_its_folder
    script.run("open('new.txt', 'w').write('1'); read = open('new.txt').read()")
    assert script.names["read"] == "1"
    assert Path.cwd() == elsewhere
    assert not list(folder.rglob("new.txt"))


def test_a_notebook_displays_what_a_script_has_to_print(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Script(folder, name="fit.ipynb").run("display([1.5], 'two', clear=True)")
    assert capsys.readouterr().out == "[1.5]\n'two'\n"
    with pytest.raises(NameError):
        Script(folder).run("display(1)")


def _without_matplotlib() -> dict[str, ModuleType]:
    """Take matplotlib out of the modules that are loaded."""
    names = [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]
    return {name: sys.modules.pop(name) for name in names}


def test_pictures_are_drawn_to_nowhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for matplotlib, whose functions fail where they would open a window."""
    library = folder / "library" / "matplotlib"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("def use(backend):\n    raise ImportError(backend)\n")
    (library / "pyplot.py").write_text(
        "import os\nbackend = os.environ['MPLBACKEND']\n"
        "def show(block=None):\n    raise RuntimeError\n"
        "def pause(seconds):\n    raise RuntimeError\n"
        "def switch_backend(name):\n    global backend\n    backend = name\n"
    )
    monkeypatch.syspath_prepend(str(library.parent))
    before = _without_matplotlib()
    names = Script(folder).run("""
import matplotlib
matplotlib.use("TkAgg")
import matplotlib.pyplot as plt
plt.show(); plt.pause(1000)
first = plt.backend
plt.switch_backend("TkAgg")
""")
    _without_matplotlib()
    sys.modules.update(before)
    assert names["first"] == "Agg"
    assert names["plt"].backend == "agg"


def test_a_folder_of_a_process_that_was_killed_is_deleted(
    folder: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = folder / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    left, own = (temporary / f"tutor-script-{n}-a" for n in (2**22 + 1, os.getpid()))
    left.mkdir()
    own.mkdir()
    script = Script(folder)
    script.run("open('a', 'w').close()")
    assert not left.exists()
    assert own.exists()
    assert len(glob.glob(str(temporary / "*"))) == 2


def test_a_script_computes_with_as_many_threads_as_under_python(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(environment, "USUAL_THREADS", before + 2)
    one, other = Script(folder), Script(folder)
    assert one.run("import torch; found = torch.get_num_threads()")["found"] == before + 2
    one.run("torch.set_num_threads(1)")
    assert torch.get_num_threads() == before
    assert other.run("import torch; found = torch.get_num_threads()")["found"] == before + 2
    assert one.run("found = torch.get_num_threads()")["found"] == 1
    assert torch.get_num_threads() == before


def test_each_run_can_do_what_a_process_can_do_once(folder: Path) -> None:
    """A run that goes back begins the script anew, in the process of the run before it."""
    once = "import torch.multiprocessing as mp; mp.set_start_method('spawn')\n"
    once += "import torch; torch.set_num_interop_threads(2)\n"
    once += "import torch.distributed as dist\n"
    once += "dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)"
    before = torch.multiprocessing.get_start_method(allow_none=True), GroupMember.WORLD
    one, again = Script(folder), Script(folder)
    one.run(once)
    again.run(once)
    assert one.run("size = dist.get_world_size()")["size"] == 1
    assert one.run("method = mp.get_start_method()")["method"] == "spawn"
    with pytest.raises(RuntimeError):
        one.run("mp.set_start_method('fork')")
    after = torch.multiprocessing.get_start_method(allow_none=True), GroupMember.WORLD
    assert after == before
