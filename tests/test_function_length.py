"""No function of the package is longer than fits on a screen: 40 lines from its `def` on, docstring aside."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST = 40


def lengths():
    """(lines, file, name) of every function."""
    for package in ("channels", "compression", "training", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    first = node.body[0]
                    documented = isinstance(first, ast.Expr) and isinstance(getattr(first, "value", None), ast.Constant)
                    docstring = first.end_lineno - first.lineno + 1 if documented else 0
                    yield node.end_lineno - node.lineno + 1 - docstring, str(path.relative_to(ROOT)), node.name


def test_functions_fit_on_a_screen():
    found = list(lengths())
    assert len(found) > 1000
    assert [entry for entry in found if entry[0] > MOST] == []
