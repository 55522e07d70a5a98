"""Learning tasks: two whose data is on every machine, and those of the paper."""

from laser_wireless.benchmarks.tasks.cifar import Cifar
from laser_wireless.benchmarks.tasks.digits import Digits
from laser_wireless.benchmarks.tasks.fashion_mnist import FashionMnist
from laser_wireless.benchmarks.tasks.mnist import Mnist
from laser_wireless.benchmarks.tasks.stdlib_text import StdlibText
from laser_wireless.benchmarks.tasks.task import Split, Task
from laser_wireless.benchmarks.tasks.wikitext import WikiText

__all__ = ["Cifar", "Digits", "FashionMnist", "Mnist", "Split", "StdlibText", "Task", "WikiText"]
