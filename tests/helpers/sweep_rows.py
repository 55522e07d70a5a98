"""Sweeps and rows of their runs, made by hand."""

from laser_wireless.benchmarks.sweeps.sweep import sweep_from

SEEDS = [0, 1, 2]


def make_sweep(**more):
    content = {
        "task": "digits",
        "uplink": "AnalogUplink",
        "schemes": ["laser", "z-sgd"],
        "energy_budgets": [1, 10, 100],
        "learning_rates": [0.1, 0.2],
        "seeds": SEEDS,
    }
    return sweep_from(content | more)


def make_row(scheme, budget, rate, seed, test, validation=None, status="done", arguments=""):
    losses = {"validation": {"loss": test if validation is None else validation}, "test": {"loss": test}}
    spent = {"energy_spent": 0.5 * budget, "max_energy_spent": 0.9 * budget, "energy_allowed": 1.0 * budget}
    spent |= {"num_symbols": 10.0, "num_channel_uses": 5.0}
    keys = {"scheme": scheme, "energy_budget": budget, "learning_rate": rate, "arguments": arguments, "seed": seed}
    best = {"round": 3, "metrics": {"validation": losses["validation"], "test": {"loss": test - 0.25}}}
    return keys | {"status": status, "reason": "", "metrics": losses, "best": best, "mean_per_round": spent}


def rows_of(curves, shift=0.0):
    """Rows in which the rate 0.2 is best on validation; curves: scheme -> test loss by budget."""
    return [
        make_row(scheme, budget, rate, seed, value + shift * seed, validation=0.0 if rate == 0.2 else 1.0)
        for scheme, values in curves.items()
        for budget, value in zip([1, 10, 100], values, strict=True)
        for rate in (0.1, 0.2)
        for seed in SEEDS
    ]


def fail(rows, scheme, budgets, every=1):
    """Make runs of a scheme fail at some budgets: all of them, or every second one, and so on."""
    for number, row in enumerate(row for row in rows if row["scheme"] == scheme and row["energy_budget"] in budgets):
        if number % every == 0:
            keys = ("scheme", "energy_budget", "learning_rate", "arguments", "seed")
            kept = {name: row[name] for name in keys}
            row.clear()
            row.update(kept | {"status": "failed", "reason": "a run: it raised"})
    return rows


def diverge(rows, schemes, budgets=(1, 10, 100)):
    """Make all runs of schemes diverge at some budgets."""
    nothing = {"validation": {"loss": float("inf")}, "test": {"loss": float("inf")}}
    for row in rows:
        if row["scheme"] in schemes and row["energy_budget"] in budgets:
            row["status"], row["metrics"] = "diverged", nothing
            row["best"] = {"round": 0, "metrics": nothing}
    return rows
