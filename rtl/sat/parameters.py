"""Build-time parameters of the accelerator, validated once for all blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from amaranth.lib import data

from rtl.elaboration import address_bits
from workloads.errors import InputError
from workloads.rounding import ceil_div

SPACE_BITS, BANK_BITS, ADDRESS_BITS = 4, 10, 20
"""Of a memory, a bank of it and a word in it, in the streams at the boundary (`rtl.sat.top`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Sizes of the generated hardware; N, M and the stationarity of a product are run-time words.

    A build for `n`:`m` runs every pattern with N <= n and M <= m, and dense products.
    """

    rows: int = 4
    """PE rows R of the array."""
    cols: int = 4
    """PE columns C of the array."""
    n: int = 2
    """Largest N: values of a group that a PE holds in weight-stationary mode."""
    m: int = 8
    """Largest M: entries of the operand window."""
    interleave: int = 4
    """Independent partial sums that take turns in one PE (tiles or streamed rows)."""
    mul_latency: int = 2
    """Cycles of the multiplier."""
    add_latency: int = 4
    """Cycles of the adder, at least 1."""
    data_type: Literal["fp16", "int8"] = "fp16"
    """Operand type: fp16 accumulates in fp32, int8 in int32."""
    lanes: int = 32
    """Lanes of the selection and of the weight update (32 lanes: arXiv 2309.13015)."""
    operand_words: int = 1024
    """Depth of each operand bank: windows (west) or values with index (north)."""
    result_words: int = 1024
    """Depth of each result bank, one per column, fp32 or int32."""
    weight_words: int = 256
    """Depth of each lane's bank of master weights."""
    plan_words: int = 64
    """Instructions of one plan."""

    def __post_init__(self) -> None:
        for name in ("rows", "cols", "n", "m", "interleave", "add_latency", "lanes"):
            _at_least(1, getattr(self, name), name)
        _at_least(0, self.mul_latency, "mul_latency")
        for name in ("operand_words", "result_words", "weight_words", "plan_words"):
            _at_least(2, getattr(self, name), name)
        if self.n > self.m:
            raise InputError(f"n must be at most m, not n={self.n} and m={self.m}")
        if self.lanes % self.m:
            raise InputError(
                f"lanes must be a multiple of m, not lanes={self.lanes} and m={self.m}"
            )
        if self.data_type not in ("fp16", "int8"):
            raise InputError(f"data_type must be fp16 or int8, not {self.data_type!r}")
        for name in ("rows", "cols"):
            _at_most(1 << BANK_BITS, getattr(self, name), name)
        for name in ("operand_words", "result_words", "weight_words", "plan_words"):
            _at_most(1 << ADDRESS_BITS, getattr(self, name), name)
        _at_most(1 << BANK_BITS, self.compact_banks, "selected values of a word in all lanes")

    @property
    def flights(self) -> int:
        """Rows of weights that pass the backward selection at a time, two cycles apart."""
        return ceil_div(self.m, 2)

    @property
    def slices(self) -> int:
        """Lanes of one backward selection: the parts of M values of a row of weights."""
        return self.lanes // self.m

    @property
    def compact_banks(self) -> int:
        """Banks of selected values that the host can name, of the selection that has more."""
        return max(self.lanes, self.flights * self.slices) * self.n

    @property
    def operand_bits(self) -> int:
        """Bits of one operand value."""
        return 16 if self.data_type == "fp16" else 8

    @property
    def index_bits(self) -> int:
        """Bits of an index into the window, at least one."""
        return address_bits(self.m)

    @property
    def select_bits(self) -> int:
        """Bits that choose one of the held values, at least one."""
        return address_bits(self.n)

    @property
    def used_bits(self) -> int:
        """Bits that count interleaved sums, less one; at least one bit."""
        return address_bits(self.interleave)

    @property
    def slots(self) -> int:
        """Cycles after which a partial sum can be added to again."""
        return max(self.interleave, self.add_latency)

    @property
    def longest_hop(self) -> int:
        """Most cycles that a sum takes from one row to the next."""
        return (self.n - 1) * self.slots + self.add_latency

    @property
    def window(self) -> data.ArrayLayout:
        """M operand values."""
        return data.ArrayLayout(self.operand_bits, self.m)

    @property
    def link(self) -> data.StructLayout:
        """A kept value and its index in the window: what moves south."""
        return data.StructLayout({"value": self.operand_bits, "index": self.index_bits})

    @property
    def control(self) -> data.StructLayout:
        """What moves east with a window.

        `first`: start a new sum, or take the one from the north. `last`: the sum leaves.
        `final`: it is the last of the interleaved ones. `swap`: use the weights that were shifted
        in. `select`: which held value. `used`: interleaved sums in use, less one.
        """
        return data.StructLayout(
            {
                "first": 1,
                "last": 1,
                "final": 1,
                "swap": 1,
                "select": self.select_bits,
                "used": self.used_bits,
            }
        )


def _at_most(most: int, value: int, name: str) -> None:
    if value > most:
        raise InputError(f"{name} must be at most {most}, not {value}")


def _at_least(least: int, value: int, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}")
