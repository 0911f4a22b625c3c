"""How many digits are non-zero: measured on tensors, and as expectations of distributions.

A distribution of values is a *pmf*: 2^width probabilities, from the smallest value to the largest.

>>> round(mean_digits(normal_pmf(20.0, 8), "ent", 8), 3)
2.115
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataflow.bitweight import GROUP
from dataflow.digits.encodings import check_values, check_width, digit_count, value_range
from dataflow.digits.tables import count_table, position_table
from workloads.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitStatistics:
    """Digits of a tensor in one encoding.

    `histogram[c]` counts the values with c non-zero digits; `position_share[i]` is the share of
    values whose digit i (of weight radix^i) is not zero; `zero_share` that of zero values.
    """

    scheme: str
    width: int
    values: int
    histogram: tuple[int, ...]
    position_share: tuple[float, ...]
    zero_share: float

    @property
    def mean(self) -> float:
        """Mean non-zero digits of a value."""
        return sum(c * n for c, n in enumerate(self.histogram)) / self.values


def value_histogram(values: ArrayLike, width: int) -> NDArray[np.int64]:
    """Count each value of `width` bits, from the smallest to the largest."""
    from dataflow.digits.kernels import histogram

    array = np.ascontiguousarray(check_values(values, width))
    storage = np.int8 if width <= 8 else np.int16
    counted: NDArray[np.int64] = histogram(array.ravel().astype(storage, copy=False), width)
    return counted


def digit_statistics(values: ArrayLike, scheme: str, width: int) -> DigitStatistics:
    """Measure the digits of an integer tensor of any shape.

    >>> statistics = digit_statistics(np.arange(-128, 128), "booth", 8)
    >>> statistics.histogram, statistics.mean
    ((1, 12, 54, 108, 81), 3.0)
    """
    counts = value_histogram(values, width)
    total = int(counts.sum())
    if not total:
        raise InputError("digit statistics need at least one value, not an empty tensor")
    nonzero = _ordered(count_table(scheme, width), width)
    by_count = np.bincount(nonzero, counts).astype(np.int64)
    shares = counts @ _ordered(position_table(scheme, width), width).astype(np.int64) / total
    return DigitStatistics(
        scheme=scheme,
        width=width,
        values=total,
        histogram=tuple(int(n) for n in by_count),
        position_share=tuple(float(share) for share in shares),
        zero_share=int(counts[-value_range(width)[0]]) / total,
    )


def uniform_pmf(width: int) -> Floats:
    """Return the pmf in which all values of `width` bits are equally likely."""
    check_width(width)
    return np.full(1 << width, 1 / (1 << width))


def normal_pmf(std: float, width: int) -> Floats:
    """Return the (2^width,) pmf of a rounded normal variable, values out of range drawn again.

    The mean is 0, `std` is in units of the last place. Values ascend; the probability of v is that
    of [v - 1/2, v + 1/2).
    """
    check_width(width)
    if not 0 < std < math.inf:
        raise InputError(f"standard deviation must be a positive number, not {std!r}")
    low, high = value_range(width)
    edges = (np.arange(low, high + 2) - 0.5) / (std * math.sqrt(2))
    below = np.array([math.erf(edge) for edge in edges])
    mass = np.diff(below)
    pmf: Floats = mass / mass.sum()
    return pmf


def mean_digits(pmf: Floats, scheme: str, width: int) -> float:
    """Return the expected non-zero digits of a value drawn from `pmf`, as of `normal_pmf`."""
    return float(pmf @ _ordered(count_table(scheme, width), width))


def normal_mean(scheme: str, std: float, width: int) -> float:
    """Return the mean non-zero digits of a rounded normal operand of `std` units of the last place.

    A finite sum over all values v of count(v) x (erf((v + 1/2) / s) - erf((v - 1/2) / s)), with
    s = std sqrt(2), over the same sum without count: exact for values out of range drawn again.

    >>> round(normal_mean("booth", 24.4, 8), 3)
    2.414
    """
    return mean_digits(normal_pmf(std, width), scheme, width)


def position_probabilities(pmf: Floats, scheme: str, width: int) -> Floats:
    """Return (positions,) probabilities that a digit of a value drawn from `pmf` is not zero."""
    probabilities: Floats = pmf @ _ordered(position_table(scheme, width), width)
    return probabilities


def group_steps_mean(pmf: Floats, scheme: str, width: int) -> float:
    """Return the expected steps of a sparse engine per operand, operands in groups of `GROUP`.

    A group of L independent operands takes max(1, non-zero digits) steps at each position, on
    average L p + (1 - p)^L: an empty group still costs one step.
    """
    p = position_probabilities(pmf, scheme, width)
    return float((p + (1 - p) ** GROUP / GROUP).sum())


def uniform_mean(scheme: str, width: int) -> Fraction:
    """Return the mean non-zero digits over all 2^width values, in closed form.

    twos     each bit is one in half of the values: w / 2
    booth    a digit is zero for 2 of 8 bit triples (the lowest: 1 of 4 pairs): 3/4 x w/2
    signmag  magnitudes below 2^(w-1) twice, half of w - 1 bits set; -2^(w-1) has one digit:
             (w - 1) / 2 + 2^-w
    csd      a non-zero digit needs a zero below it, then has probability 1/2: p[i+1] = (1-p[i])/2
             and p[0] = 1/2, so p[i] = (1 - (-1/2)^(i+1)) / 3, also at the top (the sign repeats)
    ent      a full group is non-zero with probability 3/4 whether or not a carry enters; the carry
             out of n groups has q = (1 - 4^-n) / 3; the top group is one bit, zero with
             (1 - q) / 2; again magnitudes count twice and -2^(w-1) has one digit (+ 2^-w)

    >>> float(uniform_mean("ent", 8))
    2.91796875
    """
    digits = digit_count(scheme, width)
    extreme = Fraction(1, 1 << width)
    match scheme:
        case "twos":
            return Fraction(width, 2)
        case "booth":
            return Fraction(3, 4) * digits
        case "signmag":
            return Fraction(width - 1, 2) + extreme
        case "csd":
            return sum(((1 - Fraction(-1, 2) ** (i + 1)) / 3 for i in range(width)), Fraction(0))
        case _:
            carry = (1 - Fraction(1, 4) ** (digits - 1)) / 3
            return Fraction(3, 4) * (digits - 1) + 1 - (1 - carry) / 2 + extreme


def _ordered(table: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Return a table with its rows from the smallest value to the largest."""
    return np.roll(table, 1 << (width - 1), axis=0)
