"""Which operands each cycle: the two dataflows as counters, one instruction at a time."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import address_bits
from rtl.sat.instructions import COUNT_BITS, TIME_BITS, instruction_layout
from rtl.sat.parameters import Parameters


def west_word(parameters: Parameters) -> data.StructLayout:
    """What moves down the west edge: a window's address, its control bits, the sum's address."""
    return data.StructLayout(
        {
            "address": address_bits(parameters.operand_words),
            "control": parameters.control,
            "result": address_bits(parameters.result_words),
        }
    )


def north_word(parameters: Parameters) -> data.StructLayout:
    """What moves along the north edge: the address of a kept value; `shift` loads weights."""
    return data.StructLayout({"address": address_bits(parameters.operand_words), "shift": 1})


def sum_word(parameters: Parameters) -> data.StructLayout:
    """What moves along the north edge for partial sums: address, and whether to read (or zero)."""
    return data.StructLayout({"address": address_bits(parameters.result_words), "read": 1})


class OutputStationaryIssue(wiring.Component):
    """Issue the operands of `tiles` tiles, I at a time, one slot a cycle.

    Slot s of the product is issued in the s-th cycle after `reset`: the tiles of one turn take
    `period` cycles; their step t of the reduction takes S cycles, one for each tile and bubbles
    for the others. Tiles run along the columns of the result first.

    Members: `reset`: take a new instruction; `run`: advance; `instruction`; `west`, `north`.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "reset": In(1),
                "run": In(1),
                "instruction": In(instruction_layout(p)),
                "west": Out(west_word(p)),
                "north": Out(north_word(p)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the counters."""
        m = Module()
        p, op = self.parameters, self.instruction
        offset = Signal(TIME_BITS)
        remaining = Signal(COUNT_BITS)
        turn = Signal(range(p.slots))
        step = Signal(COUNT_BITS)
        kept = Signal.like(op.kept)
        group = Signal(COUNT_BITS)
        used_less_one = Signal(p.used_bits)
        valid = Signal()
        stepping = Signal()
        m.d.comb += [
            used_less_one.eq(Mux(remaining >= p.interleave, p.interleave - 1, remaining - 1)),
            stepping.eq(self.run & (remaining != 0) & (step != op.steps)),
            valid.eq(stepping & (turn <= used_less_one)),
        ]
        west_base, north_base = self._tile_bases(m, turn, step, valid)
        control = self.west.control
        m.d.comb += [
            self.west.address.eq(west_base + group),
            self.north.address.eq(north_base + step),
            control.first.eq(valid & (step == 0)),
            control.last.eq(valid & (step == op.steps - 1)),
            control.final.eq(control.last & (turn == used_less_one)),
            control.used.eq(used_less_one),
        ]
        with m.If(stepping):
            m.d.sync += turn.eq(turn + 1)
            with m.If(turn == p.slots - 1):
                m.d.sync += [turn.eq(0), step.eq(step + 1), kept.eq(kept + 1)]
                with m.If(kept == op.kept - 1):
                    m.d.sync += [kept.eq(0), group.eq(group + 1)]
        with m.If(self.run):
            m.d.sync += offset.eq(offset + 1)
        with m.If(self.reset):
            m.d.sync += remaining.eq(op.tiles)
        with m.Elif(self.run & (offset == op.period - 1)):
            m.d.sync += remaining.eq(Mux(remaining > p.interleave, remaining - p.interleave, 0))
        with m.If(self.reset | (self.run & (offset == op.period - 1))):
            m.d.sync += [r.eq(0) for r in (offset, turn, step, kept, group)]
        return m

    def _tile_bases(
        self, m: Module, turn: Signal, step: Signal, valid: Signal
    ) -> tuple[Signal, Signal]:
        """Return the bank addresses where this turn's tile begins; walk to new ones in step 0."""
        p, op = self.parameters, self.instruction
        west = Signal.like(op.west_base)
        north = Signal.like(op.north_base)
        next_west = Signal.like(west)
        next_north = Signal.like(north)
        q_tile = Signal(COUNT_BITS)
        kept_west = Array(Signal.like(west, name=f"west_{i}") for i in range(p.interleave))
        kept_north = Array(Signal.like(north, name=f"north_{i}") for i in range(p.interleave))
        m.d.comb += [
            west.eq(Mux(step == 0, next_west, kept_west[turn])),
            north.eq(Mux(step == 0, next_north, kept_north[turn])),
        ]
        with m.If(self.reset):
            m.d.sync += [
                next_west.eq(op.west_base),
                next_north.eq(op.north_base),
                q_tile.eq(0),
            ]
        with m.Elif(valid & (step == 0)):
            m.d.sync += [
                kept_west[turn].eq(west),
                kept_north[turn].eq(north),
                q_tile.eq(q_tile + 1),
                next_north.eq(next_north + op.steps),
            ]
            with m.If(q_tile == op.q_tiles - 1):
                m.d.sync += [
                    q_tile.eq(0),
                    next_north.eq(op.north_base),
                    next_west.eq(next_west + op.groups),
                ]
        return west, north


class WeightStationaryIssue(wiring.Component):
    """Issue the streamed rows of every tile of weights, and the weights of the next tile.

    The weights of the first tile are issued in the first R N cycles after `reset`, its rows from
    then on; tiles follow each other after `period` cycles (`last_period` behind the last block of
    rows). Tiles of the reduction run first, then blocks of rows, then strips of columns.

    `swapping` says that the south-most row takes a tile's weights into use: the weights of the
    next one are issued from that cycle on.

    Members: `reset`, `run`, `instruction`, `swapping`; `west`, `north`, `sums`.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "reset": In(1),
                "run": In(1),
                "swapping": In(1),
                "instruction": In(instruction_layout(p)),
                "west": Out(west_word(p)),
                "north": Out(north_word(p)),
                "sums": Out(sum_word(p)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the counters."""
        m = Module()
        self._weights(m)
        p, op = self.parameters, self.instruction
        wait = Signal(range(p.rows * p.n + 1))
        offset = Signal(TIME_BITS)
        turn = Signal(range(p.slots))
        kept = Signal.like(op.kept)
        row = Signal(COUNT_BITS)
        k_tile = Signal(COUNT_BITS)
        block = Signal(COUNT_BITS)
        strip = Signal(COUNT_BITS)
        streaming = Signal()
        valid = Signal()
        last_block = Signal()
        height = Signal(COUNT_BITS)
        this_row = Signal(COUNT_BITS)
        single = op.kept == 1
        m.d.comb += [
            last_block.eq(block == op.blocks - 1),
            height.eq(Mux(last_block, op.last_rows, op.block_rows)),
            this_row.eq(Mux(single, row, row + turn)),
            streaming.eq(self.run & (wait == 0) & (strip != op.q_tiles)),
            valid.eq(streaming & (this_row < height) & (single | (turn < p.interleave))),
        ]
        with m.If(streaming & (row < height)):
            self._next_row(m, row, kept, turn)
        ends = Signal()
        m.d.comb += ends.eq(streaming & (offset == Mux(last_block, op.last_period, op.period) - 1))
        with m.If(streaming):
            m.d.sync += offset.eq(offset + 1)
        with m.If(self.run & (wait != 0)):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self.reset):
            m.d.sync += [wait.eq(op.kept * p.rows), k_tile.eq(0), block.eq(0), strip.eq(0)]
        with m.Elif(ends):
            m.d.sync += k_tile.eq(k_tile + 1)
            with m.If(k_tile == op.k_tiles - 1):
                m.d.sync += [k_tile.eq(0), block.eq(block + 1)]
                with m.If(last_block):
                    m.d.sync += [block.eq(0), strip.eq(strip + 1)]
        with m.If(self.reset | ends):
            m.d.sync += [r.eq(0) for r in (offset, turn, kept, row)]
        west_base, sum_base = self._bases(m, ends, k_tile == op.k_tiles - 1, last_block, height)
        control = self.west.control
        m.d.comb += [
            self.west.address.eq(west_base + this_row),
            self.west.result.eq(sum_base + this_row),
            control.first.eq(valid & (kept == 0)),
            control.last.eq(valid & (kept == op.kept - 1)),
            control.swap.eq(valid & (offset == 0)),
            control.select.eq(kept),
            self.sums.address.eq(sum_base + this_row),
            self.sums.read.eq(control.first & (k_tile != 0)),
        ]
        return m

    def _next_row(self, m: Module, row: Signal, kept: Signal, turn: Signal) -> None:
        """Go on to the next row, N values of `interleave` rows in turn unless N is 1."""
        p, op = self.parameters, self.instruction
        with m.If(op.kept == 1):
            m.d.sync += row.eq(row + 1)
        with m.Elif(turn != p.slots - 1):
            m.d.sync += turn.eq(turn + 1)
        with m.Elif(kept != op.kept - 1):
            m.d.sync += [turn.eq(0), kept.eq(kept + 1)]
        with m.Else():
            m.d.sync += [turn.eq(0), kept.eq(0), row.eq(row + p.interleave)]

    def _bases(
        self, m: Module, ends: Signal, k_ends: Signal, last_block: Signal, height: Signal
    ) -> tuple[Signal, Signal]:
        """Return where the streamed rows and the sums of this tile begin in their banks."""
        op = self.instruction
        west = Signal.like(op.west_base)
        block_west = Signal.like(op.west_base)
        sums = Signal.like(op.result_base)
        following = Signal.like(op.west_base)
        m.d.comb += following.eq(Mux(last_block, op.west_base, block_west + op.block_rows))
        with m.If(self.reset):
            m.d.sync += [
                west.eq(op.west_base),
                block_west.eq(op.west_base),
                sums.eq(op.result_base),
            ]
        with m.Elif(ends & k_ends):
            m.d.sync += [
                west.eq(following),
                block_west.eq(following),
                sums.eq(sums + height),
            ]
        with m.Elif(ends):
            m.d.sync += west.eq(west + op.rows)
        return west, sums

    def _weights(self, m: Module) -> None:
        """Issue R N weights after `reset` and whenever `swapping`, while tiles remain."""
        p, op = self.parameters, self.instruction
        count = Signal(range(p.rows * p.n + 1))
        address = Signal.like(op.north_base)
        strip_base = Signal.like(address)
        k_tile = Signal(COUNT_BITS)
        block = Signal(COUNT_BITS)
        strip = Signal(COUNT_BITS)
        fresh = Signal()
        begins = Signal()
        active = Signal()
        ends = Signal()
        left = Signal.like(count)
        m.d.comb += [
            begins.eq(self.run & (fresh | self.swapping) & (strip != op.q_tiles)),
            left.eq(Mux(begins, op.kept * p.rows, count)),
            active.eq(left != 0),
            ends.eq(left == 1),
            self.north.shift.eq(active),
            self.north.address.eq(address),
        ]
        with m.If(active):
            m.d.sync += [count.eq(left - 1), address.eq(address + 1)]
        with m.If(self.reset):
            m.d.sync += [
                fresh.eq(1),
                count.eq(0),
                address.eq(op.north_base),
                strip_base.eq(op.north_base),
                k_tile.eq(0),
                block.eq(0),
                strip.eq(0),
            ]
        with m.Elif(self.run):
            m.d.sync += fresh.eq(0)
        with m.If(ends):
            m.d.sync += k_tile.eq(k_tile + 1)
            with m.If(k_tile == op.k_tiles - 1):
                m.d.sync += [k_tile.eq(0), block.eq(block + 1), address.eq(strip_base)]
                with m.If(block == op.blocks - 1):
                    m.d.sync += [
                        block.eq(0),
                        strip.eq(strip + 1),
                        address.eq(address + 1),
                        strip_base.eq(address + 1),
                    ]
