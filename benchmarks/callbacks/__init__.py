"""Who is told what a run records, as it is recorded: TensorBoard, and functions of a user's own."""

from laser_wireless.benchmarks.callbacks.contract import Callback, Recorded
from laser_wireless.benchmarks.callbacks.tensorboard import TensorBoard

__all__ = ["Callback", "Recorded", "TensorBoard"]
