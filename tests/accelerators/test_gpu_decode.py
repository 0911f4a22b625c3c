"""Decoding on a GPU: weights and caches are read once, and what a batch needs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import cli
from simulator.accelerators import gpu
from simulator.accelerators.gpu import decode
from simulator.accelerators.gpu.devices import DEVICES
from simulator.report import Report
from workloads import InputError
from workloads.llm import RequestBatch
from workloads.operations import Workload

A100 = gpu.Config(device="a100-80gb")


def simulate(workload: Workload | RequestBatch, config: gpu.Config = A100) -> Report:
    return gpu.simulate(config, gpu.schedule(config, workload))


def row(report: Report, name: str) -> dict:
    (found,) = [each for each in report.as_dict()["operations"] if each["name"] == name]
    return found


def test_every_device_decodes_and_faster_memory_decodes_faster() -> None:
    batch = RequestBatch(name="batch", lengths=(300,) * 64)
    seconds = {
        name: simulate(batch, gpu.Config(device=name, tensor_parallel=8)).seconds
        for name in DEVICES
    }
    assert seconds["h200"] < seconds["h100"] < seconds["a100-80gb"] < seconds["a100-40gb"]
    assert seconds["a100-40gb"] < seconds["rtx3090"] < seconds["rtx2080ti"]


def test_decoding_reads_weights_and_caches_once() -> None:
    config = gpu.Config(device="a100-40gb", tensor_parallel=4, all_reduce=False)
    lengths = (100, 1000, 17)
    report = simulate(RequestBatch(name="batch", lengths=lengths), config)
    heads, width, hidden = 8, 4096, 4096
    activations = 2 * 3 * heads * 128  # queries, keys and values of one request
    assert row(report, "attn.QKVgen")["dram_bytes"] == (
        2 * width * 3 * heads * 128 + 3 * 2 * width + 3 * activations
    )
    assert row(report, "ffn.fc2")["compulsory_bytes"] == 2 * (
        hidden * width + 3 * hidden + 3 * width
    )
    caches = sum(lengths) * 2 * heads * 128 * 2
    assert row(report, "attn.FusedMHA")["dram_bytes"] == caches + 3 * 2 * 2 * heads * 128
    assert report.extra["cycles_per_layer"] == report.cycles
    per_token = 32 * report.cycles / A100.chip.clock_hz
    assert report.extra["tokens_per_s"] == pytest.approx(3 / per_token)


def test_padded_caches_cost_as_if_every_request_were_the_longest() -> None:
    config = gpu.Config(attention="unfused")
    mixed, longest = (
        simulate(RequestBatch(name="batch", lengths=lengths), config)
        for lengths in ((10, 20, 900), (900, 900, 900))
    )
    assert mixed.cycles == longest.cycles


@given(st.lists(st.integers(1, 2048), min_size=1, max_size=40), st.integers(0, 39))
def test_a_longer_cache_never_decodes_faster(lengths: list[int], at: int) -> None:
    longer = list(lengths)
    longer[at % len(lengths)] += 64
    before, after = (
        decode.layer_cycles(A100, decode.decode_operations(A100, each))
        for each in (lengths, longer)
    )
    assert before <= after


@pytest.mark.parametrize("attention", ["fused", "unfused"])
def test_the_clocks_of_a_layer_are_those_of_its_kernels(attention) -> None:
    config, lengths = gpu.Config(attention=attention), (5, 300, 77)
    report = simulate(RequestBatch(name="batch", lengths=lengths), config)
    assert decode.decode_cycles(config, lengths) == report.cycles


def test_grouped_query_attention_reads_each_stored_head_once() -> None:
    config = gpu.Config(model="llama3-8b", tensor_parallel=1, device="h100")
    report = simulate(RequestBatch(name="batch", lengths=(512,)), config)
    assert row(report, "attn.FusedMHA")["dram_bytes"] == 512 * 2 * 8 * 128 * 2 + 2 * 2 * 32 * 128
    assert row(report, "attn.FusedMHA")["useful_macs"] == 2 * 512 * 32 * 128


def test_sparse_and_quantised_weights_shrink_the_products_of_a_decoder() -> None:
    batch = RequestBatch(name="batch", lengths=(300,) * 32)
    dense, sparse, small = (
        simulate(batch, gpu.Config(**fields))
        for fields in ({}, {"weight_pattern": "2:4"}, {"weight_dtype": "int4"})
    )
    for name in ("attn.QKVgen", "attn.proj", "ffn.fc1", "ffn.fc2"):
        weights = row(dense, name)["k"] * row(dense, name)["n"]
        moved = [row(report, name)["compulsory_bytes"] for report in (dense, sparse, small)]
        assert moved[0] - moved[1] == 2 * weights - weights // 4 * 2 * 18 // 8
        assert moved[0] - moved[2] == 2 * weights - weights // 2


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"weight_pattern": "3:4"}, "only N:M with at most 2 in every 4 helps"),
        ({"weight_pattern": "2:4", "weight_dtype": "fp32"}, "fp16, bf16, fp8, int8, not fp32"),
        ({"weight_pattern": "2:4", "device": "rtx2080ti"}, "has no sparse tensor cores"),
    ],
)
def test_weights_of_a_decoder_that_run_dense_say_why(fields: dict[str, str], why: str) -> None:
    batch = RequestBatch(name="batch", lengths=(128,) * 8)
    (_, note) = simulate(batch, gpu.Config(**fields)).notes
    assert note.startswith(f"weights of {fields['weight_pattern']} run dense: ")
    assert why in note


def test_weights_are_stored_compact_only_where_they_run_as_2_of_4() -> None:
    def stored(**fields) -> int:
        return decode.weight_bytes(gpu.Config(tensor_parallel=1, **fields))

    dense, compact = stored(), stored(weight_pattern="2:4")
    assert compact == math.ceil(dense * 9 / 16)
    for why in ({"nm_support": False}, {"device": "rtx2080ti"}):
        assert stored(weight_pattern="2:4", **why) == dense
    wide = {"weight_dtype": "fp32"}
    assert stored(weight_pattern="2:4", **wide) == stored(**wide) == 2 * dense


def test_a_batch_that_does_not_fit_the_memory_is_refused() -> None:
    config = gpu.Config(device="rtx2080ti", tensor_parallel=1)
    batch = RequestBatch(name="batch", lengths=(2048,) * 64)
    weights = 32 * 12 * 4096**2 + 50257 * 4096
    wanted = 2 * weights + 64 * 2048 * 32 * 2 * 4096 * 2
    with pytest.raises(InputError, match=f"fit the 11 GB of a GPU, not take {wanted / 1e9:.3g} GB"):
        gpu.schedule(config, batch)


def test_one_gpu_reduces_nothing() -> None:
    batch = RequestBatch(name="batch", lengths=(64,))
    alone = simulate(batch, gpu.Config(tensor_parallel=1))
    assert "all-reduce" not in alone.columns["kind"]
    four = simulate(batch, gpu.Config(tensor_parallel=4))
    reduce = row(four, "ffn.allreduce")
    # 2 x 3 steps of 2 us, and twice three quarters of 8 KiB over a link, at 1410 MHz
    seconds = 6 * (2e-6 + 8192 / 4 / 300e9)
    assert reduce["cycles"] - reduce["launch_cycles"] == math.ceil(seconds * 1410e6)


def test_the_command_line_takes_the_batches_of_neupims(capsys) -> None:
    common = ["run", "gpu", "--model", "gpt3-7b", "--tp", "4", "--json", "--requests"]
    assert cli.main([*common, "sharegpt", "--batch", "16"]) == 0
    drawn = capsys.readouterr().out
    assert cli.main([*common, "sharegpt:16"]) == 0
    assert capsys.readouterr().out == drawn
