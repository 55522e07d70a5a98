"""A Flower federation over an uplink: clients and strategy stay as they are, models come over the air (extra `flower`).

    strategy = UplinkStrategy(FedAvg(), num_devices=10, compressor=LowRank(rank=4), uplink=AnalogUplink(energy_budget=1e4))
    result = strategy.start(grid=grid, initial_arrays=arrays, num_rounds=20)

Client k of weight w_k = n_k / sum n_j, over the A clients that answered, sends a difference of models, a pseudo-gradient:

    message_k = A w_k (theta - theta_k),   theta the round's global model, theta_k what the client returned

The uplink estimates the mean over those who send, so that what is decoded, sum_k w_k (theta - theta_k), is the step of a
weighted mean, as in Flower itself: the strategy gets theta minus it as the model of every client, and does the rest (FedAvg
takes it, FedAdam steps along it). Reference: McMahan et al., arXiv:1602.05629; Reddi et al., arXiv:2003.00295.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from laser_wireless.channels import Ledger, Uplink
from laser_wireless.channels.parameters import check_value
from laser_wireless.compression import Compressor
from laser_wireless.training.bridge import UplinkBridge
from laser_wireless.training.present import among

try:
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
    from flwr.serverapp import Grid
    from flwr.serverapp import strategy as strategies
    from flwr.serverapp.strategy.strategy_utils import validate_message_reply_consistency
except ImportError as error:
    raise ImportError(
        f"laser_wireless.training.flower needs Flower 1.42 or later: pip install 'laser-wireless[flower]' ({error})"
    ) from error

_log = logging.getLogger("flwr")

_ONE_BY_ONE = (
    strategies.Bulyan,
    strategies.FedMedian,
    strategies.FedTrimmedAvg,
    strategies.FedXgbBagging,
    strategies.FedXgbCyclic,
    strategies.Krum,
    strategies.MultiKrum,
    strategies.QFedAvg,
)
_CLIPS = (
    strategies.DifferentialPrivacyServerSideAdaptiveClipping,
    strategies.DifferentialPrivacyServerSideFixedClipping,
)


class UplinkStrategy(strategies.Strategy):
    """A strategy of Flower whose clients' models arrive over an uplink.

    Args:
        strategy: any that aggregates by a weighted mean: FedAvg, FedProx, FedAvgM, FedAdam, FedAdagrad, FedYogi, yours.
            Those that look at clients one by one (Krum, FedMedian) are refused: what arrives is a sum. Clipping at the
            server belongs around this one: `DifferentialPrivacyServerSideFixedClipping(UplinkStrategy(FedAvg(), ...), ...)`.
        num_devices: K, radios of the federation, one for each of its nodes (`num_supernodes`), whether asked or not. Those
            that are not asked, fail or answer too late are absent: they send nothing, power control does not count them, and
            their error memory waits.
        compressor: scheme; see `laser_wireless.compression`.
        uplink: channel; see `laser_wireless.channels`. Who answered is added to its participation.
        seed: fixes gains, noise and the compressor's draws.
        device_key: name in a client's metrics of its device number, 0 .. K - 1 (its partition, say). None numbers nodes as
            they first answer, in the order of node ids, which Flower draws at random: which client has which gain then
            differs from run to run.
        free: names of arrays, with wildcards, that reach the server without the uplink, counted in the ledger's metrics:
            ["*running_*"] for the statistics of batch normalisation, whose variances noise may push below zero. Arrays of
            integers are always free.

    Attributes:
        bridge: error memories, round and state of the run, from the first round on; None before.
        ledgers: account of each round by its number, from 1 as Flower counts.

    Metrics of a training round have the ledger's summary beside the strategy's own, as "uplink.energy_spent" and so on,
    means over the K devices, with "uplink.answered" and "uplink.free_numbers" (of each client). The initial model, the
    broadcasts and the clients' metrics, num-examples among them, cost nothing.
    """

    def __init__(
        self,
        strategy: strategies.Strategy,
        *,
        num_devices: int,
        compressor: Compressor,
        uplink: Uplink,
        seed: int = 0,
        device_key: str | None = None,
        free: Sequence[str] = (),
    ) -> None:
        check_value("strategy", strategy, strategies.Strategy)
        check_value("num_devices", num_devices, int)
        check_value("compressor", compressor, Compressor)
        check_value("uplink", uplink, Uplink)
        check_value("device_key", device_key, str | None)
        check_value("free", free, Sequence[str])
        if num_devices < 1:
            raise ValueError(f"num_devices must be an integer >= 1, got {num_devices!r}")
        _check_sums(strategy)
        self.strategy, self.num_devices, self.compressor, self.uplink = strategy, num_devices, compressor, uplink
        self.seed, self.device_key, self.free = seed, device_key, tuple(free)
        self.bridge: UplinkBridge | None = None
        self.ledgers: dict[int, Ledger] = {}
        self._model: dict[str, np.ndarray[Any, Any]] = {}  # the round's theta
        self._devices: dict[int, int] = {}  # by node id

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """As the wrapped strategy; the arrays are the model that the round's messages are differences from."""
        self._model = {name: array.numpy() for name, array in arrays.items()}
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Send the answers over the uplink, and let the wrapped strategy aggregate what was decoded.

        Raises:
            InconsistentMessageReplies: as in Flower's own strategies.
            ValueError: arrays that are not the global model's, weights without a sum, or device numbers that do not fit.
            FloatingPointError: a client's model is not finite, or another fault of the round; see `Ledger.check`.
        """
        replies = list(replies)
        failed = [reply for reply in replies if reply.has_error()]
        if len(failed) == len(replies):
            return self.strategy.aggregate_train(server_round, failed)
        answers = self._by_device([reply for reply in replies if not reply.has_error()])
        ledger, delivered = self._exchange(answers)
        account = {f"uplink.{name}": value for name, value in ledger.summary().items()}
        self.ledgers[server_round] = ledger
        arrived = []
        for _, answer in sorted(answers.items()):
            [(key, record)] = answer.content.array_records.items()
            answer.content[key] = ArrayRecord({name: delivered.get(name, array) for name, array in record.items()})
            arrived.append(answer)
        arrays, metrics = self.strategy.aggregate_train(server_round, [*arrived, *failed])
        free = sum(array.size for name, array in self._model.items() if name not in delivered)
        return arrays, MetricRecord(
            {**(metrics or {}), **account, "uplink.answered": len(answers), "uplink.free_numbers": free}
        )

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As the wrapped strategy."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As the wrapped strategy: evaluations do not pass the uplink."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """Log compressor and uplink, then the wrapped strategy's summary."""
        _log.info("\t├──> Uplink of %d devices:", self.num_devices)
        _log.info("\t│\t├── %s", self.compressor)
        _log.info("\t│\t└── %s", self.uplink)
        self.strategy.summary()

    def _exchange(self, answers: Mapping[int, Message]) -> tuple[Ledger, dict[str, Array]]:
        """Carry theta minus each answer; the account, and theta minus what was decoded, by name."""
        sent = [name for name, array in self._model.items() if self._is_sent(name, array)]
        bridge = self.bridge = self.bridge or self._built(sent)
        weights = self._weights(answers)
        for device in bridge.devices:
            with bridge.gradients_of(device):
                if device in answers:
                    self._subtract(answers[device], sent, bridge, len(answers) * weights[device])
        bridge.uplink = among(self.uplink, torch.tensor([device in answers for device in bridge.devices], dtype=torch.bool))
        decoded, ledger = bridge.exchange_gradients()
        delivered = {}
        for name, step in zip(sent, decoded, strict=True):
            theta = self._model[name]
            delivered[name] = Array(np.asarray(theta - step.numpy(), dtype=theta.dtype))
        return ledger, delivered

    def _subtract(self, answer: Message, sent: Sequence[str], bridge: UplinkBridge, factor: float) -> None:
        """Add factor (theta - answer) to the p.grad of each array that is sent, a device's row in `bridge.gradients_of`."""
        [record] = answer.content.array_records.values()
        for p, name in zip(bridge.carried.parameters, sent, strict=True):
            assert p.grad is not None
            theta, own = (_tensor(name, array, p) for array in (self._model[name], record[name].numpy()))
            p.grad.add_(theta - own, alpha=factor)

    def _built(self, sent: Sequence[str]) -> UplinkBridge:
        """The bridge for arrays of these names: what it calls a gradient is a difference of models."""
        if not sent:
            raise ValueError(f"free leaves no array of {sorted(self._model)} to be sent; name fewer of them")
        arrays = [self._model[name] for name in sent]
        dtype = torch.float64 if all(array.dtype == np.float64 for array in arrays) else torch.float32
        parameters = nn.ParameterList(nn.Parameter(torch.zeros(array.shape, dtype=dtype)) for array in arrays)
        options: dict[str, Any] = {"compressor": self.compressor, "uplink": self.uplink, "seed": self.seed}
        return UplinkBridge(parameters, num_devices=self.num_devices, **options)

    def _is_sent(self, name: str, array: np.ndarray[Any, Any]) -> bool:
        return np.issubdtype(array.dtype, np.inexact) and not any(fnmatchcase(name, free) for free in self.free)

    def _weights(self, answers: Mapping[int, Message]) -> dict[int, float]:
        """n_k / sum n_j of the clients that answered."""
        key = _weight_key(self.strategy)
        examples: dict[int, Any] = {device: _metrics(answer)[key] for device, answer in answers.items()}
        total = sum(examples.values())
        if not (0 < total < math.inf and min(examples.values()) >= 0):
            raise ValueError(f"{key} of the clients must be >= 0, finite and not all 0, got {list(examples.values())}")
        return {device: number / total for device, number in examples.items()}

    def _by_device(self, answers: list[Message]) -> dict[int, Message]:
        """The answers by device number, in order; what does not fit is refused."""
        contents = [answer.content for answer in answers]
        validate_message_reply_consistency(contents, _weight_key(self.strategy), check_arrayrecord=True)
        wanted = {name: array.shape for name, array in self._model.items()}
        for answer in answers:
            [record] = answer.content.array_records.values()
            if (found := {name: tuple(array.shape) for name, array in record.items()}) != wanted:
                raise ValueError(
                    f"node {answer.metadata.src_node_id} must return the arrays that it was sent, {wanted}, got {found}"
                )
        numbered = {self._device_of(answer): answer for answer in sorted(answers, key=lambda one: one.metadata.src_node_id)}
        if len(numbered) < len(answers):
            raise ValueError(
                f"{self.device_key or 'node ids'} must differ from client to client, got {len(answers)} answers of devices "
                f"{sorted(numbered)}"
            )
        return dict(sorted(numbered.items()))

    def _device_of(self, answer: Message) -> int:
        node = answer.metadata.src_node_id
        if self.device_key is None:
            device: Any = self._devices.setdefault(node, len(self._devices))
            remedy = "set num_devices to the number of nodes (num_supernodes)"
        else:
            device = _metrics(answer).get(self.device_key)
            remedy = f"have the clients return metrics with {self.device_key!r}, or leave device_key out"
        if device not in range(self.num_devices):
            raise ValueError(f"node {node} must have a device number 0 .. {self.num_devices - 1}, got {device!r}; {remedy}")
        return int(device)


