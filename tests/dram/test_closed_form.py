"""The closed form of a PIM stream is the stepped controller, clock for clock."""

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataflow.dram_timing import HBM2
from simulator.dram import closed_form
from tests.dram.streams import law, stepped_clocks

GWRITE = [closed_form.GWRITE_ITEM, 0, 0, 0, 0]


def tile(gemvs: int, comps: int, round_up: bool) -> list[int]:
    total = gemvs * comps
    announced = 1 << (total - 1).bit_length() if round_up else 1 << total.bit_length() - 1
    return [closed_form.TILE_ITEM, gemvs, comps, announced, 1 << gemvs.bit_length() - 1]


items = st.lists(
    st.one_of(
        st.just(GWRITE),
        st.builds(tile, st.integers(1, 4), st.integers(1, 32), st.booleans()),
    ),
    min_size=1,
    max_size=40,
).filter(lambda found: found[-1][0] == closed_form.TILE_ITEM)


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
@given(items, st.booleans())
def test_a_stream_takes_the_clocks_of_the_stepped_controller(found, refresh) -> None:
    stream = np.array(found * 3, np.int64)
    assert law(HBM2, stream, refresh=refresh) == stepped_clocks(HBM2, stream, refresh=refresh)


@settings(max_examples=120, deadline=None)
@given(timings(), items, st.booleans())
def test_so_it_does_with_other_timings(timing, found, refresh) -> None:
    assume(closed_form.applies(timing))
    stream = np.array(found * 2, np.int64)
    assert law(timing, stream, refresh=refresh) == stepped_clocks(timing, stream, refresh=refresh)
