"""One requester's place in the unit: holds an update until it is in the table."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflow.hashing import SlotHash


class Requester(wiring.Component):
    """Take an update, offer its slot to the banks, step on after each collision.

    An update that is accepted in cycle t asks for its bank from t + 1 on. `hit` in the cycle of a
    bank's answer ends it: the next update can be accepted in the cycle after. `miss` moves to the
    next slot. After as many misses as there are slots it is `stuck` and asks no more. `restart`
    goes back to the first slot, because the table is empty then.

    Members: `update` stream of key and value in; `allow`: whether it may ask and accept; `hit`,
    `miss`, `restart`; out: `wants` with `slot`, `key` and `value`, `busy`, `stuck`.
    """

    def __init__(self, *, hashing: SlotHash, value_bits: int) -> None:
        self.hashing = hashing
        payload = data.StructLayout({"key": hashing.key_bits, "value": value_bits})
        super().__init__(
            {
                "update": In(stream.Signature(payload)),
                "allow": In(1),
                "hit": In(1),
                "miss": In(1),
                "restart": In(1),
                "wants": Out(1),
                "slot": Out(hashing.slot_bits),
                "key": Out(hashing.key_bits),
                "value": Out(value_bits),
                "busy": Out(1),
                "stuck": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the registers and the hash."""
        m = Module()
        misses = Signal(self.hashing.slot_bits + 1)
        first = Signal(self.hashing.slot_bits)
        source = Signal(self.hashing.key_bits)
        product = source * self.hashing.multiplier
        m.d.comb += [
            self.stuck.eq(misses == self.hashing.slots),
            self.wants.eq(self.busy & self.allow & ~self.stuck),
            self.update.ready.eq(~self.busy & self.allow),
            source.eq(self.key),
            first.eq(product[: self.hashing.key_bits] >> self.hashing.shift),
        ]
        with m.If(self.update.valid & self.update.ready):
            key = self.update.payload.key
            m.d.comb += source.eq(key)
            m.d.sync += [
                self.busy.eq(1),
                self.key.eq(key),
                self.value.eq(self.update.payload.value),
                self.slot.eq(first),
                misses.eq(0),
            ]
        with m.If(self.hit):
            m.d.sync += self.busy.eq(0)
        with m.If(self.miss):
            m.d.sync += [self.slot.eq(self.slot + 1), misses.eq(misses + 1)]
        with m.If(self.restart & self.busy):
            m.d.sync += [self.slot.eq(first), misses.eq(0)]
        return m
