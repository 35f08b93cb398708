"""The process group of a script, as if `torchrun` had started it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d
from torch.distributed.distributed_c10d import GroupMember

from tutor.protocol.frame import Remark
from tutor.script.redirected_files import in_places
from tutor.training.devices import backends_of_ranks

_DESTROY = dist.destroy_process_group


@dataclass
class ScriptGroup:
    """The process group of a script's run on one rank, as the script finds it.

    The ranks belong to one group already, which outlives the script: what the script's own
    `init_process_group` and `destroy_process_group` do is to have it, and to have it no longer.
    """

    rank: int
    size: int
    port: int
    """The port of this machine at which the ranks have met."""
    world: Any
    """The process group of all ranks."""
    folder: Path | None = None
    """The folder for the files that all ranks write; None if they write where they want."""
    is_joined: bool = False
    """Whether the script has the group now."""
    notes: tuple[Remark, ...] = field(default=())
    """Notes for a reader of its figures."""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A span in which the script's code finds its group, if it has it, and asks for it here."""
        self.show()
        own = {"init_process_group": self._join, "destroy_process_group": self._leave}
        modules = (dist, distributed_c10d, device_mesh)
        with in_places({m: {n: own[n] for n in own if n in vars(m)} for m in modules}):
            yield

    def show(self) -> None:
        """Let the script's code find the group, or none, as it has it now."""
        GroupMember.WORLD = self.world if self.is_joined else None

    def set_environment(self) -> None:
        """Set the variables of the environment that torchrun sets."""
        rank, size = str(self.rank), str(self.size)
        ranks = dict.fromkeys(("RANK", "LOCAL_RANK", "ROLE_RANK"), rank)
        sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_WORLD_SIZE"), size)
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.port), "GROUP_RANK": "0"}
        started = {"TORCHELASTIC_RUN_ID": "tutor", "TORCHELASTIC_RESTART_COUNT": "0"}
        os.environ.update(ranks | sizes | place | started)

    def _join(
        self,
        backend: str | None = None,
        init_method: str | None = None,
        timeout: object = None,
        world_size: int = -1,
        rank: int = -1,
        *_: object,
        **__: object,
    ) -> None:
        """Join the group: what a script gets for `init_process_group`."""
        if self.is_joined:
            raise ValueError("trying to initialize the default process group twice!")
        for name, given, own in (("rank", rank, self.rank), ("world_size", world_size, self.size)):
            if given not in (-1, own):
                raise ValueError(f"init_process_group has {name}={given}, but here it is {own}")
        wanted = str(backend or "gloo").lower()
        is_gloo = all(part.endswith(("gloo", "undefined")) for part in wanted.split(","))
        if not is_gloo and not any(b in wanted for b in backends_of_ranks(self.size).values()):
            self.notes = (Remark("backend_as_gloo", {"backend": wanted, "ranks": self.size}),)
        self.is_joined = True
        self.show()

    def _leave(self, group: Any = None) -> None:
        """Leave the group, or destroy one of the script's own: its `destroy_process_group`."""
        if group is not None and group is not self.world:
            _DESTROY(group)
        elif not self.is_joined:
            raise ValueError("Invalid process group specified")
        else:
            self.is_joined = False
            self.show()
