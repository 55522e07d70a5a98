"""Training over an uplink: any PyTorch model, any torch optimiser."""

from laser_wireless.training.averaging import averaged_model
from laser_wireless.training.bridge import UplinkBridge
from laser_wireless.training.checkpoint import load_checkpoint, save_checkpoint
from laser_wireless.training.ddp import UplinkHookState, uplink_hook
from laser_wireless.training.local_steps import LocalSteps
from laser_wireless.training.processes import ProcessAir
from laser_wireless.training.round_checkpoints import load_last_round, save_round
from laser_wireless.training.row_store import RowsInFile, RowsInMemory
from laser_wireless.training.streamed import StreamedBridge

UplinkState = UplinkHookState  # as in torch's own hooks: PowerSGDState, powerSGD_hook

__all__ = [
    "LocalSteps",
    "ProcessAir",
    "RowsInFile",
    "RowsInMemory",
    "StreamedBridge",
    "UplinkBridge",
    "UplinkHookState",
    "UplinkState",
    "averaged_model",
    "load_checkpoint",
    "load_last_round",
    "save_checkpoint",
    "save_round",
    "uplink_hook",
]
