"""The compiled loop of `simulator.hash_unit`: one pass is one clock cycle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

RUN, STOP, READ, SEND = range(4)
FREE, BUSY = 0, 1


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
def step_unit(
    keys: Any, values: Any, float_values: Any, first: Any, starts: Any, earliest: Any, pulses: Any,
    willing: Any, banks: int, slots: int, add_cycles: int, is_float: bool, stored: Any,
    float_stored: Any, log_valid: Any, log_ready: Any, log_offered: Any, log_fill: Any,
    log_full: Any, log_drained: Any, log_entry_valid: Any, log_entry_key: Any,
    log_entry_value: Any,
) -> None:  # fmt: skip
    """Fill the logs; see `simulator.hash_unit.run`."""
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
        was_busy = busy.copy()
        all_idle = not answering.any()
        for requester in range(count):
            at = following[requester]
            log_offered[cycle, requester] = at - starts[requester]
            valid = at < starts[requester + 1] and earliest[at] <= cycle
            log_valid[cycle, requester] = valid
            log_ready[cycle, requester] = running and not busy[requester]
            log_full[cycle] |= busy[requester] and misses[requester] == slots
        grants = np.full(banks, -1, np.int64)
        for bank in range(banks):
            if running and not answering[bank]:
                grants[bank] = _grant(bank, banks, slots, last[bank], was_busy, slot, misses)
        for bank in range(banks):
            requester = held[bank]
            if not answering[bank]:
                waited[bank] = 0
                if grants[bank] >= 0:
                    held[bank] = last[bank] = grants[bank]
                    answering[bank] = 1
                continue
            at, key = slot[requester], keys[update[requester]]
            if used[at] and tags[at] != key:
                slot[requester] = (at + 1) % slots
                misses[requester] += 1
                answering[bank] = 0
            elif used[at] and waited[bank] < add_cycles:
                waited[bank] += 1
            else:
                if not used[at]:
                    used[at], tags[at], stored[at] = 1, key, values[update[requester]]
                    fill += 1
                elif is_float:
                    float_stored[at] += float_values[update[requester]]
                else:
                    stored[at] += values[update[requester]]
                busy[requester] = 0
                answering[bank] = 0
        for requester in range(count):
            if log_valid[cycle, requester] and log_ready[cycle, requester]:
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
                    for requester in range(count):
                        slot[requester] = first[update[requester]] if busy[requester] else 0
                        misses[requester] = 0
