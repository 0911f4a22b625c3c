"""A plain systolic array: output-, weight- or input-stationary, the baseline that everyone knows.

*Source*: the cycle counts and the treatment of N:M are the published conventions of SCALE-Sim 3
(with `tile_overlap=none`, equal to its counts in the exhibit `peers/systolic`); energy from
`simulator.energy`.

*Exact*: tiles, edges and cycles of a product (`timing`, proved by the register-level `stepped`);
bytes of compact N:M operands, indices included.

*Approximate*:
- An N:M operand shortens k to ceil(run / M) x N per run of k before tiling, as in SCALE-Sim: each
  step multiplies a kept value by the element that its index picks out of a window of M. The dense
  operand is still fed whole, M words for N steps, which `sram_bytes` counts. If both operands are
  N:M, the one that shortens k more is exploited. With `nm_support=off` the array is truly dense: it
  stores and multiplies every element.
- A block pattern of the right operand whose blocks are multiples of a tile leaves out tiles, as if
  every column of blocks kept the same number (`block_support`); smaller blocks run dense.
- Off-chip traffic follows `memory`: the best of two tile orders for each product. Transfers
  overlap with compute perfectly: an operation takes the longer of the two. A stripe of a
  convolution's input is charged in proportion, without the halo that neighbouring stripes share.
- Operands have `value_bits` whatever the workload says, partial sums and weight gradients
  `accumulator_bits`.
- Vector work occupies `vector_lanes` elements a cycle; a selection of N of M scans its elements N
  times on the same lanes. Both run alone, one after the other with the products. Fused work moves
  its bytes while the operation that it rides on leaves memory idle.
- Energy counts every multiply slot, padding too, vector operations, buffer and DRAM bytes.

*Ignored*: latency of the first transfer and of DRAM, bank conflicts, reuse of a tensor between
operations, control, leakage.
"""

from simulator import area
from simulator.accelerators.systolic.config import NEVER_SLOWER_WITH, Config
from simulator.accelerators.systolic.model import Plan, ProductPlan, schedule, simulate
from simulator.accelerators.systolic.scalesim import RUN_OPTIONS, config_from_options

QUANTITIES = {"area_mm2": area.ARRAY}
"""What follows from the config alone, as expressions that studies may use by name."""

__all__ = [
    "NEVER_SLOWER_WITH",
    "QUANTITIES",
    "RUN_OPTIONS",
    "Config",
    "Plan",
    "ProductPlan",
    "config_from_options",
    "schedule",
    "simulate",
]
