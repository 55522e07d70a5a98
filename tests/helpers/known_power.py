"""A synthetic sweep whose needed powers are known.

Each candidate's loss falls with power, and the best learning rate grows with power. A run's validation and test loss share
what its seed does to all runs (so that pairing helps), and what it does to this one.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq


@dataclass(frozen=True)
class KnownPower:
    """flatness: what a step beside the best learning rate costs; noise: of runs; target: loss that is asked for."""

    flatness: float = 0.01
    noise: float = 0.012
    target: float = 0.205

    def mean_loss(self, db, step, advantage_db):
        """Of a candidate, `step` on the ladder of learning rates."""
        best = 2.3 + db / 6
        return 0.12 + 0.35 * np.exp(-(db + advantage_db) / 9) + self.flatness * (step - best) ** 2

    def power_db(self, advantage_db):
        """Needed for the target by the best candidate of the ladder."""
        steps = np.arange(-20, 40)
        return brentq(lambda db: self.mean_loss(db, steps, advantage_db).min() - self.target, -10, 40)

    def losses(self, db, step, advantage_db, seeds, repetition):
        """Validation and test losses of a candidate's runs, [seeds] each; the same run has the same losses."""
        found = []
        for seed in seeds:
            common = np.random.default_rng((repetition, seed)).standard_normal()
            key = (repetition, seed, round(db * 1000) + 10**6, step + 1000, round(advantage_db * 1000))
            own, validation, test = np.random.default_rng(key).standard_normal(3)
            scale = 1 + 4 * self.noise * 0.7 * (common + own)
            mean = self.mean_loss(db, step, advantage_db)
            found.append([mean * (scale + 2 * self.noise * validation), mean * (scale + 2 * self.noise * test)])
        return np.array(found).T


def step_of(rate):
    """On a ladder of learning rates in steps of sqrt(2), of which 0.01 is one."""
    return round(2 * math.log2(rate / 0.01))
