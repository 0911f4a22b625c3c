"""The sparse online reduction engine: N:M selection of values that stream through its lanes."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import address_bits
from rtl.export import shared
from workloads.errors import InputError


class SoreLane(wiring.Component):
    """Keep the N largest of the values that enter since `first`, in order of arrival.

    A newcomer is appended while there is room. Then the smallest kept value, the latest of equal
    ones, makes room for a newcomer that is larger by magnitude: the bits without the sign, as in
    `dataflow.nm.magnitude_key`. So of equal magnitudes the one with the lowest index stays, and
    the kept ones are in ascending order of index.

    Members: `enter`: take `value` with its `index`; `first`: forget what was kept before; `kept`:
    N; `selected`: the kept values after this newcomer, combinational.
    """

    def __init__(self, *, n: int, index_bits: int, value_bits: int = 16) -> None:
        self.n = n
        self.link = data.StructLayout({"value": value_bits, "index": index_bits})
        super().__init__(
            {
                "enter": In(1),
                "first": In(1),
                "kept": In(n.bit_length()),
                "value": In(value_bits),
                "index": In(index_bits),
                "selected": Out(data.ArrayLayout(self.link, n)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build N registers, their comparators and the shifts between them."""
        m = Module()
        entries = [Signal(self.link, name=f"entry_{i}") for i in range(self.n)]
        filled = Signal(self.n)
        now_filled = Signal(self.n)
        m.d.comb += now_filled.eq(Mux(self.first, 0, filled))
        newcomer = Signal(self.link)
        m.d.comb += [newcomer.value.eq(self.value), newcomer.index.eq(self.index)]
        keys = [Mux(now_filled[i], entry.value[:-1], 0) for i, entry in enumerate(entries)]
        has_room = Signal()
        m.d.comb += has_room.eq(~Array(now_filled)[(self.kept - 1)[: self.kept.shape().width]])
        victim = self._smallest(m, keys)
        smaller = Array(keys)[victim] < newcomer.value[:-1]
        accepted = Signal()
        m.d.comb += accepted.eq(has_room | smaller)
        following = Signal(self.n)
        for i, entry in enumerate(entries):
            after = entries[i + 1] if i + 1 < self.n else newcomer
            last = self.kept == i + 1
            appended = Mux(has_room, ~now_filled[i] & (now_filled[i - 1] if i else 1), last)
            moved = ~has_room & (victim <= i)
            result = Mux(appended, newcomer, Mux(moved, after, entry))
            m.d.comb += [
                self.selected[i].eq(Mux(accepted, result, entry)),
                following[i].eq(now_filled[i] | (has_room & appended)),
            ]
        with m.If(self.enter):
            m.d.sync += filled.eq(following)
            for i, entry in enumerate(entries):
                m.d.sync += entry.eq(self.selected[i])
        return m

    def _smallest(self, m: Module, keys: list[Mux]) -> Signal:
        """Return the place of the smallest key of the N in use, the last of equal ones."""
        place = Signal(range(self.n))
        key = keys[0]
        for i in range(1, self.n):
            next_place = Signal(range(self.n))
            next_key = Signal(len(self.value) - 1)
            better = (keys[i] <= key) & (self.kept > i)
            m.d.comb += [
                next_place.eq(Mux(better, i, place)),
                next_key.eq(Mux(better, keys[i], key)),
            ]
            place, key = next_place, next_key
        return place


def check_selection(*, lanes: int, n: int, m: int) -> None:
    """Raise `InputError` unless lanes are positive and 1 <= n <= m."""
    if not 1 <= n <= m:
        raise InputError(f"n must be at least 1 and at most m, not n={n} and m={m}")
    if lanes < 1:
        raise InputError(f"lanes must be at least 1, not {lanes}")


class Sore(wiring.Component):
    """`lanes` lanes in step: one group of M in M cycles each.

    A beat of `values` is one value for every lane. After the M-th beat of a group, in the next
    cycle, `selected` shows N values with indices for every lane (entries above N are undefined).
    `values` waits only if a group is complete while the one before has not been taken.

    Which way the groups lie is decided by what a lane is fed: a column of the weights from top to
    bottom (forward: groups along the inputs) or a row from left to right (backward: outputs).

    Members: `kept`, `group`: N and M, constant while groups are in flight; `values`, `selected`.
    """

    def __init__(self, *, lanes: int = 32, n: int = 2, m: int = 8, value_bits: int = 16) -> None:
        check_selection(lanes=lanes, n=n, m=m)
        self.lanes, self.n, self.m, self.value_bits = lanes, n, m, value_bits
        self.index_bits = address_bits(m)
        link = data.StructLayout({"value": value_bits, "index": self.index_bits})
        group = data.ArrayLayout(link, n)
        super().__init__(
            {
                "kept": In(n.bit_length()),
                "group": In(m.bit_length()),
                "values": In(stream.Signature(data.ArrayLayout(value_bits, lanes))),
                "selected": Out(stream.Signature(data.ArrayLayout(group, lanes))),
            }
        )

    @property
    def name(self) -> str:
        """Module name: the same for equal parameters."""
        return f"sore_{self.lanes}x{self.n}of{self.m}"

    def elaborate(self, platform: object) -> Module:
        """Build the lanes and their common counter."""
        m = Module()
        index = Signal(self.index_bits)
        last = Signal()
        values, selected = self.values, self.selected
        m.d.comb += [
            last.eq(index == self.group - 1),
            values.ready.eq(~last | ~selected.valid | selected.ready),
        ]
        accepted = values.valid & values.ready
        with m.If(selected.ready):
            m.d.sync += selected.valid.eq(0)
        with m.If(accepted):
            m.d.sync += index.eq(Mux(last, 0, index + 1))
        with m.If(accepted & last):
            m.d.sync += selected.valid.eq(1)
        for number in range(self.lanes):
            lane = SoreLane(n=self.n, index_bits=self.index_bits, value_bits=self.value_bits)
            m.submodules[f"lane_{number}"] = shared(lane, f"{self.name}_lane", platform)
            m.d.comb += [
                lane.enter.eq(accepted),
                lane.first.eq(index == 0),
                lane.kept.eq(self.kept),
                lane.value.eq(values.payload[number]),
                lane.index.eq(index),
            ]
            with m.If(accepted & last):
                m.d.sync += selected.payload[number].eq(lane.selected)
        return m
