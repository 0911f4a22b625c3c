"""The unit: requesters, banks, fill counter and drain."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflow.hash_unit import HashUnit
from rtl.hash.bank import VALUE_BITS, Bank
from rtl.hash.requester import Requester


class HashAccumulate(wiring.Component):
    """A hash table in banks that adds values by key for several requesters at once.

    Slot s lies in bank s mod banks, so that a run of collisions walks through the banks. Every
    bank serves a probe in two cycles (`Bank`). An update that meets no other and no collision is
    written at the end of the second cycle after the one in which it is accepted; its requester
    accepts the next one in the third.

    A pulse of `start_drain` stops grants, waits for the banks, and sends every entry, in order of
    slots, two cycles a slot and at least one more for an entry; `drained` is high in the cycle in
    which the last slot is left. Updates that wait are kept and start again at their first slot.
    `full` is high while an update has found neither its key nor an empty slot: drain to go on.
    The reset does not reach the memories, which are empty at power-up only: drain before it.

    Members: `update` streams in; `start_drain` in; `entry` stream out; `fill`, `full`, `drained`.
    """

    def __init__(self, unit: HashUnit) -> None:
        self.unit, self.hashing = unit, unit.hashing
        entry = data.StructLayout({"key": unit.key_bits, "value": VALUE_BITS})
        super().__init__(
            {
                "update": In(stream.Signature(entry)).array(unit.requesters),
                "start_drain": In(1),
                "entry": Out(stream.Signature(entry)),
                "fill": Out(range(unit.slots + 1)),
                "full": Out(1),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect requesters and banks; build the drain."""
        m = Module()
        requesters = [
            Requester(hashing=self.hashing, value_bits=VALUE_BITS)
            for _ in range(self.unit.requesters)
        ]
        banks = [
            Bank(
                requesters=self.unit.requesters,
                rows=self.unit.slots // self.unit.banks,
                key_bits=self.unit.key_bits,
                kind=self.unit.kind,
                add_cycles=self.unit.add_cycles,
            )
            for _ in range(self.unit.banks)
        ]
        running, restart = Signal(), Signal()
        for index, requester in enumerate(requesters):
            m.submodules[f"requester_{index}"] = requester
            wiring.connect(m, wiring.flipped(self.update[index]), requester.update)
            m.d.comb += [
                requester.allow.eq(running),
                requester.restart.eq(restart),
                requester.hit.eq(Cat(bank.hit[index] for bank in banks).any()),
                requester.miss.eq(Cat(bank.miss[index] for bank in banks).any()),
            ]
        for index, bank in enumerate(banks):
            m.submodules[f"bank_{index}"] = bank
            self._offer(m, bank, index, requesters, running)
        m.d.comb += self.full.eq(Cat(requester.stuck for requester in requesters).any())
        self._drain(m, banks, running, restart)
        return m

    def _offer(
        self,
        m: Module,
        bank: Bank,
        index: int,
        requesters: list[Requester],
        running: Signal,
    ) -> None:
        """Show a bank the requesters whose slots it holds."""
        low = self.unit.banks.bit_length() - 1
        m.d.comb += bank.allow.eq(running)
        for place, requester in enumerate(requesters):
            m.d.comb += [
                bank.wants[place].eq(requester.wants & (requester.slot[:low] == index)),
                bank.rows[place].eq(requester.slot[low:]),
                bank.keys[place].eq(requester.key),
                bank.values[place].eq(requester.value),
            ]

    def _drain(self, m: Module, banks: list[Bank], running: Signal, restart: Signal) -> None:
        """Walk through all slots, send and clear the used ones; count entries."""
        low = self.unit.banks.bit_length() - 1
        slot = Signal(self.hashing.slot_bits)
        claims = sum(bank.claimed & bank.hit.any() for bank in banks)
        m.d.sync += self.fill.eq(self.fill + claims)
        used = Array(bank.scan_used for bank in banks)[slot[:low]]
        m.d.comb += [
            self.entry.payload.key.eq(Array(bank.scan_key for bank in banks)[slot[:low]]),
            self.entry.payload.value.eq(Array(bank.scan_value for bank in banks)[slot[:low]]),
        ]
        m.d.comb += [bank.scan_row.eq(slot[low:]) for bank in banks]
        with m.FSM():
            with m.State("run"):
                m.d.comb += running.eq(~self.start_drain)
                with m.If(self.start_drain):
                    m.next = "stop"
            with m.State("stop"), m.If(Cat(bank.idle for bank in banks).all()):
                m.next = "read"
            with m.State("read"):
                m.next = "send"
            with m.State("send"):
                leave = Signal()
                m.d.comb += [
                    self.entry.valid.eq(used),
                    leave.eq(~used | self.entry.ready),
                ]
                for index, bank in enumerate(banks):
                    m.d.comb += bank.scan_clear.eq(leave & used & (slot[:low] == index))
                with m.If(leave):
                    m.d.sync += slot.eq(slot + 1)
                    m.next = "read"
                    with m.If(slot == self.unit.slots - 1):
                        m.d.comb += [self.drained.eq(1), restart.eq(1)]
                        m.d.sync += self.fill.eq(0)
                        m.next = "run"
