"""Error of the aggregate, silence and energy against SNR, without a model to train, beside the closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laser_wireless.benchmarks.channel_views.draws import Links
from laser_wireless.benchmarks.channel_views.laws import envelope
from laser_wireless.benchmarks.intervals import fraction_interval
from laser_wireless.benchmarks.records import Row
from laser_wireless.benchmarks.theory.inversion import inversion_threshold, survival
from laser_wireless.benchmarks.theory.receivers import receiver_mse
from laser_wireless.channels.csi.models import PerfectCsi
from laser_wireless.channels.energy.units import energy_from_snr, from_db
from laser_wireless.channels.fading.contract import FadingProcess
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.laws_of_a_run import check_laws
from laser_wireless.channels.power_control.estimation_error import mean_square_error
from laser_wireless.channels.power_control.full_power import FullPower, OpenLoop
from laser_wireless.channels.power_control.inversion import TimeVaryingPrecoding
from laser_wireless.channels.power_control.optimal import MseOptimal, RegularisedInversion
from laser_wireless.channels.receivers.single_antenna import SingleAntenna
from laser_wireless.channels.round import Streams
from laser_wireless.channels.uplinks.analog import AnalogUplink
from laser_wireless.channels.uplinks.reception import UplinkState
from laser_wireless.channels.uplinks.sample_path import SampleMedium

AVERAGED, CONDITIONAL, SIMULATED = "mean over fading", "given the gains", "none: as simulated"
_AT_ONCE = 1 << 22  # real symbols of all devices and rounds that are simulated together
_DUST = 1e-6
_RUN, _WARM_UP = 20, 10  # rounds of a run where rounds depend on those before; those not counted where knowledge is late


@dataclass(frozen=True)
class Case:
    """One curve: what tells it from the others, and its uplink."""

    label: str
    uplink: AnalogUplink


@dataclass(frozen=True)
class ErrorView:
    """Error against SNR: the uplinks, and how they are tried; the names are those of `ChannelStudy`."""

    cases: list[Case]
    num_devices: int
    num_symbols: int
    snr_db: list[float]
    num_rounds: int
    seed: int


def study_error(view: ErrorView, device: torch.device, progress: Callable[[list[Any]], Iterable[Any]] = iter) -> list[Row]:
    """Measure each case at each SNR.

    Where fading continues over rounds or knowledge is late, rounds come in independent runs of 20, and standard errors are
    those over runs; with late knowledge the last 10 of each count. Hardware (impairments) and link gains are drawn once.

    Returns:
        rows with case, snr_db, energy_budget, mse (per symbol of the mean message, with standard error mse_se),
        mse_given_gains (closed form, averaged over the drawn gains; NaN with impairments or a waveform), mse_theory (closed
        form over the law; NaN where not known), silent and outage (fractions, each with _theory and the ends of its 95 %
        interval, _low and _high), energy_spent with energy_spent_se and energy_spent_largest (over the budget), independent
        (how many samples standard errors and intervals count) and closed_form (which one there is).
    """
    rows: list[Row] = []
    for case in view.cases:
        check_laws(view.num_devices, uplink=case.uplink, device=device)
    work = [(case, block, snr_db) for case in view.cases for block in _blocks(view, case.uplink) for snr_db in view.snr_db]
    found: dict[tuple[int, float], list[dict[str, Tensor]]] = {}
    drawn: tuple[Any, ...] = (None, None, None, None)
    for case, block, snr_db in progress(work):
        if drawn[:2] != (id(case), block):
            drawn = (id(case), block, *_draw(view, case.uplink, block, device))
        budget = energy_from_snr(from_db(float(snr_db)), view.num_symbols)
        loud = replace(case.uplink, energy_budget=budget)
        found.setdefault((id(case), snr_db), []).append(_simulate(view, loud, block, *drawn[2:]))
        if block.last:
            pieces = found.pop((id(case), snr_db))
            joined = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
            rows.append({"case": case.label, **_row(view, loud, float(snr_db), joined)})
    return rows


@dataclass(frozen=True)
class _Block:
    """Runs that are simulated at once; warm_up of the rounds of each do not count."""

    number: int
    runs: range
    num_rounds: int
    warm_up: int
    last: bool


def _blocks(view: ErrorView, uplink: AnalogUplink) -> Iterator[_Block]:
    warm_up = _WARM_UP if _remembers(view, uplink) else 0
    length = _RUN if warm_up or isinstance(uplink.fading, FadingProcess) else 1
    num_runs = max(2, view.num_rounds // length)
    numbers = view.num_devices * max(
        view.num_symbols, 4 * uplink.num_rx_antennas * uplink.grid((view.num_symbols,)).num_cells
    )
    size = 64 if uplink.radio.waveform is not None else max(1, _AT_ONCE // (length * numbers))
    for number, start in enumerate(range(0, num_runs, size)):
        stop = min(start + size, num_runs)
        yield _Block(number, range(start, stop), length, warm_up, stop == num_runs)


def _remembers(view: ErrorView, uplink: AnalogUplink) -> bool:
    """Whether a round leaves something for the next one, beside the fading."""
    without = replace(uplink, fading=NoFading(), ofdm=None, impairments=[])
    symbols = torch.ones(view.num_devices, 2)
    return without.plan(symbols, (2,), round=0, streams=Streams(view.seed)).state != {}


def _draw(view: ErrorView, uplink: AnalogUplink, block: _Block, device: torch.device) -> tuple[Tensor | None, Tensor]:
    """Gains [runs, rounds, K, (N_r,) C], None for a waveform, and messages [runs, rounds, K, S]."""
    k, s = view.num_devices, view.num_symbols
    generator = Streams(view.seed).generator("messages", block.number, device)
    messages = torch.randn(len(block.runs), block.num_rounds, k, s, device=device, generator=generator)
    messages *= s**0.5 / messages.norm(dim=-1, keepdim=True)
    if uplink.radio.waveform is not None:
        return None, messages
    links = Links(k, uplink.num_rx_antennas, uplink.grid((s,)), view.seed)
    gains = links.draw(uplink.fading, runs=block.runs, num_rounds=block.num_rounds, device=device)
    return gains.squeeze(-2) if uplink.num_rx_antennas == 1 else gains, messages


def _simulate(
    view: ErrorView, uplink: AnalogUplink, block: _Block, gains: Tensor | None, messages: Tensor
) -> dict[str, Tensor]:
    """Send a block; each entry has one number for each run."""
    if gains is None:
        alone = [
            _rounds(uplink, block, Streams(view.seed), None, message.unsqueeze(1), run)
            for run, message in zip(block.runs, messages, strict=True)
        ]
        return {name: torch.stack([piece[name] for piece in alone]) for name in alone[0]}
    streams = Streams(view.seed)
    return _rounds(uplink, block, streams, gains.transpose(0, 1), messages.transpose(0, 1), block.number)


def _rounds(
    uplink: AnalogUplink, block: _Block, streams: Streams, gains: Tensor | None, messages: Tensor, number: int
) -> dict[str, Tensor]:
    """Send the rounds of some runs, first axis, one after the other."""
    found: dict[str, list[Tensor]] = {}
    state: UplinkState | None = None
    for i, message in enumerate(messages):
        layout, round = (message.shape[-1],), number * block.num_rounds + i
        h = None if gains is None else gains[i]
        reception = uplink.aggregate(message, layout, round=round, streams=streams, gains=h, state=state)
        ledger = reception.ledger
        ledger.check()
        if i >= block.warm_up:
            error = (reception.estimate - message.mean(-2)).double().square().mean(-1)
            unknown = isinstance(uplink.medium, SampleMedium)  # hardware and waveforms are not in the closed form
            given = torch.full_like(error, math.nan) if unknown else _given(uplink, message, h, round, streams, state)
            for name, value in {
                "mse": error,
                "given": given,
                "silent": 1 - ledger.active_fraction.mean(-1),
                "outage": ledger.outage.expand(error.shape),
                "spent": ledger.energy_spent.mean(-1),
                "largest": ledger.energy_spent.amax(-1),
            }.items():
                found.setdefault(name, []).append(value)
        state = reception.state
    stacked = {name: torch.stack(values) for name, values in found.items()}
    return {name: rounds.amax(0) if name == "largest" else rounds.mean(0) for name, rounds in stacked.items()}


def _given(
    uplink: AnalogUplink,
    message: Tensor,
    gains: Tensor | None,
    round: int,
    streams: Streams,
    state: UplinkState | None,
) -> Tensor:
    """Closed form of the error per symbol given the gains and what is known of them: float64 [runs]."""
    plan = uplink.plan(message, (message.shape[-1],), round=round, streams=streams, gains=gains, state=state)
    error = mean_square_error(
        plan.arriving,
        plan.message.norms,
        noise_gain=plan.noise_amplitude.square(),
        noise_variance=uplink.radio.noise_for(message),
        num_symbols=plan.message.segments.lengths_like(plan.message.norms),
    )
    return error.sum(-1) / message.shape[-1]


def _row(view: ErrorView, uplink: AnalogUplink, snr_db: float, found: dict[str, Tensor]) -> Row:
    """Means over the runs beside the closed forms."""
    budget = energy_from_snr(from_db(snr_db), view.num_symbols)
    found = found | {name: _without_dust(found[name]) for name in ("silent", "outage")}
    mean = {name: values.mean().item() for name, values in found.items()}
    theory = _mean_over_fading(view, uplink, from_db(snr_db))
    silent_theory = _silence(uplink)
    silent, outage = (fraction_interval(found[name].tolist()) for name in ("silent", "outage"))
    kinds = ((theory, AVERAGED), (mean["given"], CONDITIONAL), (0.0, SIMULATED))
    return {
        "snr_db": snr_db,
        "energy_budget": budget,
        "mse": mean["mse"],
        "mse_se": _standard_error(found["mse"]),
        "mse_given_gains": mean["given"],
        "mse_theory": theory,
        "silent": mean["silent"],
        "silent_low": silent[0],
        "silent_high": silent[1],
        "silent_theory": silent_theory,
        "outage": mean["outage"],
        "outage_low": outage[0],
        "outage_high": outage[1],
        "outage_theory": silent_theory**view.num_devices,
        "energy_spent": mean["spent"] / budget,
        "energy_spent_se": _standard_error(found["spent"]) / budget,
        "energy_spent_largest": found["largest"].max().item() / budget,
        "independent": len(found["mse"]),
        "closed_form": next(kind for value, kind in kinds if not math.isnan(value)),
    }


def _without_dust(fractions: Tensor) -> Tensor:
    """Fractions in [0, 1], without what rounding leaves of a 0 or makes of a 1."""
    return torch.where(fractions < _DUST, 0, torch.where(fractions > 1 - _DUST, 1, fractions))


def _standard_error(values: Tensor) -> float:
    return (values.std() / len(values) ** 0.5).item()


def _mean_over_fading(view: ErrorView, uplink: AnalogUplink, snr: float) -> float:
    """Closed form of the mean-square error over the law of the gains, NaN where there is none."""
    known = isinstance(uplink.csi, PerfectCsi) and isinstance(uplink.receiver_csi, PerfectCsi)
    if not known or uplink.link_gain is not None or isinstance(uplink.medium, SampleMedium) or uplink.ofdm is not None:
        return math.nan
    return receiver_mse(uplink.receiver, uplink.fading, uplink.power_control, view.num_devices, uplink.num_rx_antennas, snr)


def _silence(uplink: AnalogUplink) -> float:
    """Probability that a device is silent, NaN where it is not known."""
    control = uplink.power_control
    if isinstance(control, FullPower | OpenLoop | MseOptimal | RegularisedInversion):
        return 0.0
    threshold = control.threshold if isinstance(control, TimeVaryingPrecoding) else inversion_threshold(control)
    if threshold == 0:
        return 0.0
    known = isinstance(uplink.csi, PerfectCsi) and uplink.link_gain is None and isinstance(uplink.receiver, SingleAntenna)
    if threshold is None or not known:
        return math.nan
    beyond, law = survival(uplink.fading), envelope(uplink.fading)
    if beyond is None:
        return math.nan if law is None else 1 - float(law.survival(np.array(threshold)))
    return 1 - beyond(threshold)
