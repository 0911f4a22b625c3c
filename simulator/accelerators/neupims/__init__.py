"""NPU + PIM for batched decoding: systolic arrays beside an HBM whose banks multiply.

*Source*: NeuPIMs (Heo et al., ASPLOS 2024, arXiv 2403.00579) and its published simulator, whose
three branches are the systems `neupims`, `npu-pim` and `npu-only`.

*Exact*: nothing is proved; see *Approximate*.

*Approximate*: clocks of every stage and operator of that simulator, stepped clock by clock with the
same decisions in the same order (`device`, `simulator.dram`). On nine reference runs a layer is
within 1 %; two small operators (`ffn.gelu`, `ffn.res`) are off by up to 29 % where posted writes
are still under way. Its artefacts are
kept: a GEMM is one tile of a scratchpad of 131 MB; of a result only a square corner is stored;
vector work sees empty rows; addresses run through 10 x width^2 bytes over and over, whatever the
tensor; writes are posted; npu-pim hands over one PIM instruction a clock for all channels.

With sub-batches the packets of NPU and PIM do not delay each other on the
interconnect (within 3 % of a stage). Grouped-query attention
repeats the PIM work of a stored head for each query head. Energy is that of `simulator.energy` and
of DRAM currents.

*Ignored*: what the paper describes and its simulator does not do (a preset for that is to come);
prefill, communication between devices, embedding and output layer; where queries,
probabilities and new keys and values are written before PIM uses them.
"""

from simulator.accelerators.neupims.config import Config
from simulator.accelerators.neupims.model import (
    RUN_OPTIONS,
    example,
    simulate,
    workload_from_options,
)
from simulator.accelerators.neupims.plan import Plan, schedule

__all__ = [
    "RUN_OPTIONS",
    "Config",
    "Plan",
    "example",
    "schedule",
    "simulate",
    "workload_from_options",
]
