"""Stimulus of the hash unit: updates that meet and collide, and a drain."""

from __future__ import annotations

import random
from collections.abc import Iterator

from dataflow.hash_unit import HashUnit
from rtl.hash.bank import VALUE_BITS
from rtl.hash.unit import HashAccumulate
from rtl.stimulus import PAUSE, Stimulus, send, together, wait_for

UPDATES = 24
"""Updates of one requester before a drain."""

SLOTS_TO_FILL = 256
"""Slots of the largest table that is filled: the last places take long to find."""


def updates_and_drains(component: HashAccumulate, rng: random.Random) -> Stimulus:
    """Add to few keys from all requesters at once, then drain; fill the table, drain when full.

    The few keys take at most half of the table: they meet and collide, and all find a place.
    """
    unit = component.unit
    count = max(1, min(unit.slots, unit.requesters * UPDATES) // 2)
    keys = [rng.getrandbits(unit.key_bits) for _ in range(count)]
    few = [[rng.choice(keys) for _ in range(UPDATES)] for _ in range(unit.requesters)]
    yield from together(*_senders(unit, few, rng))
    yield from _drain(rng)
    each = unit.slots // unit.requesters + 1
    if unit.slots <= SLOTS_TO_FILL and each * unit.requesters <= 1 << unit.key_bits:
        keys = rng.sample(range(1 << unit.key_bits), each * unit.requesters)
        many = [keys[r :: unit.requesters] for r in range(unit.requesters)]
        yield from together(*_senders(unit, many, rng), _drain_when_full(rng))
        yield from _drain(rng)


def _senders(unit: HashUnit, keys: list[list[int]], rng: random.Random) -> Iterator[Stimulus]:
    """Yield what sends each requester's updates."""
    for requester, own in enumerate(keys):
        words = [key | _value(unit, rng) << unit.key_bits for key in own]
        yield send(f"update__{requester}", words, rng)


def _value(unit: HashUnit, rng: random.Random) -> int:
    """Draw an integer of all bits, or an fp32 value between 1/2 and 2 of either sign."""
    value = rng.getrandbits(VALUE_BITS)
    return value & 0x80FF_FFFF | 0x3F00_0000 if unit.kind == "fp32" else value


def _drain(rng: random.Random) -> Stimulus:
    seen = yield {"start_drain": 1}
    while not seen["drained"]:
        seen = yield {"entry__ready": int(rng.random() >= PAUSE)}


def _drain_when_full(rng: random.Random) -> Stimulus:
    yield from wait_for("full")
    yield from _drain(rng)
