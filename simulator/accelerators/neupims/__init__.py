"""NPU + PIM for batched decoding: systolic arrays beside an HBM whose banks multiply.

*Source*: NeuPIMs (Heo et al., ASPLOS 2024, arXiv 2403.00579) and its published simulator, whose
three branches are the systems `neupims`, `npu-pim` and `npu-only`.

*Exact*, preset `published-simulator`: clocks of every stage and operator of that simulator. It is
stepped clock by clock with the same decisions in the same order (`device`, `simulator.dram`), less
the clocks in which nothing happens. Of 138 layers, stages and operators in ten reference runs 129
agree to the clock (`sim_results/neupims/operators`), the rest are those of npu-only. Its artefacts
are kept: a scratchpad holds 131 MiB, so that most products are one tile; of a result only a square
corner is stored; vector work sees empty rows; addresses run through 10 x width^2 bytes, divided
among the devices, over and over, whatever the tensor; writes are posted; npu-pim hands over one PIM
instruction a clock for all channels together; the cache holds one layer.

*Exact*, preset `paper`: the time of a stream of PIM tiles in HBM2, with one row buffer or two
(`simulator.dram.closed_form`: equal to the stepped controller in every stream tried).

*Approximate*: in the stepped preset, npu-only (its one reference run: the layer within 0.2 %, an
operator within 4 %). Preset `paper`: see `analytic`; the memory's stream of weights is not exact
(`simulator.dram.striped` says why, and how near it is); PIM tiles in other memories than HBM2.
Grouped-query attention repeats the PIM work of a stored head for each query head. Energy:
`simulator.energy` and `simulator.dram.energy`.

*Ignored*: prefill, embedding; in the stepped preset also communication between devices and the
output layer (options of preset `paper`: `link_bytes_per_s`, `output_layer`); where queries,
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
