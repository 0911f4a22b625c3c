"""The GPU: tiles in waves, 2:4, traffic, attention; `test_gpu_decode` has decoding."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import cli
from simulator.accelerators import gpu
from simulator.accelerators.gpu import products
from simulator.accelerators.gpu.devices import DEVICES
from simulator.accelerators.gpu.products import Machine, Shape
from simulator.report import Report
from workloads import InputError, networks
from workloads.llm import RequestBatch
from workloads.methods import parse_method
from workloads.operations import MatMul, Pass, Workload, gemm
from workloads.patterns import DENSE, NM, Block, Unstructured
from workloads.trace import read_shipped

A100 = gpu.Config(device="a100-80gb")


def simulate(workload: Workload | RequestBatch, config: gpu.Config = A100) -> Report:
    return gpu.simulate(config, gpu.schedule(config, workload))


def row(report: Report, name: str) -> dict:
    (found,) = [each for each in report.as_dict()["operations"] if each["name"] == name]
    return found


def shape(m: int, k: int, n: int, batch: int = 1) -> Shape:
    bytes_ = [2 * batch * size for size in (m * k, k * n, m * n)]
    return Shape(m, k, n, batch, 16, 16, 16, 1024, 1, *bytes_)


MACHINE = Machine(
    sms=108,
    clock_hz=1410e6,
    l2_bytes=40 << 20,
    l2_bytes_per_cycle=5120,
    port_bytes_per_cycle=64,
    latency_cycles=400,
    dram_bytes_per_s=0.9 * 2039e9,
)


def test_one_tile_more_than_the_sms_takes_a_second_wave() -> None:
    full, one_more = (
        products.kernel(shape(128 * tiles, 4096, 128), MACHINE, 128, 128, 1) for tiles in (108, 109)
    )
    assert (full.waves, one_more.waves) == (1, 2)
    assert one_more.multiply_cycles == full.multiply_cycles


def test_sharing_k_fills_the_sms_where_tiles_are_few() -> None:
    few = shape(128, 8192, 128)
    alone = products.kernel(few, MACHINE, 128, 128, 1)
    best = products.best_kernel(few, MACHINE, (128, 128))
    assert best.splits > 1
    assert best.cycles < alone.cycles


def test_a_block_takes_its_products_at_the_rate_of_its_sm_and_two_edges() -> None:
    cut = products.kernel(shape(128, 4096, 128), MACHINE, 128, 128, 1)
    assert cut.multiply_cycles == 128 * 128 * 4096 // 1024
    assert cut.feed_cycles == (128 + 128) * 2 * 4096 // 64  # alone, an SM has its whole port
    assert cut.edge_cycles == 400 + 128 * 128 * 2 // 64
    assert cut.cycles == cut.multiply_cycles + cut.edge_cycles


def test_l2_is_shared_by_the_blocks_of_a_wave() -> None:
    cut = products.kernel(shape(128 * 108, 4096, 128), MACHINE, 128, 128, 1)
    assert cut.feed_cycles == math.ceil((128 + 128) * 2 * 4096 / (5120 / 108))


@given(st.tuples(*[st.integers(1, 5000)] * 3), st.integers(1, 64))
def test_no_kernel_is_faster_than_the_tensor_cores_or_moves_less_than_once(
    sizes: tuple[int, int, int], batch: int
) -> None:
    asked = shape(*sizes, batch)
    best = products.best_kernel(asked, MACHINE)
    m, k, n = sizes
    assert best.cycles >= batch * m * k * n / (108 * 1024)
    moved = products.dram_bytes(asked, best, MACHINE)
    for rows, columns in products.TILES:
        other = products.kernel(asked, MACHINE, rows, columns, 1)
        traffic = MACHINE.memory_cycles(products.dram_bytes(asked, other, MACHINE))
        assert max(best.cycles, MACHINE.memory_cycles(moved)) <= max(other.cycles, traffic)
    assert moved >= asked.left_bytes + asked.right_bytes + asked.out_bytes


def test_operands_that_outgrow_l2_are_read_again() -> None:
    large = shape(32768, 32768, 32768)
    best = products.best_kernel(large, MACHINE)
    assert products.dram_bytes(large, best, MACHINE) > 3 * 2 * 32768**2
    roomy = MACHINE._replace(l2_bytes=8 << 30)
    assert products.dram_bytes(large, best, roomy) == 3 * 2 * 32768**2


def test_the_report_names_the_numbers_of_the_device() -> None:
    work = gemm(64, 64, 64)
    report = simulate(work, gpu.Config(device="h100", sms=66))
    used = report.as_dict()["config"]
    assert (used["sms"], used["dram_bytes_per_s"]) == (66, DEVICES["h100"].dram_bytes_per_s)
    assert simulate(work, report.config).as_dict() == report.as_dict()


def test_2_of_4_halves_the_multiplication_and_stores_nine_sixteenths() -> None:
    dense, sparse = (simulate(gemm(4096, 4096, 4096, pattern=p)) for p in (DENSE, NM(2, 4)))
    dense_row, sparse_row = row(dense, "gemm"), row(sparse, "gemm")
    assert sparse_row["issued_macs"] == dense_row["issued_macs"] / 2
    assert sparse_row["useful_macs"] == dense_row["useful_macs"] / 2
    saved = dense_row["compulsory_bytes"] - sparse_row["compulsory_bytes"]
    assert saved == 2 * 4096**2 - 4096**2 // 4 * 2 * (16 + 2) // 8
    assert 1.5 < dense.cycles / sparse.cycles <= 2


@given(
    st.tuples(*[st.integers(1, 20_000)] * 3),
    st.sampled_from(["left", "right"]),
    st.sampled_from([1e10, 1e11, 2e12]),
    st.sampled_from([1 << 20, 40 << 20]),
)
def test_no_product_is_slower_with_a_2_of_4_operand(
    sizes: tuple[int, int, int], side: str, dram_bytes_per_s: float, l2_bytes: int
) -> None:
    """So that a plan takes 2:4 wherever it may: at any bandwidth, in any cache."""
    m, quarter, n = sizes
    dense = gemm(m, 4 * quarter, n)
    (op,) = dense.matmuls
    sparse = replace(op, **{side: replace(getattr(op, side), pattern=NM(2, 4))})
    config = replace(A100, dram_bytes_per_s=dram_bytes_per_s, l2_bytes=l2_bytes)
    cycles = simulate(replace(dense, operations=(sparse,)), config).cycles
    assert cycles <= simulate(dense, config).cycles


def test_what_2_of_4_costs_a_small_network_is_the_kernels_that_select() -> None:
    step = read_shipped("digits-vit")
    dense, sparse = (simulate(parse_method(name)(step)) for name in ("dense", "bdwp:2:4"))
    assert sparse.cycles > dense.cycles
    selections = [each for each in sparse.as_dict()["operations"] if each["kind"] == "selection"]
    assert sparse.cycles - sum(each["cycles"] for each in selections) < dense.cycles
    assert {each["bottleneck"] for each in selections} == {"launch"}


@pytest.mark.parametrize("pattern", [NM(2, 8), NM(1, 4), NM(1, 2), NM(1, 3)])
def test_sparser_patterns_run_as_2_of_4_and_the_report_says_so(pattern: NM) -> None:
    report, as_2_4 = (simulate(gemm(512, 512, 512, pattern=p)) for p in (pattern, NM(2, 4)))
    assert report.cycles == as_2_4.cycles
    assert report.dram_bytes == as_2_4.dram_bytes
    assert f"{pattern} runs as 2:4" in " ".join(report.notes)


@pytest.mark.parametrize(
    "pattern", [NM(3, 4), NM(4, 8), NM(2, 6), Unstructured(0.1), Block(32, 32, 0.5)]
)
def test_other_patterns_run_dense_and_the_report_says_so(pattern) -> None:
    report, dense = (simulate(gemm(512, 512, 512, pattern=p)) for p in (pattern, DENSE))
    assert (report.cycles, report.dram_bytes) == (dense.cycles, dense.dram_bytes)
    assert "1 products, such as gemm, run dense" in " ".join(report.notes)


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_a_type_that_runs_dense_is_named_as_the_reason(dtype: str) -> None:
    """The pattern would do; one that would not is blamed whatever the type."""
    (note,) = simulate(gemm(512, 512, 512, dtype=dtype, pattern=NM(2, 4))).notes
    assert note.endswith(
        f"run dense: sparse tensor cores multiply fp16, bf16, fp8, int8, not {dtype}"
    )
    (note,) = simulate(gemm(512, 512, 512, dtype=dtype, pattern=NM(3, 4))).notes
    assert "only N:M with at most 2 in every 4" in note


def test_a_run_of_k_that_fours_do_not_divide_runs_dense() -> None:
    (note,) = simulate(gemm(512, 510, 512, pattern=NM(2, 4))).notes
    assert note.endswith("in runs of k that fours divide")


def test_turing_and_nm_support_off_run_2_of_4_dense() -> None:
    work = gemm(512, 512, 512, pattern=NM(2, 4))
    assert "no sparse tensor cores" in simulate(work, gpu.Config(device="rtx2080ti")).notes[0]
    assert "nm_support is off" in simulate(work, replace(A100, nm_support=False)).notes[0]


def test_channels_that_are_no_multiple_of_four_do_not_run_as_2_of_4() -> None:
    step = networks.find("resnet9", batch=8).training_step()
    sparse = parse_method("mask:2:4@FF")(step)
    plan = gpu.schedule(A100, sparse)
    used = {
        op.name for op, p in zip(sparse.matmuls, plan.products, strict=True) if p.sparse_operand
    }
    assert used
    assert all(op.k_run % 4 == 0 for op in sparse.matmuls if op.name in used)


@pytest.mark.parametrize(
    ("dtype", "faster"), [("fp16", 1), ("bf16", 1), ("int8", 2), ("int4", 4), ("fp32", 0.5)]
)
def test_data_types_run_at_the_ratio_of_their_peaks(dtype: str, faster: float) -> None:
    large = [row(simulate(gemm(8192, 8192, 8192, dtype=d)), "gemm") for d in ("fp16", dtype)]
    multiply = [each["compute_cycles"] - each["fill_cycles"] for each in large]
    assert multiply[0] / multiply[1] == pytest.approx(faster, rel=0.02)


def test_quantised_weights_move_fewer_bytes_and_multiply_in_the_wider_type() -> None:
    step = networks.find("bert-base", batch=1).inference()
    quantised = parse_method("precision:int4")(step)
    plain, small = simulate(step), simulate(quantised)
    assert small.dram_bytes < plain.dram_bytes
    assert small.peak_macs_per_cycle == plain.peak_macs_per_cycle


def test_a_step_without_work_for_the_tensor_cores_is_bound_by_memory_or_launch() -> None:
    update = networks.find("resnet9", batch=1).training_step().only(Pass.UP)
    report = simulate(update)
    for each in report.as_dict()["operations"]:
        transfer = each["dram_bytes"] / (0.9 * 2039e9) * 1410e6
        assert each["memory_cycles"] == math.ceil(transfer)
        assert each["launch_cycles"] == round(1.1e-6 * 1410e6)
        assert each["cycles"] == each["memory_cycles"] + each["launch_cycles"]


def attention_products(workload: Workload) -> list[MatMul]:
    return [op for op in workload.matmuls if op.kind == "attention"]


def test_fused_attention_moves_no_scores() -> None:
    step = networks.find("gpt2", batch=1, tokens=512).training_step().only(Pass.FF)
    reports = [simulate(step, replace(A100, attention=kind)) for kind in ("unfused", "fused")]
    scores = 12 * 512 * 512 * 2
    blocks = len(attention_products(step)) // 2
    softmax = sum(op.read_bytes + op.write_bytes for op in step.vector_ops if op.kind == "softmax")
    assert reports[0].dram_bytes - reports[1].dram_bytes == 2 * blocks * scores + softmax


def test_fused_backward_attention_makes_the_scores_again() -> None:
    step = networks.find("gpt2", batch=1, tokens=512).training_step().only(Pass.BP)
    plan = gpu.schedule(A100, step)
    twice = [
        op.name
        for op, decided in zip(step.matmuls, plan.products, strict=True)
        if decided.products == 2
    ]
    assert len(twice) == len(attention_products(step)) // 4
    assert all(".dP." in name for name in twice)


def test_a_faster_memory_is_never_slower_and_a_larger_cache_never_moves_more() -> None:
    step = networks.find("resnet9", batch=64).training_step()
    seconds = [
        simulate(step, replace(A100, dram_bytes_per_s=b)).seconds for b in (1e10, 1e11, 1e12)
    ]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > seconds[-1]
    large = gemm(32768, 32768, 32768)
    moved = [
        simulate(large, replace(A100, l2_bytes=b)).dram_bytes for b in (1 << 20, 1 << 26, 1 << 32)
    ]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > moved[-1]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"sms": -1}, "sms must be a positive whole number, or 0 for the device's own, not -1"),
        ({"tile_n": 0.5}, "tile_n must be a positive whole number, or 0 for the fastest, not 0.5"),
        ({"tile_m": 64}, "tile_m and tile_n must be given together, or neither"),
        ({"dram_efficiency": 1.1}, "dram_efficiency must be at most 1, not 1.1"),
        ({"weight_dtype": "fp17"}, "weight_dtype must be one of"),
        ({"pipeline_parallel": 5}, "pipeline_parallel must divide the 32 layers of gpt3-7b, not 5"),
        ({"model": "gpt3-30b", "tensor_parallel": 5}, "tensor parallelism must divide"),
    ],
)
def test_a_wrong_config_is_refused_in_one_sentence(fields: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        gpu.Config(**fields)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--requests", "nothing.csv", "--batch", "4"], "--batch sizes a batch drawn from alpaca"),
        (["--requests", "sharegpt", "--tokens", "4"], "--tokens cannot be combined with"),
    ],
)
def test_options_that_would_be_ignored_are_refused(arguments, sentence: str, capsys) -> None:
    assert cli.main(["run", "gpu", *arguments]) == 2
    assert sentence in capsys.readouterr().err
