"""What 64 bits cannot count is refused by name; what is not refused is counted exactly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow import blocking, interleave, tiling
from dataflow.stationarity import OUTPUT_STATIONARY, WEIGHT_STATIONARY
from simulator import accelerators
from simulator.accelerators import sat
from simulator.accelerators.sat import kernel, limits, timing
from simulator.accelerators.sat.many import evaluate_many
from simulator.accelerators.sat.model import sizes
from workloads import NM, InputError, Pass, Selection, VectorOp, Workload, gemm
from workloads.columns import columns

TOO_LARGE = "may exceed 4.6e+18, more than 64 bits hold"
EVERY = pytest.mark.parametrize("name", ["sat", "systolic", "tensorcore", "gpu"])


def up_to(exponent: int) -> st.SearchStrategy[int]:
    """Sizes whose logarithm is drawn evenly."""
    return st.integers(0, exponent).flatmap(lambda bits: st.integers(1 << bits, (2 << bits) - 1))


@st.composite
def products(draw: st.DrawFn) -> Workload:
    """Products near and beyond what 64 bits count, with a pattern on either operand."""
    k_run = draw(up_to(40))
    shape = (draw(up_to(20)), k_run * draw(up_to(20)), draw(up_to(20)))
    group = draw(up_to(12))
    pattern = NM(draw(st.integers(1, group)), group)
    op = gemm(*shape, pattern=pattern).matmuls[0]
    if draw(st.booleans()):
        op = replace(
            op, left=replace(op.left, pattern=pattern), right=replace(op.right, pattern=NM(1, 1))
        )
    op = replace(op, batch=draw(up_to(20)), k_run=k_run)
    return Workload(name="drawn", operations=(op,))


configs = st.builds(
    sat.Config,
    rows=st.sampled_from([1, 32, 4096]),
    cols=st.sampled_from([1, 32, 4096]),
    interleave=st.sampled_from([1, 4, 64]),
    add_latency=st.sampled_from([1, 64]),
    feed_values_per_cycle=st.sampled_from([1, 8]),
    value_bits=st.sampled_from([8, 32]),
    pregeneration=st.booleans(),
    left_buffer_bytes=st.sampled_from([1024, 1 << 22]),
    out_buffer_bytes=st.sampled_from([1024, 1 << 22]),
)


def exactly(config: sat.Config, work: Workload, choice: int) -> list[list[int]]:
    """Evaluate the same source in Python's unbounded integers."""
    table = kernel.matmul_table(columns(work).matmuls).astype(object)
    with pytest.MonkeyPatch.context() as patch:
        for module in (kernel, blocking, tiling, interleave, timing):
            for name, function in vars(module).copy().items():
                if hasattr(function, "py_func"):
                    patch.setattr(module, name, function.py_func)
        return evaluated(config, table, choice)


def evaluated(config: sat.Config, table: np.ndarray, choice: int) -> list[list[int]]:
    return kernel.evaluate(table, np.array([choice]), sizes(config)).tolist()


@given(
    config=configs, work=products(), held=st.sampled_from([OUTPUT_STATIONARY, WEIGHT_STATIONARY])
)
def test_every_count_that_is_not_refused_is_exact(config, work, held) -> None:
    try:
        table = columns(work)
        rows = kernel.matmul_table(table.matmuls)
        limits.check_products(config, table, rows)
    except InputError:
        return
    compiled = evaluated(config, rows, held)
    assert compiled == exactly(config, work, held)


@given(config=configs, work=products())
def test_the_reports_of_extreme_arrays_do_not_contradict_themselves(config, work) -> None:
    try:
        report = sat.simulate(config, sat.schedule(config, work))
    except InputError as error:
        refusal = str(error)
        report = None
    if report is None:
        assert TOO_LARGE in refusal or "below 2^63" in refusal
    else:
        assert 0 < report.utilisation <= 1
        assert report.useful_macs == work.kept_macs


