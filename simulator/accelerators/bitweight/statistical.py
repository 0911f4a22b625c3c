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
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataflow.bitweight import GROUP
from dataflow.digits import normal_pmf
from dataflow.digits.tables import mask_table
from simulator.accelerators.bitweight import laws
from simulator.accelerators.bitweight.columns import Steps, groups
from simulator.accelerators.bitweight.config import Config
from workloads.rounding import ceil_div

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Spectrum = NDArray[np.complex128]
Values = TypeVar("Values", Floats, Spectrum)
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


def position_shares(table: Floats) -> Floats:
    """Return the probability of a non-zero digit at each position, lowest first.

    A row of `table` (classes, sets) are masks; the result is (classes, positions).
    """
    sets = np.arange(table.shape[1])
    positions = np.arange(len(sets).bit_length() - 1)
    shares: Floats = table @ (sets[:, None] >> positions & 1).astype(np.float64)
    return shares


def group_totals(table: Floats, size: int) -> Floats:
    """Return the distribution of a group's steps at all positions together, `size` operands.

    A row of `table` (classes, sets) are masks; so is a row of the result. The steps are the
    non-zero digits of all, and one for each position at which there is none: sum + positions -
    |union of the sets|. The joint distribution of sum and union follows from that of (sum, union
    within U), which is a power, by inclusion and exclusion over U.
    """
    classes, sets = table.shape
    positions = sets.bit_length() - 1
    most = max(size, 1) * positions
    counts = np.array([each.bit_count() for each in range(sets)])
    within = np.zeros((classes, sets, most + 1))
    within[:, np.arange(sets), counts] = table
    _over_subsets(within, positions, 1)
    spectrum = _power(np.fft.rfft(within, 2 * most + 1), size)
    joint = np.fft.irfft(spectrum, 2 * most + 1)[..., : most + 1]
    _over_subsets(joint, positions, -1)
    total = np.zeros((classes, most + 1))
    for absent in range(positions + 1):
        chosen = joint[:, counts == positions - absent].sum(axis=1)
        total[:, absent:] += chosen[:, : most + 1 - absent]
    return np.clip(total, 0.0, None)


def _power(values: Values, count: int) -> Values:
    """Return an array to a whole power, by squaring: several times faster than `**`."""
    result, square = None, values
    while count:
        if count & 1:
            result = square if result is None else result * square
        count >>= 1
        if count:
            square = square * square
    return np.ones_like(values) if result is None else result


def _over_subsets(table: Floats, positions: int, sign: int) -> None:
    """Replace each set's entry on axis 1 by the sum over its subsets (sign 1), or undo it (-1)."""
    for i in range(positions):
        pairs = table.reshape(len(table), -1, 2, 1 << i, table.shape[2])
        pairs[:, :, 1] += sign * pairs[:, :, 0]


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


def line(classes: Classes, k: int, lanes: int) -> Window:
    """Return the distribution of the steps of a line of any class."""
    lows, pmfs = _one_lane(classes, k) if lanes == 1 else _several_lanes(classes, k, lanes)
    low = int(lows.min())
    mixed = np.zeros(int(lows.max()) - low + pmfs.shape[1])
    for (share, _), start, pmf in zip(classes, (lows - low).tolist(), pmfs, strict=True):
        mixed[start : start + len(pmf)] += share * pmf
    return Window(low, mixed / mixed.sum())


def _windows(means: Floats, variances: Floats) -> tuple[Ints, int]:
    """Return the lowest value of each, and the size, a power of two, that holds any of them."""
    half = np.ceil(SIGMAS * np.sqrt(np.maximum(variances, 0.0))).astype(np.int64) + 4
    lows = np.maximum(np.floor(means).astype(np.int64) - half, 0)
    return lows, 1 << int(2 * half.max() + 1).bit_length()


