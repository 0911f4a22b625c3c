"""Every timing constraint is tight on both sides: refused a clock before, legal in its clock."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dataflow.dram_timing import (
    ACT,
    COMMANDS,
    COMP,
    G_ACT,
    GEMV,
    GWRITE,
    HBM2,
    MEMORIES,
    PPRE,
    PRE,
    RD,
    READRES,
    REF,
    WR,
    gemv_clocks,
)
from simulator.dram.legality import earliest_clock, idle_channel, issue
from workloads.errors import InputError

T = HBM2
LAST_WRITE_BYTE = T.write_latency + T.burst
READ_TO_WRITE = T.read_latency + T.burst + T.rtrs - T.write_latency
OTHER_RANK = T.groups * T.banks
SAME, GROUP, RANK, OTHER = 0, 1, T.banks, OTHER_RANK
"""Second bank, the first being bank 0."""

CASES = [
    ("tRCDRD", ACT, RD, SAME, T.rcd_read),
    ("tRCDWR", ACT, WR, SAME, T.rcd_write),
    ("tRAS", ACT, PRE, SAME, T.ras),
    ("tRC", ACT, ACT, SAME, T.ras + T.rp),
    ("tRP", PRE, ACT, SAME, T.rp),
    ("tRP before REF", PRE, REF, SAME, T.rp),
    ("tRRD_L", ACT, ACT, GROUP, T.rrd_l),
    ("tRRD_S", ACT, ACT, RANK, T.rrd_s),
    ("other ranks open at once", ACT, ACT, OTHER, 0),
    ("tCCD_L of RD", RD, RD, SAME, max(T.burst, T.ccd_l)),
    ("tCCD_L of RD, same group", RD, RD, GROUP, max(T.burst, T.ccd_l)),
    ("tCCD_S of RD", RD, RD, RANK, max(T.burst, T.ccd_s)),
    ("tRTRS of RD", RD, RD, OTHER, T.burst + T.rtrs),
    ("tCCD_L of WR", WR, WR, SAME, max(T.burst, T.ccd_l)),
    ("tCCD_S of WR", WR, WR, RANK, max(T.burst, T.ccd_s)),
    ("burst of WR to another rank", WR, WR, OTHER, T.burst),
    ("tWTR_L", WR, RD, SAME, LAST_WRITE_BYTE + T.wtr_l),
    ("tWTR_L, same group", WR, RD, GROUP, LAST_WRITE_BYTE + T.wtr_l),
    ("tWTR_S", WR, RD, RANK, LAST_WRITE_BYTE + T.wtr_s),
    ("WR to RD of another rank", WR, RD, OTHER,
     max(0, LAST_WRITE_BYTE + T.burst + T.rtrs - T.read_latency - T.burst)),
    ("bus turns to WR", RD, WR, SAME, READ_TO_WRITE),
    ("bus turns to WR of another rank", RD, WR, OTHER, READ_TO_WRITE),
    ("tRTP", RD, PRE, SAME, T.rtp),
    ("tWR", WR, PRE, SAME, LAST_WRITE_BYTE + T.wr),
    ("tRFC", REF, ACT, SAME, T.rfc),
    ("tRFC before G_ACT", REF, G_ACT, SAME, T.rfc),
    ("tRFC before REF", REF, REF, SAME, T.rfc),
    ("GWRITE before COMP", GWRITE, COMP, SAME, 32 * (T.ccd_s + T.ccd_l)),
    ("GWRITE before GEMV", GWRITE, GEMV, SAME, 32 * (T.ccd_s + T.ccd_l)),
    ("GWRITE before GWRITE", GWRITE, GWRITE, SAME, 32 * (T.ccd_s + T.ccd_l)),
    ("GWRITE holds its bank", GWRITE, RD, SAME, 32 * (T.ccd_s + T.ccd_l)),
    ("GWRITE keeps its row", GWRITE, PRE, SAME, 32 * (T.ccd_s + T.ccd_l)),
    ("GWRITE leaves other groups", GWRITE, RD, RANK, max(T.burst, T.ccd_s)),
    ("row of GWRITE", ACT, GWRITE, SAME, T.rcd_read),
    ("G_ACT, tFAW apart", G_ACT, G_ACT, RANK, T.faw),
    ("G_ACT of the same group, tRC", G_ACT, G_ACT, SAME, T.ras + T.rp),
    ("ranks open groups in parallel", G_ACT, G_ACT, OTHER, 0),
    ("G_ACT before COMP", G_ACT, COMP, SAME, T.rcd_read),
    ("G_ACT before GEMV", G_ACT, GEMV, SAME, T.rcd_read),
    ("G_ACT keeps its row", G_ACT, PPRE, SAME, T.ras),
    ("G_ACT before ACT", G_ACT, ACT, RANK, T.faw),
    ("PPRE before G_ACT", PPRE, G_ACT, SAME, T.rp),
    ("PPRE before REF", PPRE, REF, SAME, T.rp),
    ("COMP cadence", COMP, COMP, SAME, max(T.burst, T.ccd_s)),
    ("COMP keeps the row", COMP, PPRE, OTHER, T.rtp),
    ("COMP before WR", COMP, WR, SAME, READ_TO_WRITE),
    ("READRES before COMP", READRES, COMP, SAME, max(T.burst, T.ccd_s)),
    ("READRES on the bus", READRES, RD, SAME, T.burst + T.rtrs),
    ("READRES before WR", READRES, WR, OTHER, READ_TO_WRITE),
    ("READRES before G_ACT", READRES, G_ACT, SAME, T.rtp + T.rp),
    ("GEMV before PPRE", GEMV, PPRE, OTHER, T.rtp),
    ("GEMV before G_ACT", GEMV, G_ACT, OTHER, T.rtp + T.rp),
    ("GEMV on the bus", GEMV, RD, SAME, T.burst + T.rtrs),
    ("RD before READRES of its rank", RD, READRES, SAME, T.burst + T.rtrs),
    ("two row buffers: ACT then G_ACT", ACT, G_ACT, SAME, T.rrd_l),
]  # fmt: skip

BLOCKED = [
    ("one row buffer: ACT then G_ACT", ACT, G_ACT, SAME, T.ras + T.rp),
    ("one row buffer: G_ACT then ACT", G_ACT, ACT, SAME, T.ras + T.rp),
    ("one row buffer: RD then COMP", RD, COMP, SAME, max(T.burst, T.ccd_l)),
    ("one row buffer: WR then COMP", WR, COMP, SAME, LAST_WRITE_BYTE + T.wtr_l),
    ("one row buffer: COMP keeps the row", COMP, PRE, SAME, T.rtp),
]


def check(first: int, second: int, bank: int, delay: int, *, dual: bool) -> None:
    channel = idle_channel(T, dual=dual)
    issue(channel, first, clock=1000, bank=0)
    assert earliest_clock(channel, second, bank=bank) == (1000 + delay if delay else 0)
    if delay:
        with pytest.raises(InputError, match=f"is legal from clock {1000 + delay}"):
            issue(channel, second, clock=1000 + delay - 1, bank=bank)
    issue(channel, second, clock=1000 + delay, bank=bank)


@pytest.mark.parametrize(("what", "first", "second", "bank", "delay"), CASES)
def test_two_row_buffers(what, first, second, bank, delay) -> None:
    check(first, second, bank, delay, dual=True)


@pytest.mark.parametrize(("what", "first", "second", "bank", "delay"), BLOCKED)
def test_one_row_buffer(what, first, second, bank, delay) -> None:
    check(first, second, bank, delay, dual=False)


@pytest.mark.parametrize("dual", [False, True])
def test_the_fifth_activation_waits_for_the_first(dual: bool) -> None:
    channel = idle_channel(T, dual=dual)
    for i in range(4):
        issue(channel, ACT, clock=100 + T.rrd_s * i, bank=T.banks * i)
    assert 3 * T.rrd_s + T.rrd_l < T.faw
    assert earliest_clock(channel, ACT, bank=1) == 100 + T.faw
    with pytest.raises(InputError):
        issue(channel, ACT, clock=100 + T.faw - 1, bank=1)
    issue(channel, ACT, clock=100 + T.faw, bank=1)


@pytest.mark.parametrize("comps", [1, 6, 7, 32])
def test_a_gemv_holds_the_multipliers_as_long_as_its_comps(comps: int) -> None:
    channel = idle_channel(T, dual=True)
    issue(channel, GEMV, clock=50, comps=comps)
    assert gemv_clocks(T, comps) == max(T.burst, T.ccd_s) * (max(comps, 6) + 1)
    assert earliest_clock(channel, GEMV) == 50 + gemv_clocks(T, comps)


def test_the_first_sum_waits_for_the_adder_tree() -> None:
    channel = idle_channel(T, dual=False)
    issue(channel, COMP, clock=10)
    assert earliest_clock(channel, READRES) == 10 + 6
    issue(channel, COMP, clock=20)
    assert earliest_clock(channel, READRES) == 20 + max(T.burst, T.ccd_s)


def test_a_refresh_holds_one_rank_only() -> None:
    channel = idle_channel(T, dual=True)
    issue(channel, REF, clock=5, bank=0)
    assert earliest_clock(channel, ACT, bank=OTHER_RANK - 1) == 5 + T.rfc
    assert earliest_clock(channel, ACT, bank=OTHER_RANK) == 0
    assert T.refresh_interval == T.refi // T.ranks == 1950


@pytest.mark.parametrize("timing", MEMORIES.values(), ids=MEMORIES)
@pytest.mark.parametrize("first", range(len(COMMANDS)))
def test_a_narrower_scope_never_waits_less(timing, first) -> None:
    for second in range(len(COMMANDS)):
        channel = idle_channel(timing, dual=True)
        issue(channel, first, clock=500, bank=0)
        clocks = [earliest_clock(channel, second, bank=bank) for bank in (0, 1, timing.banks)]
        assert clocks == sorted(clocks, reverse=True)


def test_a_group_opens_when_the_last_of_its_banks_may() -> None:
    channel = idle_channel(T, dual=True)
    for bank in range(T.banks):
        issue(channel, PPRE, clock=100 + bank, bank=bank)
    last = 100 + T.banks - 1 + T.rp
    assert {earliest_clock(channel, G_ACT, bank=b) for b in range(T.banks)} == {last}
    with pytest.raises(InputError, match=f"is legal from clock {last}"):
        issue(channel, G_ACT, clock=last - 1)
    assert earliest_clock(channel, G_ACT, bank=T.banks) == 0


def test_a_rank_refreshes_when_the_last_of_its_banks_may() -> None:
    channel = idle_channel(T, dual=True)
    issue(channel, PRE, clock=100, bank=0)
    issue(channel, PRE, clock=150, bank=OTHER_RANK - 1)
    assert earliest_clock(channel, REF, bank=0) == 150 + T.rp
    assert earliest_clock(channel, REF, bank=OTHER_RANK) == 0


def test_what_is_no_bank_and_no_command_is_refused() -> None:
    channel = idle_channel(T, dual=True)
    with pytest.raises(InputError, match="bank must be 0 to 31, not 32"):
        earliest_clock(channel, ACT, bank=32)
    with pytest.raises(InputError, match="command must be 0 to 10, not 11"):
        earliest_clock(channel, 11)


def test_timings_are_checked() -> None:
    for field, value, message in (
        ("rp", 0, "rp must be a positive whole number, not 0"),
        ("read_latency", 14.5, "read_latency must be a positive whole number, not 14.5"),
        ("rtrs", -1, "rtrs must be a whole number from 0 on, not -1"),
        ("clock_hz", math.nan, "clock_hz must be a positive number, not nan"),
    ):
        with pytest.raises(InputError) as error:
            replace(HBM2, **{field: value})
        assert str(error.value) == message
    assert np.isclose(HBM2.bytes_per_clock * HBM2.clock_hz * 32, 1.024e12)
