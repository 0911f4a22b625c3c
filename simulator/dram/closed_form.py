"""Time of a stream of PIM tiles in one channel, tile by tile instead of clock by clock.

For a channel that works on PIM tiles alone (no accesses), with two row buffers per bank or with
one, with refresh or without. `tests/dram` shows that it equals `simulator.dram.controller` on every
stream tried. Symbols as in `dataflow.dram_timing`; clocks relative to the last command that gives
sums (GEMV; with one row buffer READRES), at s:

- rows close one a clock from p = max(s + tRTP, arrival of the header at the head of the queue); the
  header passes at p + closes, the first G_ACT goes one clock later, at a;
- ranks open their groups in parallel, tFAW apart, the ranks one clock apart:
  a + (ranks - 1) + (groups - 1) tFAW is the last, and tRCD later the first GEMV or COMP;
- GEMV of k COMP follow each other after 2 (max(k, 6) + 1) clocks; COMP after 2, READRES after the
  last of them and 6 clocks after the first, the next COMP 2 later;
- GWRITE takes 96 clocks and holds up the header. With two row buffers it issues 2 clocks after a
  GEMV into the row that stays open; before the first one, and after a refresh of its rank, the row
  opens: tFAW after the last G_ACT. With one row buffer its row takes the place of the tile's: that
  closes tRTP after READRES, the other opens tRP later (tFAW after the last G_ACT), then GWRITE.

That is why one row buffer is slower even where nothing overlaps: a GEMV lets the rows close while
it runs (published NeuPIMs simulator), READRES comes after the last COMP; and GWRITE changes rows.

A tile or a GWRITE that does not fit before the next refresh, by the controller's own estimate,
waits: the refresh closes the rank's rows one a clock, REF follows tRP later, and G_ACT in that rank
waits tRFC. All of it is exact as long as `applies` holds (opening a row is slower than closing all)
and a header announces no fewer COMP and sums than follow, so that no refresh falls into a tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from dataflow.dram_timing import PIM_PIPELINE_STEPS, DramTiming, gemv_clocks

NEVER = 1 << 60
FIRST_STEP = 3
"""Clock at which the first instruction reaches the head of the PIM queue."""


class Run(NamedTuple):
    """Equal tiles one after the other: GEMV of a tile, COMP of a GEMV, what the header says.

    Without GEMV it is a GWRITE.
    """

    gemvs: int = 0
    comps: int = 0
    announced_comps: int = 0
    announced_results: int = 0
    count: int = 1


GWRITE = Run()


def announced(comps: int, gemvs: int, *, round_up: bool) -> tuple[int, int]:
    """Return the COMP and the sums of a tile that its header announces: powers of two.

    The sums are rounded down, and so are the COMP of all its GEMV unless `round_up`.

    >>> announced(19, 1, round_up=True), announced(8, 3, round_up=False)
    ((32, 1), (16, 2))
    """
    total = comps * gemvs
    rounded = 1 << (total - 1).bit_length() if round_up else 1 << total.bit_length() - 1
    return rounded, 1 << gemvs.bit_length() - 1


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


def run_ends(timing: DramTiming, runs: Iterable[Run], *, refresh: bool, dual: bool) -> list[int]:
    """Return for each run the clock of the command that gives its last sums (before: 0).

    The first instruction is sent at clock 0; sums leave the channel `timing.read_delay` clocks
    after their command. Exact where `applies`; else `tile_law`.
    """
    ends = _run_ends if applies(timing) else tile_law
    return list(ends(timing, tuple(runs), refresh=refresh, dual=dual))


@lru_cache(maxsize=1 << 13)
def _run_ends(
    timing: DramTiming, runs: tuple[Run, ...], *, refresh: bool, dual: bool
) -> Sequence[int]:
    """Return them where `applies` holds; kept, as studies of other things ask for equal work."""
    channel = _Channel(timing, refresh=refresh, dual=dual)
    ends = []
    for run in runs:
        if run.gemvs:
            channel.tiles(run)
        else:
            channel.gwrite()
        ends.append(max(channel.sums, 0))
    return ends


def tile_law(timing: DramTiming, runs: Iterable[Run], *, refresh: bool, dual: bool) -> list[int]:
    """Return the same where the closed form does not hold: each item after the last.

    A tile closes its rows, opens its groups tFAW apart and runs its GEMV; each refresh costs tRFC.
    """
    opening = max(timing.rp, timing.banks_total) + timing.rtp + timing.rcd_read
    opening += (timing.groups - 1) * timing.faw + timing.ranks
    gwrite = timing.gwrite + (0 if dual else timing.rtp + timing.rp + timing.rcd_read)
    ends, busy = [], 0
    for run in runs:
        tile = opening + run.gemvs * gemv_clocks(timing, run.comps)
        busy += run.count * tile if run.gemvs else gwrite
        ends.append(busy)
    if not refresh:
        return ends
    interval = timing.refresh_interval
    return [clocks * interval // max(1, interval - timing.rfc) for clocks in ends]


class _Channel:
    """When the next instruction is looked at, when sums came last, and which rows are open."""

    def __init__(self, timing: DramTiming, *, refresh: bool, dual: bool) -> None:
        self.timing = timing
        self.dual = dual
        self.per_rank, self.banks = timing.groups * timing.banks, timing.banks_total
        self.gwrite_clocks, self.comp_step = timing.gwrite, timing.comp_step
        self.opening = (timing.groups - 1) * timing.faw
        """From the first to the last G_ACT of a rank."""
        self.opening_estimate = timing.faw * (timing.ranks * timing.groups // 2 - 1)
        self.interval = timing.refresh_interval if refresh else NEVER
        self.due, self.refreshed = self.interval, 0
        self.clock, self.sums = FIRST_STEP, -NEVER
        self.is_open = [False, False]
        """Whether the rows of a tile are open in each rank."""
        self.ready = [0, 0]
        """When each rank may open rows after its refresh."""
        self.vector_row = False
        """Whether bank 0 holds the row that GWRITE reads."""
        self.opened = -NEVER
        """Last G_ACT of the first rank."""

    def gwrite(self) -> None:
        """Copy a row into the vector buffer, once it fits before the next refresh."""
        t = self.timing
        while True:
            changes = not self.vector_row
            closes = changes and self.is_open[0] and not self.dual
            estimate = self.gwrite_clocks + changes * (t.rp + t.rcd_read) + closes * t.rtp
            if self.due - self.clock - 1 > estimate:
                break
            self._refresh()
        start = self.clock
        if closes:
            start = max(start, self.sums + t.rtp) + t.rp
        if changes:
            start = max(start, self.ready[0], self.opened + t.faw) + t.rcd_read
        self.vector_row = True
        self.clock = max(start, self.sums + self.comp_step) + self.gwrite_clocks

    def tiles(self, run: Run) -> None:
        """Work on the tiles of a run, all that fit before the next refresh at once."""
        t = self.timing
        left = run.count
        rest = self.opening_estimate + t.rcd_read
        rest += self.comp_step * max(run.announced_comps, PIM_PIPELINE_STEPS)
        rest += max(self.comp_step, t.ccd_l) * (run.announced_results - 1)
        while left:
            closes = self._held()
            start = max(self.clock, self.sums + t.rtp) if closes else self.clock
            estimate = closes * t.rtp + rest
            if self.due - start - 1 <= estimate:
                self._refresh()
                continue
            self._tile(start + closes + 1, run)
            left -= 1
            if left and closes == self.banks:
                period = self.sums + t.rtp - start
                alike = min(left, (self.due - 2 - estimate - start) // period)
                self.sums += alike * period
                self.opened += alike * period
                left -= alike
            self.clock = self.sums + 1

    def _held(self) -> int:
        """Return the banks whose rows a header must close."""
        bank = int(self.vector_row and not self.dual)
        return (self.per_rank if self.is_open[0] else bank) + self.per_rank * self.is_open[1]

    def _tile(self, first: int, run: Run) -> None:
        """Open the groups from `first` on, then multiply."""
        t = self.timing
        second = max(first + 1, self.ready[1])
        first = max(first, self.ready[0])
        apart = second - first
        if 0 <= apart <= self.opening and apart % t.faw == 0:
            second += 1
        self.opened = first + self.opening
        begin = max(first, second) + self.opening + t.rcd_read
        self.is_open = [True, True]
        if self.dual:
            self.sums = begin + (run.gemvs - 1) * gemv_clocks(t, run.comps)
        else:
            self.vector_row = False
            busy = max(self.comp_step * run.comps, PIM_PIPELINE_STEPS) + self.comp_step
            self.sums = begin + run.gemvs * busy - self.comp_step

    def _refresh(self) -> None:
        """Let the refresh that falls due next close the rows of its rank."""
        t, rank = self.timing, self.refreshed
        closes = self.per_rank * self.is_open[rank]
        if rank == 0 and self.vector_row and (self.dual or not closes):
            closes += 1
        ref = self.due + closes - 1 + t.rp if closes else self.due
        self.is_open[rank] = False
        self.vector_row = self.vector_row and rank != 0
        self.ready[rank] = ref + t.rfc
        self.clock = ref + 1
        self.due += self.interval
        self.refreshed = 1 - rank
