"""The closed form of a PIM stream is the stepped controller, clock for clock."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataflow.dram_timing import HBM2
from simulator.dram.closed_form import GWRITE, Run, applies, run_ends
from tests.dram.streams import stepped_clocks


def tiles(gemvs: int, comps: int, count: int, round_up: bool = True) -> Run:
    total = gemvs * comps
    announced = 1 << (total - 1).bit_length() if round_up else 1 << total.bit_length() - 1
    return Run(gemvs, comps, announced, 1 << gemvs.bit_length() - 1, count)


def streams(*, rounded_down: bool):
    """Return streams that end with a tile; headers may announce fewer COMP than follow."""
    tile = st.builds(
        tiles,
        st.integers(1, 4),
        st.integers(1, 32),
        st.integers(1, 30),
        st.booleans() if rounded_down else st.just(True),
    )
    return st.lists(st.one_of(st.just(GWRITE), tile), min_size=1, max_size=16).filter(
        lambda found: found[-1].gemvs
    )


@st.composite
def timings(draw):
    return replace(
        HBM2,
        rp=draw(st.integers(4, 16)),
        rcd_read=draw(st.integers(6, 20)),
        rtp=draw(st.integers(2, 8)),
        faw=draw(st.integers(16, 40)),
        rfc=draw(st.integers(100, 400)),
        refi=2 * draw(st.integers(1200, 4000)),
        ccd_l=draw(st.integers(2, 4)),
    )


@settings(max_examples=120, deadline=None)
@given(streams(rounded_down=True), st.booleans())
def test_a_stream_takes_the_clocks_of_the_stepped_controller(runs, refresh) -> None:
    law = run_ends(HBM2, runs, refresh=refresh, dual=True)[-1]
    assert law == stepped_clocks(HBM2, runs, refresh=refresh)


@settings(max_examples=120, deadline=None)
@given(streams(rounded_down=False), st.booleans())
def test_so_it_does_with_one_row_buffer(runs, refresh) -> None:
    law = run_ends(HBM2, runs, refresh=refresh, dual=False)[-1]
    assert law == stepped_clocks(HBM2, runs, refresh=refresh, dual=False)


@settings(max_examples=120, deadline=None)
@given(timings(), streams(rounded_down=False), st.booleans(), st.booleans())
def test_so_it_does_with_other_timings(timing, runs, refresh, dual) -> None:
    assume(applies(timing))
    law = run_ends(timing, runs, refresh=refresh, dual=dual)[-1]
    assert law == stepped_clocks(timing, runs, refresh=refresh, dual=dual)


@pytest.mark.parametrize("dual", [False, True])
def test_a_run_is_its_tiles_one_by_one(dual: bool) -> None:
    runs = [GWRITE, tiles(4, 8, 50), GWRITE, tiles(1, 19, 70)]
    single = [run._replace(count=1) for run in runs for _ in range(run.count)]
    ends = run_ends(HBM2, single, refresh=True, dual=dual)
    last = np.cumsum([run.count for run in runs]) - 1
    assert run_ends(HBM2, runs, refresh=True, dual=dual) == [ends[i] for i in last]
