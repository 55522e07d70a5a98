"""Properties of every compression scheme, measured without and over an uplink."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from laser_wireless.benchmarks.checks.channel_parts import Measure
from laser_wireless.benchmarks.checks.findings import Finding, examined
from laser_wireless.channels import AnalogUplink
from laser_wireless.training import UplinkBridge

_SHAPES = ((6, 9), (5,), (4, 3, 2), (), (12, 2))
_SIZE = 54 + 5 + 24 + 1 + 24


def properties_of_scheme(scheme: Any) -> Iterator[Finding]:
    """Measure them one by one."""
    measures: dict[str, Measure] = {
        "the message has the symbols of its layout": lambda: _layout(scheme),
        "equal states give equal messages": lambda: _deterministic(scheme),
        "the gradients are left alone": lambda: _leaves_gradients(scheme),
        "one device's message is its row of a batch": lambda: _batched(scheme),
        "without noise, decoded plus kept is what was asked": lambda: _conserves(scheme),
        "decoded gradients are finite at any scale": lambda: _finite(scheme),
        "no device exceeds its energy": lambda: _energy(scheme),
        "what it remembers can be saved": lambda: _state(scheme),
    }
    for name, measure in measures.items():
        yield examined(name, measure)


def _gradients(num_devices: int = 3, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(num_devices, _SIZE, dtype=torch.float64, generator=generator)


def _begin(scheme: Any, num_devices: int = 3) -> Any:
    return scheme.init(_SHAPES, num_devices, device=torch.device("cpu"), dtype=torch.float64, seed=0)


def _layout(scheme: Any) -> tuple[bool, str]:
    message = scheme.encode(_gradients(), _begin(scheme), round=0)
    said, sent = sum(message.layout), message.symbols.shape[-1]
    return said == sent and message.symbols.shape[0] == 3, f"{sent} symbols of {_SIZE} entries, {len(message.layout)} blocks"


def _deterministic(scheme: Any) -> tuple[bool, str]:
    first, second = (scheme.encode(_gradients(), _begin(scheme), round=0).symbols.clone() for _ in range(2))
    return torch.equal(first, second), f"largest difference {(first - second).abs().max():.3g}"


def _leaves_gradients(scheme: Any) -> tuple[bool, str]:
    gradients = _gradients()
    scheme.encode(gradients, _begin(scheme), round=0)
    same = torch.equal(gradients, _gradients())
    return same, "unchanged" if same else "encode wrote into them"


def _batched(scheme: Any) -> tuple[bool, str]:
    together = scheme.encode(_gradients(), _begin(scheme), round=0).symbols
    alone = scheme.encode(_gradients()[:1], _begin(scheme, 1), round=0).symbols
    if alone.shape[-1] != together.shape[-1]:
        return False, f"{alone.shape[-1]} symbols alone, {together.shape[-1]} in a batch"
    error = (together[:1] - alone).abs().max()
    return bool(error <= 1e-9 * (1 + alone.abs().max())), f"largest difference {error:.3g}"


def _conserves(scheme: Any) -> tuple[bool | None, str]:
    if not scheme.error_feedback:
        return None, "no error feedback: what is not sent is lost"
    asked, state = _gradients(1), _begin(scheme, 1)
    memory = asked.clone()
    message = scheme.encode(memory, state, round=0)
    symbols = message.symbols.clone()
    scheme.subtract_(memory, symbols, symbols.clone(), state, round=0)
    zero = torch.zeros(len(message.layout), dtype=torch.float64)
    decoded, _ = scheme.decode(symbols[0], state, round=0, noise_variance=zero)
    total = torch.cat([gradient.reshape(-1) for gradient in decoded]) + memory[0]
    error = (total - asked[0]).norm() / asked.norm()
    return bool(error < 1e-9), f"relative difference {error:.3g}"


def _finite(scheme: Any) -> tuple[bool, str]:
    scales = (0.0, 1e-20, 1.0, 1e15)
    bad = []
    for scale in scales:
        state = _begin(scheme)
        message = scheme.encode(_gradients(scale=scale), state, round=0)
        zero = torch.zeros(len(message.layout), dtype=torch.float64)
        decoded, _ = scheme.decode(message.symbols.mean(0), state, round=0, noise_variance=zero)
        bad += [] if all(gradient.isfinite().all() for gradient in decoded) else [f"{scale:g}"]
    return not bad, f"not at {', '.join(bad)}" if bad else f"gradients of scale {', '.join(f'{s:g}' for s in scales)}"


def _energy(scheme: Any) -> tuple[bool, str]:
    bridge, model = _bridge(scheme)
    worst = 0.0
    for _ in range(6):
        _fill(bridge, model)
        ledger = bridge.exchange()
        worst = max(worst, float((ledger.energy_spent / ledger.energy_allowed).max()))
    bridge.check()
    return worst <= 1 + 1e-15, f"at most {worst:.6g} of the budget in 6 rounds"


def _state(scheme: Any) -> tuple[bool, str]:
    (bridge, model), (other, twin) = _bridge(scheme), _bridge(scheme)
    _fill(bridge, model)
    bridge.exchange()
    other.load_state_dict(bridge.state_dict())
    twin.load_state_dict(model.state_dict())
    for one, of in ((bridge, model), (other, twin)):
        _fill(one, of)
        one.exchange()
    pairs = zip(model.parameters(), twin.parameters(), strict=True)
    same = all(torch.equal(p.grad, q.grad) for p, q in pairs if p.grad is not None and q.grad is not None)
    return same, "a resumed round equals an unbroken one" if same else "a resumed round differs from an unbroken one"


def _bridge(scheme: Any) -> tuple[UplinkBridge, torch.nn.Module]:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    return UplinkBridge(model, num_devices=2, compressor=scheme, uplink=AnalogUplink(energy_budget=5.0), seed=0), model


def _fill(bridge: UplinkBridge, model: torch.nn.Module) -> None:
    x = torch.linspace(-1, 1, 32, dtype=torch.float32).reshape(4, 8)
    for device in range(2):
        with bridge.gradients_of(device):
            model(x + device).square().sum().backward()
