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
    """Add to few keys from all requesters at once, then drain; overflow the table, drain when full.

    The few keys take at most half of the table: they meet and collide, and all find a place.
    """
    unit = component.unit
    count = max(1, min(unit.slots, unit.requesters * UPDATES) // 2)
    keys = [rng.getrandbits(unit.key_bits) for _ in range(count)]
    few = [rng.choices(keys, k=UPDATES) for _ in range(unit.requesters)]
    yield from together(*_senders(unit, few, rng))
    for key in rng.choices(keys, k=UPDATES):
        yield from _meet(unit, key, rng)
    yield from _drain(rng)
    if unit.slots <= SLOTS_TO_FILL and unit.slots < 1 << unit.key_bits:
        many = rng.sample(range(1 << unit.key_bits), unit.slots + 1)
        for requester in range(unit.requesters):
            yield from _overflow(unit, many, requester, rng)
            many.append(many.pop(0))
        yield from _drain(rng)


def _meet(unit: HashUnit, key: int, rng: random.Random) -> Stimulus:
    """Add to one key from all requesters; rest a while, so that most of them are free again."""
    yield from together(*_senders(unit, [[key]] * unit.requesters, rng))
    for _ in range(rng.randrange(4 * unit.requesters)):
        yield {}


def _overflow(unit: HashUnit, keys: list[int], last: int, rng: random.Random) -> Stimulus:
    """Fill the table with all keys but one, which one requester offers too many; drain when full.

    No other requester has an update, so this one alone says that the table is full. Its update
    goes into the table that has been drained.
    """
    shares = [keys[r : unit.slots : unit.requesters] for r in range(unit.requesters)]
    yield from together(*_senders(unit, shares, rng))
    while (yield {})["fill"] != unit.slots:
        pass
    yield from send(f"update__{last}", [_update(unit, keys[-1], rng)], rng)
    yield from wait_for("full")
    yield from _drain(rng)


def _senders(unit: HashUnit, keys: list[list[int]], rng: random.Random) -> Iterator[Stimulus]:
    """Yield what sends each requester's updates."""
    for requester, own in enumerate(keys):
        yield send(f"update__{requester}", [_update(unit, key, rng) for key in own], rng)


def _update(unit: HashUnit, key: int, rng: random.Random) -> int:
    """Draw a value for a key: an integer of all bits, or fp32 between 1/2 and 2, either sign."""
    value = rng.getrandbits(VALUE_BITS)
    if unit.kind == "fp32":
        value = value & 0x80FF_FFFF | 0x3F00_0000
    return key | value << unit.key_bits


def _drain(rng: random.Random) -> Stimulus:
    seen = yield {"start_drain": 1}
    while not seen["drained"]:
        seen = yield {"entry__ready": int(rng.random() >= PAUSE)}
