"""What the screens look like (snapshots: look at the report when one differs)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from textual.pilot import Pilot

from tutor.protocol.events import OutputPrinted

from .conftest import LARGE, SMALL, MakeApp
from .fake_engine import FakeEngine


@dataclass(frozen=True)
class Look:
    """A screen: the keys that lead to it, and what happens then."""

    keys: Sequence[str] = ()
    sizes: Sequence[tuple[int, int]] = (SMALL, LARGE)
    then: Callable[[FakeEngine], object] = lambda engine: None
    fails_at: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def printed(engine: FakeEngine) -> None:
    engine.tell(OutputPrinted(text="epoch 4 [done]\n"))


STEPPED = ("s", "s", "g", "space")
LOOKS = {
    "menu": Look(["down"], options={"menu": True}),
    "start": Look(),
    "steps": Look(["s", "s", "s", "g", "s", "space", "space"], then=printed),
    "run": Look(["4", "r"], then=lambda engine: engine.advance(12)),
    "help": Look(["question_mark"], [SMALL]),
    "ladder": Look(["2", "6", "g"], [SMALL]),
    "diverged": Look(["l", *"1e6", "enter", "j", *"60", "enter"], [LARGE]),
    "error": Look(["space", "2", "space"], [SMALL], fails_at="Loss"),
    "question": Look(["l", "x", "enter"], [SMALL]),
    "trust": Look(["down", "down", "enter"], [SMALL], options={"menu": True}),
    "too-small": Look(sizes=[(60, 20)]),
    "ascii": Look(STEPPED, [LARGE], options={"ascii_only": True}),
    "no-colour": Look(STEPPED, [LARGE], environment={"NO_COLOR": "1"}),
}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param(name, size, id=f"{name}-{size[0]}x{size[1]}")
        for name, look in LOOKS.items()
        for size in look.sizes
    ],
)
def test_a_screen_looks_as_it_did(
    make_app: MakeApp,
    engine: FakeEngine,
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    size: tuple[int, int],
) -> None:
    look = LOOKS[name]
    engine.fails_at = look.fails_at
    for variable, value in look.environment.items():
        monkeypatch.setenv(variable, value)

    async def run(pilot: Pilot[None]) -> None:
        await pilot.pause()
        await pilot.press(*look.keys)
        look.then(engine)
        await pilot.pause()

    assert snap_compare(make_app(**look.options), terminal_size=size, run_before=run)
