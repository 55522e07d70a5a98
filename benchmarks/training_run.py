"""One training over an uplink, in a folder of its own: resumable at any moment, the same to the bit as an unbroken one.

config.yaml      what was asked
rounds.csv       per round: training loss and ledger
evaluations.csv  validation metrics, every so many rounds
result.json      metrics of the last round, those at the least validation loss, totals of the ledger; there if and only if
                 the run is done
Checkpoints, and what becomes of damaged files and of results of other code or data: see `run_folder`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from laser_wireless.benchmarks.assembly import Spec
from laser_wireless.benchmarks.callbacks.audience import Audience
from laser_wireless.benchmarks.callbacks.contract import Callback
from laser_wireless.benchmarks.crew import STEP, Crew
from laser_wireless.benchmarks.fingerprint import fingerprint_of
from laser_wireless.benchmarks.optimizers import ServerOptimizer
from laser_wireless.benchmarks.records import Row, csv_rows, csv_text, environment
from laser_wireless.benchmarks.run_folder import RunFolder, State, say
from laser_wireless.benchmarks.tasks import Task
from laser_wireless.benchmarks.tasks.contract import CheckedTask
from laser_wireless.benchmarks.users_code import users_line
from laser_wireless.channels import AnalogUplink, Downlink, Ledger, NoiselessBroadcast, Streams, Uplink
from laser_wireless.channels.parameters import checked
from laser_wireless.compression import Compressor
from laser_wireless.training import LocalSteps, ProcessAir, RowsInMemory, StreamedBridge, UplinkBridge, averaged_model
from laser_wireless.training.local_steps import GRADIENT
from laser_wireless.training.row_store import RowStore

RESULT_FORM = 3  # of result.json: grows when its content does, so that a sweep computes older ones again

_ROUNDS, _EVALUATIONS = "rounds.csv", "evaluations.csv"
_TOTALS = ("energy_spent", "max_energy_spent", "energy_allowed", "num_symbols", "num_channel_uses", "outage")

Device = Literal["auto", "cpu", "cuda"]


def torch_device(name: Device) -> torch.device:
    """The torch device of a name: "auto" is a GPU if there is one.

    Raises:
        ValueError: "cuda" without a GPU, or another name.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but torch sees no GPU; use --device auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@dataclass(frozen=True, kw_only=True)
