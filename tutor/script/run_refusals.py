"""The reasons, found only while it runs, why a script can't be stepped."""

from __future__ import annotations

import re
import sys

from tutor.errors import Refused
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import Program

PACKAGES = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "IPython": "ipython",
    "OpenGL": "PyOpenGL",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "google": "protobuf",
    "hydra": "hydra-core",
    "imblearn": "imbalanced-learn",
    "mpl_toolkits": "matplotlib",
    "pkg_resources": "setuptools",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}
"""By module: the package that has it, where that has another name."""


_WANTS_RANKS = re.compile(r".* environment variable (RANK|WORLD_SIZE) .*|'(LOCAL_)?RANK'")
"""Errors of a script that reads variables of the environment that torchrun sets."""


def refusal_of(raised: LessonRaised, program: Program) -> Refused | None:
    """The refusal of a script that raised before its loop; None where only it can help itself."""
    error = raised.__cause__
    if raised.line is None:
        return None
    place = {"place": program.place(raised.line), "line": raised.line}
    if isinstance(error, ModuleNotFoundError) and (module := _missing(error)):
        package = PACKAGES.get(module, module.replace("_", "-"))
        return Refused("package_missing", module=module, package=package, **place)
    if isinstance(error, EOFError) and "reading a line" in str(error):
        return Refused("input_refused", **place)
    if program.workers == 1 and _WANTS_RANKS.fullmatch(str(error)):
        return Refused("needs_ranks", file=program.name, **place)
    return None


def _missing(error: ModuleNotFoundError) -> str:
    """The module that is not installed; empty if only a part of an installed one is missing."""
    module = (error.name or "").partition(".")[0]
    return "" if module in sys.modules else module
