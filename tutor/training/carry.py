"""Going on in another mode or on another device: the same place, the same parameters.

Knows two loops, the one that is left and the one that has just been set up.
"""

from __future__ import annotations

from tutor.training.loop import Loop


def carry_over(old: Loop, new: Loop) -> tuple[str, ...]:
    """Bring `new` to where `old` stands; returns the parameters that could not come along.

    The phases that `old` has done of its batch run again in `new`, from the parameters
    with which the batch began; then the parameters get the values they have in `old`
    (those that `old` has not got, the values of their Setup).
    Before the first step there is nothing to carry: `new` begins with its own values.
    """
    new.epoch = old.epoch
    if not old.step:
        new.step = 0
        return ()
    first, values = new.parameter_values(), old.parameter_values()
    new.set_parameters(old.batch_start or values)
    new.step = old.batch * len(new.program.loop)
    for _ in range(_phases_to_repeat(old, new)):
        new.run_step()
    # What only the new mode has goes back to what its Setup made of it.
    left = new.set_parameters(first | values)
    if old.at_end:
        while not new.at_end:
            new.run_step()
    mine = set(new.program.parameters)
    return tuple(name for name in left if name in mine)


def _phases_to_repeat(old: Loop, new: Loop) -> int:
    """How many phases of its batch `new` runs to have done what `old` has done of its own."""
    length = len(old.program.loop)
    done = old.step - old.batch * length
    if done >= length:  # the batch is complete, and perhaps the Report has run too
        return len(new.program.loop)
    names = {phase.name for phase in old.program.loop[:done]}
    shared = [i for i, phase in enumerate(new.program.loop) if phase.name in names]
    return shared[-1] + 1 if shared else 0
