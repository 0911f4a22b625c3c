"""One lane of a column: it walks its groups, prefetches and encodes them, and hands them on."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from dataflow.bitweight import GROUP
from rtl.bitweight.encoders import ent_codes
from rtl.elaboration import unpack


class Lane(wiring.Component):
    """Fetches groups of A and B, encodes them, and presents the next group of the open pass.

    Neighbouring groups lie in the same bank, or in neighbouring banks if `interleaved`. With
    `triples` a digit is three neighbouring bits of A, else its EN-T code. See
    `rtl.bitweight.columns` for the timing.

    Members
    -------
    page : of A's memory, to read; writes go to the other one.
    start : begin a tile. groups, chunk : groups of this lane, and how many of them lie in a bank,
    both less one. last_bank : the highest bank in use. home, home_address : the bank and the group
    with which every pass starts.
    request, bank, row : wants to read this row of its bank, of its own share of rows. grant : may.
    b_group : the bank's data, one cycle after the grant.
    allow : the column lets the lane take the head of its FIFO. waiting : there is one. taken : it
    is taken. free : whoever takes groups has no step left after this cycle. pass_done : nor is a
    group of the open pass left. opening : a pass opens in this cycle.
    codes, b : the four digits and Bs (`elements` values each) at the head of the FIFO.
    """

    def __init__(
        self,
        *,
        width: int,
        elements: int,
        depth: int,
        fifo: int,
        banks: int,
        interleaved: bool,
        triples: bool,
    ) -> None:
        self.width, self.elements, self.depth = width, elements, depth
        self.fifo, self.banks = fifo, banks
        self.interleaved, self.triples = interleaved, triples
        self.passes = width // 2
        super().__init__(
            {
                "load_a": In(1),
                "load_address": In(range(max(depth, 2))),
                "load_value": In(GROUP * width),
                "page": In(1),
                "start": In(1),
                "groups": In(range(max(depth, 2))),
                "chunk": In(range(max(depth, 2))),
                "last_bank": In(range(max(banks, 2))),
                "home": In(range(max(banks, 2))),
                "home_address": In(range(max(depth, 2))),
                "request": Out(1),
                "bank": Out(range(max(banks, 2))),
                "row": Out(range(max(depth, 2))),
                "grant": In(1),
                "b_group": In(GROUP * elements * width),
                "allow": In(1),
                "opening": In(1),
                "free": In(1),
                "waiting": Out(1),
                "taken": Out(1),
                "pass_done": Out(1),
                "codes": Out(3 * GROUP),
                "b": Out(GROUP * elements * width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the lane."""
        m = Module()
        count, under_way = Signal(range(self.fifo + 1)), Signal()
        address, fetch_pass = self._walk(m, count, under_way)
        codes = self._encoded(m, address, fetch_pass)
        m.d.comb += [
            self.waiting.eq(count != 0),
            self.taken.eq(self.free & self.waiting & self.allow),
        ]
        m.d.sync += [
            under_way.eq(self.grant),
            count.eq(Mux(self.start, 0, count + under_way - self.taken)),
        ]
        self._count_groups(m)
        head_codes, head_b = self._queue(m, codes, under_way)
        m.d.comb += [self.codes.eq(head_codes), self.b.eq(head_b)]
        return m

    def _walk(self, m: Module, count: Signal, under_way: Signal) -> tuple[Signal, Signal]:
        """Walk all groups once a pass, from `home` on; return the address and the pass."""
        address, active = Signal.like(self.groups), Signal()
        left, fetch_pass = Signal.like(self.groups), Signal(range(max(self.passes, 2)))
        m.d.comb += self.request.eq(active & (count + under_way < self.fifo))
        with m.If(self.start):
            m.d.sync += [
                active.eq(1),
                fetch_pass.eq(0),
                left.eq(self.groups),
                self.bank.eq(self.home),
                address.eq(self.home_address),
                self.row.eq(0),
            ]
        with m.Elif(self.grant):
            wrap = address == self.groups
            last_bank, last_row = self.bank == self.last_bank, self.row == self.chunk
            if self.interleaved:
                next_bank, bank_ends, next_row, row_ends = 1, last_bank, last_bank, 0
            else:
                next_bank, bank_ends, next_row, row_ends = last_row, 0, 1, last_row
            m.d.sync += [
                address.eq(Mux(wrap, 0, address + 1)),
                left.eq(Mux(left == 0, self.groups, left - 1)),
                self.bank.eq(Mux(wrap | bank_ends, 0, self.bank + next_bank)),
                self.row.eq(Mux(wrap | row_ends, 0, self.row + next_row)),
            ]
            with m.If(left == 0):
                m.d.sync += fetch_pass.eq(fetch_pass + 1)
                with m.If(fetch_pass == self.passes - 1):
                    m.d.sync += active.eq(0)
        return address, fetch_pass

    def _encoded(self, m: Module, address: Signal, fetch_pass: Signal) -> list[Signal]:
        """Read a group of A and return its digit codes of the pass, one cycle after the grant."""
        words = 2 << len(self.load_address)
        store = memory.Memory(shape=GROUP * self.width, depth=words, init=[])
        m.submodules.a_store = store
        write, read = store.write_port(), store.read_port()
        m.d.comb += [
            write.en.eq(self.load_a),
            write.addr.eq(Cat(self.load_address, ~self.page)),
            write.data.eq(self.load_value),
            read.en.eq(1),
            read.addr.eq(Cat(address, self.page)),
        ]
        reading = Signal.like(fetch_pass)
        m.d.sync += reading.eq(fetch_pass)
        picked = []
        for i, value in enumerate(unpack(read.data, self.width)):
            code = Signal(3, name=f"digit_{i}")
            m.d.comb += code.eq(Array(self._digits(m, value)[::-1])[reading])
            picked.append(code)
        return picked

    def _digits(self, m: Module, value: Value) -> list[Value]:
        """Return what stands for the digits of an operand, lowest first, three bits each."""
        if not self.triples:
            return ent_codes(m, value)
        padded = Cat(Const(0, 1), value)
        return [padded[2 * i : 2 * i + 3] for i in range(self.passes)]

    def _count_groups(self, m: Module) -> None:
        """Count the groups taken of the open pass, done when all are and the last one ends."""
        taken = Signal(range(self.depth + 2))
        m.d.comb += self.pass_done.eq(self.free & (taken == self.groups + 1))
        with m.If(self.start):
            m.d.sync += taken.eq(self.groups + 1)  # nothing is open: the pass before is done
        with m.Elif(self.opening):
            m.d.sync += taken.eq(self.taken)
        with m.Else():
            m.d.sync += taken.eq(taken + self.taken)

    def _queue(self, m: Module, codes: list[Signal], arriving: Signal) -> tuple[Signal, Signal]:
        """Keep arriving groups in order; return the codes and Bs at the head."""
        bits = 3 * GROUP
        slots = [Signal(bits + len(self.b_group), name=f"fifo_{i}") for i in range(self.fifo)]
        to, at = Signal(range(max(self.fifo, 2))), Signal(range(max(self.fifo, 2)))
        last = self.fifo - 1
        for i, slot in enumerate(slots):
            with m.If(arriving & (to == i)):
                m.d.sync += slot.eq(Cat(*codes, self.b_group))
        with m.If(self.start):
            m.d.sync += [to.eq(0), at.eq(0)]
        with m.Else():
            with m.If(arriving):
                m.d.sync += to.eq(Mux(to == last, 0, to + 1))
            with m.If(self.taken):
                m.d.sync += at.eq(Mux(at == last, 0, at + 1))
        head = Signal(bits + len(self.b_group))
        m.d.comb += head.eq(Array(slots)[at])
        return head[:bits], head[bits:]
