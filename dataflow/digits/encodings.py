"""Five ways to write a signed integer as digits, with encode and decode.

=========  =====  ==========  ====================================================================
name       radix  digits      definition
=========  =====  ==========  ====================================================================
twos       2      0, 1        bits of two's complement; the top digit is 0 or -1
signmag    2      -1, 0, 1    bits of the magnitude, each with the value's sign
booth      4      -2 to 2     modified Booth: -2 b[2i+1] + b[2i] + b[2i-1]
ent        4      -2 to 2     magnitude in -1, 0, 1, 2, each digit times the value's sign
csd        2      -1, 0, 1    canonical signed digit: no two neighbours are non-zero
=========  =====  ==========  ====================================================================

Source: Wu et al., HPCA 2025 (arXiv 2503.06342) for Booth and EN-T; EN-T scans groups of two bits
from the bottom, t = group + carry; t = 3 gives -1 and a carry, t = 4 gives 0 and a carry. CSD is
the non-adjacent form. Widths are even, 4 to 16 bits; the digits come lowest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workloads.errors import InputError

Digits = NDArray[np.int8]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A digit system: the bits of its radix and the digits that it may use at every position."""

    name: str
    radix_bits: int
    digits: tuple[int, ...]


ENCODINGS = {
    encoding.name: encoding
    for encoding in (
        Encoding(name="twos", radix_bits=1, digits=(-1, 0, 1)),
        Encoding(name="signmag", radix_bits=1, digits=(-1, 0, 1)),
        Encoding(name="booth", radix_bits=2, digits=(-2, -1, 0, 1, 2)),
        Encoding(name="ent", radix_bits=2, digits=(-2, -1, 0, 1, 2)),
        Encoding(name="csd", radix_bits=1, digits=(-1, 0, 1)),
    )
}


def check_width(width: int) -> None:
    """Raise `InputError` unless `width` is an even number of bits from 4 to 16."""
    if not isinstance(width, int) or isinstance(width, bool) or width % 2 or not 4 <= width <= 16:
        raise InputError(f"width must be an even number of bits from 4 to 16, not {width!r}")


def value_range(width: int) -> tuple[int, int]:
    """Return the smallest and largest signed value of `width` bits.

    >>> value_range(8)
    (-128, 127)
    """
    return -(1 << (width - 1)), (1 << (width - 1)) - 1


def check_values(values: ArrayLike, width: int, *, what: str = "values") -> NDArray[Any]:
    """Return integer `values` as an array; raise `InputError` if they are no `width`-bit integers.

    Floating-point tensors are refused: how they are scaled changes their digits.
    """
    check_width(width)
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{what} must be integers, not {array.dtype}; quantise a float tensor first "
            "(dataflow.digits.quantise), because its scale decides its digits"
        )
    low, high = value_range(width)
    limits = np.iinfo(array.dtype)
    inside = limits.min >= low and limits.max <= high
    if not inside and array.size and not (low <= array.min() and array.max() <= high):
        worst = array.max() if array.max() > high else array.min()
        raise InputError(f"{what} must lie in {low} to {high} for {width} bits, not {worst}")
    return array


def digit_count(scheme: str, width: int) -> int:
    """Return the digits that hold every `width`-bit value: width / 2 in radix 4, width in radix 2.

    >>> digit_count("ent", 8), digit_count("csd", 8)
    (4, 8)
    """
    check_width(width)
    return width // _find(scheme).radix_bits


def encode(values: ArrayLike, scheme: str, width: int) -> Digits:
    """Return the digits of `values`, shape (..., digits), lowest digit first.

    >>> encode([91, 124, -128], "ent", 8).tolist()
    [[-1, -1, 2, 1], [0, -1, 0, 2], [0, 0, 0, -2]]
    """
    numbers = check_values(values, width).astype(np.int64)
    count = digit_count(scheme, width)
    digits = np.empty((*numbers.shape, count), np.int8)
    for position, digit in enumerate(_ENCODERS[scheme](numbers, count)):
        digits[..., position] = digit
    return digits


def decode(digits: ArrayLike, scheme: str) -> Ints:
    """Return the values of digit vectors, shape (..., digits): the sum of digit x radix^position.

    >>> decode([[-1, -1, 2, 1]], "ent").tolist()
    [91]
    """
    array = np.asarray(digits).astype(np.int64)
    weights = np.int64(1) << (_find(scheme).radix_bits * np.arange(array.shape[-1]))
    total: Ints = (array * weights).sum(axis=-1)
    return total


def _find(scheme: str) -> Encoding:
    if scheme not in ENCODINGS:
        raise InputError(f"encoding must be one of {', '.join(ENCODINGS)}, not {scheme!r}")
    return ENCODINGS[scheme]


def _twos(values: Ints, count: int) -> list[Ints]:
    bits = [values >> i & 1 for i in range(count)]
    return [*bits[:-1], -bits[-1]]


def _signmag(values: Ints, count: int) -> list[Ints]:
    magnitude = np.abs(values)
    return [np.sign(values) * (magnitude >> i & 1) for i in range(count)]


def _booth(values: Ints, count: int) -> list[Ints]:
    doubled = values << 1  # bit j of `doubled` is bit j - 1 of the value, and bit -1 is zero
    return [
        -2 * (doubled >> 2 * i + 2 & 1) + (doubled >> 2 * i + 1 & 1) + (doubled >> 2 * i & 1)
        for i in range(count)
    ]


def _ent(values: Ints, count: int) -> list[Ints]:
    magnitude, sign = np.abs(values), np.sign(values)
    carry = np.zeros_like(values)
    digits = []
    for i in range(count):
        total = (magnitude >> 2 * i & 3) + carry
        carry = (total >= 3).astype(np.int64)
        digits.append(sign * (total - 4 * carry))
    return digits


def _csd(values: Ints, count: int) -> list[Ints]:
    digits = []
    rest = values
    for _ in range(count):
        digit = (rest & 1) * (2 - (rest & 3))
        rest = (rest - digit) >> 1
        digits.append(digit)
    return digits


_ENCODERS = {"twos": _twos, "signmag": _signmag, "booth": _booth, "ent": _ent, "csd": _csd}
