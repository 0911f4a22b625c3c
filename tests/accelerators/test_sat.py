"""SAT around its exact array: decisions, traffic, selection, update, energy."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow import nm
from dataflow.pregeneration import on_the_fly_bytes, pregenerated_bytes
from simulator.accelerators import sat
from simulator.accelerators.sat import stepped, timing
from workloads import (
    DENSE,
    NM,
    Block,
    InputError,
    MatMul,
    Operand,
    Pass,
    Selection,
    VectorOp,
    Workload,
    gemm,
)
from workloads.rounding import ceil_div

CONFIG = sat.Config()


def run(workload: Workload, **settings):
    config = sat.Config(**settings)
    return sat.simulate(config, sat.schedule(config, workload))


def product(m: int, k: int, n: int, **changes) -> MatMul:
    return dataclasses.replace(gemm(m, k, n).matmuls[0], **changes)


def step(*operations) -> Workload:
    return Workload(name="step", operations=operations)


def update(elements: int = 32_000) -> VectorOp:
    return VectorOp(
        name="fc.update",
        layer="fc",
        pass_=Pass.UP,
        kind="update",
        elements=elements,
        lane_operations=2,
    )


def selection(elements: int = 32_000, **changes) -> Selection:
    made = Selection(
        name="fc.select",
        layer="fc",
        pass_=Pass.FF,
        tensor="W",
        elements=elements,
        pattern=NM(2, 8),
    )
    return dataclasses.replace(made, **changes)


def test_two_of_eight_quarters_the_steady_state_cycles() -> None:
    dense, sparse = run(gemm(4096, 4096, 4096)), run(gemm(4096, 4096, 4096, pattern=NM(2, 8)))
    steady = dense.frame().compute_cycles - dense.frame().fill_cycles
    assert (steady == 4096**3 // 1024).all()
    assert (4 * (sparse.frame().compute_cycles - sparse.frame().fill_cycles) == steady).all()


def test_peak_is_two_operations_per_pe_and_cycle() -> None:
    assert CONFIG.peak_dense_flops == 2 * 32 * 32 * 200e6


@given(
    m=st.integers(1, 300),
    k=st.integers(1, 300),
    n=st.integers(1, 300),
    pattern=st.sampled_from([NM(1, 1), NM(2, 8), NM(1, 4), NM(2, 16), NM(4, 8)]),
    held=st.sampled_from(["os", "ws"]),
)
def test_a_product_takes_the_cycles_of_the_closed_forms(m, k, n, pattern, held) -> None:
    sparse = DENSE if pattern.m == 1 else pattern
    report = run(
        gemm(m, k, n, pattern=sparse), rows=4, cols=4, stationarity=held, out_buffer_bytes=1 << 30
    )
    groups = ceil_div(k, pattern.m)
    array = (4, 4, CONFIG.interleave, CONFIG.mul_latency, CONFIG.add_latency)
    if held == "os":
        expected = timing.os_cycles(m, groups, pattern.n, n, 1, *array)
    else:
        expected = timing.ws_cycles(m, groups, pattern.n, n, 1, *array, m)
    assert report.compute_cycles == expected


@pytest.mark.parametrize("size", [1, 31, 32, 33, 49, 147, 197, 1000])
def test_shapes_that_do_not_divide_the_array_stay_within_bounds(size) -> None:
    for pattern in (DENSE, NM(2, 8)):
        report = run(gemm(size, size, size, pattern=pattern))
        assert 0 < report.utilisation <= 1
        assert report.useful_macs >= size**3 * pattern.density


def test_every_operation_says_its_utilisation() -> None:
    report = run(step(gemm(49, 147, 197, pattern=NM(2, 8)).matmuls[0], update()))
    rows = report.frame()
    assert rows.utilisation[0] == rows.useful_macs[0] / (rows.cycles[0] * 32 * 32)
    assert rows.utilisation[1] == 0


def test_the_scheduler_takes_the_faster_stationarity() -> None:
    for shape in ((25088, 576, 64), (576, 100_352, 64), (49, 147, 197), (512, 512, 10)):
        for pattern in (DENSE, NM(2, 8), NM(2, 16)):
            work = gemm(*shape, pattern=pattern)
            best = min(run(work, stationarity=held).compute_cycles for held in ("os", "ws"))
            assert run(work).compute_cycles == best


def test_a_plan_can_be_edited_and_is_followed() -> None:
    work = gemm(512, 512, 512)
    plan = sat.schedule(CONFIG, work)
    for held in ("os", "ws"):
        edited = dataclasses.replace(plan, stationarity=(held,))
        assert sat.simulate(CONFIG, edited).frame().stationarity.tolist() == [held]
    assert list(plan.frame().columns) == ["name", "pass", "batch", "m", "k", "n", "stationarity"]


def test_wrong_plans_are_refused() -> None:
    work = gemm(8, 8, 8)
    with pytest.raises(InputError, match="stationarity in a plan must be os or ws, not 'is'"):
        sat.Plan(workload=work, stationarity=("is",))


def test_a_sparse_left_operand_is_computed_as_the_transposed_product() -> None:
    right = product(200, 512, 96, right=Operand(tensor="W", elements=512 * 96, pattern=NM(2, 8)))
    left = product(96, 512, 200, left=Operand(tensor="dY", elements=512 * 96, pattern=NM(2, 8)))
    assert run(step(left)).cycles == run(step(right)).cycles
    assert run(step(left)).useful_macs == run(step(right)).useful_macs == 200 * 512 * 96 // 4


def test_index_storage_and_traffic_are_paid() -> None:
    work = gemm(64, 4096, 4096, pattern=NM(2, 8))
    weights = 4096 * 4096
    compact = weights // 8 * 2 * (16 + 3) // 8
    report = run(work)
    assert report.dram_bytes == 2 * 64 * 4096 + compact + 2 * 64 * 4096
    on_the_fly = run(work, pregeneration=False)
    assert on_the_fly.dram_bytes == 2 * 64 * 4096 + 2 * weights + 2 * 64 * 4096


def test_a_dense_operand_that_arrives_too_slowly_slows_the_array() -> None:
    work = gemm(4096, 4096, 4096, pattern=NM(1, 16))
    slow, fast = run(work), run(work, feed_values_per_cycle=16)
    assert fast.compute_cycles < slow.compute_cycles < 2.01 * fast.compute_cycles
    assert slow.frame().bottleneck.tolist() == ["operand feed"]
    assert fast.frame().bottleneck.tolist() == ["array"]


def test_interleaving_hides_the_adders_latency() -> None:
    work = gemm(2048, 2048, 2048)
    alone = run(work, interleave=1, stationarity="os").compute_cycles
    together = run(work, interleave=4, stationarity="os").compute_cycles
    assert alone == pytest.approx(4 * together, rel=0.02)


def test_selection_takes_m_cycles_a_group_and_lane() -> None:
    report = run(step(gemm(8, 8, 8).matmuls[0], selection(pregenerable=False)))
    assert report.frame().cycles[1] == 32_000 // 8 // 32 * 8


def test_pregenerated_selection_hides_behind_the_update() -> None:
    report = run(step(update(), selection(), selection(name="fc.select.bp", pass_=Pass.BP)))
    rows = report.frame()
    # Update: 2 operations an element on 32 lanes; each selection: one cycle an element and lane.
    assert rows.cycles.tolist() == [2000, 0, 0]
    assert rows.hidden_cycles.tolist() == [0, 1000, 1000]
    exposed = run(step(update(), selection(), selection(name="bp")), vector_lanes=64).frame()
    assert exposed.cycles.tolist() == [1000, 0, 1000]
    without = run(step(update(), selection()), pregeneration=False).frame()
    assert without.cycles.tolist() == [2000, 1000]
    assert without.dram_bytes.tolist() == [0, 0]


def test_pregenerated_copies_are_written_once() -> None:
    rows = run(step(update(), selection())).frame()
    assert rows.dram_bytes[1] == 32_000 // 8 * 2 * (16 + 3) // 8


@pytest.mark.parametrize("pattern", [NM(2, 4), NM(2, 8), NM(2, 16)])
def test_pregeneration_changes_the_traffic_by_its_formula(pattern) -> None:
    weights = 512 * 512
    sparse = Operand(tensor="W", elements=weights, pattern=pattern)
    work = step(
        product(64, 512, 512, right=sparse),
        product(64, 512, 512, right=sparse, name="bp", pass_=Pass.BP),
        update(weights),
        selection(weights, pattern=pattern),
        selection(weights, pattern=pattern, name="bp.select", pass_=Pass.BP),
    )
    saved = run(work, pregeneration=False).dram_bytes - run(work).dram_bytes
    on_the_fly = on_the_fly_bytes(weights, value_bits=16)
    assert saved == on_the_fly - pregenerated_bytes(weights, pattern, value_bits=16)


@pytest.mark.parametrize("bytes_per_s", [1e8, 1e9, 76.8e9])
def test_an_update_and_its_selections_never_move_bytes_faster_than_the_memory(bytes_per_s) -> None:
    busy = dataclasses.replace(update(), read_bytes=12 * 32_000, write_bytes=10 * 32_000)
    work = step(busy, selection(), selection(name="fc.select.BP", pass_=Pass.BP))
    report = run(work, dram_bytes_per_s=bytes_per_s)
    assert report.cycles >= report.dram_bytes * CONFIG.clock_hz / bytes_per_s
    many = sat.evaluate_many({"dram_bytes_per_s": np.array([bytes_per_s])}, work)
    assert many["cycles"].tolist() == [report.cycles]


def test_a_gradient_that_is_selected_in_the_step_is_read_whole() -> None:
    # Nobody has written a compact copy of it; the weights of the next step have one.
    gradient, weights = (
        Operand(tensor=tensor, elements=512 * 512, pattern=NM(2, 8)) for tensor in ("dY", "W")
    )
    dense = Operand(tensor="X", elements=512 * 512)
    selected = product(512, 512, 512, left=gradient, right=dense)
    pregenerated = product(512, 512, 512, left=dense, right=weights)
    assert run(step(selected)).dram_bytes == run(gemm(512, 512, 512)).dram_bytes
    saved = gradient.dense_bytes - weights.stored_bytes
    assert run(step(pregenerated)).dram_bytes == run(step(selected)).dram_bytes - saved


@pytest.mark.parametrize("side", ["left", "right", "out"])
def test_useful_macs_are_those_that_the_patterns_leave_also_where_they_run_dense(side) -> None:
    (op,) = gemm(64, 64, 64)
    masked = dataclasses.replace(getattr(op, side), pattern=Block(8, 8, 0.25))
    report = run(step(dataclasses.replace(op, **{side: masked})))
    assert report.useful_macs == 64**3 // 4
    assert report.cycles == run(gemm(64, 64, 64)).cycles


def test_vector_work_is_bound_by_lanes_or_by_memory() -> None:
    lanes = update()
    memory = dataclasses.replace(lanes, name="moved", read_bytes=768_000)
    rows = run(step(lanes, memory)).frame()
    assert rows.cycles.tolist() == [2000, 2000]
    memory = dataclasses.replace(memory, write_bytes=768_000)
    assert run(step(memory)).frame().cycles.tolist() == [4000]  # 384 bytes a cycle
    assert run(step(memory)).frame().bottleneck.tolist() == ["dram"]


def test_fused_work_costs_nothing() -> None:
    relu = dataclasses.replace(update(), name="relu", kind="relu", fused=True)
    assert run(step(gemm(8, 8, 8).matmuls[0], relu)).cycles == run(gemm(8, 8, 8)).cycles


def test_fused_traffic_hides_behind_the_operation_it_rides_on() -> None:
    skip = VectorOp(
        name="skip",
        layer="fc",
        pass_=Pass.FF,
        kind="add",
        elements=8,
        read_bytes=384_000,
        fused=True,
    )
    large, small = product(4096, 4096, 4096), product(8, 8, 8)
    hidden = run(step(large, skip)).frame()
    assert hidden.cycles[1] == 0
    assert hidden.hidden_cycles[1] == 1000  # 384 bytes a cycle
    assert hidden.dram_bytes[1] == 384_000
    exposed = run(step(small, skip)).frame()
    slack = exposed.compute_cycles[0] - exposed.memory_cycles[0]
    assert exposed.cycles[1] == 1000 - slack > 0
    twice = run(step(large, skip, dataclasses.replace(skip, name="second"))).frame()
    assert twice.hidden_cycles.tolist() == [0, 1000, 1000]
    first = run(step(skip)).frame()
    assert first.cycles.tolist() == [1000]


def test_memory_bound_products_say_so() -> None:
    report = run(gemm(4096, 4096, 4096), dram_bytes_per_s=1e8)
    assert report.frame().bottleneck.tolist() == ["dram"]
    assert report.cycles == report.frame().memory_cycles[0] > report.compute_cycles


def test_patterns_that_cannot_be_skipped_run_dense_and_are_named() -> None:
    block = gemm(512, 512, 512, pattern=Block(16, 16, 0.5))
    report = run(block)
    assert report.cycles == run(gemm(512, 512, 512)).cycles
    assert report.notes == ("sat only skips N:M groups: block:16x16:0.5 runs as dense",)


@pytest.mark.parametrize(("dtype", "bits"), [("fp32", 32), ("int8", 8)])
def test_operands_of_other_widths_are_converted_and_named(dtype: str, bits: int) -> None:
    report = run(gemm(64, 64, 64, dtype=dtype))
    assert report.dram_bytes == run(gemm(64, 64, 64)).dram_bytes
    assert f"operands of {bits} bits" in report.notes[0]


def test_energy_is_counted_actions() -> None:
    report = run(gemm(32, 64, 32))
    macs = 32 * 64 * 32
    assert report.energy_pj["array"] == pytest.approx(macs * (1.1 + 0.9))
    assert report.energy_pj["dram"] == pytest.approx(report.dram_bytes * 162.5)
    assert report.energy_j == pytest.approx(report.frame().energy_pj.sum() * 1e-12)


def test_more_pes_and_bandwidth_are_never_slower_on_large_products() -> None:
    work = gemm(8192, 4096, 4096, pattern=NM(2, 8))
    cycles = [run(work, rows=side, cols=side).compute_cycles for side in (8, 16, 32, 64)]
    assert cycles == sorted(cycles, reverse=True)
    times = [run(work, dram_bytes_per_s=rate).cycles for rate in (1e9, 1e10, 1e11)]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("pattern", [NM(1, 1), NM(2, 4), NM(2, 8), NM(1, 16)])
def test_values_equal_the_stepped_array_bit_for_bit(pattern) -> None:
    rng = np.random.default_rng(1)
    left = rng.standard_normal((9, 50)).astype(np.float16)
    right = rng.standard_normal((50, 7)).astype(np.float16)
    expected = stepped.output_stationary(
        nm.windows(left, pattern),
        nm.compress(right, pattern),
        rows=4,
        cols=4,
        interleave=4,
        mul_latency=2,
        add_latency=4,
        period=10_000,
    ).values
    assert np.array_equal(sat.compute(CONFIG, left, right, pattern), expected)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rows", 0, "rows must be a whole number from 1 to 4096, not 0"),
        ("cols", 1.5, "cols must be a whole number from 1 to 4096, not 1.5"),
        ("interleave", 65, "interleave must be a whole number from 1 to 64, not 65"),
        ("rows", True, "rows must be a whole number from 1 to 4096, not True"),
        ("value_bits", 12, "value_bits must be 8, 16 or 32, not 12"),
        ("value_bits", 16.0, "value_bits must be 8, 16 or 32, not 16.0"),
        ("pregeneration", "off", "pregeneration must be true or false, not 'off'"),
        ("clock_hz", float("nan"), "clock_hz must be a positive number, not nan"),
        ("dram_bytes_per_s", -1.0, "dram_bytes_per_s must be a positive number, not -1.0"),
        ("stationarity", "is", "stationarity must be one of auto, os, ws, not 'is'"),
    ],
)
def test_wrong_configs_are_named(field, value, message) -> None:
    with pytest.raises(InputError, match=message):
        sat.Config(**{field: value})


def test_values_need_fitting_operands() -> None:
    eye = np.eye(4, dtype=np.float16)
    with pytest.raises(InputError, match=r"operands must have shapes \(P, K\) and \(K, Q\)"):
        sat.compute(CONFIG, eye, np.ones((3, 2)))
    with pytest.raises(InputError, match="values are computed for value_bits=16, not 8"):
        sat.compute(sat.Config(value_bits=8), eye, eye)


def test_stepped_array_needs_fitting_windows() -> None:
    packed = nm.compress(np.ones((8, 4), np.float16), NM(2, 4))
    with pytest.raises(InputError, match=r"windows must have shape \(P, 2, 4\), not \(3, 2, 8\)"):
        stepped.output_stationary(
            np.ones((3, 2, 8)),
            packed,
            rows=2,
            cols=2,
            interleave=1,
            mul_latency=0,
            add_latency=1,
            period=99,
        )
