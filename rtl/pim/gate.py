"""The command bus of a channel: takes a command only when every bank that it concerns may."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflow import dram_timing as dt
from dataflow.dram_rules import BROADCAST
from dataflow.dram_timing import DramTiming, delay_table, gemv_clocks
from rtl.elaboration import address_bits
from rtl.export import shared
from rtl.pim.bank import BankController
from rtl.pim.parameters import command_layout, comps_in_row
from rtl.pim.timers import ActivationWindow, Timers


class CommandGate(wiring.Component):
    """Accept at most one command a cycle, and none that a timing constraint or an open row forbids.

    `command` is a stream: a command is accepted, and issues, in the cycle in which it is valid and
    ready. It is refused (not ready) while any constraint of its bank, bank group, rank or the other
    ranks, tFAW, a running GEMV or the filling pipeline forbids it, and while rows are open that
    must not be, or the other way round (`dataflow.dram_rules`). The broadcast commands need no
    bank. A kind beyond the table is never accepted.

    Members: `command` in; `ready` out: what timing allows, [bank] a bit per command; `is_open`,
    `pim_open` out, a bit per bank; `open_row`, `pim_row` out, [bank].
    """

    def __init__(self, *, timing: DramTiming, dual: bool) -> None:
        self.timing, self.dual = timing, dual
        banks = timing.banks_total
        rows = data.ArrayLayout(address_bits(timing.rows), banks)
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(timing))),
                "ready": Out(data.ArrayLayout(dt.COMMAND_COUNT, banks)),
                "is_open": Out(banks),
                "open_row": Out(rows),
                "pim_open": Out(banks),
                "pim_row": Out(rows),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build a controller per bank, timers per group and rank, and the choice of the command."""
        m = Module()
        timing, command = self.timing, self.command.payload
        fires = Signal(dt.COMMAND_COUNT)
        kinds = Signal(dt.COMMAND_COUNT)
        at = Signal(len(command.bank))
        m.d.comb += [
            kinds.eq(Cat(command.kind == kind for kind in range(dt.COMMAND_COUNT))),
            at.eq(Mux(_any(kinds, BROADCAST), 0, command.bank)),
            fires.eq(Mux(self.command.valid & self.command.ready, kinds, 0)),
        ]
        banks = [BankController(timing=timing, dual=self.dual) for _ in range(timing.banks_total)]
        others = self._wider_scopes(m, platform, fires, at)
        for i, bank in enumerate(banks):
            m.submodules[f"bank_{i}"] = shared(bank, f"bank_{int(self.dual)}", platform)
            group = at // timing.banks == i // timing.banks
            mine = Mux(at == i, fires, fires & _bit(dt.G_ACT, group))
            m.d.comb += [
                bank.issued.eq(mine),
                bank.others.eq(others[i]),
                bank.row.eq(command.row),
                self.ready[i].eq(bank.ready),
                self.is_open[i].eq(bank.is_open),
                self.open_row[i].eq(bank.open_row),
                self.pim_open[i].eq(bank.pim_open),
                self.pim_row[i].eq(bank.pim_row),
            ]
        m.d.comb += self.command.ready.eq((kinds & self._legal(m, banks, at)).any())
        return m

    def _wider_scopes(self, m: Module, platform: object, fires: Signal, at: Signal) -> list[Value]:
        """Return for each bank what its group, its rank and the channel allow."""
        timing = self.timing
        table = delay_table(timing, dual=self.dual)
        per_rank = timing.groups * timing.banks
        ranks, groups = [], []
        channel = self._channel_timers(m, fires)
        for rank in range(timing.ranks):
            timers = Timers(delays=np.concatenate([table[dt.RANK], table[dt.OTHER_RANKS]]))
            window = ActivationWindow(faw=timing.faw)
            m.submodules[f"rank_{rank}"] = shared(timers, "rank_timers", platform)
            m.submodules[f"window_{rank}"] = shared(window, "window", platform)
            here = at // per_rank == rank
            m.d.comb += [
                timers.events.eq(Cat(Mux(here, fires, 0), Mux(here, 0, fires))),
                window.act.eq(fires[dt.ACT] & here),
            ]
            ready = Signal(dt.COMMAND_COUNT, name=f"rank_{rank}_ready")
            act_waits = _bit(dt.ACT, ~window.ready)
            m.d.comb += ready.eq(timers.ready & channel & ~act_waits)
            ranks.append(ready)
        for group in range(timing.ranks * timing.groups):
            timers = Timers(delays=table[dt.GROUP])
            m.submodules[f"group_{group}"] = shared(timers, "group_timers", platform)
            m.d.comb += timers.events.eq(Mux(at // timing.banks == group, fires, 0))
            groups.append(timers.ready)
        return [groups[i // timing.banks] & ranks[i // per_rank] for i in range(timing.banks_total)]

    def _channel_timers(self, m: Module, fires: Signal) -> Signal:
        """Return what the multipliers allow: no GEMV in a GEMV, no READRES of a filling tree."""
        timing = self.timing
        longest = gemv_clocks(timing, comps_in_row(timing))
        left = Signal(range(longest), name="gemv_left")
        filling = Signal(range(dt.PIM_PIPELINE_STEPS), name="filling")
        filled = Signal()
        comps = self.command.payload.comps
        steps = Mux(comps > dt.PIM_PIPELINE_STEPS, comps, dt.PIM_PIPELINE_STEPS)
        with m.If(fires[dt.GEMV]):
            m.d.sync += left.eq(timing.comp_step * (steps + 1) - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(fires[dt.COMP] & ~filled):
            m.d.sync += [filling.eq(dt.PIM_PIPELINE_STEPS - 1), filled.eq(1)]
        with m.Elif(filling != 0):
            m.d.sync += filling.eq(filling - 1)
        with m.If(fires[dt.READRES]):
            m.d.sync += filled.eq(0)
        waits = _bit(dt.GEMV, left != 0) | _bit(dt.READRES, filling != 0)
        ready = Signal(dt.COMMAND_COUNT, name="channel_ready")
        m.d.comb += ready.eq(~waits)
        return ready

    def _legal(self, m: Module, banks: list[BankController], at: Signal) -> Signal:
        """Return which commands may issue at the bank `at`."""
        timing = self.timing
        per_rank = timing.groups * timing.banks
        legal = Signal(dt.COMMAND_COUNT)
        one = Array(bank.allowed for bank in banks)[at]
        m.d.comb += legal.eq(one)
        for kind, size in ((dt.G_ACT, timing.banks), (dt.REF, per_rank)):
            parts = [banks[i : i + size] for i in range(0, len(banks), size)]
            together = [Cat(bank.allowed[kind] for bank in part).all() for part in parts]
            if kind == dt.G_ACT:
                closed = [~Cat(bank.pim_open for bank in part).all() for part in parts]
                together = [ok & some for ok, some in zip(together, closed, strict=True)]
            m.d.comb += legal[kind].eq(Array(together)[at // size])
        for kind in BROADCAST:
            m.d.comb += legal[kind].eq(Cat(bank.allowed[kind] for bank in banks).all())
        return legal


def _any(kinds: Signal, chosen: tuple[int, ...]) -> Value:
    assert max(chosen) < len(dt.COMMANDS)
    return (kinds & sum(1 << kind for kind in chosen)).any()


def _bit(command: int, value: Value) -> Value:
    """Return a bit per command, `value` in the place of `command`."""
    return Cat(Const(0, command), value, Const(0, dt.COMMAND_COUNT - command - 1))