@checked
class TrainingRun:
    """What to train, over what.

    Args:
        task: data, model and optimiser.
        compressor: what goes on the air.
        uplink: the channel, with its energy budget.
        downlink: how the model reaches the devices.
        local: SGD steps of the devices on their own before they send, as in federated averaging; None sends gradients. The
            batches of step s in round t are those of round t tau + s of the task, tau being the most steps of any device.
        weights: of the devices in the mean; "samples": by how many training samples each holds, "equal": all alike.
        optimizer: of the base station; the task's own if None.
        devices_at_once: devices that are computed together, so that memory does not grow with K; None for all. Results
            are the same but for rounding. Over an analog uplink with gains constant over segments and a free downlink.
        rows: with devices_at_once and a scheme with error feedback or momentum at the devices, where they keep what is yet
            to be sent; in the memory of the host if None.
        precision: of the forward and backward pass: "bfloat16" has torch's autocast choose it for each operation; weights,
            memories and messages stay in float32.
        compiled: have torch.compile make forward and backward pass quicker: seconds to minutes in the first round, other
            last digits; worth it in long runs.
        num_devices: K, devices that send at once.
        num_rounds: uplink rounds, one optimiser step each.
        learning_rate: of the base station's optimiser, and of local steps that have no rate of their own.
        seed: of the model's start, data order, gains, noise and compressor.
        evaluate_every: rounds between looks at the validation part; the last round is always evaluated.
        checkpoint_seconds: seconds between checkpoints; infinite for none.
    """

    task: Task
    compressor: Compressor
    uplink: Uplink
    downlink: Downlink = field(default_factory=NoiselessBroadcast)
    local: LocalSteps | None = None
    weights: Literal["equal", "samples"] = "equal"
    optimizer: ServerOptimizer | None = None
    devices_at_once: int | None = None
    rows: RowStore | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    compiled: bool = False
    num_devices: int = 16
    num_rounds: int = 240
    learning_rate: float = 0.05
    seed: int = 0
    evaluate_every: int = 40
    checkpoint_seconds: float = 20.0

    def __post_init__(self) -> None:
        for name in ("num_devices", "num_rounds", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be finite and > 0, got {self.learning_rate}")
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, got {self.seed}")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(f"checkpoint_seconds must be >= 0, got {self.checkpoint_seconds}")
        self._check_streaming()

    def _check_streaming(self) -> None:
        if self.devices_at_once is None:
            if self.rows is not None:
                raise ValueError(f"rows must be given with devices_at_once and only then, got {self.rows}")
            return
        if self.devices_at_once < 1:
            raise ValueError(f"devices_at_once must be >= 1 or None, got {self.devices_at_once}")
        if not isinstance(self.uplink, AnalogUplink):
            raise ValueError(f"devices_at_once needs an AnalogUplink, got {type(self.uplink).__name__}; leave it out")
        if not isinstance(self.downlink, NoiselessBroadcast):
            raise ValueError(
                f"devices_at_once needs a downlink without errors, NoiselessBroadcast, got {type(self.downlink).__name__}"
            )


class Diverged(ArithmeticError):
    """The training left the finite numbers."""


def train(
    run: TrainingRun,
    folder: Path,
    *,
    device: torch.device,
    progress: Callable[[int, Row], None] = lambda round, row: None,
    spec: Spec | None = None,
    tell: Callable[[str], None] = say,
    callbacks: Sequence[Callback] = (),
    crew: Callable[[], AbstractContextManager[Crew | None]] = nullcontext,
) -> Row:
    """Train to the end, from the last sound checkpoint in the folder if there is one, and return the result.

    A result or checkpoint of other code, data or versions is computed again, see `fingerprint`.

    Args:
        run: what to train.
        folder: an existing folder, for this run alone.
        device: where to compute.
        progress: called after each round with the number of rounds done and the latest evaluation.
        spec: the plain configuration that the run was built from; kept as config.yaml.
        tell: takes a line about a damaged file or changed code; on stderr unless given.
        callbacks: are told what is recorded, as it is recorded; of a run that is done already, nothing.
        crew: enters with the processes that hold the devices, of which this is the first, if there is something to train;
            see `crew_launch.crew_of`.

    Returns:
        the content of result.json. A run that diverged is a result as well: status "diverged", infinite losses.

    Raises:
        BadConfiguration: a ValueError; the folder holds a run of another configuration.
        TypeError: a callback is no function of one argument.
    """
    journey = RunInFolder(run, folder, device=device, spec=spec, tell=tell, callbacks=callbacks)
    if journey.result is not None:
        return journey.result
    with crew() as hands:
        journey.take_up(hands)
        return journey.to_the_end(progress)


class RunInFolder:
    """A run on its way from its folder's last sound state to a result in it.

    Attributes:
        result: the content of result.json, None until there is one.
    """

    def __init__(
        self,
        run: TrainingRun,
        folder: Path,
        *,
        device: torch.device,
        spec: Spec | None,
        tell: Callable[[str], None],
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.run, self._device = run, device
        self._crew: Crew | None = None
        self._audience = Audience(callbacks, folder, run, spec)
        fingerprint = fingerprint_of(run, spec, form=RESULT_FORM, code=__file__, folder=folder)
        self._files = RunFolder(folder, fingerprint, _check_result, tell, spec)
        self.result = self._files.finished()
        if callbacks and self.result is not None:
            tell("callbacks are told nothing of a run that is done already; to see it, delete its folder and run again")
        self._saved = time.monotonic()

    def take_up(self, crew: Crew | None = None) -> Trainer:
        """The run at its last sound checkpoint that fits it, or at its start; in all processes of a crew."""
        self._crew = crew
        self.trainer = self._taken_up()
        self._files.claim()
        self._saved = time.monotonic()
        return self.trainer

    def _taken_up(self) -> Trainer:
        for state in self._files.states():
            trainer = Trainer(self.run, self._device, self._crew)  # a state that is refused half-way leaves its traces
            try:
                trainer.load(state)
                self._audience.go_on_from(state.content["told"], trainer.round)
            except (ValueError, TypeError, LookupError, RuntimeError, AttributeError) as error:
                self._files.refuse(state, error)
                continue
            self._files.compare(state)
            if self._crew is not None:
                self._crew.share(state, trainer.memory)
            return trainer
        return Trainer(self.run, self._device, self._crew)

    def to_the_end(self, progress: Callable[[int, Row], None]) -> Row:
        """Train by itself from where it is; see `train`."""
        trainer = self.trainer
        with saved_when_cut_off([self]):
            try:
                self.evaluate_if_due()  # where an interrupt came before it
                while not self.is_over:
                    trainer.step()
                    self.evaluate_if_due()
                    progress(trainer.round, trainer.evaluations[-1] if trainer.evaluations else {})
                    self.save_if_due()
            except (FloatingPointError, Diverged) as error:
                return self.diverged(error)
            return self.done()

    @property
    def is_over(self) -> bool:
        """Whether all rounds are done."""
        return self.trainer.round >= self.run.num_rounds

    def evaluate_if_due(self) -> None:
        """Look at the validation part after every so many rounds and after the last one; once.

        Raises:
            FloatingPointError, Diverged: the run left the finite numbers.
        """
        round, done = self.trainer.round, self.trainer.evaluations
        is_due = round > 0 and (round % self.run.evaluate_every == 0 or self.is_over)
        if is_due and not (done and done[-1]["round"] == round):
            self.trainer.evaluate()
            self._tell()

    @property
    def is_to_be_saved(self) -> bool:
        """Whether the last checkpoint is old."""
        return time.monotonic() - self._saved >= self.run.checkpoint_seconds

    def save_if_due(self) -> None:
        """Write a checkpoint if the last one is old.

        Raises:
            FloatingPointError: the run left the finite numbers.
        """
        if self.is_to_be_saved:
            self.save()

    def save(self) -> None:
        """Write a checkpoint, with which all that is recorded has been told; see `save_if_due`."""
        self.trainer.read()
        self._tell()
        self._write()

    def _write(self) -> None:
        self._files.save({**self.trainer.state(), "told": self._audience.told}, self.trainer.records())
        self._saved = time.monotonic()

    def _tell(self, result: Row | None = None) -> None:
        self._audience.tell(self.trainer.rows, self.trainer.evaluations, result)

    @property
    def is_cut_off(self) -> bool:
        """Whether a callback raised an error; the run itself is sound."""
        return self._audience.failed

    def cut_off(self) -> None:
        """Save before the process ends, unless amid a step or off the finite numbers: then the last checkpoint stands.

        What has not been told yet will be when the run goes on.
        """
        if self.result is None and not self.trainer.amid_step:
            with suppress(FloatingPointError, Diverged):
                self._write()

    def done(self) -> Row:
        """Finish the run; its result, which may be that it diverged."""
        try:
            result = self.trainer.result("done")
        except (FloatingPointError, Diverged) as error:
            return self.diverged(error)
        return self._finish(result)

    def diverged(self, error: ArithmeticError) -> Row:
        """Finish the run as one that diverged, unless the error is one of the user's code, or a callback's."""
        if self.is_cut_off or users_line(error):
            raise error
        return self._finish(self.trainer.result("diverged", str(error)))

    def _finish(self, result: Row) -> Row:
        self._tell(result)
        self.result = self._files.finish(result, self.trainer.records())
        del self.trainer  # and its memory
        return self.result


@contextmanager
def saved_when_cut_off(journeys: Sequence[RunInFolder]) -> Iterator[None]:
    """Save runs on their way if an interruption, or the error of a callback, ends the block."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or any(journey.is_cut_off for journey in journeys):
            for journey in journeys:
                journey.cut_off()
        raise


def _check_result(result: Row) -> None:
    """Refuse what is no result of a run.

    Raises:
        ValueError, TypeError, KeyError: see above.
    """
    if result["status"] not in ("done", "diverged"):
        raise ValueError(f"status must be done or diverged, got {result['status']!r}")
    if not isinstance(result["rounds"], int) or result["rounds"] < 0:
        raise ValueError(f"rounds must be an integer >= 0, got {result['rounds']!r}")
    for evaluation in (result, result["best"]):
        for part in ("validation", "test"):
            loss = evaluation["metrics"][part]["loss"]
            if math.isnan(loss) or (math.isinf(loss) and result["status"] == "done"):
                raise ValueError(f"the {part} loss of a run that is {result['status']} must be a number, got {loss}")
    missing = {"reason", "peak_power", "environment"} - result.keys() | set(_TOTALS) - result["mean_per_round"].keys()
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")


class Trainer:
    """The state of a run between two rounds, or the part of it that one process of a crew holds."""

    def __init__(self, run: TrainingRun, device: torch.device, crew: Crew | None = None) -> None:
        self.run, self.device, self.crew = run, device, crew
        self.task = CheckedTask(run.task)
        self.model: nn.Module = self.task.model(run.seed).to(device)
        self.streams = Streams(run.seed)
        sizes = self.task.shard_sizes(run.num_devices, self.streams) if run.weights == "samples" else None
        self.bridge = _bridge(run, self.model, sizes, None if crew is None else crew.air_of(self.model))
        self.optimizer = self.task.optimizer(self.model, run.learning_rate, run.optimizer)
        self.average = averaged_model(self.model, decay=self.task.averaging) if self.task.averaging else None
        self.amid_step = False
        self.rows: list[Row] = []
        self.evaluations: list[Row] = []
        self.best = _nothing()
        self._unread: list[tuple[Tensor, Ledger]] = []

    @property
    def round(self) -> int:
        """Rounds done."""
        return self.bridge.round

    @property
    def memory(self) -> Tensor:
        """What this process's devices have yet to send, [L, d]; where it is at hand."""
        if not isinstance(self.bridge, UplinkBridge):
            raise TypeError("devices that are computed some at a time have no memory at hand")
        return self.bridge.memory

    def step(self) -> None:
        """One round and one optimiser step; nothing is read back from the device."""
        rate = self.begin_step()
        self.end_step(*self._exchange(rate))
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.amid_step = False

    def _exchange(self, rate: float) -> tuple[Tensor, Ledger]:
        """One round over the uplink: the devices' mean loss, and the ledger."""
        local = self.run.local or GRADIENT
        first = self.round * local.longest
        if isinstance(self.bridge, StreamedBridge):

            def some(devices: range, step: int) -> list[Tensor]:
                batches = self.task.batches_of(devices, first + step, self.run.num_devices, self.streams)
                return [batch.to(self.device) for batch in batches]

            losses, ledger = self.bridge.exchange(self.loss, some, local, learning_rate=rate)
            return losses.mean(), ledger
        steps = [self.batches(first + step) for step in range(local.longest)]
        losses = self.bridge.local_updates(self.loss, steps, local, learning_rate=rate)
        return losses.mean() if self.crew is None else self.crew.mean(losses), self.bridge.exchange()

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        """The task's loss, in the run's precision."""
        if self.run.precision == "float32":
            return self.task.loss(model, *batch)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return self.task.loss(model, *batch)

    def batches(self, round: int) -> list[Tensor]:
        """The mini-batches of the task's round, [K, ...] each; in one of several processes those of its devices."""
        if self.crew is None:
            batches = self.task.batches(round, self.run.num_devices, self.streams)
        else:
            batches = self.task.batches_of(self.crew.air.devices, round, self.run.num_devices, self.streams)
        return [batch.to(self.device) for batch in batches]

    def begin_step(self) -> float:
        """Set the learning rate of this round, and return it."""
        self.amid_step = True
        if self.crew is not None:
            self.crew.order(STEP)
        rate = self.run.learning_rate * self.task.learning_rate_factor(self.round, self.run.num_rounds)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def end_step(self, loss: Tensor, ledger: Ledger) -> None:
        """Step with what the receiver decoded, which lies in p.grad."""
        self._unread.append((loss, ledger))
        self.optimizer.step()

    def evaluate(self) -> None:
        """Take the validation metrics of the model as it stands, and the test metrics if no validation loss was lower.

        The test part decides nothing: it is measured where the validation part says so.
        """
        self.read()
        found = self.metrics("validation")
        if found["loss"] < self.best["metrics"]["validation"]["loss"]:
            self.best = {"round": self.round, "metrics": {"validation": found, "test": self.metrics("test")}}
        self.evaluations.append({"round": self.round, **found})

    def metrics(self, split: Literal["validation", "test"]) -> Row:
        """Metrics of the averaged model, or of the weights if the task does not average."""
        model = self.model if self.average is None else self.average
        training = model.training
        model.eval()
        found = self.task.evaluate(model, split)
        model.train(training)
        if not all(map(math.isfinite, found.values())):
            raise Diverged(f"the {split} metrics of round {self.round} are not finite: {found}")
        return dict(found)

    def read(self) -> None:
        """Read the ledgers and losses that are still on the device.

        Raises:
            FloatingPointError: a round was invalid.
        """
        for loss, ledger in self._unread:
            self.rows.append({"round": ledger.round, "training_loss": loss.item(), **ledger.summary()})
        self._unread.clear()

    def forget(self) -> None:
        """Drop the ledgers and losses that are still on the device: another process records them."""
        self._unread.clear()

    def state(self) -> dict[str, Any]:
        """All that changes, but for the records; only a sound state is one.

        Raises:
            FloatingPointError: a round was invalid.
        """
        self.read()
        bridge = self.bridge.state_dict()
        return {
            "bridge": bridge if self.crew is None else self.crew.whole(bridge),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "best": self.best,
        }

    def records(self) -> dict[str, str]:
        """What was recorded so far, as the texts of files."""
        return {_ROUNDS: csv_text(self.rows), _EVALUATIONS: csv_text(self.evaluations)}

    def load(self, state: State) -> None:
        """Take up the run at a checkpoint.

        Raises:
            ValueError, TypeError, LookupError, RuntimeError, AttributeError: it does not fit this run.
        """
        content = state.content
        self.bridge.load_state_dict(content["bridge"] if self.crew is None else self.crew.own(content["bridge"]))
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.best = content["best"]
        self.rows, self.evaluations = (csv_rows(state.records[name], name) for name in (_ROUNDS, _EVALUATIONS))
        if [row["round"] for row in self.rows] != list(range(self.round)) or self.round > self.run.num_rounds:
            raise ValueError(f"it is of round {self.round} and records {len(self.rows)} rounds")

    def result(self, status: str, reason: str = "") -> Row:
        """The run's result: metrics of the last round and of the best one, means of the ledger over the rounds."""
        totals = {}
        for name in _TOTALS:
            values = [row[name] for row in self.rows]
            totals[name] = sum(values) / len(values) if values else float("nan")
        metrics = _nothing()["metrics"]
        if status == "done":
            metrics = {"validation": self.metrics("validation"), "test": self.metrics("test")}
        return {
            "status": status,
            "reason": reason,
            "rounds": self.round,
            "metrics": metrics,
            "best": self.best,
            "mean_per_round": totals,
            "peak_power": max((row["peak_power"] for row in self.rows), default=float("nan")),
            "environment": {**environment(), "processes": 1 if self.crew is None else self.crew.num_processes},
        }


def _bridge(
    run: TrainingRun, model: nn.Module, weights: Sequence[float] | None, air: ProcessAir | None
) -> UplinkBridge | StreamedBridge:
    common: dict[str, Any] = {"num_devices": run.num_devices, "compressor": run.compressor, "seed": run.seed}
    common |= {"weights": weights, "compiled": run.compiled}
    if run.devices_at_once is None or not isinstance(run.uplink, AnalogUplink):
        return UplinkBridge(model, uplink=run.uplink, downlink=run.downlink, air=air, **common)
    if air is not None:
        raise ValueError("devices_at_once must be left out in several processes, each of which has its devices at once")
    keeps = run.compressor.error_feedback or run.compressor.momentum
    rows = run.rows or (RowsInMemory() if keeps else None)
    return StreamedBridge(model, uplink=run.uplink, at_once=run.devices_at_once, rows=rows, **common)


def _nothing() -> Row:
    """The evaluation of a run that has none: round 0, infinite losses."""
    return {"round": 0, "metrics": {"validation": {"loss": float("inf")}, "test": {"loss": float("inf")}}}
