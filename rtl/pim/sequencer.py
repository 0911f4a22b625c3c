"""Turns the instructions of a PIM program into commands, clock for clock as the simulator does."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflow import dram_timing as dt
from dataflow.dram_timing import DramTiming
from rtl.pim.estimate import ESTIMATE_BITS, Estimate
from rtl.pim.parameters import command_layout, instruction_layout
from rtl.pim.refresh import RefreshTimer

SLACK_BITS = ESTIMATE_BITS - 1
AMPLE_CLOCKS = (1 << SLACK_BITS) - 1
"""Slack of a channel that is never refreshed."""


class Op(IntEnum):
    """Kinds of instruction in a PIM program, numbered as in `simulator.dram.pim`."""

    GWRITE = 0
    HEADER = 1
    GEMV = 2
    COMP = 3
    READRES = 4


class Sequencer(wiring.Component):
    """Work through a PIM program: open and close rows, multiply, and keep clear of refreshes.

    In each cycle at most one command: what a due refresh needs, else what the instruction at the
    head of `program` needs. A GWRITE opens its row first, a header closes the rows of other tiles,
    GEMV and COMP open the bank groups of their tile. Header and GWRITE wait for the next refresh
    unless they end before it by an estimate. An instruction leaves the stream in the cycle of its
    command; a header in the cycle after the one in which the last row closed. The commands are
    legal by `ready` and the open rows: the gate takes them in the same cycle. Cycles are those of
    `simulator.dram.controller.tick`.

    Members: `program` in; `ready`, `is_open`, `open_row`, `pim_open` in, from the gate;
    `valid` out with the command's `kind`, `bank`, `row` and `comps`; `tile` out, a header leaves
    the stream. For other accesses: `host_valid`, `host_kind`, `host_bank` in, what waits;
    `host_turn` out, whether it may have this cycle; `host_done` in, whether it took it.
    """

    def __init__(self, *, timing: DramTiming, dual: bool, refresh: bool) -> None:
        self.timing, self.dual, self.refresh = timing, dual, refresh
        command = command_layout(timing)
        rows = data.ArrayLayout(command["row"].shape, timing.banks_total)
        super().__init__(
            {
                "program": In(stream.Signature(instruction_layout(timing))),
                "ready": In(data.ArrayLayout(dt.COMMAND_COUNT, timing.banks_total)),
                "is_open": In(timing.banks_total),
                "open_row": In(rows),
                "pim_open": In(timing.banks_total),
                "valid": Out(1),
                "kind": Out(command["kind"].shape),
                "bank": Out(command["bank"].shape),
                "row": Out(command["row"].shape),
                "comps": Out(command["comps"].shape),
                "tile": Out(1),
                "host_valid": In(1),
                "host_kind": In(command["kind"].shape),
                "host_bank": In(command["bank"].shape),
                "host_turn": Out(1),
                "host_done": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the refresh, the instruction at the head, and the turn of other accesses."""
        m = Module()
        head = self.program.payload
        self.skips, self.pim_mode, self.refreshing = Signal(), Signal(), Signal()
        self.fetching, self.copies = Signal(), Signal()
        self.slack = Signal(SLACK_BITS)
        self.slack_now = Signal(SLACK_BITS)
        self.refresh_done, self.refresh_now = Signal(), Signal()
        self.rank_blocked = Signal(self.timing.banks_total)
        m.d.comb += self.slack_now.eq(self.slack)
        m.d.sync += self.slack.eq(self.slack_now)
        ahead = self._refresh(m, head)
        waits = self.program.valid & ~self.skips & ~self.refresh_now
        turn = Signal()
        if self.dual:
            m.d.comb += turn.eq(waits)
        else:
            m.d.comb += turn.eq(waits & (~self.host_valid | self.pim_mode))
        fits, slack = self._fits(m, head, ahead)
        gwriting = Signal()
        with m.If(turn), m.Switch(head.kind):
            with m.Case(Op.GWRITE):
                self._gwrite(m, fits, slack, gwriting)
            with m.Case(Op.HEADER), m.If(~gwriting):
                self._header(m, fits, slack)
            for op, kind in ((Op.GEMV, dt.GEMV), (Op.COMP, dt.COMP)):
                with m.Case(op), m.If(~gwriting):
                    self._multiply(m, head, kind)
            with m.Case(Op.READRES), m.If(~gwriting):
                self._read(m, head)
        self._copy_timer(m, gwriting)
        self._host(m, turn, gwriting)
        return m

    def _issue(self, m: Module, kind: int, bank: Value | int, row: Value | int = 0) -> None:
        m.d.comb += [
            self.valid.eq(1),
            self.kind.eq(kind),
            self.bank.eq(bank),
            self.row.eq(row),
        ]

    def _refresh(self, m: Module, head: data.View) -> Value:
        """Close the rows of the rank whose refresh is due, one a cycle, then refresh it."""
        if not self.refresh:
            return Const(AMPLE_CLOCKS, SLACK_BITS)
        m.submodules.refresh = timer = RefreshTimer(timing=self.timing)
        reads = self.program.valid & (head.kind == Op.READRES)
        held_back = 0 if self.dual else reads
        m.d.comb += [
            self.refresh_now.eq(self.refreshing | (timer.due & ~held_back)),
            timer.done.eq(self.refresh_done),
        ]
        per_rank = self.timing.groups * self.timing.banks
        ranks = [timer.rank == bank // per_rank for bank in range(self.timing.banks_total)]
        m.d.comb += self.rank_blocked.eq(Mux(self.refresh_now, Cat(ranks), 0))
        closing = [
            Mux(self.is_open[b], self.ready[b][dt.PRE], self.pim_open[b] & self.ready[b][dt.PPRE])
            for b in range(self.timing.banks_total)
        ]
        bank, found = _first(m, Cat(closing) & Cat(ranks) & self._opened(), "closing")
        ready = Cat(self.ready[b][dt.REF] | ~ranks[b] for b in range(self.timing.banks_total)).all()
        with m.If(self.refresh_now):
            m.d.sync += self.refreshing.eq(1)
            with m.If(found):
                normal = self.is_open.bit_select(bank, 1)
                self._issue(m, Mux(normal, dt.PRE, dt.PPRE), bank)
            with m.Elif(((self._opened() & Cat(ranks)) == 0) & ready):
                self._issue(m, dt.REF, timer.rank * per_rank)
                m.d.comb += [self.refresh_done.eq(1), self.slack_now.eq(0)]
                m.d.sync += [self.refreshing.eq(0), self.skips.eq(0)]
        return timer.ahead

    def _opened(self) -> Value:
        return self.is_open | self.pim_open

    def _fits(self, m: Module, head: data.View, ahead: Value) -> tuple[Signal, Signal]:
        """Return whether the instruction ends before the next refresh, and the clocks to spare."""
        m.submodules.estimate = estimate = Estimate(timing=self.timing)
        right = self.is_open[dt.GWRITE_BANK] & (self.open_row[dt.GWRITE_BANK] == dt.GWRITE_ROW)
        m.d.comb += [
            estimate.holds.eq(self.pim_open),
            estimate.comps.eq(head.comps),
            estimate.results.eq(head.results),
            estimate.source_open.eq(self.is_open[dt.GWRITE_BANK]),
            estimate.source_right.eq(right),
        ]
        clocks = Mux(head.kind == Op.GWRITE, estimate.gwrite, estimate.tile)
        left = Signal(range(-2 * AMPLE_CLOCKS, 2 * AMPLE_CLOCKS))
        fits, slack = Signal(), Signal(SLACK_BITS)
        m.d.comb += [
            left.eq(ahead - clocks),
            fits.eq(left > 0),
            slack.eq(Mux(left < 0, 0, Mux(left > AMPLE_CLOCKS, AMPLE_CLOCKS, left))),
        ]
        return fits, slack

    def _gwrite(self, m: Module, fits: Signal, slack: Signal, gwriting: Signal) -> None:
        bank = dt.GWRITE_BANK
        with m.If(~gwriting):
            m.d.comb += self.slack_now.eq(slack)
            m.d.sync += [self.fetching.eq(fits), self.skips.eq(~fits)]
        with m.If(gwriting | fits):
            right = self.open_row[bank] == dt.GWRITE_ROW
            with m.If(self.is_open[bank] & right), m.If(self.ready[bank][dt.GWRITE]):
                self._issue(m, dt.GWRITE, bank, dt.GWRITE_ROW)
                m.d.comb += [self.program.ready.eq(1), self.copies.eq(1)]
                m.d.sync += self.fetching.eq(0)
            with m.Elif(self.is_open[bank]), m.If(self.ready[bank][dt.PRE]):
                self._issue(m, dt.PRE, bank)
            with m.Elif(self.ready[bank][dt.ACT]):
                self._issue(m, dt.ACT, bank, dt.GWRITE_ROW)

    def _copy_timer(self, m: Module, gwriting: Signal) -> None:
        """Follow a GWRITE from its decision to the end of its copy: no other PIM command then."""
        clocks = self.timing.gwrite
        left = Signal(range(clocks))
        with m.If(self.copies):
            m.d.sync += left.eq(clocks - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.comb += gwriting.eq(self.fetching | (left != 0))

    def _header(self, m: Module, fits: Signal, slack: Signal) -> None:
        """Close all rows, one a cycle: no tile has the row of another one."""
        kind = dt.PPRE if self.dual else dt.PRE
        ready = Cat(self.ready[b][kind] for b in range(self.timing.banks_total))
        bank, found = _first(m, self.pim_open & ready, "header")
        closed = self.pim_open == 0
        m.d.comb += self.slack_now.eq(slack)
        m.d.sync += self.skips.eq(~fits)
        with m.If(fits):
            m.d.sync += self.pim_mode.eq(1)
            m.d.comb += [self.program.ready.eq(closed), self.tile.eq(closed)]
            with m.If(found):
                self._issue(m, kind, bank)

    def _multiply(self, m: Module, head: data.View, kind: int) -> None:
        """Open the bank groups of the tile, one a cycle, then multiply in all banks."""
        size = self.timing.banks
        ready = []
        for bank in range(self.timing.banks_total):
            first = bank // size * size
            ready.append(Cat(self.ready[b][dt.G_ACT] for b in range(first, first + size)).all())
        bank, found = _first(m, ~self.pim_open & Cat(ready), f"opening_{kind}")
        with m.If(~self.pim_open.all()), m.If(found):
            self._issue(m, dt.G_ACT, bank, head.row)
        with m.Elif(self._everywhere(kind)):
            self._issue(m, kind, 0)
            m.d.comb += [self.comps.eq(head.comps), self.program.ready.eq(1)]

    def _read(self, m: Module, head: data.View) -> None:
        with m.If(self._everywhere(dt.READRES)):
            self._issue(m, dt.READRES, 0)
            m.d.comb += self.program.ready.eq(1)
            with m.If(head.last):
                m.d.comb += self.slack_now.eq(0)
                m.d.sync += self.pim_mode.eq(0)

    def _everywhere(self, kind: int) -> Value:
        return Cat(self.ready[b][kind] for b in range(self.timing.banks_total)).all()

    def _host(self, m: Module, turn: Signal, gwriting: Signal) -> None:
        """Give other accesses what is left, as long as they spend only slack."""
        t = self.timing
        idle = ~self.valid & ~self.program.ready
        if self.dual:
            leaves = ~turn | (self.slack_now >= dt.SLACK_FOR_NORMAL)
        else:
            leaves = self.skips | (self.host_valid & ~self.pim_mode)
        opens, closes = self.host_kind == dt.ACT, self.host_kind == dt.PRE
        spends = (opens | closes) & (self.slack_now != 0) & self.program.valid
        used = Mux(closes, t.rp, t.rcd_write)
        need = Mux(closes, t.rp + t.rcd_write, t.rcd_write)
        known = opens | closes | (self.host_kind == dt.RD) | (self.host_kind == dt.WR)
        blocked = self.rank_blocked.bit_select(self.host_bank, 1)
        blocked |= gwriting & (self.host_bank == dt.GWRITE_BANK)
        afford = ~spends | (self.slack_now > need)
        m.d.comb += self.host_turn.eq(idle & leaves & known & ~blocked & afford)
        with m.If(self.host_done & spends):
            m.d.sync += self.slack.eq(self.slack_now - used)


def _first(m: Module, bits: Value, name: str) -> tuple[Signal, Signal]:
    """Return the position of the lowest bit that is set, and whether one is."""
    place = Signal(range(max(2, len(bits))), name=f"{name}_bank")
    found = Signal(name=f"{name}_found")
    wanted = Signal(len(bits), name=f"{name}_banks")
    m.d.comb += [wanted.eq(bits), found.eq(wanted != 0)]
    for i in reversed(range(len(bits))):
        with m.If(wanted[i]):
            m.d.comb += place.eq(i)
    return place, found
