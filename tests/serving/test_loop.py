"""The serving loop conserves requests, tokens and pages, whatever the device's times are."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.kv_layout import KvLayout
from simulator.serving import Device, Outcome, Request, serve, summary
from simulator.serving.caches import ChannelTiles, TokenPages
from simulator.serving.metrics import request_rows
from workloads import InputError

LAYOUT = KvLayout(heads=2, head_width=8, banks=4, row_elements=16)


@dataclass
class Recorder:
    """A device whose times depend on the batch, and what it was asked."""

    units: int = 0
    capacity_pages: int = 12
    channels: int = 0
    decoded: int = 0
    prompts: list[tuple[int, ...]] = field(default_factory=list)

    def decode_s(self, lengths: tuple[int, ...], channels: tuple[int, ...]) -> float:
        self.decoded += len(lengths)
        return 0.25 + 0.001 * sum(lengths) + 0.01 * max(channels)

    def prefill_s(self, prompts: tuple[int, ...]) -> float:
        self.prompts.append(prompts)
        return 0.125 * sum(prompts)

    def make_cache(self) -> TokenPages | ChannelTiles:
        if self.channels:
            return ChannelTiles(layout=LAYOUT, channels=self.channels, tiles_per_channel=30)
        return TokenPages(capacity_pages=self.capacity_pages, page_tokens=4)

    @property
    def device(self) -> Device:
        return Device(
            name="recorder",
            decode_s=self.decode_s,
            prefill_s=self.prefill_s,
            make_cache=self.make_cache,
            prefill_units=self.units,
        )


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[Request, ...]:
    gaps = draw(st.lists(st.sampled_from([0.0, 0.1, 1.0, 30.0]), min_size=1, max_size=12))
    tokens = st.tuples(st.integers(1, 16), st.integers(1, 16))
    now, made = 0.0, []
    for gap in gaps:
        now += gap
        prompt, output = draw(tokens)
        made.append(Request(arrival_s=now, input_tokens=prompt, output_tokens=output))
    return tuple(made)


recorders = st.builds(Recorder, units=st.integers(0, 2), channels=st.sampled_from([0, 1, 3]))
policies = st.sampled_from(["preempt", "reserve"])


@given(arrivals(), recorders, policies, st.integers(1, 6))
def test_nothing_is_lost_served_twice_or_leaked(requests, recorder, policy, most) -> None:
    outcome = serve(requests, recorder.device, policy=policy, most_running=most)
    assert [each.request for each in outcome.served] == list(requests)
    assert [each.tokens for each in outcome.served] == [r.output_tokens for r in requests]
    assert recorder.decoded + len(outcome.prefills) == sum(r.output_tokens for r in requests)
    assert outcome.leaked_pages == 0
    assert all(each.used_pages <= outcome.capacity_pages for each in outcome.iterations)
    assert all(each.decoding <= most for each in outcome.iterations)


@given(arrivals(), recorders, policies, st.integers(1, 6))
def test_time_only_goes_on(requests, recorder, policy, most) -> None:
    outcome = serve(requests, recorder.device, policy=policy, most_running=most)
    end = 0.0
    for each in outcome.iterations:
        assert each.start_s >= end
        assert each.seconds > 0
        end = each.start_s + each.seconds
    for number, each in enumerate(outcome.served):
        first = next(p for p in outcome.prefills if p.request == number)
        assert each.request.arrival_s <= each.prefill_start_s == first.start_s
        assert each.first_token_s == first.start_s + first.seconds
        assert first.seconds >= 0.125 * each.request.input_tokens
        assert each.finish_s >= each.first_token_s


@given(arrivals(), recorders, policies)
def test_the_same_requests_give_the_same_run(requests, recorder, policy) -> None:
    runs = [serve(requests, recorder.device, policy=policy) for _ in range(2)]
    assert runs[0] == runs[1]


@given(arrivals(), recorders, st.integers(1, 6))
def test_reserved_pages_need_no_preemption(requests, recorder, most) -> None:
    outcome = serve(requests, recorder.device, policy="reserve", most_running=most)
    assert len(outcome.prefills) == len(requests)
    assert summary(outcome)["preemptions"] == 0


@given(arrivals(), recorders)
def test_a_preempted_request_is_prefilled_once_more_with_what_it_had_made(
    requests, recorder
) -> None:
    outcome = serve(requests, recorder.device, policy="preempt")
    for number, each in enumerate(outcome.served):
        own = [p.tokens for p in outcome.prefills if p.request == number]
        assert len(own) == 1 + each.preemptions
        assert own == sorted(set(own))
        assert own[0] == each.request.input_tokens
    assert outcome.served[0].preemptions == 0


@given(arrivals(), st.integers(1, 2), st.sampled_from([1, 20, 1000]))
def test_units_prefill_one_group_at_a_time_in_order(requests, units, most_tokens) -> None:
    outcome = serve(
        requests, Recorder(units=units).device, policy="reserve", most_prefill_tokens=most_tokens
    )
    for unit in range(units):
        own = [p for p in outcome.prefills if p.unit == unit]
        for before, after in pairwise(own):
            together = (before.start_s, before.seconds) == (after.start_s, after.seconds)
            assert together or after.start_s >= before.start_s + before.seconds
    starts = [each.prefill_start_s for each in outcome.served]
    assert starts == sorted(starts)
    for start, unit in {(p.start_s, p.unit) for p in outcome.prefills}:
        group = [p for p in outcome.prefills if (p.start_s, p.unit) == (start, unit)]
        assert len(group) == 1 or sum(p.tokens for p in group) <= most_tokens
        assert all(outcome.served[p.request].request.arrival_s <= start for p in group)


def one(prompt: int, output: int, at: float = 0.0) -> Request:
    return Request(arrival_s=at, input_tokens=prompt, output_tokens=output)


def steady(units: int, capacity_pages: int = 100) -> Device:
    """One second a prefill, two an iteration; pages of one token."""
    return Device(
        name="steady",
        decode_s=lambda lengths, channels: 2.0,
        prefill_s=lambda prompts: 1.0,
        make_cache=lambda: TokenPages(capacity_pages=capacity_pages, page_tokens=1),
        prefill_units=units,
    )


def finishes(outcome: Outcome) -> list[tuple[float, float]]:
    return [(each.first_token_s, each.finish_s) for each in outcome.served]


@pytest.mark.parametrize("units", [0, 1])
def test_a_lone_request_takes_its_prefill_and_one_iteration_for_each_further_token(units) -> None:
    outcome = serve([one(10, 3, at=5.0)], steady(units))
    assert finishes(outcome) == [(6.0, 10.0)]
    assert request_rows(outcome)[0]["time_per_output_token_s"] == 2.0
    assert summary(outcome)["tokens_per_s"] == 3 / 5


def test_a_request_of_one_token_never_joins_the_batch_of_a_device_with_units() -> None:
    outcome = serve([one(10, 1)], steady(1))
    assert finishes(outcome) == [(1.0, 1.0)]
    assert outcome.iterations == ()
    assert summary(outcome)["mean_batch"] == 0


def test_separate_units_prefill_while_the_device_decodes() -> None:
    both = [one(10, 3), one(10, 3, at=0.5)]
    # units: tokens at 1 and 2; iterations from 1 to 3 (first alone), 3 to 5 (both), 5 to 7
    assert finishes(serve(both, steady(1))) == [(1.0, 5.0), (2.0, 7.0)]
    # itself: prefills from 0 to 1 and from 1 to 2, with an iteration of the first to 4, then two
    assert finishes(serve(both, steady(0))) == [(1.0, 6.0), (2.0, 8.0)]


@pytest.mark.parametrize("units", [0, 1])
def test_prompts_that_wait_are_read_together(units: int) -> None:
    both = [one(10, 3), one(10, 3)]
    assert finishes(serve(both, steady(units))) == [(1.0, 5.0), (1.0, 5.0)]


def test_a_prefill_holds_up_those_who_decode_on_the_same_device() -> None:
    outcome = serve([one(10, 3), one(10, 1, at=1.5)], steady(0))
    # iteration 1 to 3, then prefill 3 to 4 and iteration to 6
    assert finishes(outcome) == [(1.0, 6.0), (4.0, 4.0)]


def test_the_youngest_gives_way_and_starts_again_with_its_tokens() -> None:
    outcome = serve([one(2, 4), one(2, 3)], steady(0, capacity_pages=5))
    # both read (4 pages); for the next tokens there is one page: the second leaves, 2 + 1 to read
    assert [each.preemptions for each in outcome.served] == [0, 1]
    assert [p.tokens for p in outcome.prefills] == [2, 2, 3]
    assert finishes(outcome)[0] == (1.0, 7.0)
    # read again from 7 to 8, which makes the second token; the third takes an iteration
    assert finishes(outcome)[1] == (1.0, 10.0)


def test_prompts_read_in_one_iteration_are_bounded() -> None:
    requests = [one(60, 1), one(60, 1), one(60, 1)]
    outcome = serve(requests, steady(0, capacity_pages=500), most_prefill_tokens=130)
    assert [each.prefill_tokens for each in outcome.iterations] == [120, 60]
    outcome = serve(requests, steady(0, capacity_pages=500), most_prefill_tokens=10)
    assert [each.prefill_tokens for each in outcome.iterations] == [60, 60, 60]


def test_a_request_that_can_never_fit_is_refused_by_name() -> None:
    request = Request(arrival_s=0.0, input_tokens=9, output_tokens=9, where="trace.csv line 2")
    serve([request], steady(0, capacity_pages=17))
    with pytest.raises(InputError, match=r"trace.csv line 2: 17 tokens in the cache are more than"):
        serve([request], steady(0, capacity_pages=16))


def test_requests_out_of_order_or_none_at_all_are_refused() -> None:
    late = Request(arrival_s=2.0, input_tokens=1, output_tokens=1)
    early = Request(arrival_s=1.5, input_tokens=1, output_tokens=1, where="the second")
    sentence = "the second: requests must be in the order of arrival, not at 1.5 s after one at 2.0"
    with pytest.raises(InputError, match=sentence):
        serve([late, early], steady(0))
    with pytest.raises(InputError, match="there must be at least one request to serve"):
        serve([], steady(0))


@pytest.mark.parametrize("name", ["most_running", "most_prefill_tokens"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(InputError, match="must be at least 1, not 0"):
        serve([one(1, 1)], steady(0), **{name: 0})
