"""The rules of DRAM commands, applied to a history of commands."""

from __future__ import annotations

import pytest

from dataflow.dram_rules import Issued, banks_of, earliest, refusal, rows_after, violations
from dataflow.dram_timing import (
    ACT,
    COMP,
    G_ACT,
    GEMV,
    HBM2,
    PIM_PIPELINE_STEPS,
    PPRE,
    PRE,
    RD,
    READRES,
    REF,
    WR,
    gemv_clocks,
)

BANKS = HBM2.banks_total
PER_RANK = BANKS // HBM2.ranks


def next_clock(history: list[Issued], command: int, bank: int, *, dual: bool = True) -> int:
    return earliest(HBM2, history, command, bank, dual=dual)


def test_an_empty_history_allows_everything_at_once() -> None:
    assert next_clock([], ACT, 3) == 0


def test_the_bus_carries_one_command_a_clock() -> None:
    """Nothing else binds an ACT in one rank and an ACT in another."""
    assert next_clock([Issued(7, ACT, 0)], ACT, PER_RANK) == 8


def test_the_scopes_of_two_act() -> None:
    first = [Issued(10, ACT, 0)]
    assert next_clock(first, ACT, 0) == 10 + HBM2.rc
    assert next_clock(first, ACT, 1) == 10 + HBM2.rrd_l
    assert next_clock(first, ACT, HBM2.banks) == 10 + HBM2.rrd_s


def test_a_write_keeps_reads_of_its_rank_away_until_its_data_are_in() -> None:
    """Data start a write latency after WR, take a burst, and tWTR follows."""
    written = HBM2.write_latency + HBM2.burst
    assert next_clock([Issued(0, WR, 0)], RD, 1) == written + HBM2.wtr_l
    assert next_clock([Issued(0, WR, 0)], RD, HBM2.banks) == written + HBM2.wtr_s


def test_the_window_of_four_act() -> None:
    clocks = [0, 4, 8, 12]
    history = [Issued(c, ACT, HBM2.banks * i) for i, c in enumerate(clocks)]
    assert next_clock(history, ACT, 1) == HBM2.faw
    assert next_clock(history[:3], ACT, 1) == 8 + HBM2.rrd_s


def test_the_slowest_bank_decides_for_its_group_its_rank_and_all() -> None:
    closed = [Issued(5, PPRE, 0), Issued(9, PPRE, 2)]
    assert next_clock(closed, G_ACT, 1) == 9 + HBM2.rp
    assert next_clock(closed, REF, 5) == 9 + HBM2.rp
    opened = [Issued(3, G_ACT, BANKS - 1)]
    assert next_clock(opened, GEMV, 0) == 3 + HBM2.rcd_read


def test_a_gemv_holds_the_multipliers_as_long_as_it_multiplies() -> None:
    for comps in (0, PIM_PIPELINE_STEPS, PIM_PIPELINE_STEPS + 1):
        history = [Issued(0, GEMV, 0, comps=comps)]
        assert next_clock(history, GEMV, 0) == gemv_clocks(HBM2, comps)


def test_only_the_first_comp_of_a_sum_fills_the_pipeline() -> None:
    first = [Issued(0, COMP)]
    assert next_clock(first, READRES, 0) == PIM_PIPELINE_STEPS
    assert next_clock([*first, Issued(5, COMP)], READRES, 0) == 5 + HBM2.comp_step
    again = [*first, Issued(20, READRES), Issued(30, COMP)]
    assert next_clock(again, READRES, 0) == 30 + PIM_PIPELINE_STEPS


@pytest.mark.parametrize(
    ("history", "command", "bank", "why"),
    [
        ([Issued(0, ACT, 0, 5)], ACT, 0, "a row is open"),
        ([], RD, 0, "no row is open"),
        ([Issued(0, ACT, 1, 5)], RD, 1, ""),
        ([Issued(0, ACT, 1, 5), Issued(60, PRE, 1)], WR, 1, "no row is open"),
        ([Issued(0, ACT, 1, 5)], REF, 0, "the rank has an open row"),
        ([Issued(0, ACT, 1, 5)], REF, PER_RANK, ""),
        ([Issued(0, G_ACT, 0, 5)], REF, 0, "the rank has an open row"),
        ([Issued(0, G_ACT, 0, 5)], G_ACT, 3, "the group has an open row"),
        ([Issued(0, G_ACT, 0, 5)], ACT, 0, ""),
        ([Issued(0, G_ACT, 0, 5)], COMP, 0, "a bank has no row open for multiplication"),
        ([Issued(0, ACT, 0, 5)], PPRE, 0, "no row is open for multiplication"),
    ],
)
def test_open_rows_of_two_buffers_allow_and_refuse(history, command, bank, why) -> None:
    rows = rows_after(HBM2, history, dual=True)
    assert refusal(HBM2, rows, command, bank, 7, dual=True) == why


def test_with_one_buffer_a_tile_may_find_its_row_open_in_some_banks() -> None:
    rows = rows_after(HBM2, [Issued(0, ACT, 0, 5)], dual=False)
    assert rows.normal is rows.pim
    assert refusal(HBM2, rows, G_ACT, 0, 5, dual=False) == ""
    assert refusal(HBM2, rows, G_ACT, 0, 6, dual=False) == "the group has an open row"
    assert refusal(HBM2, rows, PPRE, 0, 5, dual=False) == "no row is open for multiplication"


def test_a_stream_is_judged_command_by_command() -> None:
    stream = [Issued(0, ACT, 0), Issued(13, RD, 0), Issued(20, RD, 1)]
    found = violations(HBM2, stream, dual=True)
    assert len(found) == 2
    assert found[0].endswith("is 1 clocks early")
    assert found[1].endswith("no row is open")


def test_commands_act_on_a_bank_a_group_a_rank_or_all() -> None:
    assert list(banks_of(HBM2, RD, 6)) == [6]
    assert list(banks_of(HBM2, G_ACT, 6)) == [4, 5, 6, 7]
    assert len(banks_of(HBM2, REF, 20)) == PER_RANK
    assert len(banks_of(HBM2, COMP, 20)) == BANKS
