"""Cycles of bit-slice designs, as expectations over the digits of their operands.

Laconic (Sharify et al., ISCA 2019): a PE multiplies 16 pairs at once; each pair takes (non-zero
Booth digits of a) x (of b) cycles, one term pair a cycle, and all 16 wait for the slowest. Bitlet
(Lu et al., MICRO 2021): a PE takes 64 pairs; lane b adds, one a cycle, the operands whose magnitude
has bit b set, and the PE waits for its fullest bit. PEs of different rows are taken as independent,
which favours both. A pmf is (2^width,) probabilities of the values from -2^(width - 1) on.

*Recalled*, from no text at hand: both descriptions, the 16 pairs, the 64 pairs, Booth digits for
Laconic. Of these designs the paper at hand gives only ratios: see the exhibit `bitweight/laconic`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dataflow.digits.statistics import position_probabilities
from dataflow.digits.tables import count_table

Floats = NDArray[np.float64]

PAIRS = {"laconic": 16, "bitlet": 64}
"""Pairs of operands that an element of each design takes at once. Recalled."""


def laconic_cycles(left: Floats, right: Floats, width: int) -> float:
    """Return the expected cycles of 16 pairs of operands with the given pmfs."""
    return _laconic(_digit_counts(left, width), _digit_counts(right, width))


def _digit_counts(pmf: Floats, width: int) -> tuple[float, ...]:
    counts = np.roll(count_table("booth", width), 1 << (width - 1))
    return tuple(np.bincount(counts, pmf).tolist())


@lru_cache(maxsize=1024)
def _laconic(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    terms = np.zeros((len(left) - 1) * (len(right) - 1) + 1)
    for a, p in enumerate(left):
        for b, q in enumerate(right):
            terms[max(a * b, 1)] += p * q
    below = np.cumsum(terms) ** PAIRS["laconic"]
    return float((1 - np.minimum(below, 1.0)).sum())


def bitlet_cycles(weights: Floats, width: int) -> float:
    """Return the expected cycles of 64 pairs: the fullest bit of 64 magnitudes with the given pmf.

    Bits of a magnitude are taken as independent.
    """
    return _bitlet(tuple(position_probabilities(weights, "signmag", width).tolist()))


@lru_cache(maxsize=1024)
def _bitlet(shares: tuple[float, ...]) -> float:
    below = np.ones(PAIRS["bitlet"] + 1)
    for p in shares:
        below *= np.cumsum(_binomial(PAIRS["bitlet"], p))
    return float((1 - np.minimum(below, 1.0)).sum())


def cycles_per_mac(engine: str, left: Floats, right: Floats, width: int) -> float:
    """Return the cycles of one multiply-accumulate of an element; `right` are Bitlet's weights."""
    if engine == "laconic":
        cycles = laconic_cycles(left, right, width)
    else:
        cycles = max(bitlet_cycles(right, width), 1.0)
    return cycles / PAIRS[engine]


def _binomial(n: int, p: float) -> Floats:
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])
