"""Time of a stream of PIM tiles in one channel, tile by tile instead of clock by clock.

For a channel with two row buffers per bank that works on PIM tiles alone (no accesses), with
refresh or without. `tests/dram` shows that it equals `simulator.dram.controller` on every stream
tried. Symbols as in `dataflow.dram_timing`; clocks relative to the last GEMV, at g:

- rows close one a clock from p = max(g + tRTP, arrival of the header at the head of the queue); the
  header passes at p + closes, the first G_ACT goes one clock later, at a;
- ranks open their groups in parallel, tFAW apart, the ranks one clock apart:
  a + (ranks - 1) + (groups - 1) tFAW is the last, and tRCD later the first GEMV;
- GEMV of k COMP follow each other after 2 (max(k, 6) + 1) clocks;
- GWRITE issues 2 clocks after a GEMV into the row that stays open, and holds up the header for 96;
  before the first one, and after a refresh of its rank, the row opens: tFAW after the last G_ACT.

A tile or a GWRITE that does not fit before the next refresh, by the controller's own estimate,
waits: the refresh closes the rank's rows one a clock, REF follows tRP later, and G_ACT in that rank
waits tRFC. All of it is exact as long as `applies` holds: opening a row is slower than closing all.
"""

from __future__ import annotations

import numpy as np

from dataflow.dram_timing import PIM_PIPELINE_STEPS, DramTiming
from simulator.dram.state import NEVER, Ints, kernel

GWRITE_ITEM, TILE_ITEM = range(2)
ITEM_FIELDS = 5
ITEM_KIND, GEMVS, COMPS, ANNOUNCED_COMPS, ANNOUNCED_RESULTS = range(ITEM_FIELDS)
"""Fields of an item: a GWRITE or a tile; its GEMV and the COMP of each; what its header says."""

FIRST_STEP = 3
"""Clock at which the first instruction reaches the head of the PIM queue."""

(_RANKS, _GROUPS, _PER_RANK, _RTP, _RP, _RCD, _FAW, _RFC, _GWRITE, _STEP, _CCD, _INTERVAL) = range(
    12
)


def applies(timing: DramTiming) -> bool:
    """Whether the closed form is exact for this memory.

    Opening a group must not wait for tRP of any of its banks: rows close one bank a clock, and the
    second rank opens its first group per_rank + 3 - banks clocks after closing the last of its
    banks, each further one tFAW later. Closing the rows of a rank must take longer than tRAS after
    its last activation, opening groups longer than a bank's tRC, and two ranks must take turns.
    """
    per_rank = timing.groups * timing.banks
    return (
        timing.ranks == 2
        and per_rank + 3 - timing.banks >= timing.rp
        and timing.faw >= timing.banks
        and timing.rcd_read + timing.rtp + per_rank >= timing.ras
        and timing.groups * timing.faw >= timing.rc
        and timing.faw >= timing.rrd_l
        and timing.comp_step == 2
    )


def stream_clocks(timing: DramTiming, items: Ints, *, refresh: bool) -> int:
    """Return the clock of the last GEMV of `items` [item, field], the first one sent at clock 0.

    Its sums leave the channel `timing.read_delay` clocks later. Exact where `applies`; else
    `tile_law`.
    """
    if not applies(timing):
        return tile_law(timing, items, refresh=refresh)
    values = np.array(
        [
            timing.ranks,
            timing.groups,
            timing.groups * timing.banks,
            timing.rtp,
            timing.rp,
            timing.rcd_read,
            timing.faw,
            timing.rfc,
            timing.gwrite,
            timing.comp_step,
            max(timing.comp_step, timing.ccd_l),
            timing.refresh_interval if refresh else 0,
        ],
        np.int64,
    )
    return int(_stream(values, np.ascontiguousarray(items, np.int64)))


def tile_law(timing: DramTiming, items: Ints, *, refresh: bool) -> int:
    """Return the clocks of `items` where the closed form does not hold: each item after the last.

    A tile closes its rows, opens its groups tFAW apart and runs its GEMV; each refresh costs tRFC.
    """
    tiles = items[items[:, ITEM_KIND] == TILE_ITEM]
    opening = max(timing.rp, timing.banks_total) + timing.rtp + timing.rcd_read
    opening += (timing.groups - 1) * timing.faw + timing.ranks
    steps = timing.comp_step * (np.maximum(tiles[:, COMPS], PIM_PIPELINE_STEPS) + 1)
    gwrites = len(items) - len(tiles)
    busy = len(tiles) * opening + int((tiles[:, GEMVS] * steps).sum()) + gwrites * timing.gwrite
    if not refresh:
        return busy
    return busy * timing.refresh_interval // max(1, timing.refresh_interval - timing.rfc)


@kernel
def _stream(t: Ints, items: Ints) -> int:
    interval, per_rank = t[_INTERVAL], t[_PER_RANK]
    due, rank = (interval, 0) if interval else (NEVER, 0)
    clock, last_gemv = FIRST_STEP, -NEVER
    # Whether the rows of each rank are open, when each may open rows, and the row of GWRITE.
    open_0, open_1 = 0, 0
    ready_0, ready_1 = 0, 0
    vector_row, opened_0 = 0, -NEVER
    item = 0
    while item < len(items):
        if items[item, ITEM_KIND] == GWRITE_ITEM:
            start = clock if vector_row else max(clock, ready_0, opened_0 + t[_FAW])
            estimate = t[_GWRITE] + (0 if vector_row else t[_RP] + t[_RCD])
            first_look = clock
        else:
            closes = per_rank * (open_0 + open_1)
            start = max(clock, last_gemv + t[_RTP]) if closes else clock
            activations = t[_FAW] * (t[_RANKS] * t[_GROUPS] // 2 - 1) + t[_RCD]
            comps = max(items[item, ANNOUNCED_COMPS], PIM_PIPELINE_STEPS)
            results = t[_CCD] * (items[item, ANNOUNCED_RESULTS] - 1)
            estimate = closes * t[_RTP] + activations + t[_STEP] * comps + results
            first_look = start
        if due - first_look - 1 <= estimate:
            opened = open_0 if rank == 0 else open_1
            closes = per_rank * opened + (vector_row if rank == 0 else 0)
            ref = due + closes - 1 + t[_RP] if closes else due
            if rank == 0:
                open_0, vector_row, ready_0 = 0, 0, ref + t[_RFC]
            else:
                open_1, ready_1 = 0, ref + t[_RFC]
            clock = ref + 1
            due += interval
            rank = 1 - rank
            continue
        if items[item, ITEM_KIND] == GWRITE_ITEM:
            if not vector_row:
                start += t[_RCD]
                vector_row = 1
            clock = max(start, last_gemv + t[_STEP]) + t[_GWRITE]
        else:
            first = start + closes + 1
            second = max(first + 1, ready_1)
            first = max(first, ready_0)
            if first == second:
                second += 1
            opened_0 = first + (t[_GROUPS] - 1) * t[_FAW]
            last = max(first, second) + (t[_GROUPS] - 1) * t[_FAW]
            open_0, open_1 = 1, 1
            busy = t[_STEP] * (max(items[item, COMPS], PIM_PIPELINE_STEPS) + 1)
            last_gemv = max(last + t[_RCD], last_gemv)
            last_gemv += (items[item, GEMVS] - 1) * busy
            clock = last_gemv + 1
        item += 1
    return last_gemv
