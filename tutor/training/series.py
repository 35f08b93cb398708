"""The figures of a run, epoch by epoch, as rows of a table, for `--format csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import numpy as np
from msgspec.structs import replace

from tutor.errors import Refused
from tutor.export import new_file
from tutor.plain import json_number
from tutor.protocol.frame import Position
from tutor.training.devices import untouched_randomness
from tutor.training.figures import Reading, reading_of
from tutor.training.program import Quiet, Until
from tutor.training.run import Run
from tutor.training.values import Array

MOST_SENT = 8 * 2**20
"""Characters of figures that one message carries."""


class SeriesTable:
    """A header, then a row for each epoch; an array has a column for each element.

    On several ranks, each has a row of its own for an epoch, and `rank` is a column.
    """

    def __init__(self, out: TextIO, columns: tuple[str, ...] = ()) -> None:
        """`columns`: the columns of values and gradients, if they differ between epochs."""
        self._writer = csv.writer(out, lineterminator="\n")
        self._columns = columns
        self._started = False

    def write(self, reading: Reading) -> None:
        """Write a row; `w1[0,1]` and `gradient of w1[0,1]` are columns."""
        for of_rank in (reading, *reading.others):
            row = _flat(of_rank)
            if not self._started:
                self._columns = self._columns or tuple(row)
                rank = ["rank"] if reading.others else []
                self._writer.writerow(["epoch", *rank, "loss", *self._columns])
                self._started = True
            numbers = [str(json_number(row[c])) if c in row else "" for c in self._columns]
            place = [reading.epoch, *([of_rank.rank] if reading.others else [])]
            loss = "" if of_rank.loss is None else json_number(of_rank.loss)
            self._writer.writerow([*place, loss, *numbers])


def readings(run: Run, epochs: int | None, every: int = 1) -> Iterator[Reading]:
    """The run's figures at the epochs that `every` divides, and at the last.

    The last is `epochs`, or the one before a script ends; None: until a script ends.
    FEWER_AND_FEWER: about ninety each time that the number of epochs grows tenfold.
    """
    done = 0
    while (epochs is None or done < epochs) and not run.loop.is_over:
        step = every or 10 ** max(len(str(done)) - 2, 0)
        run.run_to_without_frame(done + step if epochs is None else min(done + step, epochs))
        if run.at.epoch > done:
            done = run.at.epoch
            yield reading_of(run.loop)


def write_series(
    run: Run, path: Path, until: Until = lambda: False, quiet: Quiet = nullcontext
) -> bool:
    """Write the figures of a run's whole epochs, up to where it stands, into a new csv file.

    The run is left as it is: its recipe is played a second time (its lesson's code, with
    `quiet` entered). False if `until`, called once an epoch, stopped it: then there is no
    file. Raises FileThere and RunError as `new_file` does, and RunError if no epoch is whole.
    """
    epochs = run.at.epoch if run.at_end else run.at.epoch - 1
    if epochs < 1:
        raise Refused("no_figures")
    try:
        with untouched_randomness(run.settings.device_wanted), quiet(), new_file(path) as out:
            table = SeriesTable(out, _columns(run))
            before = _before_changes(run, epochs, quiet, until)
            again = Run.from_recipe(run.programs, run.recipe, Position(0, 0), quiet)
            for reading in readings(again, epochs):
                table.write(before.get(reading.epoch, reading))
                if reading.epoch < epochs and until():
                    raise _SeriesStopped
    except _SeriesStopped:
        return False
    return True


def series_text(run: Run, until: Until, quiet: Quiet) -> str:
    """The text of that file; "" if `until` stopped it. Raises Refused if it is too long to send."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "figures.csv")
        text = file.read_text("utf-8") if write_series(run, file, until, quiet) else ""
    if len(text) > MOST_SENT:
        raise Refused("too_much_to_send", megabytes=len(text) // 2**20)
    return text


def _before_changes(run: Run, epochs: int, quiet: Quiet, until: Until) -> dict[int, Reading]:
    """The figures of epochs at whose very end something was changed: as they were until then."""
    found: dict[int, Reading] = {}
    changes = run.recipe.changes
    for index, change in enumerate(changes):
        epoch = change.at.epoch
        if epoch in found or not 0 < epoch <= epochs:
            continue
        recipe = replace(run.recipe, changes=changes[:index])
        past = Run.from_recipe(run.programs, recipe, Position(0, 0), quiet)
        past.run_to(epoch, until)
        if past.at == change.at:
            found[epoch] = reading_of(past.loop)
    return found


class _SeriesStopped(Exception):
    """The file is no longer wanted."""


def _columns(run: Run) -> tuple[str, ...]:
    """The columns of a run that has been in several modes, whose shapes may differ; else ()."""
    recipe = run.recipe
    modes = dict.fromkeys([recipe.mode, *(c.mode for c in recipe.changes if c.mode)])
    if len(modes) == 1:
        return ()
    starts = (reading_of(Run(run.programs, mode, seed=recipe.seed).loop) for mode in modes)
    return tuple(dict.fromkeys(column for start in starts for column in _flat(start)))


def _flat(reading: Reading) -> dict[str, complex]:
    """A column for each element of each value, then of each gradient, named by its index."""
    gradients = _like(reading.gradients, reading.values)
    return {
        f"{prefix}{name}{_index_text(index)}": array[index].item()
        for prefix, arrays in (("", reading.values), ("gradient of ", gradients))
        for name, array in arrays.items()
        for index in np.ndindex(array.shape)
    }


def _index_text(index: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, index))}]" if index else ""


def _like(gradients: Mapping[str, Array | None], values: Mapping[str, Array]) -> dict[str, Array]:
    """The gradients, NaN where there is none: a csv has the same columns in every row."""
    return {
        n: np.full(v.shape, np.nan) if (g := gradients[n]) is None else g for n, v in values.items()
    }
