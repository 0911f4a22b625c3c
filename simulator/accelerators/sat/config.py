"""Sizes of the N:M training accelerator, each with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.configuration import check_choices, check_positive
from workloads.errors import InputError

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The accelerator as configured. "Recalled" marks what was not re-checked in the paper.

    Fields, with unit and source (SAT is arXiv 2309.13015):

    `rows`, `cols`: PEs of the array; 32 x 32 recalled, 32 matches the lanes of the selection unit.
    `clock_hz`: 200 MHz, recalled.
    `interleave`: partial sums that take turns in a PE; not given, the adder's latency hides it all.
    `mul_latency`, `add_latency`: cycles; not given, usual for FP16 and FP32 units of an FPGA.
    `value_bits`: operands are FP16 (mixed precision as in NVIDIA AMP), partial sums FP32.
    `feed_values_per_cycle`: dense values a row's edge delivers a cycle; M/N are needed, so 8 feeds
    1:8 and 2:16; not given. A pattern that needs more is fed more slowly.
    `selection_lanes`: groups of M selected at once, one value a lane and cycle (32, as published).
    `vector_lanes`: elements a cycle of the vector engine (WUVE); recalled to match the selection.
    `pregeneration`: select right after the weight update and store two compact copies of the
    weights, or select while the weights are read (False).
    `stationarity`: "auto" lets the scheduler choose per product, "os" and "ws" force one.
    `left_buffer_bytes`, `right_buffer_bytes`, `out_buffer_bytes`: on-chip buffers of the dense
    operand, of the sparse operand and of partial sums; not given, 12 of the 43 MiB of a VCU1525.
    `dram_bytes_per_s`: 4 channels of DDR4-2400 on the VCU1525 card, peak, recalled.
    """

    rows: int = 32
    cols: int = 32
    clock_hz: float = 200e6
    interleave: int = 4
    mul_latency: int = 2
    add_latency: int = 4
    value_bits: int = 16
    feed_values_per_cycle: int = 8
    selection_lanes: int = 32
    vector_lanes: int = 32
    pregeneration: bool = True
    stationarity: Literal["auto", "os", "ws"] = "auto"
    left_buffer_bytes: int = 4 * MIB
    right_buffer_bytes: int = 4 * MIB
    out_buffer_bytes: int = 4 * MIB
    dram_bytes_per_s: float = 76.8e9

    def __post_init__(self) -> None:
        for name, least, most in (
            ("rows", 1, 4096),
            ("cols", 1, 4096),
            ("interleave", 1, 64),
            ("mul_latency", 0, 64),
            ("add_latency", 1, 64),
            ("feed_values_per_cycle", 1, 4096),
            ("selection_lanes", 1, 65536),
            ("vector_lanes", 1, 65536),
            ("left_buffer_bytes", 1024, 1 << 40),
            ("right_buffer_bytes", 1024, 1 << 40),
            ("out_buffer_bytes", 1024, 1 << 40),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise InputError(
                    f"{name} must be a whole number from {least} to {most}, not {value!r}"
                )
        if type(self.value_bits) is not int or self.value_bits not in (8, 16, 32):
            raise InputError(f"value_bits must be 8, 16 or 32, not {self.value_bits!r}")
        check_positive(self, "clock_hz", "dram_bytes_per_s")
        check_choices(self)

    @property
    def peak_macs_per_cycle(self) -> int:
        """One multiply-accumulate per PE and cycle, whatever the pattern."""
        return self.rows * self.cols

    @property
    def peak_dense_flops(self) -> float:
        """Two operations per MAC: 409.6 GFLOP/s for 32 x 32 at 200 MHz."""
        return 2.0 * self.peak_macs_per_cycle * self.clock_hz
