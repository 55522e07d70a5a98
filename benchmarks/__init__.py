"""The `laser` command: runs, sweeps, channel studies; tasks with built-in data; speed.

`train` is one run of it, `Callback` is told what a run records, `load` reads what was written.
"""

from laser_wireless.benchmarks.callbacks import Callback, Recorded, TensorBoard
from laser_wireless.benchmarks.loading import Records, load
from laser_wireless.benchmarks.training_run import TrainingRun, train

__all__ = ["Callback", "Recorded", "Records", "TensorBoard", "TrainingRun", "load", "train"]
