"""Gamma: row-wise product with a cache of fibers and high-radix mergers.

*Source*: "Gamma: Leveraging Gustavson's Algorithm", ASPLOS 2021 (abstract); parameters and format
of entries as in TeAAL's description of it (MICRO 2023).

*Exact*: bytes of A, C and of B under a fully associative LRU cache that keeps whole fibers, partial
fibers of rows larger than the radix included.

*Approximate*: Gamma's cache evicts by counted future use and its preprocessing reorders and splits
rows; here rows keep their order. A merger takes one element a cycle; merges go to the next free PE
in order, their fibers fetched ahead, and memory serves one request after the other at its full
bandwidth. A row of the result is written when its merge ends.

*Ignored*: latencies, bank conflicts of the cache.
"""

from simulator.accelerators.gamma.model import (
    RUN_OPTIONS,
    Config,
    narrow,
    schedule,
    simulate,
    workload_from_options,
)

__all__ = [
    "RUN_OPTIONS",
    "Config",
    "narrow",
    "schedule",
    "simulate",
    "workload_from_options",
]

STEPS_NON_ZEROS = True
