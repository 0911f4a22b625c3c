"""Sizes of the plain systolic array, each with its unit and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.accelerators.systolic.timing import Dataflow, TileOverlap
from simulator.configuration import check_choices, check_positive
from workloads.errors import InputError

NEVER_SLOWER_WITH = (
    "dram_bytes_per_s",
    "left_buffer_bytes",
    "right_buffer_bytes",
    "out_buffer_bytes",
    "vector_lanes",
)
"""Config fields whose increase never makes a run slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A rows x cols array with three buffers and a vector unit."""

    rows: int = 32
    """PEs from north to south; the axis of k (ws, is) or of m (os). As SAT's array."""

    cols: int = 32
    """PEs from west to east; the axis of n (os, ws) or of m (is). As SAT's array."""

    dataflow: Dataflow = "os"
    """Operand that stays in the array: os outputs, ws weights (right operand), is inputs (left)."""

    tile_overlap: TileOverlap = "double_buffered"
    """How tiles follow each other: none (SCALE-Sim), double_buffered, ideal (no fill, no drain)."""

    nm_support: bool = True
    """Whether an N:M operand shortens the reduction (SCALE-Sim 3) or is treated as dense."""

    block_support: bool = True
    """Whether tiles of the right operand that a block pattern empties are left out."""

    clock_hz: float = 200e6
    """Clock in Hz. As SAT's array, so that the two compare."""

    left_buffer_bytes: int = 4 << 20
    """Buffer of the left operand in bytes, both halves; SCALE-Sim's IfmapSram, sized as SAT's."""

    right_buffer_bytes: int = 4 << 20
    """Buffer of the right operand in bytes, both halves; SCALE-Sim's FilterSram."""

    out_buffer_bytes: int = 4 << 20
    """Buffer of results and partial sums in bytes, both halves; SCALE-Sim's OfmapSram."""

    value_bits: int = 16
    """Width of an operand in bits, 8, 16 or 32: fp16, as in mixed-precision training."""

    accumulator_bits: int = 32
    """Width of a partial sum and of a weight gradient in bits: fp32."""

    dram_bytes_per_s: float = 76.8e9
    """Off-chip bandwidth in bytes/s: four channels of DDR4-2400, as on the card SAT used."""

    vector_lanes: int = 32
    """Elements of vector work per cycle; one per column."""

    def __post_init__(self) -> None:
        check_positive(
            self,
            "rows",
            "cols",
            "clock_hz",
            "left_buffer_bytes",
            "right_buffer_bytes",
            "out_buffer_bytes",
            "value_bits",
            "accumulator_bits",
            "dram_bytes_per_s",
            "vector_lanes",
        )
        check_choices(self)
        if self.value_bits not in (8, 16, 32):
            raise InputError(f"value_bits must be 8, 16 or 32, not {self.value_bits!r}")

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiply-accumulates per cycle of the whole array."""
        return self.rows * self.cols
