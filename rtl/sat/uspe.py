"""The unified sparse processing element: one multiply-accumulate a cycle, in four modes."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import delayed
from rtl.sat.arithmetic import add, multiply
from rtl.sat.parameters import Parameters


class Uspe(wiring.Component):
    """Multiply a window's selected value with a kept value, and add it to one of S sums.

    A pair present in cycle t is multiplied until t + Lm, added until t + Lm + La, and its sum can
    be added to again S = max(interleave, La) cycles after it entered the adder: one pair a cycle,
    no stall. A dense operand is a window of one.

    Output stationary: the pair comes from west and north and both move on (one PE a cycle). The
    sums of a `last` step also enter the drain registers, which form a chain down the column.

    Weight stationary: the value and index come from N registers; a second set, a shift chain down
    the column, is loaded meanwhile. A `first` product is added to the sum that the northern PE
    shows in that cycle; the sum after the `last` one is what the southern PE sees.

    Both modes use the same registers: a chain register is the north-to-south register of the
    output-stationary mode.

    Members
    -------
    weight_stationary, kept_less_one : the control word; constant while a product runs.
    west, west_control, east, east_control : window of M values and its control bits.
    north, south : a kept value and its index. shift : move the weights on.
    sum_north, sum_south : partial sums (weight stationary) or drained results.
    drain : move the drained results on. loaded, loaded_used : the last of the interleaved
    sums enters its drain register at the end of this cycle; how many there are, less one.
    sum_valid : `sum_south` is a finished sum (weight stationary).
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "weight_stationary": In(1),
                "kept_less_one": In(p.select_bits),
                "west": In(p.window),
                "west_control": In(p.control),
                "east": Out(p.window),
                "east_control": Out(p.control),
                "north": In(p.link),
                "south": Out(p.link),
                "shift": In(1),
                "sum_north": In(32),
                "sum_south": Out(32),
                "drain": In(1),
                "loaded": Out(1),
                "loaded_used": Out(p.used_bits),
                "sum_valid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the PE."""
        m = Module()
        p = self.parameters
        m.d.sync += [self.east.eq(self.west), self.east_control.eq(self.west_control)]
        operand = self._operand(m)
        selected = Array(self.west[i] for i in range(p.m))[operand.index]
        product = multiply(
            m, platform, selected, operand.value, data_type=p.data_type, latency=p.mul_latency
        )
        first = delayed(m, self.west_control.first, p.mul_latency, name="first")
        previous = Signal(32)
        returning = Signal(32)
        start = Mux(self.weight_stationary, self.sum_north, 0)
        m.d.comb += previous.eq(Mux(first, start, returning))
        # the adder's last register is here, because the drain register stands beside it
        arriving = add(
            m, platform, product, previous, data_type=p.data_type, latency=p.add_latency - 1
        )
        total = Signal(32)
        m.d.sync += total.eq(arriving)
        m.d.comb += returning.eq(delayed(m, total, p.slots - p.add_latency, name="ring"))
        self._leave(m, arriving, total)
        return m

    def _operand(self, m: Module) -> Value:
        """Return the value and index to use; keep and pass on the ones from the north."""
        p = self.parameters
        chain = [Signal(p.link, name=f"chain_{j}") for j in range(p.n)]
        held = [Signal(p.link, name=f"held_{j}") for j in range(p.n)]
        now = [Signal(p.link, name=f"now_{j}") for j in range(p.n)]
        with m.If(self.shift | ~self.weight_stationary):
            for j, register in enumerate(chain):
                m.d.sync += register.eq(chain[j - 1] if j else self.north)
        for j in range(p.n):
            m.d.comb += now[j].eq(Mux(self.west_control.swap, chain[j], held[j]))
            m.d.sync += held[j].eq(now[j])
        tap = Mux(self.weight_stationary, self.kept_less_one, 0)
        m.d.comb += self.south.eq(Array(chain)[tap])
        operand = Signal(p.link)
        with m.If(self.weight_stationary):
            m.d.comb += operand.eq(Array(now)[self.west_control.select])
        with m.Else():
            m.d.comb += operand.eq(self.north)
        return operand

    def _leave(self, m: Module, arriving: Value, total: Value) -> None:
        """Send sums south, and drained results (from drain register 0) behind the last step."""
        p = self.parameters
        latency = p.mul_latency + p.add_latency - 1
        control = self.west_control
        last = delayed(m, control.last, latency, name="last")
        final = delayed(m, control.final, latency, name="final")
        used = delayed(m, control.used, latency, name="used")
        load = Signal()
        m.d.comb += [
            load.eq(last & ~self.weight_stationary),
            self.loaded.eq(final & load),
            self.loaded_used.eq(used),
        ]
        m.d.sync += self.sum_valid.eq(last & self.weight_stationary)
        used_now = Signal.like(used)
        used_before = Signal.like(used)
        drain = [Signal(32, name=f"drain_{i}") for i in range(p.interleave)]
        m.d.comb += used_now.eq(Mux(load, used, used_before))
        m.d.sync += used_before.eq(used_now)
        entering = Mux(load, arriving, self.sum_north)
        with m.If(load | self.drain):
            for i, register in enumerate(drain):
                following = drain[i + 1] if i + 1 < p.interleave else entering
                m.d.sync += register.eq(Mux(used_now == i, entering, following))
        m.d.comb += self.sum_south.eq(Mux(self.weight_stationary, total, drain[0]))
