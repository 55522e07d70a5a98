"""Trainings computed together, each in a folder of its own; what a run writes there is what it would write alone.

Runs of which nothing can be computed together, or no longer, are trained one after the other: nothing but time is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from laser_wireless.benchmarks.assembly import Spec
from laser_wireless.benchmarks.callbacks.contract import Callback
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.run_folder import say
from laser_wireless.benchmarks.training_run import Diverged, RunInFolder, Trainer, TrainingRun, saved_when_cut_off
from laser_wireless.channels import Ledger
from laser_wireless.channels.uplinks.stacked import NotStackable
from laser_wireless.training import UplinkBridge
from laser_wireless.training.averaging import AveragesSideBySide
from laser_wireless.training.side_by_side import SideBySide

_NUMBERS = {"cpu": 1 << 23, "cuda": 1 << 28}  # in the gradients of all runs and devices; of more, runs of a CPU are slower


@dataclass(frozen=True)
class Member:
    """One of several runs: what to train, its folder, its plain configuration, and who is told what it records."""

    run: TrainingRun
    folder: Path
    spec: Spec | None = None
    callbacks: Sequence[Callback] = ()


def train_together(
    members: Sequence[Member],
    *,
    device: torch.device,
    tick: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = say,
) -> list[Row]:
    """Train all members to their ends and return their results, in their order; see `train`.

    Args:
        members: runs of one task that differ in seed, energy budget and learning rate; where they differ in more, or cannot
            be computed together for another reason, that is told and they are trained one by one.
        device: where to compute.
        tick: called after each round.
        tell: takes a line about damaged files, changed code, and why runs are trained one by one.
    """
    more: dict[str, Any] = {"device": device, "tell": tell}
    journeys = [RunInFolder(m.run, m.folder, spec=m.spec, callbacks=m.callbacks, **more) for m in members]
    ahead = [journey for journey in journeys if journey.result is None]
    while ahead:
        count = at_once(ahead[0].take_up(), len(ahead), device)
        company, ahead = ahead[:count], ahead[count:]
        for journey in company[1:]:
            journey.take_up()
        _to_the_end(company, tick, tell)
    return [journey.result for journey in journeys if journey.result is not None]


def at_once(first: Trainer, count: int, device: torch.device) -> int:
    """How many of so many runs are computed at once, in equal parts: as the gradients of all their devices leave room."""
    if not isinstance(first.bridge, UplinkBridge):
        return 1
    most = max(1, _NUMBERS[device.type] // first.bridge.memory.numel())
    return -(-count // -(-count // most))


def _to_the_end(company: list[RunInFolder], tick: Callable[[], None], tell: Callable[[str], None]) -> None:
    """Train to the end, together from the round on at which each is."""
    if len(company) == 1:
        company[0].to_the_end(lambda round, row: tick())
        return
    reason, ahead = "", company
    with saved_when_cut_off(company):
        while not reason and (ahead := [journey for journey in ahead if journey.result is None]):
            rounds = sorted({journey.trainer.round for journey in ahead})
            hindmost = [journey for journey in ahead if journey.trainer.round == rounds[0]]
            try:
                _travel(hindmost, [*rounds[1:], ahead[0].run.num_rounds][0], tick)
            except NotStackable as error:
                reason = str(error)
        if reason:
            tell(f"runs are trained one by one: {reason}")
            for journey in company:
                if journey.result is None:
                    journey.to_the_end(lambda round, row: tick())


def _travel(journeys: list[RunInFolder], stop: int, tick: Callable[[], None]) -> None:
    """Go on together until a round, until all have come to their end, or until one leaves because it diverged.

    Raises:
        NotStackable: they cannot, or not any longer; each may go on by itself from where it is.
    """
    company = Company([journey.trainer for journey in journeys])
    try:
        _each(journeys, RunInFolder.evaluate_if_due)  # where an interrupt came before it
        while all(journey.result is None for journey in journeys) and company.round < stop:
            company.step()
            _each(journeys, RunInFolder.evaluate_if_due)
            tick()
            if any(journey.result is None and journey.is_to_be_saved for journey in journeys):
                company.part()
                _each(journeys, RunInFolder.save)
    finally:
        company.part()
    for journey in journeys:
        if journey.result is None and journey.is_over:
            journey.done()


def _each(journeys: list[RunInFolder], do: Callable[[RunInFolder], None]) -> None:
    """Do something with each run; one that has left the finite numbers is at its end."""
    for journey in journeys:
        try:
            if journey.result is None:
                do(journey)
        except (FloatingPointError, Diverged) as error:
            journey.diverged(error)


class Company:
    """Trainers at the same round, whose rounds are computed together.

    Raises:
        NotStackable: they cannot.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        if any(trainer.run.local is not None for trainer in trainers):
            raise NotStackable("devices that take local steps have models of their own")
        if any(trainer.run.compiled for trainer in trainers):
            raise NotStackable("each compiles a function of its own")
        bridges = [trainer.bridge for trainer in trainers if isinstance(trainer.bridge, UplinkBridge)]
        if len(bridges) < len(trainers):
            raise NotStackable("their devices are computed some at a time")
        self._trainers = trainers
        self._together = SideBySide(bridges)
        averages = [trainer.average for trainer in trainers if trainer.average is not None]
        self._averages = None
        if averages:
            decay = trainers[0].task.averaging
            self._averages = AveragesSideBySide(averages, self._together.tensors, decay=decay)

    @property
    def round(self) -> int:
        """Rounds done."""
        return self._together.round

    def step(self) -> None:
        """One round and one optimiser step of each."""
        of_seed = {trainer.run.seed: trainer for trainer in self._trainers}
        batches = {
            seed: trainer.batches(trainer.round) for seed, trainer in of_seed.items()
        }  # runs of one seed see the same data
        for trainer in self._trainers:
            trainer.begin_step()
        try:
            of_runs = [batches[trainer.run.seed] for trainer in self._trainers]
            losses = self._together.backward(self._trainers[0].loss, of_runs).mean(-1)
        except NotStackable:
            self._end_step()
            raise
        try:
            ledgers = self._together.exchange()
        except NotStackable:
            self._step([bridge.exchange() for bridge in self._together.bridges], losses)
            raise
        self._step(ledgers, losses)

    def _step(self, ledgers: list[Ledger], losses: torch.Tensor) -> None:
        for trainer, ledger, loss in zip(self._trainers, ledgers, losses.unbind(0), strict=True):
            trainer.end_step(loss, ledger)
        if self._averages is not None:
            self._averages.update()
        self._end_step()

    def _end_step(self) -> None:
        for trainer in self._trainers:
            trainer.amid_step = False

    def part(self) -> None:
        """Give each trainer what its run has come to."""
        self._together.part()
