"""What a user asks of a channel by itself, as one flat class; each view takes its own small settings from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

from laser_wireless.benchmarks.channel_views.correlation import CorrelationView
from laser_wireless.benchmarks.channel_views.draws import Links
from laser_wireless.benchmarks.channel_views.error import Case, ErrorView
from laser_wireless.benchmarks.channel_views.gains import GainsView
from laser_wireless.benchmarks.channel_views.labels import labels_of
from laser_wireless.benchmarks.channel_views.spectrogram import SpectrogramView
from laser_wireless.benchmarks.entries import LARGEST_DB, check_decibels
from laser_wireless.channels.csi.contract import Csi
from laser_wireless.channels.csi.models import PerfectCsi
from laser_wireless.channels.fading.contract import FadingModel
from laser_wireless.channels.fading.laws import NoFading
from laser_wireless.channels.hardware.impairments import Impairment
from laser_wireless.channels.parameters import checked
from laser_wireless.channels.power_control.contract import PowerControl
from laser_wireless.channels.power_control.inversion import AlignedInversion
from laser_wireless.channels.radio_link import LinkGain
from laser_wireless.channels.receivers.contract import Receiver
from laser_wireless.channels.receivers.single_antenna import SingleAntenna
from laser_wireless.channels.segments import Grid
from laser_wireless.channels.uplinks.analog import AnalogUplink
from laser_wireless.channels.waveform import Ofdm

VIEWS = ("error", "gains", "correlation", "spectrogram", "all")


@dataclass(frozen=True, kw_only=True)
@checked
class ChannelStudy:
    """A channel by itself, without a model to train: pictures and tables, simulation beside closed forms.

    fading, power_control, receiver and num_rx_antennas may each be a list: one curve for each combination.

    Args:
        view: "error", mean-square error, silence and energy against SNR; "gains", distribution of envelope, power and phase;
            "correlation", over time and frequency; "spectrogram", one device's |h(t, f)|, which needs ofdm; or "all".
        fading: law of the gains.
        power_control: the devices' policy.
        receiver: how several antennas are combined.
        num_rx_antennas: N_r.
        csi: what the devices know of the gains.
        receiver_csi: what the receiver knows of them.
        link_gain: large-scale power gain of each device, a list or a model; drawn once.
        impairments: stages that the devices' samples pass, a list.
        ofdm: resource grid; gains then differ over its slots and blocks of subcarriers. A single carrier if None.
        num_devices: K.
        num_symbols: S, real symbols of a message; white, unit variance, scaled to equal norms.
        snr_db: list of SNRs of one device, per real symbol, in dB; the energy budget is SNR times S at noise variance 1.
        num_rounds: Monte-Carlo rounds; each has its own gains, messages and noise, the same at every SNR.
        num_lags: longest lag of "correlation", in rounds and in slots.
        num_links: of "correlation": device-receiver links, at least, each an independent sample.
        num_slots: of "correlation" and "spectrogram", with ofdm: slots in a row.
        fade_db: a link is in a fade where |h|^2 is below this, in dB, for the table of "gains".
        seed: of all draws.
    """

    view: str = "error"
    fading: FadingModel | list[FadingModel] = field(default_factory=NoFading)
    power_control: PowerControl | list[PowerControl] = field(default_factory=AlignedInversion)
    receiver: Receiver | list[Receiver] = field(default_factory=SingleAntenna)
    num_rx_antennas: int | list[int] = 1
    csi: Csi | list[Csi] = field(default_factory=PerfectCsi)
    receiver_csi: Csi | list[Csi] = field(default_factory=PerfectCsi)
    link_gain: list[float] | LinkGain | None = None
    impairments: list[Impairment] = field(default_factory=list)
    ofdm: Ofdm | None = None
    num_devices: int = 16
    num_symbols: int = 64
    snr_db: list[float] = field(default_factory=lambda: [-20.0, -15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0])
    num_rounds: int = 4000
    num_lags: int = 50
    num_links: int = 512
    num_slots: int = 140
    fade_db: float = -10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {self.view!r}")
        for name in ("num_devices", "num_symbols", "num_lags"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("num_rounds", "num_links", "num_slots"):
            if not getattr(self, name) >= 2:
                raise ValueError(f"{name} must be >= 2, for a standard error, got {getattr(self, name)}")
        check_decibels("snr_db", self.snr_db)
        if not abs(self.fade_db) <= LARGEST_DB:
            raise ValueError(f"fade_db must be finite and within {LARGEST_DB:g} dB of 0, got {self.fade_db}")
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, got {self.seed}")
        for name in ("fading", "power_control", "receiver", "num_rx_antennas"):
            if not several(getattr(self, name)):
                raise ValueError(f"{name} must hold at least one entry, got an empty list")
        if self.view == "spectrogram":
            self._check_spectrogram()
        self.cases()  # refuses what the uplink refuses

    def _check_spectrogram(self) -> None:
        if self.ofdm is None:
            raise ValueError('view "spectrogram" needs a grid of times and frequencies: give an OFDM grid, --ofdm Ofdm')
        if len(several(self.fading)) > 1:
            raise ValueError(f'view "spectrogram" shows one model of fading, got {len(several(self.fading))}; name one')

    def cases(self) -> list[Case]:
        """Every combination of fading, power control, receiver and number of antennas."""
        fadings, controls, receivers, antennas = (
            several(getattr(self, name)) for name in ("fading", "power_control", "receiver", "num_rx_antennas")
        )
        names = [labels_of(fadings), labels_of(controls), labels_of(receivers), [f"N_r = {n}" for n in antennas]]
        varied = [len(labels) > 1 for labels in names]
        if not any(varied):
            varied = [True, True, receivers != [SingleAntenna()], antennas != [1]]
        made = []
        for entries, labels in zip(product(fadings, controls, receivers, antennas), product(*names), strict=True):
            uplink = AnalogUplink(
                energy_budget=1.0,
                fading=entries[0],
                power_control=entries[1],
                receiver=entries[2],
                num_rx_antennas=entries[3],
                csi=self.csi,
                receiver_csi=self.receiver_csi,
                link_gain=self.link_gain,
                impairments=self.impairments,
                ofdm=self.ofdm,
            )
            made.append(Case(", ".join(label for label, told in zip(labels, varied, strict=True) if told), uplink))
        return made

    @property
    def fadings(self) -> list[FadingModel]:
        """The laws, one or several, as a list."""
        return several(self.fading)

    def error_view(self) -> ErrorView:
        """What `study_error` needs."""
        return ErrorView(self.cases(), self.num_devices, self.num_symbols, self.snr_db, self.num_rounds, self.seed)

    def gains_view(self) -> GainsView:
        """What `study_gains` needs."""
        grid = AnalogUplink(energy_budget=1.0, ofdm=self.ofdm).grid((self.num_symbols,))
        return GainsView(self.fadings, self._links(grid), self.num_rounds, self.fade_db)

    def correlation_view(self) -> CorrelationView:
        """What `study_correlation` needs."""
        return CorrelationView(self.fadings, self._links(self._slots()), self.num_links, self.num_lags)

    def spectrogram_view(self) -> SpectrogramView:
        """What `study_spectrogram` needs."""
        return SpectrogramView(self.fadings[0], self._links(self._slots()))

    def _links(self, grid: Grid) -> Links:
        return Links(self.num_devices, several(self.num_rx_antennas)[0], grid, self.seed)

    def _slots(self) -> Grid:
        """`num_slots` slots of the OFDM grid, or one gain for each round."""
        if self.ofdm is None:
            return AnalogUplink(energy_budget=1.0).grid((self.num_symbols,))
        return self.ofdm.grid(self.num_slots * 2 * self.ofdm.symbols_per_slot * self.ofdm.num_subcarriers)


def several(value: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]
