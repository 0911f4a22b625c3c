"""Expected steps of the sparse engines from a distribution of operands, without values.

Operands are independent draws. The distribution of a row's steps is then exact: that of one group
at one position, convolved over groups (powers of its transform), the largest over lanes (powers of
the cumulative distribution), convolved over positions, the largest over columns. Expectations hold
for conflict-free banks.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflow.digits import normal_pmf
from dataflow.digits.statistics import position_probabilities
from simulator.accelerators.bitweight import laws
from simulator.accelerators.bitweight.columns import GROUP, Steps, groups
from simulator.accelerators.bitweight.config import Config

Floats = NDArray[np.float64]
Spectrum = NDArray[np.complex128]


@lru_cache(maxsize=256)
def operand_probabilities(operand_std: float, width: int) -> tuple[float, ...]:
    """Return the probability of a non-zero EN-T digit at each position, lowest first.

    The deviation is given at INT8 and scales with the range of other widths.
    """
    pmf = normal_pmf(operand_std * 2.0 ** (width - 8), width)
    return tuple(position_probabilities(pmf, "ent", width).tolist())


@lru_cache(maxsize=256)
def operand_digits(operand_std: float, width: int) -> float:
    """Return the expected non-zero EN-T digits of an operand."""
    return sum(operand_probabilities(operand_std, width))


def group_pmf(p: float, size: int) -> Floats:
    """Return the distribution of the steps, 0 to 4, of a group of `size` operands (1 to 4)."""
    pmf = np.zeros(GROUP + 1)
    for count in range(size + 1):
        pmf[max(count, 1)] += math.comb(size, count) * p**count * (1 - p) ** (size - count)
    return pmf


def lane_sizes(k: int, lanes: int) -> list[tuple[int, int, int]]:
    """Return for each lane its full groups, the operands of its partial group, its empty ones."""
    count = groups(k, lanes)
    full, rest = divmod(k, GROUP)
    sizes = []
    for lane in range(lanes):
        own = len(range(lane, count, lanes))
        whole = len(range(lane, full, lanes))
        partial = rest if rest and full % lanes == lane else 0
        sizes.append((whole, partial, own - whole - (partial > 0)))
    return sizes


class Window(NamedTuple):
    """A distribution over whole numbers: `pmf[i]` is the probability of low + i.

    What lies more than `SIGMAS` deviations from the mean is below 1e-14 and left out.
    """

    low: int
    pmf: Floats

    @property
    def mean(self) -> float:
        """Expectation."""
        return self.low + float(self.pmf @ np.arange(len(self.pmf)))

    @property
    def variance(self) -> float:
        """Variance."""
        values = self.low + np.arange(len(self.pmf)) - self.mean
        return float(self.pmf @ values**2)


SIGMAS = 8


def _window(mean: float, variance: float) -> tuple[int, int]:
    """Return the lowest value and the size, a power of two, that hold all but a sliver."""
    half = math.ceil(SIGMAS * math.sqrt(variance)) + 4
    return max(math.floor(mean) - half, 0), 1 << (2 * half + 1).bit_length()


def _unwrap(spectrum: Spectrum, low: int, size: int) -> Window:
    """Return the distribution whose transform, of any length taken mod `size`, is given."""
    values = np.clip(np.roll(np.fft.irfft(spectrum, size), -(low % size)), 0.0, None)
    return Window(low, values / values.sum())


def row_pmf(probabilities: tuple[float, ...], k: int, lanes: int) -> Window:
    """Return the distribution of a row's steps: the sum over positions of the slowest lane's."""
    passes = [_slowest_lane(p, k, lanes) for p in probabilities]
    mean, variance = sum(each.mean for each in passes), sum(each.variance for each in passes)
    low, size = _window(mean, variance)
    size = max(size, *(len(each.pmf) for each in passes))
    spectrum = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size * sum(p.low for p in passes))
    for each in passes:
        spectrum *= np.fft.rfft(each.pmf, size)
    return _unwrap(spectrum, low, size)


def _slowest_lane(p: float, k: int, lanes: int) -> Window:
    """Return the distribution of the largest of the lanes' steps at one position."""
    alike = Counter(lane_sizes(k, lanes))
    whole = group_pmf(p, GROUP)
    steps = np.arange(GROUP + 1)
    mean = float(whole @ steps)
    variance = float(whole @ (steps - mean) ** 2)
    most = max(full for full, _, _ in alike)
    low, size = _window(most * mean, most * variance + GROUP)
    turn = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    one = np.fft.rfft(whole, size)
    each = [(_lane(one, turn, held, p, low, size), count) for held, count in alike.items()]
    if lanes == 1:
        return each[0][0]
    below = np.prod([np.minimum(np.cumsum(lane.pmf), 1.0) ** n for lane, n in each], axis=0)
    return Window(low, np.diff(below, prepend=0.0))


def _lane(
    one: Spectrum, turn: Spectrum, held: tuple[int, int, int], p: float, low: int, size: int
) -> Window:
    """Return the distribution of a lane that holds full, partial and empty groups."""
    full, partial, empty = held
    spectrum = one**full
    if empty:
        spectrum = spectrum * turn**empty
    if partial:
        spectrum = spectrum * np.fft.rfft(group_pmf(p, partial), size)
    return _unwrap(spectrum, low, size)


def expected_largest(drawn: Window, count: int) -> float:
    """Return the expectation of the largest of `count` independent draws."""
    below = np.minimum(np.cumsum(drawn.pmf), 1.0)
    return drawn.low + float((1 - below**count).sum())


@lru_cache(maxsize=4096)
def row_and_tiles(
    probabilities: tuple[float, ...], k: int, lanes: int, rows: int, m: int
) -> tuple[float, float, float]:
    """Return expected steps of a row, of the slowest of a full tile, and of the last tile."""
    row = row_pmf(probabilities, k, lanes)
    last = (m - 1) % rows + 1
    return row.mean, expected_largest(row, min(rows, m)), expected_largest(row, last)


def expected(config: Config, m: int, k: int) -> Steps:
    """Return the expected steps of a product of M rows, rounded to whole steps."""
    probabilities = operand_probabilities(config.operand_std, config.width)
    mean, full, last = row_and_tiles(probabilities, k, config.lanes, config.rows, m)
    tiles = -(-m // config.rows)
    whole = tiles - 1
    slowest = whole * full + last
    fixed = tiles * laws.last_step(0, passes=config.passes, drain=config.drain_cycles)
    active = whole * config.rows * full + (m - whole * config.rows) * last
    return Steps(
        total=round(m * mean),
        slowest=max(round(active), round(m * mean)),
        tile_ends=round(slowest + fixed),
        tiles=tiles,
        columns=m,
    )
