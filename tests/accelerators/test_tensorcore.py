"""One multiprocessor with sparse tensor cores: instructions, rates, and what 2:4 takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import energy
from simulator.accelerators import tensorcore
from simulator.report import Report
from workloads import InputError, Pass, VectorOp, Workload, gemm
from workloads.patterns import DENSE, NM, TransposableNM, Unstructured, parse_pattern

UNHINDERED = {"shared_bytes_per_cycle": 10**6, "port_bytes_per_cycle": 10**6}
SMS, BOOST_HZ = 108, 1.41e9


def simulate(work: Workload, **settings) -> Report:
    config = tensorcore.Config(**settings)
    return tensorcore.simulate(config, tensorcore.schedule(config, work))


def flops(report: Report, macs: int) -> float:
    """Return the rate of 108 multiprocessors while they compute."""
    return SMS * 2 * macs / (report.compute_cycles / BOOST_HZ)


@pytest.mark.parametrize(("pattern", "published"), [("dense", 312e12), ("2:4", 624e12)])
def test_large_products_run_at_the_rates_of_the_white_paper(pattern: str, published: float) -> None:
    """NVIDIA A100 white paper: 312 TFLOPS of fp16, 624 with sparsity."""
    work = gemm(4096, 4096, 4096, pattern=parse_pattern(pattern))
    assert flops(simulate(work, **UNHINDERED), work.macs) == pytest.approx(published, rel=1e-3)


def instructions(m: int, k: int, n: int, tile: tuple[int, int], *, sparse: bool) -> int:
    """Count instructions block by block, step by step: 4 x 2 warps a block."""
    count = 0
    for _ in range(0, m, 4 * tile[0]):
        for _ in range(0, n, 2 * tile[1]):
            for _ in range(0, k, 32 if sparse else 16):
                for _ in range(0, 4 * tile[0], 16):
                    count += len(range(0, 2 * tile[1], 8))
    return count


@given(
    m=st.integers(1, 600),
    k=st.integers(1, 200),
    n=st.integers(1, 600),
    pattern=st.sampled_from([DENSE, NM(2, 4), NM(1, 8), NM(4, 8)]),
)
def test_instructions_are_those_of_the_loops(m: int, k: int, n: int, pattern) -> None:
    work = gemm(m, k, n, pattern=pattern)
    (product,) = tensorcore.schedule(tensorcore.Config(), work).products
    sparse = bool(product.sparse_operand)
    assert not sparse or product.transposed  # the sparse operand comes first
    rows, cols = (n, m) if product.transposed else (m, n)
    counted = instructions(rows, k, cols, product.tile, sparse=sparse)
    assert simulate(work).columns["issued_macs"] == [counted * 16 * 8 * 16]


@pytest.mark.parametrize(("side", "tile"), [(16, (16, 16)), (64, (16, 32)), (4096, (64, 64))])
def test_a_product_gets_the_tile_that_fills_a_block_of_four_by_two_warps(side: int, tile) -> None:
    """64 x 32, 64 x 64 and 256 x 128 results are the smallest blocks that need no second one."""
    (product,) = tensorcore.schedule(tensorcore.Config(), gemm(side, 64, side)).products
    assert product.tile == tile


def test_a_sparse_product_runs_dense_where_transposing_it_leaves_blocks_empty() -> None:
    """Eight columns as rows fill an eighth of the 64 rows of the smallest block."""
    (product,) = tensorcore.schedule(
        tensorcore.Config(), gemm(4096, 64, 8, pattern=NM(2, 4))
    ).products
    assert product.sparse_operand == ""


def test_blocks_are_dealt_to_the_multiprocessors() -> None:
    """Sixteen blocks of 256 x 128 take six turns of three multiprocessors."""
    work = gemm(1024, 16, 512)
    one, three = (
        simulate(work, sms=count, **UNHINDERED, dram_bytes_per_s=1e18) for count in (1, 3)
    )
    assert one.compute_cycles == 16 * 512
    assert three.compute_cycles <= 6 * 512
    assert three.peak_macs_per_cycle == 3 * one.peak_macs_per_cycle


def test_a_sparse_step_waits_for_the_shared_memory() -> None:
    """Eight warps of 64 x 64: 32 mma.sp of 8 cycles each, two warps a core: 512 cycles.

    Fragments of a warp: 64 rows of 16 values with 2 bits each, 64 columns of 32 values; the block
    copies 256 such rows and 128 such columns.
    """
    fragment = 64 * 16 * 2 + 64 * 16 * 2 // 8 + 64 * 32 * 2
    copied = 256 * 16 * 2 + 256 * 16 * 2 // 8 + 128 * 32 * 2
    shared = -(-(8 * fragment + copied) // 128)
    assert shared > 512
    work = gemm(128, 32, 256, pattern=NM(2, 4))
    assert simulate(work).compute_cycles == shared
    assert simulate(work, **UNHINDERED).compute_cycles == 512


@pytest.mark.parametrize(
    ("pattern", "steps"),
    [
        (NM(2, 4), 1),
        (TransposableNM(2, 4), 1),
        (NM(2, 8), 1),
        (NM(1, 16), 1),
        (NM(1, 2), 1),
        (NM(1, 3), 1),
        (NM(4, 8), 2),
        (NM(2, 6), 2),
        (Unstructured(0.1), 2),
    ],
)
def test_only_two_of_four_runs_sparse_and_sparser_is_no_faster(pattern, steps: int) -> None:
    config = tensorcore.Config()
    (product,) = tensorcore.schedule(config, gemm(256, 32, 256, pattern=pattern)).products
    assert product.steps == steps
    assert bool(product.sparse_operand) == (steps == 1)


def test_groups_do_not_reach_over_the_end_of_a_run() -> None:
    """Each run of 3 channels is padded to a group of 4: nine runs are 36 elements, two steps."""
    (op,) = gemm(256, 27, 256, pattern=NM(2, 4))
    work = Workload(name="conv", operations=(replace(op, k_run=3),))
    (product,) = tensorcore.schedule(tensorcore.Config(), work).products
    assert product.steps == 2


def test_what_does_not_run_sparse_is_said() -> None:
    def notes(n: int, pattern) -> tuple[str, ...]:
        return simulate(gemm(256, 64, n, pattern=pattern)).notes

    (unable,) = notes(256, NM(4, 8))
    assert unable.endswith("run dense: only N:M with at most two of four runs sparse")
    (slower,) = notes(8, NM(2, 4))
    assert slower.endswith("run dense: their shapes fill the tiles better")
    (wider,) = notes(256, NM(2, 8))
    assert wider.endswith("are sparser than 2:4 and run as 2:4")
    assert notes(256, NM(2, 4)) == ()


def test_operands_of_32_bits_are_multiplied_in_16_and_a_note_says_so() -> None:
    half, single = (simulate(gemm(256, 64, 256, dtype=dtype)) for dtype in ("bf16", "fp32"))
    assert half.notes == ()
    (note,) = single.notes
    assert note == "operands of 32 bits in the workload are stored and multiplied in 16 bits"
    assert single.dram_bytes == half.dram_bytes


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"warp_m": 24}, "warp_m must be a multiple of 16, not 24"),
        ({"warp_n": 12}, "warp_n must be a multiple of 8, not 12"),
        ({"warp_m": 128}, "must fit 255 registers a thread"),
        ({"stages": 10}, "shared_bytes must hold 10 stages, 174080 bytes, not 167936"),
    ],
)
def test_what_the_hardware_cannot_hold_is_refused(settings, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        tensorcore.Config(**settings)


def test_a_thread_holds_sums_and_two_steps_of_sparse_fragments() -> None:
    fragment_bits = 64 * 16 * (16 + 2) + 64 * 32 * 16
    registers = (64 * 64 * 32 + 2 * fragment_bits) // (32 * 32)
    assert tensorcore.Config().thread_registers == registers


def test_operands_are_moved_once_in_16_bits() -> None:
    """Two bits for each of the 2 values kept of 4."""
    report = simulate(gemm(512, 128, 256, pattern=NM(2, 4), dtype="fp32"))
    kept = 128 * 256 // 2
    assert report.dram_bytes == 2 * (512 * 128 + 512 * 256) + 2 * kept + kept * 2 // 8


def test_fused_work_takes_the_energy_of_its_lanes_and_no_time() -> None:
    relu = VectorOp(
        name="relu", layer="relu", pass_=Pass.FF, kind="relu", elements=4096, fused=True
    )
    alone, fused = (
        simulate(replace(gemm(64, 64, 64), operations=operations))
        for operations in (gemm(64, 64, 64).operations, (*gemm(64, 64, 64), relu))
    )
    assert fused.cycles == alone.cycles
    lane_pj = energy.FP32_MULTIPLY_PJ + energy.FP32_ADD_PJ
    assert fused.energy_pj["vector lanes"] == pytest.approx(4096 * lane_pj)
