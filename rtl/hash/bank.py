"""One bank of the table: an arbiter, a memory, and the read-modify-write that nothing can split."""

from __future__ import annotations

from typing import Literal

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.elaboration import address_bits
from rtl.float import Float32Add

ValueKind = Literal["int32", "fp32"]
VALUE_BITS = 32


class Bank(wiring.Component):
    """Give one requester at a time the bank, compare its key, then claim, add or refuse.

    A probe takes two cycles: the grant, in which the slot is read, and the answer, in which it is
    compared and, if it was empty or equal, written; an fp32 addition delays the answer to a hit by
    `add_cycles`. The requester after the last one granted has priority, so that none starves.

    Parameters: `requesters`, `rows` slots of this bank, `key_bits`, `kind`, `add_cycles`.
    Members: `wants` (a bit each), `rows`, `keys`, `values` of all requesters; `allow` new grants;
    out: `hit`, `miss` (a bit each), `claimed`, `idle`; for the drain `scan_row`, `scan_clear` in,
    `scan_used`, `scan_key`, `scan_value` out, one cycle after the row.
    """

    def __init__(
        self, *, requesters: int, rows: int, key_bits: int, kind: ValueKind, add_cycles: int
    ) -> None:
        self.requesters, self.rows_count, self.key_bits = requesters, rows, key_bits
        self.kind, self.add_cycles = kind, add_cycles
        self.row_bits = address_bits(rows)
        super().__init__(
            {
                "wants": In(requesters),
                "rows": In(data.ArrayLayout(self.row_bits, requesters)),
                "keys": In(data.ArrayLayout(key_bits, requesters)),
                "values": In(data.ArrayLayout(VALUE_BITS, requesters)),
                "allow": In(1),
                "hit": Out(requesters),
                "miss": Out(requesters),
                "claimed": Out(1),
                "idle": Out(1),
                "scan_row": In(self.row_bits),
                "scan_clear": In(1),
                "scan_used": Out(1),
                "scan_key": Out(key_bits),
                "scan_value": Out(VALUE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build arbiter, memory and the states idle, answer and adding."""
        m = Module()
        word = data.StructLayout({"used": 1, "key": self.key_bits, "value": VALUE_BITS})
        m.submodules.memory = memory = Memory(shape=word, depth=self.rows_count, init=[])
        read, write = memory.read_port(), memory.write_port()
        winner, last = (Signal(range(max(2, self.requesters))) for _ in range(2))
        held = Signal(range(max(2, self.requesters)))
        row = Signal(self.row_bits)
        key, value = Signal(self.key_bits), Signal(VALUE_BITS)
        m.d.comb += winner.eq(self._choose(last))
        total, done = self._total(m, read.data.value, value)
        m.d.comb += [
            self.scan_used.eq(read.data.used),
            self.scan_key.eq(read.data.key),
            self.scan_value.eq(read.data.value),
            write.data.used.eq(1),
            write.data.key.eq(key),
        ]
        with m.FSM():
            with m.State("idle"):
                m.d.comb += [self.idle.eq(1), read.addr.eq(self.scan_row)]
                with m.If(self.scan_clear):
                    m.d.comb += [write.en.eq(1), write.addr.eq(self.scan_row), write.data.eq(0)]
                with m.If(self.allow & self.wants.any()):
                    m.d.comb += read.addr.eq(self.rows[winner])
                    m.d.sync += [
                        held.eq(winner),
                        last.eq(winner),
                        row.eq(self.rows[winner]),
                        key.eq(self.keys[winner]),
                        value.eq(self.values[winner]),
                    ]
                    m.next = "answer"
            with m.State("answer"):
                equal = read.data.used & (read.data.key == key)
                m.d.comb += [
                    read.addr.eq(row),
                    write.addr.eq(row),
                    write.data.value.eq(Mux(read.data.used, total, value)),
                    self.claimed.eq(~read.data.used),
                ]
                with m.If(read.data.used & ~equal):
                    m.d.comb += self.miss.eq(1 << held)
                    m.next = "idle"
                with m.Elif(equal & ~done):
                    m.next = "answer"
                with m.Else():
                    m.d.comb += [write.en.eq(1), self.hit.eq(1 << held)]
                    m.next = "idle"
        return m

    def _choose(self, last: Signal) -> Value:
        """Return the first requester after `last`, in a circle, that wants the bank."""
        choice: Value = last
        for distance in range(self.requesters, 0, -1):
            for position in range(self.requesters):  # the nearest is written last and wins
                candidate = (position + distance) % self.requesters
                choice = Mux((last == position) & self.wants[candidate], candidate, choice)
        return choice

    def _total(self, m: Module, old: Signal, value: Signal) -> tuple[Signal, Signal]:
        """Return the sum and whether it is ready: at once, or after `add_cycles` of the adder."""
        total, done = Signal(VALUE_BITS), Signal()
        if self.kind == "int32":
            m.d.comb += [total.eq(old + value), done.eq(1)]
            return total, done
        m.submodules.adder = adder = Float32Add(latency=self.add_cycles)
        waited = Signal(range(self.add_cycles + 2))
        m.d.comb += [
            adder.a.eq(old),
            adder.b.eq(value),
            total.eq(adder.total),
            done.eq(waited == self.add_cycles),
        ]
        with m.If(self.idle):
            m.d.sync += waited.eq(0)
        with m.Elif(~done):
            m.d.sync += waited.eq(waited + 1)
        return total, done
