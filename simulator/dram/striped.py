"""Time of a long run of consecutive bytes that is striped over all channels.

Source: derived, and compared with the stepped controller in the tests. The lines of a channel fill
its rows one after the other, banks in turn, and the queues are deep enough for every bank to have
work: the data bus is never idle but where

- the bus turns to another rank, tRTRS: it stays with one as long as that has open rows with work,
  so that it turns once for each rank while the lines fill one row of every bank;
- a refresh closes the rows of a rank: the other one has work meanwhile, but for about tRP.

No law of the bytes alone is exact: the order in which lines arrive decides a few clocks (16,000
lines of a channel take 32,194, 32,182 or 32,190 clocks in transfers of 4, 16 or 64 lines), and a
refresh near the end hides behind no work. The tests show that the law is off by no more than 8
clocks and half a percent, and with refresh by one that is not hidden: tRFC, its rows held for tRAS,
closed and opened, and the accesses to one row, together 370 clocks of HBM2. Products of a layer of
GPT-3 7B on four devices take 10,000 to 37,000 clocks: it is 1 to 4 % of one.
"""

from __future__ import annotations

from dataflow.dram_timing import DramTiming
from workloads.rounding import ceil_div


def accesses_of(timing: DramTiming, size_bytes: int) -> int:
    """Return the accesses that `size_bytes` take, all channels together."""
    return ceil_div(size_bytes, timing.access_bytes)


def striped_clocks(timing: DramTiming, size_bytes: int, *, channels: int, refresh: bool) -> int:
    """Return the clocks in which all channels together move `size_bytes`, row opening included.

    >>> from dataflow.dram_timing import HBM2
    >>> striped_clocks(HBM2, 32 * 64 * 1000, channels=32, refresh=False)
    2034
    """
    accesses = ceil_div(accesses_of(timing, size_bytes), channels)
    if accesses == 0:
        return 0
    step = max(timing.burst, timing.ccd_s)
    lines_of_a_turn = timing.banks_total * timing.row_bytes // timing.access_bytes
    turns = accesses // lines_of_a_turn * timing.ranks if timing.ranks > 1 else 0
    busy = accesses * step + turns * timing.rtrs
    opening = timing.rcd_read + timing.read_delay
    if not refresh:
        return busy + opening
    return busy * timing.refresh_interval // (timing.refresh_interval - timing.rp) + opening
