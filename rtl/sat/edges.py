"""The array's edges: operand banks, one per row or column, and the skew between them."""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import address_bits, delayed
from rtl.export import shared
from rtl.sat.bank import Bank
from rtl.sat.issue import north_word, sum_word, west_word
from rtl.sat.parameters import Parameters


def bank_write(words: int, bits: int, banks: int) -> dict[str, object]:
    """Return the members of a write port into one of several banks."""
    return {
        "write_enable": In(1),
        "write_bank": In(address_bits(banks)),
        "write_address": In(address_bits(words)),
        "write_value": In(bits),
    }


class WestEdge(wiring.Component):
    """R banks of windows. Row r + 1 reads what row r read, one hop later.

    A hop is one cycle, or (weight stationary) the time of a sum from one row to the next,
    h = (N - 1) S + La. Windows and control bits are out one cycle after their address.

    Members: `word`: the issued address for row 0; `swapping`: row R - 1 has one with `swap`;
    `window`, `control`: per row; `last_result`: the sum's address beside row R - 1.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "weight_stationary": In(1),
                "kept_less_one": In(p.select_bits),
                "word": In(west_word(p)),
                "swapping": Out(1),
                "window": Out(p.window).array(p.rows),
                "control": Out(p.control).array(p.rows),
                "last_result": Out(address_bits(p.result_words)),
                **bank_write(p.operand_words, p.window.size, p.rows),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build a bank and a delay line per row."""
        m = Module()
        p = self.parameters
        word = Signal(west_word(p))
        m.d.comb += word.eq(self.word)
        for r in range(p.rows):
            if r:
                word = self._hop(m, word, r)
            bank = Bank(words=p.operand_words, bits=p.window.size)
            m.submodules[f"bank_{r}"] = shared(bank, bank.name, platform)
            m.d.comb += [
                bank.write_enable.eq(self.write_enable & (self.write_bank == r)),
                bank.write_address.eq(self.write_address),
                bank.write_value.eq(self.write_value),
                bank.read_address.eq(word.address),
                self.window[r].eq(bank.read_value),
            ]
            m.d.sync += self.control[r].eq(word.control)
        m.d.comb += [self.swapping.eq(word.control.swap), self.last_result.eq(word.result)]
        return m

    def _hop(self, m: Module, word: Signal, row: int) -> Signal:
        """Return the word of the row above as it was one hop ago."""
        p = self.parameters
        line = [Signal(west_word(p), name=f"line_{row}_{t}") for t in range(p.longest_hop)]
        for before, after in zip([word, *line], line, strict=False):
            m.d.sync += after.eq(before)
        out = Signal(west_word(p), name=f"word_{row}")
        with m.If(~self.weight_stationary):
            m.d.comb += out.eq(line[0])
        with m.Else(), m.Switch(self.kept_less_one):
            for kept_less_one in range(p.n):
                with m.Case(kept_less_one):
                    m.d.comb += out.eq(line[kept_less_one * p.slots + p.add_latency - 1])
        return out


class NorthEdge(wiring.Component):
    """C banks of kept values with indices. Column c + 1 reads what column c read a cycle before.

    Members: `word`: the issued address for column 0; `link`, `shift`: per column, one cycle after
    their address.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "word": In(north_word(p)),
                "link": Out(p.link).array(p.cols),
                "shift": Out(1).array(p.cols),
                **bank_write(p.operand_words, p.link.size, p.cols),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build a bank per column."""
        m = Module()
        p = self.parameters
        for c, word in enumerate(_columns(m, self.word, north_word(p), p.cols)):
            bank = Bank(words=p.operand_words, bits=p.link.size)
            m.submodules[f"bank_{c}"] = shared(bank, bank.name, platform)
            m.d.comb += [
                bank.write_enable.eq(self.write_enable & (self.write_bank == c)),
                bank.write_address.eq(self.write_address),
                bank.write_value.eq(self.write_value),
                bank.read_address.eq(word.address),
                self.link[c].eq(bank.read_value),
            ]
            m.d.sync += self.shift[c].eq(word.shift)
        return m


class ResultBanks(wiring.Component):
    """C banks of fp32 (or int32) results, which also hold partial sums between tiles of K.

    A sum read for the north edge arrives Lm + 1 cycles after its word was issued, together with
    the product that it is added to. A sum written in one cycle can be read by the address of that
    cycle. Output-stationary results are written in the order in which they leave, from
    `result_base` on; weight-stationary ones to the address that came with their window.

    Members: `word`: the issued read for column 0; `sum_north`: per column; `result`,
    `result_valid`: per column; `first_address`: where column 0 writes. `host_*`: read while idle,
    the value is out in the next cycle.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "word": In(sum_word(p)),
                "sum_north": Out(32).array(p.cols),
                "result": In(32).array(p.cols),
                "result_valid": In(1).array(p.cols),
                "first_address": In(address_bits(p.result_words)),
                "host_read": In(1),
                "host_bank": In(address_bits(p.cols)),
                "host_address": In(address_bits(p.result_words)),
                "host_value": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build a bank per column."""
        m = Module()
        p = self.parameters
        delayed_word = Signal(sum_word(p))
        m.d.comb += delayed_word.eq(
            delayed(m, Value.cast(self.word), p.mul_latency, name="product")
        )
        reads = _columns(m, delayed_word, sum_word(p), p.cols)
        address = self.first_address
        values = []
        for c, word in enumerate(reads):
            bank = Bank(words=p.result_words, bits=32, transparent=True)
            m.submodules[f"bank_{c}"] = shared(bank, bank.name, platform)
            was_read = Signal(name=f"was_read_{c}")
            m.d.sync += was_read.eq(word.read)
            m.d.comb += [
                bank.write_enable.eq(self.result_valid[c]),
                bank.write_address.eq(address),
                bank.write_value.eq(self.result[c]),
                bank.read_address.eq(Mux(self.host_read, self.host_address, word.address)),
                self.sum_north[c].eq(Mux(was_read, bank.read_value, 0)),
            ]
            address = delayed(m, address, 1, name=f"address_{c}")
            values.append(bank.read_value)
        chosen = Signal.like(self.host_bank)
        m.d.sync += chosen.eq(self.host_bank)
        m.d.comb += self.host_value.eq(Cat(values).word_select(chosen, 32))
        return m


def _columns(m: Module, word: Value, layout: object, cols: int) -> list[Signal]:
    """Return `word` as each column sees it: column c is c cycles later."""
    words = [Signal(layout, name=f"word_{c}") for c in range(cols)]
    m.d.comb += words[0].eq(word)
    for before, after in pairwise(words):
        m.d.sync += after.eq(before)
    return words
