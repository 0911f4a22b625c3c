"""Devices of the four systems: their times are those of the accelerators behind them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.accelerators import gpu, neupims
from simulator.serving import Request, poisson_requests, serve, summary, timeline
from simulator.serving.systems import (
    PREFILL_LINK_BYTES_PER_S,
    Reused,
    gpu_device,
    neupims_device,
    npu_prefill,
    pipelined,
)
from workloads import InputError
from workloads.llm import RequestBatch, find

A100 = gpu.Config(device="a100-40gb", tensor_parallel=4)


def rate(config: gpu.Config, lengths: tuple[int, ...]) -> float:
    batch = RequestBatch(name="batch", lengths=lengths)
    return gpu.simulate(config, gpu.schedule(config, batch)).extra["tokens_per_s"]


def test_an_iteration_of_the_gpu_is_that_of_run() -> None:
    lengths = (300, 20, 1000)
    seconds = gpu_device(A100).decode_s(lengths, (0, 0, 0))
    assert len(lengths) / seconds == pytest.approx(rate(A100, lengths))


def test_full_pipelines_make_the_tokens_of_run_in_every_stage() -> None:
    config = gpu.Config(device="a100-40gb", tensor_parallel=2, pipeline_parallel=2)
    # 64 requests in two groups of 32; `run` has one group on its way through both stages
    seconds = gpu_device(config).decode_s((256,) * 64, (0,) * 64)
    assert 64 / seconds == pytest.approx(2 * rate(config, (256,) * 32))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 4))
def test_a_pipeline_is_never_faster_than_its_stages_or_its_longest_group(lengths, stages) -> None:
    def cycles(group: tuple[int, ...], channels: tuple[int, ...]) -> float:
        return float(sum(group))

    seconds = pipelined(cycles, 1.0, stages)(tuple(lengths), (0,) * len(lengths))
    assert seconds >= sum(lengths) / stages - 1e-9
    assert seconds >= max(lengths)


def test_pages_of_the_gpu_fit_its_memory_beside_the_weights() -> None:
    cache = gpu_device(A100).make_cache()
    parameters = 32 * 12 * 4096**2 + 50257 * 4096
    token_bytes = 2 * 2 * 32 * 8 * 128
    room = 0.9 * 40e9 - 2 * -(-parameters // 4)
    assert cache.capacity_pages == room // (16 * token_bytes)


def test_weights_that_fill_the_memory_are_refused() -> None:
    small = gpu.Config(device="rtx2080ti", model="gpt3-175b", tensor_parallel=8)
    with pytest.raises(InputError, match="weights of gpt3-175b must leave room in the memory of"):
        gpu_device(small)
    with pytest.raises(InputError, match="weights of gpt3-175b must leave room in the memory of"):
        neupims_device(neupims.Config(model="gpt3-175b", tensor_parallel=8))


def test_an_output_layer_that_serving_would_leave_out_is_refused() -> None:
    with pytest.raises(InputError, match="output_layer must be off where requests are served"):
        neupims_device(neupims.Config(output_layer=True))


def test_more_requests_a_second_make_more_tokens_a_second_and_wait_longer() -> None:
    found = []
    for per_s in (5.0, 200.0):
        generator = np.random.default_rng(0)
        requests = poisson_requests("alpaca", rate_per_s=per_s, count=30, generator=generator)
        found.append(summary(serve(requests, gpu_device(A100), most_running=8)))
    assert found[0]["tokens_per_s"] < found[1]["tokens_per_s"]
    assert found[0]["time_to_first_token_s"]["mean"] < found[1]["time_to_first_token_s"]["mean"]
    assert found[1]["largest_batch"] == 8


def test_a_prefill_takes_at_least_its_products_at_the_peak_and_its_cache_on_the_link() -> None:
    decoder, tokens = find("gpt3-7b"), 2000
    seconds = npu_prefill(decoder, 4, 1e9)((tokens,))
    macs = decoder.layers * tokens * decoder.layer_parameters / 4
    cache_bytes = tokens * decoder.layers * 2 * 2 * 8 * 128
    least = macs / (8 * 128 * 128 * 1e9) + cache_bytes / PREFILL_LINK_BYTES_PER_S
    assert least <= seconds < 2 * least


def test_prompts_read_together_share_the_weights() -> None:
    prefill = npu_prefill(find("gpt3-7b"), 4, 1e9)
    apart = prefill((80,)) + prefill((300,))
    assert max(prefill((80,)), prefill((300,))) < prefill((80, 300)) < apart
    assert prefill((80, 300)) == prefill((300, 80))


def linear(lengths: tuple[int, ...], channels: tuple[int, ...]) -> float:
    return 1000.0 + sum(lengths)


@given(st.lists(st.lists(st.integers(1, 2000), min_size=1, max_size=20), min_size=1))
def test_a_reused_time_is_that_of_a_batch_within_the_width(batches) -> None:
    times = Reused(times=linear, within=0.1)
    for lengths in batches:
        found = times(tuple(lengths), (0,) * len(lengths))
        exact = linear(tuple(lengths), ())
        assert exact / 1.1 < found < exact * 1.1
    assert times.simulated + times.reused == len(batches)


def test_without_a_width_every_batch_is_simulated() -> None:
    times = Reused(times=linear, within=0.0)
    assert [times((5,), (0,)), times((5,), (0,))] == [1005.0, 1005.0]
    assert (times.simulated, times.reused) == (2, 0)


def test_a_checked_reuse_takes_its_own_time_and_keeps_the_deviation() -> None:
    times = Reused(times=linear, within=0.5, check_every=2)
    found = [times((length,), (0,)) for length in (600, 601, 602, 603)]
    assert found == [1600.0, 1600.0, 1602.0, 1600.0]
    assert times.errors == [1600 / 1602 - 1]
    assert times.largest_error == 1 - 1600 / 1602


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"within": 1.0}, "within must be 0, or at least 0.001 and below 1, not 1.0"),
        ({"within": float("nan")}, "within must be 0, or at least 0.001 and below 1, not nan"),
        ({"within": 0.1, "check_every": -1}, "check-every must be at least 0, not -1"),
    ],
)
def test_a_wrong_width_is_refused(changes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Reused(times=linear, **changes)


def test_an_iteration_of_neupims_is_its_layers() -> None:
    config = neupims.Config()
    device, times = neupims_device(config, within=0.5)
    outcome = serve([Request(arrival_s=0.0, input_tokens=200, output_tokens=4)], device)
    batch = RequestBatch(name="batch", lengths=(201,), channels=(0,))
    report = neupims.simulate(config, neupims.schedule(config, batch))
    layer_s = report.extra["cycles_per_layer"] / config.clock_hz
    assert [each.seconds for each in outcome.iterations] == pytest.approx([32 * layer_s] * 3)
    assert (times.simulated, times.reused) == (1, 2)


def test_the_timeline_has_a_lane_for_each_unit_and_ends_empty() -> None:
    requests = [
        Request(arrival_s=arrival, input_tokens=9, output_tokens=3) for arrival in (0.0, 1e-6, 1e-6)
    ]
    config = neupims.Config()
    device, times = neupims_device(config, prefill_units=2, within=0.5)
    times.times = linear
    outcome = serve(requests, device)
    events = json.loads(timeline.encode(outcome))["traceEvents"]
    lanes = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert lanes == {"iterations", "prefill 0", "prefill 1"}
    assert [e["args"]["requests"] for e in events if e["name"] == "prefill"] == [[0], [1, 2]]
    assert sum(e["name"] == "iteration" for e in events) == len(outcome.iterations)
    assert [e["args"] for e in events if e["ph"] == "C"][-2:] == [{"requests": 0}, {"pages": 0}]
