"""Training over an uplink: any PyTorch model, any torch optimiser."""

from laser_wireless.training.averaging import averaged_model
from laser_wireless.training.bridge import UplinkBridge
from laser_wireless.training.checkpoint import load_checkpoint, save_checkpoint

__all__ = ["UplinkBridge", "averaged_model", "load_checkpoint", "save_checkpoint"]
