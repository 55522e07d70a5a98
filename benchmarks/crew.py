"""The processes of one run: the first decides, and the others do what it orders.

Each holds some of the devices. The first also has what there is once: the folder, the records, evaluations, callbacks and
whoever presses Ctrl-C. Before each step or checkpoint it sends one number to the others, which wait for it; so that nobody
else decides anything, and all are at the same round whenever a state is taken.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from laser_wireless.benchmarks.run_folder import State
from laser_wireless.training import ProcessAir
from laser_wireless.training.saved_state import sealed, unsealed
from laser_wireless.training.seal import check_seal

STEP, SAVE, LOAD, END = range(4)
"""Orders: do a round; give your devices' memory; take up a checkpoint; come to an end."""


class Crew:
    """The processes of torch's default group, as one of them sees them.

    Args:
        num_devices: K, in all processes; each gets as many as the others, or one less.

    Attributes:
        air: which of them are here, and how all are brought together.
    """

    def __init__(self, num_devices: int) -> None:
        rank, self.num_processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.leads = rank == 0
        self.air = ProcessAir(num_devices // self.num_processes + (rank < num_devices % self.num_processes))

    def air_of(self, model: nn.Module) -> ProcessAir:
        """The air for a model of which every process can hold the same.

        Raises:
            ValueError: a layer keeps statistics of what it has seen, which would be those of one process's devices.
        """
        for name, module in model.named_modules():
            if isinstance(module, _NormBase) and module.track_running_stats:
                raise ValueError(
                    f"the model must be the same in all processes, but {name} ({type(module).__name__}) keeps statistics of "
                    "the devices that it has seen; use another normalisation (GroupNorm), or one process"
                )
        return self.air

    def mean(self, losses: Tensor) -> Tensor:
        """Mean over all processes of what each has of some of its devices, [m]; none of them need have any."""
        total = torch.stack([losses.sum(), losses.new_tensor(len(losses))])
        summed = self.air.sum(total.unsqueeze(0), 0).squeeze(0)
        return summed[0] / summed[1]

    def order(self, what: int) -> None:
        """Send an order to the others; only the first process does."""
        if self.leads:
            self.air.first_decides(what)

    def next_order(self) -> int:
        """Wait for the first process's order."""
        return self.air.first_decides(0)

    def whole(self, state: dict[str, Any]) -> dict[str, Any]:
        """In the first process: the state of its bridge with the memory of all devices, as of one that holds them all."""
        self.order(SAVE)
        return sealed({**unsealed(state), "memory": self.air.collected(state["memory"])})

    def own(self, state: dict[str, Any]) -> dict[str, Any]:
        """The part of such a state that is this process's; in the others, what the first has given them.

        Raises:
            ValueError: an entry is not as it was written, or it is of another number of devices.
        """
        if not self.leads:
            return state
        rest = unsealed(state)
        check_seal(rest, state["seal"])
        if len(rest["memory"]) != self.air.num_devices:
            raise ValueError(f"state is of {len(rest['memory'])} devices, this run has {self.air.num_devices}")
        return sealed({**rest, "memory": self.air.own(rest["memory"], 0)})

    def share(self, state: State, memory: Tensor) -> None:
        """In the first process: let the others take up a checkpoint; `memory` [L, d] says how rows lie."""
        self.order(LOAD)
        bridge = {name: entry for name, entry in state.content["bridge"].items() if name not in ("seal", "memory")}
        self.air.first_says(state._replace(content={**state.content, "bridge": bridge}))
        self.air.dealt(state.content["bridge"]["memory"], like=memory)

    def shared(self, memory: Tensor) -> State:
        """In the others: the checkpoint, with the memory of this process's devices."""
        state: State = self.air.first_says(None)
        bridge = sealed({**state.content["bridge"], "memory": self.air.dealt(None, like=memory)})
        return state._replace(content={**state.content, "bridge": bridge})
