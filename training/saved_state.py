"""What a bridge's saved state must be: of the same run, and as it was written."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from laser_wireless.training.checkpoint import form_of, to_plain
from laser_wireless.training.seal import check_seal, seal

_ROWS = 64  # looked at together


def sealed(state: dict[str, Any]) -> dict[str, Any]:
    """The state with its seal."""
    return {**state, "seal": seal(state)}


def unsealed(state: dict[str, Any]) -> dict[str, Any]:
    """The entries of a state but its seal."""
    return {name: entry for name, entry in state.items() if name != "seal"}


def state_of(
    *,
    round: int,
    seed: int,
    parts: dict[str, str],
    memory: Tensor,
    compressor_state: Any,
    uplink_state: Any,
    downlink: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """All of a bridge that changes, sealed; what `check_saved` asks for. `downlink` is of the devices' models, if any."""
    compressor = to_plain(compressor_state)
    entries = {"round": round, "seed": seed, "parts": parts, "memory": memory, "compressor": compressor}
    return sealed({**entries, "uplink": uplink_state, "downlink": downlink})


def check_saved(
    state: Any, *, seed: int, memory: Tensor, compressor_state: Any, downlink: bool, parts: dict[str, str]
) -> None:
    """Refuse a state that is not the bridge's own of some round; nothing is changed.

    Args:
        state: what is to be loaded.
        seed, memory, compressor_state: of the bridge that loads it; only the form of tensors counts.
        downlink: whether that bridge keeps devices' models.
        parts: of its run; see `parts_of_run`.

    Raises:
        ValueError: it does not fit; the entry is named.
    """
    wanted = {"round", "seed", "parts", "memory", "compressor", "uplink", "downlink", "seal"}
    if not isinstance(state, dict) or not wanted <= set(state):
        lacks = sorted(wanted - set(state)) if isinstance(state, dict) else f"everything, it is a {type(state).__name__}"
        raise ValueError(f"state lacks {lacks}; was it written by UplinkBridge.state_dict()?")
    _check_memory(state["memory"], memory)
    round = state["round"]
    if isinstance(round, bool) or not isinstance(round, int) or round < 0:
        raise ValueError(f"state must hold a round >= 0, an integer, got {round!r}; load the state as it was saved")
    if state["seed"] != seed:
        raise ValueError(f"state is of seed {state['seed']}, this bridge has seed {seed}; use the same seed")
    if (state["downlink"] is not None) != downlink:
        raise ValueError(
            f"state is of a run {'without' if downlink else 'with'} errors on the downlink, this bridge is not; build it "
            "with the same downlink"
        )
    theirs = state["parts"] if isinstance(state["parts"], dict) else {}
    for part, mine in parts.items():
        if theirs.get(part) != mine:
            raise ValueError(
                f"state is of another {part}, {theirs.get(part)}, than this bridge's, {mine}; build it with the same {part}"
            )
    if form_of(state["compressor"]) != form_of(to_plain(compressor_state)):
        raise ValueError("state must hold a compressor's state of this model, got another model's; build the same model")
    check_seal(unsealed(state), state["seal"])


def _check_memory(found: Any, memory: Tensor) -> None:
    if not isinstance(found, Tensor) or found.shape != memory.shape:
        raise ValueError(
            f"state must hold a memory of {list(memory.shape)} [num_devices, parameters], got "
            f"{list(found.shape) if isinstance(found, Tensor) else type(found).__name__}; build the bridge with the same "
            "model and num_devices"
        )
    if found.dtype != memory.dtype:
        raise ValueError(f"state must hold a memory of {memory.dtype}, got {found.dtype}; build the same model")
    if not all(piece.isfinite().all() for piece in found.split(_ROWS)):  # which may lie in a file
        raise ValueError("state must hold a finite memory, got NaN or infinity; go back to an earlier state")


def parts_of_run(compressor: Any, uplink: Any, downlink: Any) -> dict[str, str]:
    """The parts of a run that remember, and how each would be written.

    Parts whose parameters give the state its meaning are compared with these, a fading by its kind alone: its parameters (a
    Doppler shift, the path of a file) may change while a run rests.
    """
    parts = {"compressor": _written(compressor), "uplink": type(uplink).__name__, "downlink": type(downlink).__name__}
    for name in ("scale", "csi", "receiver_csi"):
        parts[f"uplink's {name}"] = _written(getattr(uplink, name, None))
    for name, owner in (("uplink", uplink), ("downlink", downlink)):
        parts[f"{name}'s fading"] = _kind(getattr(owner, "fading", None))
    return parts


def _written(part: Any) -> str:
    """repr without addresses in memory, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(part))


def _kind(part: Any) -> str:
    """Name of a function or of a class, with those of the models that it is made of."""
    if hasattr(part, "__qualname__"):
        return str(part.__qualname__)
    fields = getattr(part, "__dict__", {}).values()
    inner = ", ".join(_kind(value) for value in fields if callable(value) or hasattr(value, "advance"))
    return type(part).__qualname__ + (f"({inner})" if inner else "")
