"""Numbers keep their digits: no tensor is made of Python numbers without saying its dtype, which would be float32."""

import ast
from pathlib import Path

import pytest

import laser_wireless.channels

ROOT = Path(laser_wireless.channels.__file__).parent.parent
MAKERS = ("tensor", "as_tensor", "asarray", "full", "scalar_tensor", "linspace", "logspace")
OF_ARRAYS = ("channels/segments.py", "channels/propagation/traces.py")  # as_tensor of NumPy arrays, which keep their dtype


def careless(source):
    """Lines of calls torch.tensor(...) and the like without dtype."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in MAKERS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "torch"
        and not any(keyword.arg in ("dtype", "out", None) for keyword in node.keywords)
    ]


def files():
    return [p for room in ("channels", "compression", "training", "benchmarks") for p in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("room", ["channels", "compression", "training", "benchmarks"])
def test_every_tensor_of_numbers_says_its_dtype(room):
    found = {}
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(room) and name not in OF_ARRAYS and (lines := careless(path.read_text())):
            found[name] = lines
    assert not found, f"torch.tensor and the like without dtype: {found}"


def test_a_careless_call_is_found():
    """Negative control."""
    assert careless("import torch\nx = torch.tensor([0.1])\ny = torch.full((), 0.1, device=d)") == [2, 3]
    assert careless("torch.tensor([0.1], dtype=torch.float64)") == []
    assert len(files()) > 100
