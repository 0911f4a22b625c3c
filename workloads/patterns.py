"""Sparsity patterns as values: what they cost to store and what fraction of MACs they leave.

A pattern describes one operand of a matrix product. Groups of N:M lie along the reduction axis K,
because only then can an accelerator skip the products (SAT, arXiv 2309.13015, section III).

>>> NM(2, 8).density
0.25
>>> NM(2, 8).stored_bits(elements=64, value_bits=16)   # 8 groups of 2 values and 2 indices
304
>>> parse_pattern("2:4")
NM(n=2, m=4)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from workloads import numerals
from workloads.errors import InputError
from workloads.rounding import ceil_div

LARGEST_GROUP = 1 << 16
"""Largest M of N:M: an index in a group has at most 16 bits, as one of an unstructured pattern."""


@runtime_checkable
class Pattern(Protocol):
    """What every pattern can say about itself."""

    @property
    def density(self) -> float:
        """Fraction of the elements that may be non-zero, 0 < density <= 1."""

    def stored_bits(self, *, elements: int, value_bits: int) -> int:
        """Bits to store `elements` dense elements compactly, metadata included."""

    def __str__(self) -> str:
        """The text form that `parse_pattern` reads."""


@dataclass(frozen=True, slots=True)
class Dense:
    """Every element may be non-zero."""

    @property
    def density(self) -> float:
        """One."""
        return 1.0

    def stored_bits(self, *, elements: int, value_bits: int) -> int:
        """Bits of the plain array."""
        return elements * value_bits

    def __str__(self) -> str:
        return "dense"


@dataclass(frozen=True, slots=True)
class NM:
    """At most `n` non-zero elements in every `m` consecutive ones along the reduction axis."""

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m:
            raise InputError(
                f"N:M pattern must have 1 <= N <= M, not {self.n}:{self.m}; 2:8 keeps 2 of 8"
            )
        if self.m > LARGEST_GROUP:
            raise InputError(f"M of N:M must be at most {LARGEST_GROUP}, not {self.m}")

    @property
    def density(self) -> float:
        """N / M."""
        return self.n / self.m

    @property
    def index_bits(self) -> int:
        """Bits of one index inside a group: ceil(log2 M)."""
        return (self.m - 1).bit_length()

    def kept_in(self, run: int) -> int:
        """Elements kept of a run of that length; a last, incomplete group keeps N if it has them.

        >>> NM(2, 8).kept_in(20)   # 2 + 2 + 2
        6
        """
        return run // self.m * self.n + min(self.n, run % self.m)

    def stored_bits(self, *, elements: int, value_bits: int) -> int:
        """N values and N indices for every (also a last, incomplete) group of M elements."""
        groups = ceil_div(elements, self.m)
        return groups * self.n * (value_bits + self.index_bits)

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"


@dataclass(frozen=True, slots=True)
class TransposableNM(NM):
    """N:M along the reduction axis of the forward *and* of the backward-data product.

    One mask serves both (Hubara et al., NeurIPS 2021), so one compact copy is stored.
    """

    def __str__(self) -> str:
        return f"{self.n}:{self.m}t"


@dataclass(frozen=True, slots=True)
class Unstructured:
    """Non-zeros anywhere; stored as CSR-like values with one index of `index_bits` each."""

    fraction: float
    index_bits: int = 16

    def __post_init__(self) -> None:
        check_fraction(self.fraction, "unstructured density")
        if self.index_bits < 0:
            raise InputError(f"unstructured index bits must not be negative, not {self.index_bits}")

    @property
    def density(self) -> float:
        """The fraction of non-zeros."""
        return self.fraction

    def stored_bits(self, *, elements: int, value_bits: int) -> int:
        """A value and an index for each non-zero."""
        return math.ceil(elements * self.fraction) * (value_bits + self.index_bits)

    def __str__(self) -> str:
        indices = "" if self.index_bits == 16 else f":{self.index_bits}"
        return f"unstructured:{_exact(self.fraction)}{indices}"


@dataclass(frozen=True, slots=True)
class Block:
    """A fraction of the `rows` x `cols` blocks is kept whole; one bit a block says which."""

    rows: int
    cols: int
    fraction: float

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise InputError(f"block size must be positive, not {self.rows}x{self.cols}")
        check_fraction(self.fraction, "block density")

    @property
    def density(self) -> float:
        """The fraction of blocks kept."""
        return self.fraction

    def stored_bits(self, *, elements: int, value_bits: int) -> int:
        """The kept blocks and a bitmap of all blocks."""
        size = self.rows * self.cols
        blocks = ceil_div(elements, size)
        return math.ceil(blocks * self.fraction) * size * value_bits + blocks

    def __str__(self) -> str:
        return f"block:{self.rows}x{self.cols}:{_exact(self.fraction)}"


@dataclass(frozen=True, slots=True)
class Group:
    """A fraction of the groups of `size` consecutive elements along K is kept whole (1xG)."""

    size: int
    fraction: float

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"group size must be positive, not {self.size}")
        check_fraction(self.fraction, "group density")

    @property
    def density(self) -> float:
        """The fraction of groups kept."""
        return self.fraction

    def stored_bits(self, *, elements: int, value_bits: int) -> int:
        """The kept groups and a bitmap of all groups."""
        groups = ceil_div(elements, self.size)
        return math.ceil(groups * self.fraction) * self.size * value_bits + groups

    def __str__(self) -> str:
        return f"group:{self.size}:{_exact(self.fraction)}"


DENSE = Dense()


def parse_pattern(text: str) -> Pattern:
    """Read a pattern from its text form, the inverse of `str(pattern)`.

    Raises `InputError` for anything that is not one of the forms named in its message.

    >>> [str(parse_pattern(t)) for t in ("dense", "2:8", "2:4t", "block:16x16:0.5", "group:16:0.5")]
    ['dense', '2:8', '2:4t', 'block:16x16:0.5', 'group:16:0.5']
    """
    kind, *rest = text.strip().lower().split(":")
    try:
        match kind, rest:
            case "dense", []:
                return DENSE
            case "unstructured", [fraction]:
                return Unstructured(numerals.number(fraction))
            case "unstructured", [fraction, index_bits]:
                return Unstructured(numerals.number(fraction), numerals.whole(index_bits))
            case "block", [shape, fraction]:
                rows, cols = (numerals.whole(side) for side in shape.split("x"))
                return Block(rows, cols, numerals.number(fraction))
            case "group", [size, fraction]:
                return Group(numerals.whole(size), numerals.number(fraction))
            case n, [m] if m.endswith("t"):
                return TransposableNM(numerals.whole(n), numerals.whole(m[:-1]))
            case n, [m]:
                return NM(numerals.whole(n), numerals.whole(m))
    except InputError:
        raise
    except ValueError:
        pass
    raise InputError(
        f"pattern must be dense, N:M, N:Mt, unstructured:DENSITY[:INDEX_BITS], "
        f"block:ROWSxCOLS:DENSITY or group:SIZE:DENSITY, not {text!r}"
    )


def _exact(fraction: float) -> str:
    """Write a fraction with the fewest digits that read back as the same number."""
    return f"{float(fraction)!r}".removesuffix(".0")


def check_fraction(value: float, what: str) -> None:
    """Raise `InputError` unless `value` lies above 0 and is at most 1; `what` names it there."""
    if not 0 < value <= 1:
        raise InputError(f"{what} must be above 0 and at most 1, not {value!r}")
