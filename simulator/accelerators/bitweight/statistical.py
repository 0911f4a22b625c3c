"""Expected steps of the sparse engines from distributions of operands, without their values.

The values of a line (one row of the encoded operand, along K) are independent draws from the
distribution of the line's class; lines are independent draws of a class. Then, for conflict-free
banks:

- with one lane a line's steps are exact: those of a group of four at all positions together,
  convolved over groups (powers of the transform);
- with several lanes positions are taken as independent of each other: at each the largest over
  lanes (powers of the cumulative distribution) of the lanes' steps, convolved over positions;
- the slowest of a tile is the largest of its lines (a power of the cumulative distribution).

A distribution enters as *masks*: the probability of each set of non-zero digit positions.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflow.digits import normal_pmf
from dataflow.digits.tables import mask_table
from simulator.accelerators.bitweight import laws
from simulator.accelerators.bitweight.columns import GROUP, Steps, groups
from simulator.accelerators.bitweight.config import Config

Floats = NDArray[np.float64]
Spectrum = NDArray[np.complex128]
Masks = tuple[float, ...]
Classes = tuple[tuple[float, Masks], ...]
"""Classes of lines: the share of the lines in each, and its masks."""


def masks_of(pmf: Floats, width: int) -> Masks:
    """Return the probability of each set of non-zero EN-T digits (bit i for position i).

    `pmf` lists the values of `width` bits from the smallest to the largest.
    """
    masks = np.roll(mask_table("ent", width), 1 << (width - 1))
    return tuple(np.bincount(masks, pmf, 1 << (width // 2)).tolist())


@lru_cache(maxsize=256)
def normal(operand_std: float, width: int) -> Floats:
    """Return the pmf of a rounded normal operand, not to be changed.

    The deviation is given at INT8 and scales with the range of other widths.
    """
    return normal_pmf(operand_std * 2.0 ** (width - 8), width)


@lru_cache(maxsize=256)
def assumed(operand_std: float, width: int) -> Classes:
    """Return one class of lines of rounded normal operands."""
    return ((1.0, masks_of(normal(operand_std, width), width)),)


def digits(classes: Classes) -> float:
    """Return the expected non-zero EN-T digits of an operand."""
    return sum(share * sum(position_shares(masks)) for share, masks in classes)


def position_shares(masks: Masks) -> list[float]:
    """Return the probability of a non-zero digit at each position, lowest first."""
    probabilities = np.array(masks)
    sets = np.arange(len(masks))
    return [float(probabilities[sets >> i & 1 == 1].sum()) for i in range(_positions(masks))]


def _positions(masks: Masks) -> int:
    return len(masks).bit_length() - 1


@lru_cache(maxsize=1024)
def group_totals(masks: Masks, size: int) -> Floats:
    """Return the distribution of a group's steps at all positions together, `size` operands.

    The steps are the non-zero digits of all, and one for each position at which there is none:
    sum + positions - |union of the masks|. The joint distribution of sum and union follows from
    that of (sum, union within U), which is a power, by inclusion and exclusion over U.
    """
    positions = _positions(masks)
    most = max(size, 1) * positions
    counts = np.array([mask.bit_count() for mask in range(len(masks))])
    within = np.zeros((len(masks), most + 1))
    within[np.arange(len(masks)), counts] = masks
    _over_subsets(within, positions, 1)
    joint = np.fft.irfft(np.fft.rfft(within, 2 * most + 1) ** size, 2 * most + 1)[:, : most + 1]
    _over_subsets(joint, positions, -1)
    total = np.zeros(most + 1)
    for mask, absent in enumerate((positions - counts).tolist()):
        total[absent:] += joint[mask, : most + 1 - absent]
    return np.clip(total, 0.0, None)


def _over_subsets(table: Floats, positions: int, sign: int) -> None:
    """Replace each row of `table` by the sum over its subsets (sign 1), or undo that (-1)."""
    for i in range(positions):
        rows = table.reshape(-1, 2, 1 << i, table.shape[1])
        rows[:, 1] += sign * rows[:, 0]


def group_pmf(p: NDArray[np.float64] | float, size: int) -> Floats:
    """Return the distribution of the steps, 0 to 4, of a group of `size` operands (1 to 4).

    An array of probabilities gives a row for each.
    """
    shares = np.asarray(p, np.float64)
    pmf = np.zeros((*shares.shape, GROUP + 1))
    for count in range(size + 1):
        chosen = math.comb(size, count) * shares**count * (1 - shares) ** (size - count)
        pmf[..., max(count, 1)] += chosen
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


@lru_cache(maxsize=4096)
def row_pmf(masks: Masks, k: int, lanes: int) -> Window:
    """Return the distribution of a line's steps."""
    return _one_lane(masks, k) if lanes == 1 else _several_lanes(masks, k, lanes)


