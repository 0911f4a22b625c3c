"""The hash table of a window: walk from slot to slot, claim one, accumulate into it."""

from __future__ import annotations

from typing import Any

from simulator.accelerators.smash.machine import (
    ACCUMULATE_INSTRUCTIONS,
    AT,
    FILL,
    FIRST_ROW,
    KEY,
    PROBE_BINS,
    PROBE_RUN,
    PROBES,
    ROW,
    ROW_PLACE,
    SLOT,
    STEPS,
    inlined,
    wait_at_bank,
    wait_at_banks,
)


@inlined
def _ends(found: int, tag: int) -> Any:
    """Return whether a walk for `tag` ends where `found` is: it is that tag, or 0.

    Neither is negative, so a difference of 0 is what 1 less makes negative. Written as two
    comparisons they become two branches, each as good as random.
    """
    return ((found ^ tag) - 1 | found - 1) < 0


@inlined
def _collisions(tags: Any, mask: int, slot: int, tag: int, long: bool) -> Any:
    """Count the slots from `slot` on that hold other keys, up to `PROBE_RUN`.

    A `long` walk looks at all of them at once first, in vectors: most end in none of these slots.
    """
    if _ends(tags[2 * slot], tag):
        return 0
    if long and slot + PROBE_RUN <= mask:
        ends = 0
        for at in range(slot, slot + PROBE_RUN):
            ends += (tags[2 * at] == tag) | (tags[2 * at] == 0)
        if ends == 0:
            return PROBE_RUN
    collisions = 1
    while collisions < PROBE_RUN and not _ends(tags[2 * ((slot + collisions) & mask)], tag):
        collisions += 1
    return collisions


@inlined
def probe(
    threads: Any, machine: Any, shared: Any, banks: Any, tags: Any, order: Any, thread: int,
    now: int,
) -> Any:  # fmt: skip
    """Compare and swap at the thread's slot and, on a collision, at those that follow.

    A claim also counts the new entry: at the one counter of the dense arrays (v3), or at that of
    its row. Whether a slot is claimed or met again is anyone's guess, so what a claim does is done
    without a branch, in vain if it is none. Returns the cycle of the answer, and whether the slot
    was found: not after `PROBE_RUN` collisions, so that others get their turn.
    """
    slot = threads[thread + SLOT]
    tag = threads[thread + KEY] + 1
    mask = machine.mask
    collisions = _collisions(tags, mask, slot, tag, threads[thread + STEPS] >= PROBE_RUN)
    probes = min(collisions + 1, PROBE_RUN)
    ready = now + wait_at_banks(machine, shared, banks, now, slot, probes)
    threads[thread + STEPS] += probes
    owed = probes * machine.per_probe
    slot = (slot + collisions) & mask
    threads[thread + SLOT] = slot
    if collisions == PROBE_RUN:
        return ready, owed, False
    claimed = tags[2 * slot] == 0
    tags[2 * slot] = tag
    fill = shared[FILL]
    order[fill] = slot | (threads[thread + ROW] - shared[FIRST_ROW]) << ROW_PLACE
    shared[FILL] = fill + claimed
    counter = 0 if machine.fragmented else threads[thread + ROW]
    ready += wait_at_bank(machine, shared, banks, now, counter, claimed)
    return ready, owed + claimed * machine.per_claim + ACCUMULATE_INSTRUCTIONS, True


@inlined
def accumulate(
    threads: Any, machine: Any, shared: Any, banks: Any, totals: Any, histogram: Any,
    product: float, thread: int, now: int,
) -> Any:  # fmt: skip
    """Add the product to its slot and leave the element of B behind; returns its cycles."""
    slot = threads[thread + SLOT]
    steps = threads[thread + STEPS]
    totals[2 * slot + 1] += product
    histogram[min(steps, PROBE_BINS) - 1] += 1
    shared[PROBES] += steps
    threads[thread + AT] += 1
    return wait_at_bank(machine, shared, banks, now, slot)
