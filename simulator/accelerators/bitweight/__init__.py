"""Bit-weight tensor engines: dense and digit-skipping, timed from their operands' own digits.

*Source*: Wu et al., "Exploring the Performance Improvement of Tensor Processing Engines through
Transformation in the Bit-weight Dimension of MACs", HPCA 2025, arXiv 2503.06342, from its abstract
and a reading note: where its micro-architecture is unknown, `rtl.bitweight` defines a buildable
one. Baselines: Laconic (Sharify et al., ISCA 2019) and Bitlet (Lu et al., MICRO 2021), recalled.

*Digits*: each product skips the digits of one operand: the one whose values the workload carries
(`encoded`). They come from integer tensors, or floats and a stated quantiser: steps are then exact;
from histograms of integers by classes of lines: expectations (`statistical`); or, where the
workload carries nothing, from a normal distribution of `operand_std`. The report says of every
product which it was, and states the assumption.

*Exact*: cycles of the dense arrays for any shape (`laws`), of the sparse engines for given values
(`kernels`: fetch, FIFOs, banks, passes, read-out, column by column), all equal to the RTL; values
(`compute`). Steps and digits.

*Approximate*: without values, operands of a line are independent draws, banks are free of
conflicts, and with several lanes digit positions are independent (`statistical`; its errors on a
real model are in `sim_results/bitweight`). Reductions beyond the sums' range run in parts that the
vector unit adds (`timing`). The clock is that of the mapped elements in an open 0.18 um library
without wires, and energy is that of elements, encoders and read-out in it: the energy of a working
cycle, measured at one distribution of operands, times the steps. OPT2 runs like the sparse engines
without skipping. Off-chip traffic follows the best of two tile orders and overlaps perfectly;
fused work moves its bytes while the operation it rides on leaves memory idle.
`laconic` and `bitlet` are expectations from operands' digits; bitlet has the clock and area of
`mac`.

*Ignored*: energy of buffers and DRAM (other technology), clock tree, wires, first-access latency.
"""

from simulator.accelerators.bitweight.config import ENGINES, Config
from simulator.accelerators.bitweight.model import Plan, schedule, simulate
from simulator.accelerators.bitweight.operands import Operands, compute, workload_from_options
from simulator.run_options import RunOption

SETTING_FOR_ALL = "quantiser=channel"

RUN_OPTIONS = (
    RunOption(name="--engine", help="Engine, as --set engine=NAME.", field="engine"),
    RunOption(
        name="--operands",
        help="Two integer matrices as .npy files, (M, K) and (K, N): times from their digits.",
        values=("A.npy", "B.npy"),
    ),
    RunOption(
        name="--model",
        help="Trace, model file or package model, with values: times from their digits.",
        values=("FILE|NAME",),
        shared=("batch", "tokens", "inference"),
    ),
    RunOption(
        name="--quantiser",
        help="Scale of float tensors: tensor or channel, as --set quantiser=NAME.",
        field="quantiser",
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
