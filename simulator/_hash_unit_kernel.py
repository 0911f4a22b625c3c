"""The compiled loop of `simulator.hash_unit`: one pass is one clock cycle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

RUN, STOP, READ, SEND = range(4)


@njit(cache=True)
def _grant(bank: int, banks: int, slots: int, last: int, busy: Any, slot: Any, misses: Any) -> Any:
    """Return the first requester after `last` whose slot lies in the bank; -1 if there is none."""
    count = len(busy)
    for distance in range(1, count + 1):
        requester = (last + distance) % count
        waiting = busy[requester] and misses[requester] < slots
        if waiting and slot[requester] % banks == bank:
            return requester
    return -1


@njit(cache=True)
def _offers(cycle: int, following: Any, starts: Any, earliest: Any) -> Any:
    """Return for each requester whether it has an update that is due."""
    valid = np.zeros(len(following), np.uint8)
    for requester in range(len(following)):
        at = following[requester]
        valid[requester] = at < starts[requester + 1] and earliest[at] <= cycle
    return valid


@njit(cache=True)
def _write(
    at: int, number: int, keys: Any, values: Any, float_values: Any, is_float: bool, used: Any,
    tags: Any, stored: Any, float_stored: Any,
) -> int:  # fmt: skip
    """Claim the slot for the update, or add the update to it; return how many were claimed."""
    if not used[at]:
        used[at], tags[at], stored[at] = 1, keys[number], values[number]
        return 1
    if is_float:
        float_stored[at] += float_values[number]
    else:
        stored[at] += values[number]
    return 0


@njit(cache=True)
def step_unit(
    keys: Any, values: Any, float_values: Any, first: Any, starts: Any, earliest: Any, pulses: Any,
    willing: Any, banks: int, slots: int, add_cycles: int, is_float: bool, stored: Any,
    float_stored: Any, log_valid: Any, log_ready: Any, log_offered: Any, log_fill: Any,
    log_full: Any, log_drained: Any, log_entry_valid: Any, log_entry_key: Any,
    log_entry_value: Any,
) -> None:  # fmt: skip
    """Fill the logs; see `simulator.hash_unit.run`.

    The turns of the banks stay here: a function for them halves the speed.
    """
    count = len(starts) - 1
    following = starts[:-1].copy()
    busy, slot = np.zeros(count, np.uint8), np.zeros(count, np.int64)
    misses, update = np.zeros(count, np.int64), np.zeros(count, np.int64)
    answering, held = np.zeros(banks, np.uint8), np.zeros(banks, np.int64)
    last, waited = np.zeros(banks, np.int64), np.zeros(banks, np.int64)
    used, tags = np.zeros(slots, np.uint8), np.zeros(slots, np.uint64)
    state, place, fill = RUN, 0, 0
    for cycle in range(len(pulses)):
        running = state == RUN and not pulses[cycle]
        log_fill[cycle] = fill
        all_idle = not answering.any()
        log_offered[cycle] = following - starts[:-1]
        log_valid[cycle] = _offers(cycle, following, starts, earliest)
        log_ready[cycle] = (busy == 0) & running
        log_full[cycle] = ((busy != 0) & (misses == slots)).any()
        grants = np.full(banks, -1, np.int64)
        for bank in range(banks):
            if running and not answering[bank]:
                grants[bank] = _grant(bank, banks, slots, last[bank], busy, slot, misses)
        for bank in range(banks):
            requester = held[bank]
            if not answering[bank]:
                waited[bank] = 0
                if grants[bank] >= 0:
                    held[bank] = last[bank] = grants[bank]
                    answering[bank] = 1
                continue
            at, number = slot[requester], update[requester]
            if used[at] and tags[at] != keys[number]:
                slot[requester] = (at + 1) % slots
                misses[requester] += 1
                answering[bank] = 0
            elif used[at] and waited[bank] < add_cycles:
                waited[bank] += 1
            else:
                fill += _write(at, number, keys, values, float_values, is_float, used, tags, stored,
                               float_stored)  # fmt: skip
                busy[requester] = answering[bank] = 0
        for requester in np.flatnonzero(log_valid[cycle] & log_ready[cycle]):
            at = following[requester]
            busy[requester], misses[requester] = 1, 0
            update[requester], slot[requester] = at, first[at]
            following[requester] += 1
        if state == RUN and pulses[cycle]:
            state = STOP
        elif state == STOP and all_idle:
            state = READ
        elif state == READ:
            state = SEND
        elif state == SEND:
            log_entry_valid[cycle] = used[place]
            log_entry_key[cycle] = tags[place]
            log_entry_value[cycle] = stored[place]
            if not used[place] or willing[cycle]:
                used[place] = 0
                state = READ
                place += 1
                if place == slots:
                    log_drained[cycle] = 1
                    state, place, fill = RUN, 0, 0
                    misses[:] = 0
                    for requester in np.flatnonzero(busy):
                        slot[requester] = first[update[requester]]
