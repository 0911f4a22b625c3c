"""Area of arithmetic units and SRAM, in square micrometres, for accelerators that state an area.

Source: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, 45 nm:
the areas that go with the energies of `simulator.energy`, recalled. SRAM: a 6T cell of 0.37 um2
(recalled for 45 nm) at 70 % array efficiency (assumed). Only adders, multipliers and SRAM are in:
registers, multiplexers (those of N:M too), wires, control and input-output are not, so that areas
compare sizes of one kind of design, and kinds of design roughly.

A model states its area as an expression in its config fields, `QUANTITIES["area_mm2"]`, which a
study may use like a field (`simulator.sweep`), and which `area_mm2` evaluates for one config.
"""

from __future__ import annotations

import dataclasses
from typing import Any

FP16_MULTIPLIER_UM2 = 1640
FP32_MULTIPLIER_UM2 = 7700
INT8_MULTIPLIER_UM2 = 282
FP32_ADDER_UM2 = 4184
INT32_ADDER_UM2 = 137

SRAM_BYTE_UM2 = 8 * 0.37 / 0.7

MULTIPLIER = (
    f"({INT8_MULTIPLIER_UM2} if value_bits == 8 else "
    f"{FP16_MULTIPLIER_UM2} if value_bits == 16 else {FP32_MULTIPLIER_UM2})"
)
"""Multiplier of `value_bits`: int8, fp16 or fp32."""

ADDER = f"({INT32_ADDER_UM2} if value_bits == 8 else {FP32_ADDER_UM2})"
"""Adder of the sums: int32 for int8 values, else fp32."""

LANE_UM2 = FP32_MULTIPLIER_UM2 + FP32_ADDER_UM2
"""One fp32 vector lane."""


def expression(macs: str, *, lanes: str, sram_bytes: str, mac: str = "") -> str:
    """Return the area in square millimetres as an expression in config fields.

    `macs`, `lanes` and `sram_bytes` are expressions of how many there are; `mac` is that of one
    multiply-accumulate unit, by `value_bits` unless given.
    """
    unit = mac or f"({MULTIPLIER} + {ADDER})"
    return f"({macs} * {unit} + {lanes} * {LANE_UM2} + ({sram_bytes}) * {SRAM_BYTE_UM2:.4f}) * 1e-6"


ARRAY = expression(
    "rows * cols",
    lanes="vector_lanes",
    sram_bytes="left_buffer_bytes + right_buffer_bytes + out_buffer_bytes",
)
"""Area of an array of multiply-accumulate units with three buffers and vector lanes."""


def area_mm2(config: Any, text: str) -> float:
    """Evaluate an area expression for one config.

    >>> from simulator.accelerators import sat
    >>> round(area_mm2(sat.Config(), sat.QUANTITIES["area_mm2"]), 1)
    59.6
    """
    from simulator.sweep.expressions import parse

    return float(parse(text, "area_mm2")(dataclasses.asdict(config)))