def _moments(pmfs: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance of each row, a distribution from zero on."""
    values = np.arange(pmfs.shape[1])
    means = pmfs @ values
    return means, pmfs @ values**2 - means**2


def _turn(lows: Ints, size: int) -> Spectrum:
    """Return the transform of a shift by each of `lows`, a row for each; size is a power of two."""
    turned: Spectrum = _roots(size)[np.multiply.outer(lows, np.arange(size // 2 + 1)) & (size - 1)]
    return turned


@lru_cache(maxsize=32)
def _roots(size: int) -> Spectrum:
    """Return the powers of exp(-2 pi i / size), not to be changed."""
    roots: Spectrum = np.exp(-2j * np.pi / size * np.arange(size))
    return roots


def _unwrap(spectrum: Spectrum, size: int) -> Floats:
    """Return the distributions whose transforms are given, but for a factor near one."""
    unwrapped: Floats = np.maximum(np.fft.irfft(spectrum, size), 0.0)
    return unwrapped


def _cumulative(pmfs: Floats) -> Floats:
    """Return the cumulative distributions that end at one."""
    below = np.cumsum(pmfs, axis=-1)
    ending: Floats = below / below[..., -1:]
    return ending


@lru_cache(maxsize=1024)
def _kept_totals(classes: Classes, size: int) -> Floats:
    """Return `group_totals` of the classes, not to be changed: products share their digits."""
    return group_totals(np.array([masks for _, masks in classes]), size)


def _one_lane(classes: Classes, k: int) -> tuple[Ints, Floats]:
    """Return for each class of lines the distribution of the sum over their groups, from a low."""
    full, rest = divmod(k, GROUP)
    group, partial = (_kept_totals(classes, size) for size in (GROUP, rest))
    (means, variances), (more, wider) = _moments(group), _moments(partial)
    has = float(rest > 0)
    lows, size = _windows(full * means + has * more, full * variances + has * wider)
    size = max(size, 1 << group.shape[1].bit_length())
    spectrum = _power(np.fft.rfft(group, size), full) * _turn(-lows, size)
    if rest:
        spectrum = spectrum * np.fft.rfft(partial, size)
    return lows, _unwrap(spectrum, size)


def _several_lanes(classes: Classes, k: int, lanes: int) -> tuple[Ints, Floats]:
    """Return for each class the distribution of the sum of the slowest lane's steps, from a low."""
    shares = position_shares(np.array([masks for _, masks in classes]))
    starts, passes = _slowest_lanes(shares.ravel(), k, lanes)
    means, variances = _moments(passes)
    starts = starts.reshape(shares.shape).sum(axis=1)
    means, variances = (each.reshape(shares.shape).sum(axis=1) for each in (means, variances))
    lows, size = _windows(starts + means, variances)
    size = max(size, passes.shape[1])
    spectrum = np.fft.rfft(passes, size).reshape(*shares.shape, -1).prod(axis=1)
    return lows, _unwrap(spectrum * _turn(starts - lows, size), size)


def _slowest_lanes(shares: Floats, k: int, lanes: int) -> tuple[Ints, Floats]:
    """Return for each share the distribution of the largest of the lanes' steps, from a low on."""
    alike = Counter(lane_sizes(k, lanes))
    whole = group_pmf(shares, GROUP)
    means, variances = _moments(whole)
    least, most = min(alike)[0], max(alike)[0]
    lows, size = _windows(most * means, most * variances + GROUP)
    one = np.fft.rfft(whole, size)
    common = _power(one, least) * _turn(-lows, size)
    below = np.ones((len(shares), size))
    for (full, partial, empty), count in alike.items():
        spectrum = common if full == least else common * _power(one, full - least)
        if partial:
            spectrum = spectrum * np.fft.rfft(group_pmf(shares, partial), size)
        if empty:
            spectrum = spectrum * _turn(np.array([empty]), size)
        below *= _power(_cumulative(_unwrap(spectrum, size)), count)
    return lows, np.diff(below, axis=1, prepend=0.0)


def expected_largest(drawn: Window, count: int) -> float:
    """Return the expectation of the largest of `count` independent draws."""
    below = _power(_cumulative(drawn.pmf), count)
    return drawn.low + len(below) - float(below.sum())


@lru_cache(maxsize=4096)
def row_and_tiles(
    classes: Classes, k: int, lanes: int, rows: int, m: int
) -> tuple[float, float, float]:
    """Return expected steps of a line, of the slowest of a full tile, and of the last tile."""
    row = line(classes, k, lanes)
    most, last = min(rows, m), (m - 1) % rows + 1
    full = expected_largest(row, most)
    return row.mean, full, full if last == most else expected_largest(row, last)


def expected(config: Config, m: int, k: int, classes: Classes | None = None) -> Steps:
    """Return the expected steps of a product of M lines, rounded to whole steps.

    Without `classes` the config's assumed distribution holds.
    """
    known = assumed(config.operand_std, config.width) if classes is None else classes
    mean, full, last = row_and_tiles(known, k, config.lanes, config.rows, m)
    tiles = ceil_div(m, config.rows)
    whole = tiles - 1
    slowest = whole * full + last
    fixed = tiles * laws.last_step(0, passes=config.passes, drain=config.drain_cycles)
    active = whole * config.rows * full + (m - whole * config.rows) * last
    return Steps(
        total=round(m * mean),
        slowest=max(round(active), round(m * mean)),
        tile_ends=round(slowest + fixed),
        tiles=tiles,
    )
