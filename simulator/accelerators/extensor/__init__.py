"""ExTensor: tiled inner products with hierarchical skip-ahead intersection.

*Source*: "ExTensor: An Accelerator for Sparse Tensor Algebra", MICRO 2019; loop order, formats,
tile sizes and parameters as in TeAAL's description of it (MICRO 2023, artifact).

*Exact*: bytes in the tiled formats (A, B and the least possible traffic of email-Enron reproduce
TeAAL's numbers); partial outputs: a microtile of C is read again, whole, for every later block of K
that reaches it, which reproduces TeAAL's 132 551 840 bytes; skip-ahead steps of the innermost
intersections, which reproduce its 585 522 222.

*Approximate*: microtiles go to the next free PE, one intersection step a cycle; a block of the
last-level buffer is loaded, worked on and written back when the next block of M begins, as its
description says of A and of C (evicted on M2), with room for two blocks each; B is not overlapped.

*Ignored*: intersection of the outer levels, the network, what the buffers hold beyond a block.
"""

from simulator.accelerators.extensor.model import (
    NEVER_SLOWER_WITH,
    RUN_OPTIONS,
    Config,
    narrow,
    schedule,
    simulate,
    workload_from_options,
)

__all__ = [
    "NEVER_SLOWER_WITH",
    "RUN_OPTIONS",
    "Config",
    "narrow",
    "schedule",
    "simulate",
    "workload_from_options",
]

STEPS_NON_ZEROS = True
