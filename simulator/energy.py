"""Energy of elementary actions, in picojoules, shared by accelerators without figures of their own.

Source: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014,
Figs 1.1.8 and 1.1.9: 45 nm, 0.9 V. The fp32 and int32 figures and the 8 KiB array are confirmed by
a paper that cites the table (PMC8934428, table 3); the others are recalled. Absolute joules
are therefore those of a 45 nm chip, whatever technology an accelerator was published in; ratios
between designs on this table are what it is good for. Not in the table, hence not counted: clock
tree, wires between units, control, leakage.
"""

from __future__ import annotations

FP16_MULTIPLY_PJ = 1.1
FP32_MULTIPLY_PJ = 3.7
FP32_ADD_PJ = 0.9
INT8_MULTIPLY_PJ = 0.2
INT32_ADD_PJ = 0.1
INT16_COMPARE_PJ = INT32_ADD_PJ / 2
"""A 16-bit compare is taken as a 16-bit add: half of the table's 32-bit integer add."""

LANE_PJ = FP32_MULTIPLY_PJ + FP32_ADD_PJ
"""One operation of a vector lane is taken as an fp32 multiply and add."""

DRAM_BYTE_PJ = 162.5
"""1.3 nJ for a 64-bit access, the lower end of the published 1.3 to 2.6 nJ."""

_SRAM_64_BIT_PJ = ((8 * 1024, 10.0), (32 * 1024, 20.0), (1024 * 1024, 100.0))


def sram_byte_pj(capacity_bytes: int) -> float:
    """Return the energy of moving one byte to or from an SRAM of `capacity_bytes`.

    Log-log interpolation between the published 8 KiB, 32 KiB and 1 MiB arrays (64-bit access),
    held constant outside: larger buffers are banked in arrays of 1 MiB.

    >>> round(sram_byte_pj(1024 * 1024), 2)
    12.5
    """
    import numpy as np

    sizes, energies = np.log(np.array(_SRAM_64_BIT_PJ)).T
    return float(np.exp(np.interp(np.log(capacity_bytes), sizes, energies))) / 8


def multiply_pj(value_bits: int) -> float:
    """Return the energy of multiplying two operands: int8, fp16 or fp32 by their width.

    >>> multiply_pj(16)
    1.1
    """
    return {8: INT8_MULTIPLY_PJ, 16: FP16_MULTIPLY_PJ, 32: FP32_MULTIPLY_PJ}[value_bits]
