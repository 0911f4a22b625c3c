"""Faults in the PIM hardware that the suite must see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataflow.kv_layout import KvLayout
from tests.cosim.mutants import Mutant, mutated
from tests.cosim.pim_channel import EIGHT, FOUR, attend_case, check_timing, check_values, tiles
from tests.cosim.pim_model import SMALL, UNLIKE
from tests.cosim.test_pim_channel import check_estimates
from tests.cosim.test_pim_gate import check_constraints, check_refusals, check_window
from tests.cosim.test_pim_unit import check_unit

TIMING_MUTANTS = [
    Mutant(
        "every constraint is a clock short",
        "rtl.pim.timers",
        "m.d.sync += left.eq(delay - 1)",
        "m.d.sync += left.eq(delay - 2)",
    ),
    Mutant(
        "every constraint is a clock long",
        "rtl.pim.timers",
        "m.d.sync += left.eq(delay - 1)",
        "m.d.sync += left.eq(min(delay, int(column.max()) - 1))",
    ),
    Mutant(
        "a bank does not wait for the commands of its rank",
        "rtl.pim.gate",
        "groups[i // timing.banks] & ranks[i // per_rank]",
        "groups[i // timing.banks]",
    ),
    Mutant(
        "a bank does not wait for the commands of its group",
        "rtl.pim.gate",
        "groups[i // timing.banks] & ranks[i // per_rank]",
        "ranks[i // per_rank]",
    ),
    Mutant(
        "the other ranks do not wait",
        "rtl.pim.gate",
        "Cat(Mux(here, fires, 0), Mux(here, 0, fires))",
        "Cat(Mux(here, fires, 0), Mux(here, 0, 0 & fires))",
    ),
    Mutant(
        "a GEMV does not hold the multipliers",
        "rtl.pim.gate",
        "left.eq(timing.comp_step * (steps + 1) - 1)",
        "left.eq(timing.comp_step * steps - 1)",
    ),
    Mutant(
        "a READRES does not wait for the pipeline",
        "rtl.pim.gate",
        "filling.eq(dt.PIM_PIPELINE_STEPS - 1)",
        "filling.eq(dt.PIM_PIPELINE_STEPS - 2)",
    ),
    Mutant(
        "a bank forgets its reads: tRTP and tCCD_L are missing",
        "rtl.pim.bank",
        "timers.events.eq(self.issued)",
        "timers.events.eq(self.issued & ~(1 << dt.RD))",
    ),
]

WINDOW_MUTANTS = [
    Mutant(
        "tFAW is missing",
        "rtl.pim.gate",
        "act_waits = _bit(dt.ACT, ~window.ready)",
        "act_waits = _bit(dt.ACT, 0 & window.ready)",
    ),
    Mutant(
        "tFAW is a clock short",
        "rtl.pim.timers",
        "left.eq(self.faw - 1)",
        "left.eq(self.faw - 2)",
    ),
    Mutant(
        "tFAW counts three ACT",
        "rtl.pim.timers",
        "m.d.sync += turn.eq(turn + 1)",
        "m.d.sync += turn.eq((turn + 1) % 3)",
    ),
]

ROW_MUTANTS = [
    Mutant(
        "a row is opened over another",
        "rtl.pim.bank",
        "ACT: ~self.is_open,",
        "ACT: 1,",
    ),
    Mutant(
        "a rank is refreshed with a row open for multiplication",
        "rtl.pim.bank",
        "REF: ~(self.is_open | self.pim_open),",
        "REF: ~self.is_open,",
    ),
    Mutant(
        "one bank with a row is enough to multiply",
        "rtl.pim.gate",
        "legal[kind].eq(Cat(bank.allowed[kind] for bank in banks).all())",
        "legal[kind].eq(Cat(bank.allowed[kind] for bank in banks).any())",
    ),
    Mutant(
        "a G_ACT looks at one bank of its group",
        "rtl.pim.gate",
        "m.d.comb += legal[kind].eq(Array(together)[at // size])",
        "m.d.comb += legal[kind].eq(Array(together)[at // size] if kind == dt.REF else one[kind])",
    ),
]

UNIT_MUTANTS = [
    Mutant(
        "the tree adds lanes that lie half apart",
        "rtl.pim.unit",
        "zip(terms[0::2], terms[1::2], strict=True)",
        "zip(terms[: len(terms) // 2], terms[len(terms) // 2 :], strict=True)",
    ),
    Mutant(
        "the sum is not cleared",
        "rtl.pim.unit",
        "m.d.sync += total.eq(0)",
        "m.d.sync += total.eq(total)",
    ),
]

CHANNEL_MUTANTS = [
    Mutant(
        "a header leaves with the last bank that it closes",
        "rtl.pim.sequencer",
        "closed = self.pim_open == 0",
        "closed = (self.pim_open & (self.pim_open - 1)) == 0",
    ),
    Mutant(
        "a PIM command does not wait for the copy of a GWRITE",
        "rtl.pim.sequencer",
        "gwriting.eq(self.fetching | (left != 0))",
        "gwriting.eq(self.fetching)",
    ),
    Mutant(
        "the refresh falls due a clock late",
        "rtl.pim.refresh",
        "left = Signal(range(interval + 1), init=interval)",
        "left = Signal(range(interval + 2), init=interval + 1)",
    ),
    Mutant(
        "a refresh is not waited for",
        "rtl.pim.sequencer",
        "waits = self.program.valid & ~self.skips & ~self.refresh_now",
        "waits = self.program.valid & ~self.refresh_now",
    ),
]

ESTIMATE_MUTANTS = [
    Mutant(
        "the estimate forgets the READRES",
        "rtl.pim.estimate",
        "(self.results * read_step - read_step)",
        "(0 * self.results)",
    ),
    Mutant(
        "the estimate forgets a bank",
        "rtl.pim.estimate",
        "for bank in range(t.banks_total)",
        "for bank in range(t.banks_total - 1)",
    ),
]

VALUE_MUTANTS = [
    Mutant(
        "the columns go on in the next tile",
        "rtl.pim.steps",
        "with m.If(self.restart):",
        "with m.If(0 & self.restart):",
    ),
    Mutant(
        "the halves of an access are swapped",
        "rtl.pim.cells",
        "m.d.sync += place.eq(column[:low])",
        "m.d.sync += place.eq(~column[:low])",
    ),
    Mutant(
        "sums leave a clock early",
        "rtl.pim.channel",
        "clocks - 1, clocks - banks[0].latency",
        "clocks - 1, clocks - banks[0].latency - 1",
    ),
]


TINY = replace(EIGHT, compute=0, refresh=1, rows=64)
LAYOUT = KvLayout(heads=4, head_width=32, banks=8, row_elements=128)


def check_gate(variant: str, directory) -> None:
    check_constraints(UNLIKE, dual=True, level="amaranth", directory=directory, variant=variant)


def check_rows(variant: str, directory) -> None:
    check_refusals(SMALL, dual=True, level="amaranth", directory=directory, variant=variant)


def check_tiles(variant: str, directory) -> None:
    """V tiles up to a refresh and on from there."""
    program = tiles("attend", 100, LAYOUT, dual=True)[:30]
    check_timing(TINY, program, level="amaranth", directory=directory, variant=variant)


def check_sums(variant: str, directory) -> None:
    check_values(FOUR, attend_case(FOUR, 1), directory=directory, variant=variant)


def check_act(variant: str, directory) -> None:
    check_window(level="amaranth", directory=directory, variant=variant)


def check_estimate(variant: str, directory) -> None:
    check_estimates(EIGHT)


def check_products(variant: str, directory) -> None:
    check_unit("amaranth", directory, variant)


CASES = [
    (check, mutant)
    for check, mutants in (
        (check_gate, TIMING_MUTANTS),
        (check_act, WINDOW_MUTANTS),
        (check_rows, ROW_MUTANTS),
        (check_products, UNIT_MUTANTS),
        (check_tiles, CHANNEL_MUTANTS),
        (check_estimate, ESTIMATE_MUTANTS),
        (check_sums, VALUE_MUTANTS),
    )
    for mutant in mutants
]


def test_the_tiles_pass_without_a_fault(tmp_path) -> None:
    """The other checks run without a fault in the modules that they come from."""
    check_tiles("", tmp_path)


@pytest.mark.parametrize(("check", "mutant"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_a_fault_is_seen(check, mutant: Mutant, icarus, tmp_path) -> None:
    with mutated(mutant), pytest.raises(AssertionError, match=r"differ|is refused"):
        check(mutant.name, tmp_path)
