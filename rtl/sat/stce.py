"""The sparse tensor computing engine: an R x C systolic array of unified sparse PEs."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.export import shared
from rtl.sat.parameters import Parameters
from rtl.sat.uspe import Uspe


class Stce(wiring.Component):
    """R x C PEs, operands skewed by the edges, results out in the south.

    Operands of slot s must arrive at the west edge of row r in cycle s + r h and at the north
    edge of column c in cycle s + c, with h = 1 (output stationary) or the time of a sum from row
    to row, (N-1) S + La (weight stationary; sums for row 0 arrive Lm later).

    Output stationary: in the cycle after its south-most PE has loaded the last of its U sums, a
    column starts to show its R U results, one a cycle, south-most PE first and within a PE the
    first turn first. It may be loaded again in the cycle that shows the last one.

    Members
    -------
    weight_stationary, kept_less_one : the control word; constant while a product runs.
    west, west_control : per row. north, shift, sum_north : per column.
    result, result_valid : per column.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "weight_stationary": In(1),
                "kept_less_one": In(p.select_bits),
                "west": In(p.window).array(p.rows),
                "west_control": In(p.control).array(p.rows),
                "north": In(p.link).array(p.cols),
                "shift": In(1).array(p.cols),
                "sum_north": In(32).array(p.cols),
                "result": Out(32).array(p.cols),
                "result_valid": Out(1).array(p.cols),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect each PE with its neighbours; add a drain counter to each column."""
        m = Module()
        p = self.parameters
        grid = [[Uspe(p) for _ in range(p.cols)] for _ in range(p.rows)]
        for r, row in enumerate(grid):
            for c, pe in enumerate(row):
                m.submodules[f"pe_{r}_{c}"] = shared(pe, "uspe", platform)
                west = row[c - 1] if c else None
                north = grid[r - 1][c] if r else None
                m.d.comb += [
                    pe.weight_stationary.eq(self.weight_stationary),
                    pe.kept_less_one.eq(self.kept_less_one),
                    pe.shift.eq(self.shift[c]),
                    pe.west.eq(west.east if west else self.west[r]),
                    pe.west_control.eq(west.east_control if west else self.west_control[r]),
                    pe.north.eq(north.south if north else self.north[c]),
                    pe.sum_north.eq(north.sum_south if north else self.sum_north[c]),
                ]
        for c in range(p.cols):
            self._drain(m, c, [row[c] for row in grid])
        return m

    def _drain(self, m: Module, c: int, column: list[Uspe]) -> None:
        """Shift a column's results out once its south-most PE has loaded its last one."""
        p = self.parameters
        south = column[-1]
        remaining = Signal(range(p.rows * p.interleave + 1), name=f"remaining_{c}")
        with m.If(south.loaded):
            m.d.sync += remaining.eq((south.loaded_used + 1) * p.rows)
        with m.Elif(remaining != 0):
            m.d.sync += remaining.eq(remaining - 1)
        for pe in column:
            m.d.comb += pe.drain.eq(remaining > 1)
        m.d.comb += [
            self.result[c].eq(south.sum_south),
            self.result_valid[c].eq(Mux(self.weight_stationary, south.sum_valid, remaining != 0)),
        ]
