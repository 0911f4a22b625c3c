"""What the patterns leave of a product, counted element by element."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import accelerators
from tests import strategies
from workloads import NM, Block, MatMul, Unstructured, gemm


def product(pattern: object, *, m: int = 1, runs: int = 1, run: int = 8, n: int = 1) -> MatMul:
    """Return a product of `runs` runs of K with a pattern on its right operand."""
    made = gemm(m, runs * run, n).matmuls[0]
    return replace(made, k_run=run, right=replace(made.right, pattern=pattern))


@given(
    size=strategies.nm_sizes(),
    shape=st.tuples(*[st.integers(1, 10**6)] * 3),
    run=st.integers(1, 200),
)
def test_n_of_m_keeps_n_elements_of_each_group_and_what_a_last_group_has(size, shape, run) -> None:
    kept, group = size
    m, n, runs = shape
    groups = [range(start, min(start + group, run)) for start in range(0, run, group)]
    in_a_run = sum(min(kept, len(elements)) for elements in groups)
    op = product(NM(kept, group), m=m, runs=runs, run=run, n=n)
    assert op.kept_macs == m * n * runs * in_a_run


@pytest.mark.parametrize("pattern", [Unstructured(0.1), Block(4, 4, 0.1)])
def test_a_fraction_is_the_decimal_that_was_written(pattern) -> None:
    assert product(pattern, m=10**9, run=10**9, n=10**9).kept_macs == 10**26


def test_two_patterns_on_one_product_leave_their_expected_overlap() -> None:
    op = product(NM(2, 8), m=3, run=16, n=5)
    both = replace(op, left=replace(op.left, pattern=NM(1, 4)))
    assert both.kept_macs == 3 * 5 * 16 // 16


@pytest.mark.parametrize("name", ["sat", "systolic"])
@pytest.mark.parametrize(("k", "pattern"), [(42, NM(9, 14)), (20, NM(2, 8)), (1, NM(2, 8))])
def test_accelerators_agree_on_the_useful_work(name: str, k: int, pattern: NM) -> None:
    workload = gemm(64, k, 64, pattern=pattern)
    assert accelerators.run(name, workload).useful_macs == workload.kept_macs