def _one_lane(masks: Masks, k: int) -> Window:
    """Return the distribution of the sum over the groups of a line."""
    full, rest = divmod(k, GROUP)
    parts = [(group_totals(masks, GROUP), full), (group_totals(masks, rest), rest > 0)]
    moments = [Window(0, pmf) for pmf, _ in parts]
    mean = sum(count * each.mean for each, (_, count) in zip(moments, parts, strict=True))
    variance = sum(count * each.variance for each, (_, count) in zip(moments, parts, strict=True))
    low, size = _window(mean, variance)
    size = max(size, 1 << len(parts[0][0]).bit_length())
    spectrum = np.fft.rfft(parts[0][0], size) ** full
    if rest:
        spectrum = spectrum * np.fft.rfft(parts[1][0], size)
    return _unwrap(spectrum, low, size)


def _several_lanes(masks: Masks, k: int, lanes: int) -> Window:
    """Return the distribution of the sum over positions of the slowest lane's steps."""
    lows, pmfs = _slowest_lanes(np.array(position_shares(masks)), k, lanes)
    values = np.arange(pmfs.shape[1])
    means = pmfs @ values
    variance = float((pmfs @ values**2 - means**2).sum())
    low, size = _window(float(means.sum()) + int(lows.sum()), max(variance, 0.0))
    size = max(size, pmfs.shape[1])
    spectrum = np.fft.rfft(pmfs, size).prod(axis=0)
    return _unwrap(spectrum * _turn(int(lows.sum()), size), low, size)


def _turn(low: int | NDArray[np.int64], size: int) -> Spectrum:
    """Return the transform of a shift by `low`, a row for each."""
    angle = -2j * np.pi / size * np.arange(size // 2 + 1)
    turned: Spectrum = np.exp(np.multiply.outer(np.asarray(low), angle))
    return turned


def _slowest_lanes(shares: Floats, k: int, lanes: int) -> tuple[NDArray[np.int64], Floats]:
    """Return for each share the distribution of the largest of the lanes' steps, from a low on."""
    alike = Counter(lane_sizes(k, lanes))
    whole = group_pmf(shares, GROUP)
    steps = np.arange(GROUP + 1)
    means = whole @ steps
    variances = whole @ steps**2 - means**2
    most = max(full for full, _, _ in alike)
    windows = [
        _window(most * mean, most * max(variance, 0.0) + GROUP)
        for mean, variance in zip(means.tolist(), variances.tolist(), strict=True)
    ]
    lows, size = np.array([low for low, _ in windows]), max(size for _, size in windows)
    one = np.fft.rfft(whole, size)
    below = np.ones((len(shares), size))
    for (full, partial, empty), count in alike.items():
        spectrum = one**full * _turn(empty - lows, size)
        if partial:
            spectrum = spectrum * np.fft.rfft(group_pmf(shares, partial), size)
        lane = np.cumsum(np.clip(np.fft.irfft(spectrum, size), 0.0, None), axis=1)
        below *= np.minimum(lane / lane[:, -1:], 1.0) ** count
    return lows, np.diff(below, axis=1, prepend=0.0)


def mixture(classes: Classes, k: int, lanes: int) -> Window:
    """Return the distribution of the steps of a line of any class."""
    drawn = [(share, row_pmf(masks, k, lanes)) for share, masks in classes]
    if len(drawn) == 1:
        return drawn[0][1]
    low = min(window.low for _, window in drawn)
    pmf = np.zeros(max(window.low + len(window.pmf) for _, window in drawn) - low)
    for share, window in drawn:
        pmf[window.low - low :][: len(window.pmf)] += share * window.pmf
    return Window(low, pmf)


def expected_largest(drawn: Window, count: int) -> float:
    """Return the expectation of the largest of `count` independent draws."""
    below = np.minimum(np.cumsum(drawn.pmf), 1.0)
    return drawn.low + float((1 - below**count).sum())


@lru_cache(maxsize=4096)
def row_and_tiles(
    classes: Classes, k: int, lanes: int, rows: int, m: int
) -> tuple[float, float, float]:
    """Return expected steps of a line, of the slowest of a full tile, and of the last tile."""
    row = mixture(classes, k, lanes)
    last = (m - 1) % rows + 1
    return row.mean, expected_largest(row, min(rows, m)), expected_largest(row, last)


def expected(config: Config, m: int, k: int, classes: Classes | None = None) -> Steps:
    """Return the expected steps of a product of M lines, rounded to whole steps.

    Without `classes` the config's assumed distribution holds.
    """
    known = assumed(config.operand_std, config.width) if classes is None else classes
    mean, full, last = row_and_tiles(known, k, config.lanes, config.rows, m)
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
