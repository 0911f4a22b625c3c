"""A memory with one write and one read port."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.elaboration import address_bits


class Bank(wiring.Component):
    """`words` words of `bits` bits. A read takes one cycle; one word in and one out each cycle.

    A word that is written in the cycle of its read address is read as new if `transparent`, and
    as it was before otherwise.

    Members: `write_enable`, `write_address`, `write_value`; `read_address`, `read_value`.
    """

    def __init__(self, *, words: int, bits: int, transparent: bool = False) -> None:
        self.words, self.bits, self.transparent = words, bits, transparent
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(address_bits(words)),
                "write_value": In(bits),
                "read_address": In(address_bits(words)),
                "read_value": Out(bits),
            }
        )

    @property
    def name(self) -> str:
        """Module name: the same for equal banks."""
        return f"bank_{self.words}x{self.bits}{'_transparent' * self.transparent}"

    def elaborate(self, platform: object) -> Module:
        """Build the memory."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.bits, depth=self.words, init=[])
        write = memory.write_port()
        read = memory.read_port(transparent_for=(write,) if self.transparent else ())
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_value),
            read.addr.eq(self.read_address),
            self.read_value.eq(read.data),
        ]
        return m
