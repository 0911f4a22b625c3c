"""Stimulus of the hash unit: updates that meet and collide, and a drain."""

from __future__ import annotations

import random
from collections.abc import Iterator

from dataflow.hash_unit import HashUnit
from rtl.hash.bank import VALUE_BITS
from rtl.hash.unit import HashAccumulate
from rtl.stimulus import PAUSE, Stimulus, send, together

UPDATES = 24
"""Updates of one requester before a drain."""


def updates_and_drains(component: HashAccumulate, rng: random.Random) -> Stimulus:
    """Add to few keys from all requesters at once, then drain; twice, with the same keys.

    The keys fill at most half of the table: they meet and collide, and all find a place.
    """
    unit = component.unit
    count = max(1, min(unit.slots, unit.requesters * UPDATES) // 2)
    keys = [rng.getrandbits(unit.key_bits) for _ in range(count)]
    for _ in range(2):
        parts = [
            send(f"update__{requester}", _updates(unit, keys, rng), rng)
            for requester in range(unit.requesters)
        ]
        yield from together(*parts)
        seen = yield {"start_drain": 1}
        while not seen["drained"]:
            seen = yield {"entry__ready": int(rng.random() >= PAUSE)}


def _updates(unit: HashUnit, keys: list[int], rng: random.Random) -> Iterator[int]:
    """Yield updates: fp32 values between -1 and 1, integers of all bits."""
    for _ in range(UPDATES):
        value = rng.getrandbits(VALUE_BITS)
        if unit.kind == "fp32":
            value = value & 0x807F_FFFF | 0x3F00_0000
        yield rng.choice(keys) | value << unit.key_bits
