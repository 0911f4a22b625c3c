"""A GPU with tensor cores: the baseline that everybody owns, for training steps and for decoding.

*Source*: tiles, waves and quantisation as in NVIDIA's "Matrix Multiplication Background User's
Guide"; sparse tensor cores as in Mishra et al., arXiv 2104.08378; fused attention as in Dao et al.,
arXiv 2205.14135 and 2307.08691, its decoding split over the cache as in "Flash-Decoding for
long-context inference" (2023); the numbers of each device in `devices`.

*Exact*: nothing is proved against a stepped definition; peaks are those of the data sheets.

*Approximate*:
- A product is tiles of thread blocks in waves over the SMs (`products`); of a table, the tile and
  split that take least are used, traffic included, as by a tuned library. One block occupies an SM
  at a time.
- A kernel takes the longer of its waves and its memory traffic, at nine tenths of the peak
  bandwidth, and a launch. Work that is fused moves its bytes while its kernel leaves memory idle.
- The clock is the boost clock, which power allows for zeros: a large product of them takes 5 %
  longer than ours. Published times of real values are 20 to 46 % longer, see `published/gpu`.
- An operand with at most two of every aligned four elements runs as 2:4 at twice the rate, which
  is never slower; all other patterns are stored and multiplied dense. Both operands are multiplied
  in the wider type. A selection is a kernel of its own: on a small network the launches of all
  selections may take longer than 2:4 saves.
- Fused attention keeps scores on chip and makes them again in the backward pass; softmax takes its
  lane time behind the products instead of beside them.
- Decoding: one decoder layer of one shard as kernels; attention reads each cache once; every
  decoder's norms and activations are counted as layer norm and GELU; all-reduce as a ring
  (`simulator.collectives`).
- Energy is that of the shared table (45 nm), not the power of the card.

*Ignored*: instruction issue, bank conflicts, shared-memory capacity, tail overlap of blocks, clock
changes, the host, embedding and output layer while decoding.
"""

from collections.abc import Mapping

from simulator.accelerators.gpu.config import Config
from simulator.accelerators.gpu.decode import DecodePlan, schedule_batch, simulate_batch
from simulator.accelerators.gpu.devices import Device
from simulator.accelerators.gpu.model import simulate_workload
from simulator.accelerators.gpu.plan import Plan, schedule_workload
from simulator.report import Report
from simulator.run_options import RunOption
from workloads.llm import RequestBatch
from workloads.operations import Workload

RUN_OPTIONS = (
    RunOption(name="--device", help="a100-40gb, a100-80gb, h100, h200, ...", field="device"),
    RunOption(name="--model", help="Decoder, such as gpt3-7b or llama3-8b.", field="model"),
    RunOption(name="--tp", help="Tensor-parallel GPUs.", field="tensor_parallel"),
    RunOption(name="--pp", help="Pipeline-parallel groups.", field="pipeline_parallel"),
    RunOption(name="--weights", help="Pattern of the decoder: 2:4.", field="weight_pattern"),
    RunOption(
        name="--requests",
        help="seq_len,ch_idx CSV, or alpaca|sharegpt[:BATCH[:SEED]].",
        shared=("batch",),
    ),
)

__all__ = [
    "RUN_OPTIONS",
    "Config",
    "DecodePlan",
    "Device",
    "Plan",
    "schedule",
    "simulate",
    "workload_from_options",
]


def schedule(config: Config, workload: Workload | RequestBatch) -> Plan | DecodePlan:
    """Take the decisions for a training step, an inference, or one decoding of a batch."""
    if isinstance(workload, RequestBatch):
        return schedule_batch(config, workload)
    return schedule_workload(config, workload)


def simulate(config: Config, plan: Plan | DecodePlan) -> Report:
    """Return time, traffic and energy of a plan."""
    if isinstance(plan, DecodePlan):
        return simulate_batch(config, plan)
    return simulate_workload(config, plan)


def workload_from_options(options: Mapping[str, tuple[str, ...]]) -> RequestBatch:
    """Read `--requests` and `--batch`, the same batches as those of `neupims`."""
    from simulator.accelerators import neupims

    return neupims.workload_from_options(options)
