"""Cycles of bit-slice designs, as expectations over the digits of their operands.

Laconic (Sharify et al., ISCA 2019), recalled: a PE multiplies 16 pairs at once; each pair takes
(non-zero Booth digits of a) x (of b) cycles, one term pair a cycle, and all 16 wait for the
slowest. Bitlet (Lu et al., MICRO 2021), recalled: a PE takes 64 pairs; lane b adds, one a cycle,
the operands whose magnitude has bit b set, and the PE waits for its fullest bit. PEs of different
rows are taken as independent, which favours both.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dataflow.digits import normal_pmf
from dataflow.digits.statistics import position_probabilities
from dataflow.digits.tables import count_table

Floats = NDArray[np.float64]

LACONIC_PAIRS = 16
BITLET_PAIRS = 64


@lru_cache(maxsize=64)
def laconic_cycles(operand_std: float, width: int) -> float:
    """Return the expected cycles of 16 pairs whose operands both have the given deviation."""
    pmf = normal_pmf(operand_std * 2.0 ** (width - 8), width)
    counts = np.roll(count_table("booth", width), 1 << (width - 1))
    digits = np.bincount(counts, pmf)
    terms = np.zeros(len(digits) ** 2 + 1)
    for a, p in enumerate(digits):
        for b, q in enumerate(digits):
            terms[max(a * b, 1)] += p * q
    below = np.cumsum(terms) ** LACONIC_PAIRS
    return float((1 - np.minimum(below, 1.0)).sum())


@lru_cache(maxsize=64)
def bitlet_cycles(operand_std: float, width: int) -> float:
    """Return the expected cycles of 64 pairs: the fullest bit of 64 magnitudes.

    Bits of a magnitude are taken as independent.
    """
    pmf = normal_pmf(operand_std * 2.0 ** (width - 8), width)
    below = np.ones(BITLET_PAIRS + 1)
    for p in position_probabilities(pmf, "signmag", width):
        below *= np.cumsum(_binomial(BITLET_PAIRS, float(p)))
    return float((1 - np.minimum(below, 1.0)).sum())


def cycles_per_mac(engine: str, operand_std: float, width: int) -> float:
    """Return the cycles of one multiply-accumulate of an element."""
    if engine == "laconic":
        return laconic_cycles(operand_std, width) / LACONIC_PAIRS
    return max(bitlet_cycles(operand_std, width), 1.0) / BITLET_PAIRS


def _binomial(n: int, p: float) -> Floats:
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])
