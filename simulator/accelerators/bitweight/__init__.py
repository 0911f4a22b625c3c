"""Bit-weight tensor engines: dense and digit-skipping, timed from their operands' own digits.

*Source*: Wu et al., "Exploring the Performance Improvement of Tensor Processing Engines through
Transformation in the Bit-weight Dimension of MACs", HPCA 2025, arXiv 2503.06342, from its abstract
and a reading note: where its micro-architecture is unknown, `rtl.bitweight` defines a buildable
one. Baselines: Laconic (Sharify et al., ISCA 2019) and Bitlet (Lu et al., MICRO 2021), recalled.

*Exact*: cycles of the dense arrays for any shape (`laws`), of the sparse engines for given values
(`kernels`: fetch, FIFOs, banks, passes, read-out, column by column), all equal to the RTL; values
(`compute`). Steps and digits.

*Approximate*: without values, digits of operands are independent draws from a rounded normal
distribution of `operand_std`; times are then exact expectations for conflict-free banks
(`statistical`). The clock is that of the mapped elements in an open 0.18 um library without wires,
and energy is that of elements, encoders and read-out in it. OPT2 runs like the sparse engines
without skipping. Off-chip traffic follows the best of two tile orders and overlaps perfectly.
`laconic` and `bitlet` are expectations from operands' digits at the clock and area of `mac`.

*Ignored*: energy of buffers and DRAM (other technology), clock tree, wires, first-access latency.
"""

from simulator.accelerators.bitweight.config import ENGINES, Config
from simulator.accelerators.bitweight.model import Plan, schedule, simulate
from simulator.accelerators.bitweight.operands import Operands, compute, workload_from_options
from simulator.run_options import RunOption

RUN_OPTIONS = (
    RunOption(name="--engine", help="Engine, as --set engine=NAME.", field="engine"),
    RunOption(
        name="--operands",
        help="Two integer matrices as .npy files, (M, K) and (K, N): times from their digits.",
        values=("A.npy", "B.npy"),
    ),
)

__all__ = [
    "ENGINES",
    "RUN_OPTIONS",
    "Config",
    "Operands",
    "Plan",
    "compute",
    "schedule",
    "simulate",
    "workload_from_options",
]