def test_a_product_of_practical_size_is_not_refused() -> None:
    # A million tokens through the largest matrix of a 175-billion-parameter decoder.
    assert (
        accelerators.run("sat", gemm(10**6, 12_288, 49_152)).useful_macs == 10**6 * 12_288 * 49_152
    )


@EVERY
@pytest.mark.parametrize("shape", [(10**18, 1, 1), (1, 10**18, 1), (1, 1, 10**18), (10**7,) * 3])
def test_a_product_beyond_64_bits_is_refused(name: str, shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError) as caught:
        accelerators.run(name, gemm(*shape))
    assert TOO_LARGE in str(caught.value)


@EVERY
def test_a_size_beyond_64_bits_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"64 bits|below 2\^63"):
        accelerators.run(name, gemm(2**64, 2**64, 2**64))


@EVERY
@pytest.mark.parametrize(
    "operation",
    [
        VectorOp(
            name="v", layer="v", pass_=Pass.FF, kind="x", elements=2**62, lane_operations=2**20
        ),
        VectorOp(name="v", layer="v", pass_=Pass.FF, kind="x", elements=1, read_bytes=2**63 - 1),
        Selection(name="v", layer="v", pass_=Pass.UP, tensor="W", elements=2**62, pattern=NM(2, 4)),
    ],
)
def test_vector_work_beyond_64_bits_is_refused(name: str, operation) -> None:
    with pytest.raises(InputError) as caught:
        accelerators.run(name, Workload(name="v", operations=(operation,)))
    assert TOO_LARGE in str(caught.value)


def large_vector_work() -> VectorOp:
    """Return work of which 64 bits can count a thousand."""
    return VectorOp(name="v", layer="v", pass_=Pass.FF, kind="x", elements=2**50, read_bytes=2**52)


@EVERY
def test_a_total_beyond_64_bits_is_refused(name: str) -> None:
    op = large_vector_work()
    assert accelerators.run(name, Workload(name="v", operations=(op,))).cycles > 0
    with pytest.raises(InputError) as caught:
        accelerators.run(name, Workload(name="v", operations=(op,) * 1025))
    assert TOO_LARGE in str(caught.value)


def test_a_block_of_configurations_refuses_what_its_totals_cannot_hold() -> None:
    fields = {"rows": np.array([32, 4096])}
    assert evaluate_many(fields, gemm(4096, 4096, 4096))["cycles"].min() > 0
    updates = Workload(name="v", operations=(large_vector_work(),) * 1025)
    for work in (gemm(*(10**7,) * 3), gemm(1, 10**18, 1), updates):
        with pytest.raises(InputError) as caught:
            evaluate_many(fields, work)
        assert TOO_LARGE in str(caught.value)


def test_an_operand_whose_compact_form_is_larger_than_its_dense_one_is_compulsory_once() -> None:
    # 7 of 8 values with 3 bits of index each are 133 bits, the 8 values alone are 128.
    report = accelerators.run("sat", gemm(64, 64, 64, pattern=NM(7, 8)), pregeneration=False)
    assert report.dram_bytes == report.columns["compulsory_bytes"].sum() == 3 * 64 * 64 * 2


def test_an_update_hides_more_cycles_than_a_float_counts_exactly() -> None:
    update = VectorOp(name="u", layer="l", pass_=Pass.UP, kind="update", elements=2**53 + 1)
    select = Selection(
        name="s", layer="l", pass_=Pass.FF, tensor="W", elements=2**53 + 3, pattern=NM(1, 1)
    )
    fields = {"vector_lanes": 1, "selection_lanes": 1, "dram_bytes_per_s": 1e15}
    work = Workload(name="step", operations=(update, select))
    report = accelerators.run("sat", work, **fields)
    assert report.columns["cycles"].tolist() == [2**53 + 1, 2]
    many = evaluate_many({name: np.array([value]) for name, value in fields.items()}, work)
    assert many["cycles"].tolist() == [2**53 + 3]
