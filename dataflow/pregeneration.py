"""Pre-generation: select N:M right after the weight update and store the compact copies.

The alternative selects while a product reads the dense weights. Off-chip bytes of the weights of a
layer in one training step, for two copies (FF and BP), values of v bits and indices of i bits:

==============  ================================  ==========================================
                read by the products              written by the update
==============  ================================  ==========================================
on the fly      2 x v / 8 each weight             -
pre-generated   2 x N (v + i) / (8 M)             2 x N (v + i) / (8 M)
==============  ================================  ==========================================

At 2:8 and 16 bits that is 4 against 2.375 bytes a weight, at 2:4 it is 4 against 4.5: the gain in
traffic needs a sparse pattern, the gain in latency (selection hidden behind the update) does not.
Source of the idea: SAT (arXiv 2309.13015); the arithmetic is derived here.
"""

from __future__ import annotations

from workloads.patterns import Pattern
from workloads.rounding import ceil_div

COPIES = 2
"""FF and BP keep different elements of the same weights."""


def on_the_fly_bytes(weights: int, *, value_bits: int) -> int:
    """Return the bytes that FF and BP read if each selects from the dense weights.

    >>> on_the_fly_bytes(8, value_bits=16)
    32
    """
    return COPIES * ceil_div(weights * value_bits, 8)


def pregenerated_bytes(weights: int, pattern: Pattern, *, value_bits: int) -> int:
    """Return the bytes of writing two compact copies and reading each of them once.

    >>> from workloads.patterns import NM
    >>> pregenerated_bytes(8, NM(2, 8), value_bits=16)   # 2.375 a weight, each copy in whole bytes
    20
    """
    stored_bits = pattern.stored_bits(elements=weights, value_bits=value_bits)
    return 2 * COPIES * ceil_div(stored_bits, 8)
