"""A banked scratchpad table that accumulates values by key, as SMASH's atomics do in software.

`HashAccumulate` is the unit; its cycles are those of `simulator.hash_unit`, its slots those of
`dataflow.hashing.SlotHash`.
"""

from rtl.hash.unit import HashAccumulate

__all__ = ["HashAccumulate"]
