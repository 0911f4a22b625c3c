"""Faults that the suite must see: put into the sources, they make the suite's checks fail."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cosim.mutants import Mutant, mutated
from tests.cosim.sat_model import TINY
from tests.cosim.test_products import Point, compare
from tests.cosim.test_selection import assert_selects, few_values, sore
from workloads import NM

ARRAY_MUTANTS = [
    Mutant(
        "the skew registers are missing in the north",
        "rtl.sat.edges",
        "    for before, after in pairwise(words):\n        m.d.sync +=",
        "    for before, after in pairwise(words):\n        m.d.comb +=",
    ),
    Mutant(
        "one skew register is missing in the west",
        "rtl.sat.edges",
        "            m.d.comb += out.eq(line[0])",
        "            m.d.comb += out.eq(line[0] if row > 1 else word)",
    ),
    Mutant(
        "the index is off by one",
        "rtl.sat.uspe",
        "for i in range(p.m))[operand.index]",
        "for i in range(p.m))[operand.index ^ 1]",
    ),
    Mutant(
        "the adder rounds ties away from zero",
        "rtl.float.parts",
        "(guard & (sticky | kept[0]))",
        "guard",
    ),
    Mutant(
        "a sum returns to the adder one cycle late",
        "rtl.sat.uspe",
        'delayed(m, total, p.slots - p.add_latency, name="ring")',
        'delayed(m, total, p.slots - p.add_latency + 1, name="ring")',
    ),
    Mutant(
        "a sum reaches the next row one cycle late",
        "rtl.sat.edges",
        "kept_less_one * p.slots + p.add_latency - 1",
        "kept_less_one * p.slots + p.add_latency - 2",
    ),
    Mutant(
        "the drain chain starts to shift a cycle early",
        "rtl.sat.stce",
        "m.d.sync += remaining.eq(remaining - 1)",
        "m.d.sync += remaining.eq(remaining - 2)",
    ),
    Mutant(
        "weights are taken into use without the bypass",
        "rtl.sat.uspe",
        "now[j].eq(Mux(self.west_control.swap, chain[j], held[j]))\n"
        "            m.d.sync += held[j].eq(now[j])",
        "now[j].eq(held[j])\n"
        "            m.d.sync += held[j].eq(Mux(self.west_control.swap, chain[j], held[j]))",
    ),
]

SELECTION_MUTANTS = [
    Mutant(
        "of equal magnitudes the later one is kept",
        "rtl.sat.sore",
        "Array(keys)[victim] < newcomer",
        "Array(keys)[victim] <= newcomer",
    ),
    Mutant(
        "of equal magnitudes the first one makes room",
        "rtl.sat.sore",
        "(keys[i] <= key)",
        "(keys[i] < key)",
    ),
    Mutant(
        "the sign takes part in the comparison",
        "rtl.sat.sore",
        "entry.value[:-1], 0)",
        "entry.value[1:], 0)",
    ),
]

POINTS = [
    Point((7, 9, 5), NM(2, 4), "os", "all", "flowing", 7, 0),
    Point((7, 26, 3), NM(2, 4), "ws", "all", "flowing", 4, 1),
    Point((4, 6, 3), NM(1, 1), "ws", "all", "flowing", 4, 2),
    Point((6, 40, 4), NM(2, 4), "os", "all", "flowing", 6, 3),
]


def check_array(mutant: str, runs) -> None:
    wrong = compare(TINY, "icarus", POINTS, runs, variant=mutant)
    assert not wrong, "\n".join(wrong)


def check_selection(runs) -> None:
    values = few_values(np.random.default_rng(4), (80, 2))
    assert_selects(sore("amaranth", runs), values, NM(2, 8), stall=0)


def test_the_checks_pass_without_a_fault(icarus, tmp_path) -> None:
    check_array("", tmp_path)
    check_selection(tmp_path)


@pytest.mark.parametrize("mutant", ARRAY_MUTANTS, ids=lambda mutant: mutant.name)
def test_a_fault_in_the_array_is_seen(mutant: Mutant, icarus, tmp_path) -> None:
    with mutated(mutant), pytest.raises(AssertionError, match=r"differ|cycles|does not end"):
        check_array(mutant.name, tmp_path)


@pytest.mark.parametrize("mutant", SELECTION_MUTANTS, ids=lambda mutant: mutant.name)
def test_a_fault_in_the_selection_is_seen(mutant: Mutant, tmp_path) -> None:
    with mutated(mutant), pytest.raises(AssertionError):
        check_selection(tmp_path)
    check_selection(tmp_path)
