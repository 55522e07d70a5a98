"""The words of code, options and YAML: class names, and the papers' names as presets of them."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "compression": ("Uncompressed", "LowRank", "Sign", "RandomK", "CountSketch", "TopK", "GaussianProjection"),
    "channels": (
        "AnalogUplink",
        "NoFading",
        "Rayleigh",
        "Rician",
        "AlignedInversion",
        "TruncatedInversion",
        "NormAllocation",
        "LeastNoiseAllocation",
        "UniformAllocation",
        "OracleScale",
        "PreviousScale",
        "LinearEnergy",
        "StepEnergy",
    ),
    "benchmarks.tasks": ("Cifar", "Digits", "Mnist", "StdlibText", "WikiText"),
}

CLASSES: dict[str, str] = {name: f"laser_wireless.{package}.{name}" for package, names in _NAMES.items() for name in names}
"""Class name -> import path."""

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
}
"""One word -> class and arguments."""

COMPONENTS: dict[str, tuple[str, ...]] = {
    "task": ("digits", "digits-linear", "stdlib-text", "mnist", "cifar10", "cifar100", "wikitext"),
    "compressor": ("LowRank", "Uncompressed", "Sign", "RandomK", "CountSketch", "TopK", "GaussianProjection"),
    "uplink": ("AnalogUplink",),
    "fading": ("NoFading", "Rayleigh", "Rician"),
    "power_control": ("AlignedInversion", "TruncatedInversion"),
    "allocation": ("NormAllocation", "LeastNoiseAllocation", "UniformAllocation"),
    "scale": ("OracleScale", "PreviousScale"),
    "energy_budget": ("LinearEnergy", "StepEnergy"),
}
"""Parameters that take an object or a function, wherever they stand -> the words that fit."""
