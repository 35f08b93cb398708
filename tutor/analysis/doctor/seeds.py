"""Random numbers that no seed of the script fixes: two runs of it differ."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient, is_at_loop_end, loss_of
from tutor.errors import RunError
from tutor.protocol.inspections import CodeFix, DoctorFinding
from tutor.training.devices import untouched_randomness
from tutor.training.run import Run

_MOST_STEPS = 12
"""Steps of the second run: up to its first loss, and no further."""

_SEEDS = {
    "torch": ("manual_seed", "seed_everything", "set_seed", "seed_all"),
    "numpy": ("np.random.seed", "numpy.random.seed", "seed_everything", "set_seed", "seed_all"),
    "python": ("random.seed", "seed_everything", "set_seed", "seed_all"),
}
"""The calls that seed each generator. (`np.random.seed` does not seed Python's own.)"""
_SEEDING = {
    "torch": "torch.manual_seed(0)",
    "numpy": "np.random.seed(0)",
    "python": "random.seed(0)",
}
_TORCH_DRAWS = frozenset(
    {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "rand_like"}
    | {"randn_like", "normal_", "uniform_", "dropout", "random_split", "xavier_uniform_"}
    | {"xavier_normal_", "kaiming_uniform_", "kaiming_normal_"}
)


@dataclass(frozen=True, slots=True)
class _Draw:
    """A call that draws random numbers."""

    line: int
    generator: str
    """torch, numpy or python."""
    code: str


class SeedRule(DoctorRule):
    """The rule for random numbers that no seed fixes: another seed gives another first loss.

    A lesson is seeded by the tutor: this is asked of scripts alone.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._first: float | None = None

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """Note the first loss."""
        if self._first is None and moment.error is None:
            self._first = loss_of(self.patient.run)
        return ()

    def at_end(self) -> Iterable[DoctorFinding]:
        """The finding, if the first loss of a run with another seed is another one."""
        patient, first = self.patient, self._first
        if patient.lesson.script is None or first is None or patient.until():
            return
        with untouched_randomness(patient.run.device):
            other = self._first_loss(patient.recipe.seed + 1)
            # Once more: this run may have left a file that a new one goes on from.
            again = self._first_loss(patient.recipe.seed) if other != first else other
        if other is None or again is None or other == again:
            return
        if not math.isfinite(other) or not math.isfinite(again):
            return
        draw = next(iter(sorted(self._draws(), key=lambda one: one.line)), None)
        yield DoctorFinding(
            code="not_seeded",
            line=draw.line if draw else 0,
            variable=draw.code if draw else patient.lesson.slug,
            numbers={"loss": again, "other": other},
            lesson="mini-batches",
            fix=self._fix(draw),
        )

    def _first_loss(self, seed: int) -> float | None:
        """The first loss of a run with this seed; None if it has none."""
        patient, recipe = self.patient, self.patient.recipe
        start = (recipe.mode, recipe.device, recipe.learning_rate, seed)
        try:
            run = Run(patient.programs, *start, quiet=patient.quiet)
        except RunError:
            return None
        try:
            for _ in range(_MOST_STEPS):
                if is_at_loop_end(run):
                    return None
                run.advance_phase()
                if (loss := loss_of(run)) is not None or patient.until():
                    return loss
        except RunError:
            return None
        finally:
            run.close()
        return None

    # ── The code ────────────────────────────────────────────────────────────────────

    def _draws(self) -> Iterator[_Draw]:
        """The calls that draw from a generator that the script does not seed."""
        calls = [n for n in self.source.nodes() if isinstance(n, ast.Call)]
        names = [ast.unparse(call.func) for call in calls]
        seeded = {
            kind
            for kind, seeds in _SEEDS.items()
            for name in names
            if name.endswith(seeds) and not (kind == "python" and "np." in name)
        }
        for call, name in zip(calls, names, strict=True):
            kind = _generator_of(call, name)
            if kind and kind not in seeded:
                yield _Draw(call.lineno, kind, name)

    def _fix(self, draw: _Draw | None) -> CodeFix | None:
        """The seed behind the imports."""
        if draw is None:
            return None
        source = self.source
        imports = [s for s in source.statements() if isinstance(s, ast.Import | ast.ImportFrom)]
        last = max((s for s in imports if not s.col_offset), key=lambda s: s.lineno, default=None)
        return None if last is None else source.after(last, _SEEDING[draw.generator])


def _generator_of(call: ast.Call, name: str) -> str:
    """The generator that a call draws from; "" if it draws from none, or has its own."""
    parts = name.split(".")
    if any(k.arg == "generator" for k in call.keywords) or parts[-1].startswith("seed"):
        return ""
    if name.startswith(("np.random.", "numpy.random.")):
        is_own = parts[-1] in ("default_rng", "RandomState", "Generator")
        return "" if is_own and call.args else "numpy"
    if len(parts) == 2 and parts[0] == "random":
        return "" if parts[1] in ("Random", "seed") else "python"
    is_torch = parts[-1] in _TORCH_DRAWS and (len(parts) > 1 or parts[-1] == "random_split")
    is_shuffled = parts[-1] == "DataLoader" and any(
        k.arg == "shuffle" and ast.unparse(k.value) != "False" for k in call.keywords
    )
    layer = getattr(torch.nn, parts[-1], None)
    return "torch" if is_torch or is_shuffled or hasattr(layer, "reset_parameters") else ""