def _inner(strategy: Any) -> list[Any]:
    """A strategy, and those that it is wrapped around."""
    return [strategy, *(_inner(strategy.strategy) if hasattr(strategy, "strategy") else [])]


def _weight_key(strategy: strategies.Strategy) -> str:
    return str(getattr(_inner(strategy)[-1], "weighted_by_key", "num-examples"))


def _check_sums(strategy: strategies.Strategy) -> None:
    """Refuse strategies that need more of the clients than a sum.

    Raises:
        ValueError: it is one of those.
    """
    for one in _inner(strategy):
        if isinstance(one, _ONE_BY_ONE):
            raise ValueError(
                f"strategy must aggregate by a weighted mean, got {type(one).__name__}, which compares the clients' models: "
                "over the air only their sum arrives; use FedAvg, FedProx, FedAvgM, FedAdam, FedAdagrad or FedYogi"
            )
        if isinstance(one, _CLIPS):
            raise ValueError(
                f"strategy must not be {type(one).__name__}, which needs each client's own model before the uplink: "
                f"wrap it around, {type(one).__name__}(UplinkStrategy(FedAvg(), ...), ...)"
            )


def _metrics(answer: Message) -> MetricRecord:
    """Of a client: the one record that Flower's strategies ask for."""
    [record] = answer.content.metric_records.values()
    return record


def _tensor(name: str, array: np.ndarray[Any, Any], like: Tensor) -> Tensor:
    """An array's numbers in another's precision.

    Raises:
        TypeError: complex numbers.
    """
    if np.iscomplexobj(array):
        raise TypeError(f"arrays must be real, got complex {name!r}; keep its real and imaginary part in two arrays")
    return torch.from_numpy(np.array(array)).to(like.dtype)
