"""One multiprocessor with sparse tensor cores: instructions, rates, and what 2:4 takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.accelerators import tensorcore
from simulator.report import Report
from workloads import InputError, Workload, gemm
from workloads.patterns import DENSE, NM, TransposableNM, Unstructured, parse_pattern

UNHINDERED = {"shared_bytes_per_cycle": 10**6, "l2_bytes_per_cycle": 10**6}
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


def instructions(m: int, k: int, n: int, *, sparse: bool, config: tensorcore.Config) -> int:
    """Count instructions tile by tile."""
    count = 0
    for _ in range(0, m, config.warps_m * config.warp_m):
        for _ in range(0, n, config.warps_n * config.warp_n):
            for _ in range(0, k, 32 if sparse else 16):
                for _ in range(0, config.warps_m * config.warp_m, 16):
                    count += len(range(0, config.warps_n * config.warp_n, 8))
    return count


@given(
    m=st.integers(1, 600),
    k=st.integers(1, 200),
    n=st.integers(1, 600),
    pattern=st.sampled_from([DENSE, NM(2, 4), NM(1, 8), NM(4, 8)]),
)
def test_instructions_are_those_of_the_loops(m: int, k: int, n: int, pattern) -> None:
    config = tensorcore.Config()
    report = simulate(gemm(m, k, n, pattern=pattern))
    sparse = tensorcore.fits_two_of_four(pattern)
    rows, cols = (n, m) if sparse else (m, n)  # the sparse operand comes first
    counted = instructions(rows, k, cols, sparse=sparse, config=config)
    assert report.columns["issued_macs"] == [counted * 16 * 8 * 16]


def test_a_sparse_step_waits_for_the_shared_memory() -> None:
    """Eight warps of 64 x 64: 32 mma.sp of 8 cycles each, two warps a core: 512 cycles.

    Fragments of a warp: 64 rows of 16 values with 2 bits each, 64 columns of 32 values; the block
    copies 256 such rows and 128 such columns.
    """
    fragment = 64 * 16 * 2 + 64 * 16 * 2 // 8 + 64 * 32 * 2
    copied = 256 * 16 * 2 + 256 * 16 * 2 // 8 + 128 * 32 * 2
    shared = -(-(8 * fragment + copied) // 128)
    assert shared > 512
    report = simulate(gemm(128, 32, 256, pattern=NM(2, 4)))
    assert report.compute_cycles == shared
    assert simulate(gemm(128, 32, 256, pattern=NM(2, 4)), **UNHINDERED).compute_cycles == 512


@pytest.mark.parametrize(
    ("pattern", "steps"),
    [
        (NM(2, 4), 1),
        (TransposableNM(2, 4), 1),
        (NM(2, 8), 1),
        (NM(1, 16), 1),
        (NM(4, 8), 2),
        (NM(2, 6), 2),
        (Unstructured(0.1), 2),
    ],
)
def test_only_two_of_four_runs_sparse_and_sparser_is_no_faster(pattern, steps: int) -> None:
    config = tensorcore.Config()
    (product,) = tensorcore.schedule(config, gemm(64, 32, 64, pattern=pattern)).products
    assert product.steps == steps


def test_groups_do_not_reach_over_the_end_of_a_run() -> None:
    """Each run of 3 channels is padded to a group of 4: nine runs are 36 elements, two steps."""
    from dataclasses import replace

    (op,) = gemm(64, 27, 64, pattern=NM(2, 4))
    work = Workload(name="conv", operations=(replace(op, k_run=3),))
    (product,) = tensorcore.schedule(tensorcore.Config(), work).products
    assert product.steps == 2


def test_what_does_not_run_sparse_is_said() -> None:
    assert any("run dense" in note for note in simulate(gemm(8, 8, 8, pattern=NM(4, 8))).notes)
    assert any("run as 2:4" in note for note in simulate(gemm(8, 8, 8, pattern=NM(2, 8))).notes)
    assert simulate(gemm(8, 8, 8, pattern=NM(2, 4))).notes == ()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"warp_m": 24}, "warp_m must be a multiple of 16, not 24"),
        ({"warp_n": 12}, "warp_n must be a multiple of 8, not 12"),
        ({"warp_m": 128}, "must fit 255 registers a thread"),
        ({"stages": 10}, "shared_bytes must hold 10 stages"),
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
    report = simulate(gemm(64, 128, 32, pattern=NM(2, 4), dtype="fp32"))
    weights = 128 * 32 // 2
    assert report.dram_bytes == 2 * (64 * 128 + 64 * 32) + 2 * weights + weights * 2 // 8
