"""The words of code, options and YAML: class names, and the papers' names as presets of them."""

from __future__ import annotations

from typing import Any

_PATHS = ("TappedDelayLine", "SionnaTdl", "SionnaCdl", "SionnaRayleigh", "SionnaCell", "RayTraced", "PathTrace")
_CSI = ("PerfectCsi", "NoCsi", "NoisyCsi", "PilotCsi", "DelayedCsi", "PhaseOnlyCsi", "QuantisedCsi")

_CHANNELS: dict[str, tuple[str, ...]] = {
    "uplink": ("AnalogUplink", "DigitalUplink", "FskMajorityVote"),
    "fading": (
        "NoFading",
        "Rayleigh",
        "Rician",
        "Nakagami",
        "Weibull",
        "AlphaMu",
        "GaussMarkov",
        "Jakes",
        "CorrelatedLaw",
        "tdl-c",
        "umi",
        "Multipath",
        *_PATHS,
        "Trace",
        "TensorFlowFading",
        "Unnormalised",
    ),
    "paths": _PATHS,
    "scene": ("Scene",),
    "law": ("Nakagami", "Weibull", "AlphaMu"),
    "process": ("GaussMarkov", "Jakes"),
    "link_gain": ("CellGain", "LogNormalShadowing"),
    "path_loss": ("LogDistance", "UMiPathLoss", "UMaPathLoss", "RMaPathLoss", "InHPathLoss"),
    "placement": ("Annulus", "Distances", "Positions"),
    "csi": _CSI,
    "receiver_csi": _CSI,
    "participation": ("EveryDevice", "RandomDropout", "Stragglers"),
    "power_control": (
        "AlignedInversion",
        "TruncatedInversion",
        "MseOptimal",
        "FullPower",
        "RegularisedInversion",
        "TimeVaryingPrecoding",
        "OpenLoop",
        "PeakLimited",
    ),
    "receiver": ("SingleAntenna", "MaximumRatio", "ZeroForcing", "Lmmse"),
    "impairments": (
        "PhaseError",
        "CarrierFrequencyOffset",
        "PhaseNoise",
        "TimingOffset",
        "Rapp",
        "Saleh",
        "Clipping",
        "Quantiser",
        "IqImbalance",
    ),
    "front_end": (
        "OtherCells",
        "BarrageJammer",
        "PulsedJammer",
        "ToneJammer",
        "BernoulliGaussianNoise",
        "MiddletonNoise",
        "PhaseNoise",
        "IqImbalance",
        "Quantiser",
    ),
    **dict.fromkeys(("rad", "hz", "samples", "amplitude_db", "phase_rad"), ("NormalSpread", "UniformSpread")),
    "channel": ("TensorFlowChannel",),
    "ofdm": ("Ofdm",),
    "link": ("Capacity", "FiniteBlocklength", "LdpcLink"),
    "quantiser": ("StochasticQuantiser", "SparseQuantiser"),
    "downlink": ("NoiselessBroadcast", "AnalogBroadcast", "DigitalBroadcast"),
    "allocation": ("NormAllocation", "LeastNoiseAllocation", "UniformAllocation"),
    "scale": ("OracleScale", "PreviousScale"),
    "energy_budget": ("LinearEnergy", "StepEnergy"),
}
_COMPRESSORS = ("LowRank", "Uncompressed", "Sign", "RandomK", "CountSketch", "TopK", "GaussianProjection")
_TASKS = ("Cifar", "Digits", "Mnist", "StdlibText", "WikiText")

PRESETS: dict[str, dict[str, Any]] = {
    "laser": {"class_path": "LowRank", "init_args": {"rank": 4}},
    "z-sgd": {"class_path": "Uncompressed"},
    "signum": {"class_path": "Sign"},
    "random-k": {"class_path": "RandomK"},
    "sketching": {"class_path": "CountSketch"},
    "a-dsgd": {"class_path": "GaussianProjection"},
    "top-k": {"class_path": "TopK"},
    "digits": {"class_path": "Digits"},
    "digits-linear": {"class_path": "Digits", "init_args": {"architecture": "linear"}},
    "stdlib-text": {"class_path": "StdlibText"},
    "mnist": {"class_path": "Mnist"},
    "cifar10": {"class_path": "Cifar", "init_args": {"classes": 10}},
    "cifar100": {"class_path": "Cifar", "init_args": {"classes": 100}},
    "wikitext": {"class_path": "WikiText"},
    "tdl-c": {"class_path": "TappedDelayLine", "init_args": {"profile": "C", "delay_spread_s": 100e-9}},
    "umi": {"class_path": "SionnaCell", "init_args": {"scenario": "umi"}},
}
"""One word -> class and arguments."""

CLASSES: dict[str, str] = {
    **{name: f"laser_wireless.compression.{name}" for name in _COMPRESSORS},
    **{name: f"laser_wireless.channels.{name}" for words in _CHANNELS.values() for name in words if name not in PRESETS},
    **{name: f"laser_wireless.benchmarks.tasks.{name}" for name in _TASKS},
}
"""Class name -> import path."""

COMPONENTS: dict[str, tuple[str, ...]] = {
    "task": ("digits", "digits-linear", "stdlib-text", "mnist", "cifar10", "cifar100", "wikitext"),
    "compressor": _COMPRESSORS,
    **_CHANNELS,
}
"""Parameters that take an object or a function, wherever they stand -> the words that fit."""

PLAIN_WORDS: dict[str, tuple[str, ...]] = {"scale": ("least_error", "unit_sum")}
"""Parameters that hold a component in one class and a word of its own in another -> those words."""
