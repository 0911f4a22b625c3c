"""The memory cells of a bank with its multipliers, and the vector buffer of the channel."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dataflow.dram_timing import DramTiming
from dataflow.pim_arithmetic import LANES
from rtl.elaboration import address_bits
from rtl.export import shared
from rtl.pim.parameters import VALUE_BITS, accesses_in_row, command_layout, comps_in_row
from rtl.pim.unit import PimUnit, unit_latency

STEP_BITS = LANES * VALUE_BITS


class BankCells(wiring.Component):
    """Rows of a bank, read and written an access at a time, and multiplied 16 values at a time.

    `data` is the access at `row` and `access` of the cycle before. `write` stores `written` there.
    `multiply` and `read` reach the multipliers a cycle later, with the values at `pim_row` and
    `column`; `valid` and `sum` come `latency` cycles after `read`. A row buffer is its row of the
    cells: a WR is seen by a COMP of the same row.

    Members: `row`, `access`, `write`, `written` in, `data` out; `multiply`, `read`, `pim_row`,
    `column`, `vector` in, the last a cycle after its column; `valid`, `sum` out.
    """

    def __init__(self, *, timing: DramTiming) -> None:
        self.timing = timing
        command = command_layout(timing)
        self.access_bits = 8 * timing.access_bytes
        super().__init__(
            {
                "row": In(command["row"].shape),
                "access": In(command["access"].shape),
                "write": In(1),
                "written": In(self.access_bits),
                "data": Out(self.access_bits),
                "multiply": In(1),
                "read": In(1),
                "pim_row": In(command["row"].shape),
                "column": In(address_bits(comps_in_row(timing))),
                "vector": In(STEP_BITS),
                "valid": Out(1),
                "sum": Out(VALUE_BITS),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from `read` to `sum`."""
        return 1 + unit_latency(LANES)

    def elaborate(self, platform: object) -> Module:
        """Build the cells with a port for each row buffer, and the multipliers."""
        m = Module()
        unit = PimUnit()
        accesses = accesses_in_row(self.timing)
        depth = self.timing.rows * accesses
        m.submodules.memory = memory = Memory(shape=self.access_bits, depth=depth, init=[])
        normal, multiplied = memory.read_port(), memory.read_port()
        write = memory.write_port()
        m.submodules.unit = shared(unit, "unit", platform)
        address = self.row * accesses + (self.access if accesses > 1 else 0)
        access, values = _part(m, self.column, multiplied.data)
        reads, multiplies = Signal(), Signal()
        m.d.sync += [reads.eq(self.read), multiplies.eq(self.multiply)]
        m.d.comb += [
            normal.addr.eq(address),
            write.addr.eq(address),
            write.en.eq(self.write),
            write.data.eq(self.written),
            self.data.eq(normal.data),
            multiplied.addr.eq(self.pim_row * accesses + access),
            unit.values.eq(values),
            unit.vector.eq(self.vector),
            unit.multiply.eq(multiplies),
            unit.read.eq(reads),
            self.valid.eq(unit.valid),
            self.sum.eq(unit.result),
        ]
        return m


class VectorBuffer(wiring.Component):
    """The vector of a channel, which a GWRITE copies from a row, an access at a time.

    After `start` in cycle t, access i is wanted from t + 1 + i * period on: `access` names it while
    `copying`, and `data` is taken a cycle later. The period is that of the table for the values of
    one access: a row of 16 accesses takes the clocks of a GWRITE. `vector` are the values at
    `column` of the cycle before.

    Members: `start`, `data` in, `copying`, `access` out; `column` in, `vector` out.
    """

    def __init__(self, *, timing: DramTiming) -> None:
        self.timing = timing
        self.access_bits = 8 * timing.access_bytes
        self.period = self.access_bits // STEP_BITS * (timing.ccd_s + timing.ccd_l)
        super().__init__(
            {
                "start": In(1),
                "data": In(self.access_bits),
                "copying": Out(1),
                "access": Out(command_layout(timing)["access"].shape),
                "column": In(address_bits(comps_in_row(timing))),
                "vector": Out(STEP_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the copy and the buffer."""
        m = Module()
        accesses = accesses_in_row(self.timing)
        m.submodules.memory = memory = Memory(shape=self.access_bits, depth=accesses, init=[])
        read, write = memory.read_port(), memory.write_port()
        wait = Signal(range(max(2, self.period)))
        taken = Signal()
        with m.If(self.start):
            m.d.sync += [self.copying.eq(1), self.access.eq(0), wait.eq(0), taken.eq(0)]
        with m.Elif(self.copying):
            m.d.sync += [wait.eq(Mux(wait == self.period - 1, 0, wait + 1)), taken.eq(wait == 0)]
            with m.If(wait == self.period - 1):
                m.d.sync += self.access.eq(self.access + 1)
                with m.If(self.access == accesses - 1):
                    m.d.sync += self.copying.eq(0)
        access, values = _part(m, self.column, read.data)
        m.d.comb += [
            write.en.eq(taken),
            write.addr.eq(self.access),
            write.data.eq(self.data),
            read.addr.eq(access),
            self.vector.eq(values),
        ]
        return m


def _part(m: Module, column: Signal, word: Signal) -> tuple[Signal, Signal]:
    """Return the access of a column, and the column's part of the word read a cycle later."""
    parts = len(word) // STEP_BITS
    low = (parts - 1).bit_length()
    place, values = Signal(max(1, low)), Signal(STEP_BITS)
    m.d.sync += place.eq(column[:low])
    m.d.comb += values.eq(
        Array(word[i * STEP_BITS : (i + 1) * STEP_BITS] for i in range(parts))[place]
    )
    return Cat(column)[low:], values
