"""The parameters of a bit-weight array."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from dataflow.bitweight import GROUP
from dataflow.digits import check_width
from simulator.accelerators.bitweight.baselines import PAIRS
from simulator.accelerators.bitweight.synthesis import Row, find
from simulator.configuration import check_choices, check_positive
from workloads.errors import InputError
from workloads.rounding import ceil_div

Engine = Literal[
    "mac",
    "opt1",
    "opt1_offset",
    "opt2",
    "opt3",
    "opt4c",
    "opt4e",
    "opt4c_seg",
    "opt4e_seg",
    "laconic",
    "bitlet",
]
ENGINES: tuple[Engine, ...] = get_args(Engine)
DENSE = ("mac", "opt1", "opt1_offset")
SPARSE = ("opt3", "opt4c", "opt4e", "opt4c_seg", "opt4e_seg")
BIT_SLICE = ("laconic", "bitlet")

MARGIN = 1.1
"""The clock period is the mapped netlist's minimum plus 10 %, the margin that the paper states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """An array of one engine, its buffers and its read-out."""

    engine: Engine = "opt4c"
    """Processing element: MAC baseline, an engine of the paper, a variant, a bit-slice design."""

    array: Literal["os", "ws", "matrix", "cube", "tree"] = "os"
    """Arrangement of the engines mac, opt1 and opt1_offset; the others have their own."""

    rows: int = 32
    """Rows of the left operand at once: the columns of a sparse engine; K of ws, cube and tree."""

    cols: int = 32
    """Columns of the right operand at once: the elements that share a digit stream."""

    width: int = 8
    """Bits of an operand, even, 4 to 16. INT8 in the paper."""

    sum_bits: int = 0
    """Bits of a sum of one bit weight; 0: width + 18, the paper's 26 for INT8."""

    simd_lanes: int = 4
    """Read-out adders for each row: sums leave in cols / simd_lanes additions. Not given."""

    fifo: int = 4
    """Groups that a lane prefetches; at least 3 keep it busy. Not given."""

    banks: int = 0
    """Banks of the right operand; 0: no conflicts, as in the paper's own cycle counts."""

    interleaved: bool = False
    """Neighbouring groups in neighbouring banks (beyond the paper), or K / banks in each bank."""

    encoded: Literal["known", "left", "right"] = "known"
    """Operand whose digits are skipped; known: the one whose digits the workload carries, the left
    one if both or none. With the right one the array computes the transposed product."""

    quantiser: Literal["none", "tensor", "channel"] = "none"
    """Scale of float tensors: one a tensor, or one an output channel for weights; none refuses
    them, because the scale decides the digits."""

    percentile: float = 100.0
    """Share of magnitudes that the quantiser's scale covers, in percent; 100: the largest."""

    operand_std: float = 24.4
    """Standard deviation of unknown operands, in units of the last place at INT8; the paper's
    normal matrices have 2.22 non-zero digits, which is this deviation."""

    clock_hz: float = 0.0
    """Clock in Hz; 0: that of the synthesised elements and encoders plus a margin of 10 %."""

    left_buffer_bytes: int = 1 << 20
    """Buffer of the left operand, both halves. Not given."""

    right_buffer_bytes: int = 1 << 20
    """Buffer of the right operand, both halves. Not given."""

    out_buffer_bytes: int = 1 << 20
    """Buffer of the results, both halves. Not given."""

    dram_bytes_per_s: float = 76.8e9
    """Off-chip bandwidth: four channels of DDR4-2400, as the other accelerators here."""

    vector_lanes: int = 32
    """Elements of vector work per cycle. Not given."""

    def __post_init__(self) -> None:
        check_width(self.width)
        check_positive(
            self,
            "rows",
            "cols",
            "simd_lanes",
            "fifo",
            "operand_std",
            "left_buffer_bytes",
            "right_buffer_bytes",
            "out_buffer_bytes",
            "dram_bytes_per_s",
            "vector_lanes",
        )
        check_choices(self)
        for name, most in (("rows", 4096), ("cols", 4096), ("fifo", 4096), ("simd_lanes", 4096)):
            if getattr(self, name) > most:
                raise InputError(f"{name} must be at most {most}, not {getattr(self, name)}")
        for name, whole in (("sum_bits", 64), ("banks", 4096)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value <= whole:
                raise InputError(f"{name} must be a whole number from 0 to {whole}, not {value!r}")
        if not 0 <= self.clock_hz < math.inf:
            raise InputError(f"clock_hz must be zero or a positive number, not {self.clock_hz!r}")
        if not 0 < self.percentile <= 100:
            raise InputError(
                f"percentile must lie above 0 and at most at 100, not {self.percentile!r}"
            )
        if self.fifo < 3:
            raise InputError(f"fifo must be at least 3 groups, not {self.fifo}")
        if self.engine in DENSE and self.array == "cube" and self.rows != self.cols:
            raise InputError(f"a cube needs rows = cols, not {self.rows} and {self.cols}")
        if self.sum_bits and self.sum_bits < self.width + 2:
            raise InputError(
                f"sum_bits must be at least width + 2 = {self.width + 2}, not {self.sum_bits}"
            )

    @property
    def lanes(self) -> int:
        """Digits that an element adds a step, each of other terms."""
        return 4 if self.engine in ("opt4e", "opt4e_seg") else 1

    @property
    def reads_digits(self) -> bool:
        """Whether the time depends on digits."""
        return self.engine in (*SPARSE, *BIT_SLICE)

    @property
    def shares_encoders(self) -> bool:
        """Whether the elements of a row share an encoder for each lane."""
        return self.engine in SPARSE and self.engine != "opt3"

    @property
    def sums_by_weight(self) -> bool:
        """Whether an element adds the digits of one weight at a time, in `accumulator_bits`."""
        return self.engine in (*SPARSE, "opt2")

    @property
    def carry_save(self) -> bool:
        """Whether sums leave the elements in carry-save form, for the read-out to add."""
        return self.engine not in ("mac", *BIT_SLICE)

    @property
    def passes(self) -> int:
        """Digit positions of an operand."""
        return self.width // 2

    @property
    def accumulator_bits(self) -> int:
        """Bits of a sum of one bit weight."""
        return self.sum_bits or self.width + 18

    @property
    def largest_k(self) -> int:
        """Longest reduction whose sums always fit; longer ones are split into parts.

        Sums of whole products have 32 bits up to INT8, 64 for wider operands.
        """
        if self.sums_by_weight:
            return ((1 << (self.accumulator_bits - 1)) - 1) >> self.width
        bits = 32 if self.width <= 8 else 64
        return ((1 << (bits - 1)) - 1) >> (2 * self.width - 2)

    @property
    def k_part(self) -> int:
        """Terms of a part of a longer reduction: whole groups for every lane where they fit."""
        whole = self.largest_k // (GROUP * self.lanes) * GROUP * self.lanes
        return whole or self.largest_k

    @property
    def elements(self) -> int:
        """Processing elements of the array."""
        if self.engine in DENSE and self.array == "cube":
            return self.rows * self.cols * self.cols
        return self.rows * self.cols

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiply-accumulates a cycle at most.

        A group of four costs at least one step a pass; the pairs of a bit-slice element at least
        one cycle.
        """
        if self.engine in BIT_SLICE:
            return self.elements * PAIRS[self.engine]
        if self.engine in DENSE:
            return self.elements
        return ceil_div(self.elements * self.lanes * GROUP, self.passes)

    @property
    def element(self) -> Row:
        """The synthesised element of this engine; `bitlet` has none and takes that of `mac`."""
        return find("mac" if self.engine == "bitlet" else self.engine, self.width)

    @property
    def period_ns(self) -> float:
        """Clock period: the slowest of element and shared encoder, plus the margin."""
        if self.clock_hz:
            return 1e9 / self.clock_hz
        parts = [self.element.min_period_ns]
        if self.shares_encoders:
            parts.append(find("column_front", self.width).min_period_ns)
        return MARGIN * max(parts)

    @property
    def drain_cycles(self) -> int:
        """Cycles in which a column's sums are read; an addition takes several if it is slower."""
        turns = ceil_div(self.cols, min(self.simd_lanes, self.cols))
        slow = math.ceil(MARGIN * find("simd_lane", self.width).min_period_ns / self.period_ns)
        return turns * max(slow, 1)

    @property
    def area_um2(self) -> float:
        """Area of elements, shared encoders and read-out in the open library; buffers not."""
        area = self.elements * self.element.area
        if self.shares_encoders:
            area += self.rows * self.lanes * find("column_front", self.width).area
        if self.carry_save:
            area += self.rows * min(self.simd_lanes, self.cols) * find("simd_lane", self.width).area
        return area
