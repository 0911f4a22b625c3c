"""SMASH: sparse times sparse by hashing into a scratchpad, on a multithreaded PIUMA-like core.

*Source*: "SMASH: Sparse Matrix Atomic Scratchpad Hashing", arXiv 2105.14156 (abstract and table of
contents were at hand, not the chapters); PIUMA: arXiv 2010.06277, Hot Chips 2023 reports. Each
parameter of `Config` says whether it is verified, recalled or assumed.

*Exact*: the values of the product; windows, items, hash slots and collisions, counted from the real
keys in the order in which threads reach the table; bytes of every access; instructions at the
counts of `Config`, `machine` and `phases`; one operation in flight per thread; order of service at
DRAM and token counter.

*Approximate*: what follows a probe waits at its bank as long as the probe did; pipelines work off
instructions in the order asked for instead of in turns; write-back of v1 and v2 and the
distribution pass are the largest of their bounds (`phases`). v3 leaves the entries of a window in
the order of their insertion, with 4-byte keys; they are streamed while the next one is hashed.

Hash unit: `simulator.hash_unit` steps the hash-accumulate unit port by port, cycle for cycle as its
RTL. The kernel here shares its hash, its linear probing and its two bank cycles for a probe; it
differs in that threads ask through instructions, and that a collision does not ask for its next
bank anew. Cycles are held against the RTL for the unit alone.

*Ignored*: instruction cache, page tables, the network, other blocks, refresh and pages of DRAM, the
two single-threaded pipelines, energy.
"""

from simulator.accelerators.smash.config import Config
from simulator.accelerators.smash.model import (
    RUN_OPTIONS,
    Plan,
    compute,
    narrow,
    schedule,
    simulate,
    workload_from_options,
)

__all__ = [
    "RUN_OPTIONS",
    "Config",
    "Plan",
    "compute",
    "narrow",
    "schedule",
    "simulate",
    "workload_from_options",
]

STEPS_NON_ZEROS = True
