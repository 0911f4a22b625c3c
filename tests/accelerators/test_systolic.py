"""The plain systolic array: closed forms against registers, traffic against a naive replay."""

import dataclasses
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.accelerators import systolic
from simulator.accelerators.systolic import stepped, timing
from workloads import (
    NM,
    Block,
    InputError,
    Operand,
    Pass,
    Selection,
    Unstructured,
    VectorOp,
    Workload,
    gemm,
)

ODD_SHAPES = [
    (1, 1, 1),
    (49, 147, 197),
    (1000, 3, 2),
    (5, 1000, 4),
    (197, 1, 49),
    (1, 5, 9),
    (8, 8, 8),
]
ARRAYS = [(1, 1), (4, 4), (3, 5), (8, 2)]
DATAFLOWS = ("os", "ws", "is")


def run(workload: Workload, **settings):
    config = systolic.Config(**settings)
    return systolic.simulate(config, systolic.schedule(config, workload))


def one(workload: Workload, **settings) -> dict:
    """Return the only row of a workload with one operation."""
    (row,) = run(workload, **settings).as_dict()["operations"]
    return row


def step(dataflow: str, left, right, **array) -> stepped.Stepped:
    if dataflow == "os":
        return stepped.output_stationary(left, right, **array)
    if dataflow == "ws":
        return stepped.weight_stationary(left, right, **array)
    turned = stepped.weight_stationary(right.T.copy(), left.T.copy(), **array)
    return stepped.Stepped(turned.values.T, turned.cycles)


def operands(m: int, k: int, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return tuple(generator.integers(-9, 10, shape).astype(np.float64) for shape in ((m, k), (k, n)))


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(("rows", "cols"), ARRAYS)
@pytest.mark.parametrize(("m", "k", "n"), ODD_SHAPES)
def test_registers_take_the_cycles_of_the_closed_form_and_give_the_product(
    m: int, k: int, n: int, rows: int, cols: int, dataflow: str
) -> None:
    left, right = operands(m, k, n)
    tiling = timing.tiling(m, k, n, rows=rows, cols=cols, dataflow=dataflow)
    period = timing.period(tiling.steps, rows=rows)
    for overlap, name in ((False, "none"), (True, "double_buffered")):
        seen = step(dataflow, left, right, rows=rows, cols=cols, overlap=overlap, period=period)
        assert seen.cycles == timing.cycles(tiling, rows=rows, tile_overlap=name)
        np.testing.assert_array_equal(seen.values, left @ right)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(("m", "k", "n"), [(9, 2, 9), (9, 40, 9), (2, 9, 9), (40, 9, 9)])
def test_tiles_cannot_follow_each_other_one_cycle_sooner(
    m: int, k: int, n: int, dataflow: str
) -> None:
    left, right = operands(m, k, n)
    tiling = timing.tiling(m, k, n, rows=4, cols=4, dataflow=dataflow)
    assert tiling.tiles > 1
    period = timing.period(tiling.steps, rows=4) - 1
    with pytest.raises(stepped.HazardError):
        step(dataflow, left, right, rows=4, cols=4, overlap=True, period=period)


def test_kernels_agree_with_their_plain_python() -> None:
    left, right = operands(5, 6, 7)
    out, plain = np.zeros((5, 7)), np.zeros((5, 7))
    assert stepped._output_stationary(left, right, out, 3, 2, 6) == (
        stepped._output_stationary.py_func(left, right, plain, 3, 2, 6)
    )
    np.testing.assert_array_equal(out, plain)
    out, plain = np.zeros((5, 7)), np.zeros((5, 7))
    assert stepped._weight_stationary(left, right, out, 3, 2, 5, True) == (
        stepped._weight_stationary.py_func(left, right, plain, 3, 2, 5, True)
    )
    np.testing.assert_array_equal(out, plain)


@pytest.mark.parametrize(("m", "k", "n"), [*ODD_SHAPES, (128, 256, 96), (784, 576, 128)])
def test_cycles_are_those_of_the_published_conventions(m: int, k: int, n: int) -> None:
    """Source: SCALE-Sim 3, tiles that do not overlap."""
    rows, cols = 32, 16
    down, across, deep = -(-m // rows), -(-n // cols), -(-k // rows)
    expected = {
        "os": down * across * (k + rows + cols - 2),
        "ws": deep * across * (m + 2 * rows + cols - 2),
        "is": deep * -(-m // cols) * (n + 2 * rows + cols - 2),
    }
    for dataflow, cycles in expected.items():
        settings = {"rows": rows, "cols": cols, "dataflow": dataflow, "tile_overlap": "none"}
        assert run(gemm(m, k, n), **settings).compute_cycles == cycles


@given(
    shape=st.tuples(*[st.integers(1, 300)] * 3),
    array=st.tuples(*[st.integers(1, 40)] * 2),
    dataflow=st.sampled_from(DATAFLOWS),
)
def test_more_overlap_is_never_slower(shape, array, dataflow: str) -> None:
    rows, cols = array
    tiling = timing.tiling(*shape, rows=rows, cols=cols, dataflow=dataflow)
    none, buffered, ideal = (
        timing.cycles(tiling, rows=rows, tile_overlap=name)
        for name in ("none", "double_buffered", "ideal")
    )
    assert ideal <= buffered <= none
    # Ideal issues every slot of every tile once, so it can never beat the peak.
    assert ideal * rows * cols >= np.prod(shape)


def test_n_of_m_shortens_k_before_tiling() -> None:
    dense = run(gemm(128, 256, 96), dataflow="ws", tile_overlap="none")
    half = run(gemm(128, 128, 96), dataflow="ws", tile_overlap="none")
    sparse = run(gemm(128, 256, 96, pattern=NM(2, 4)), dataflow="ws", tile_overlap="none")
    assert sparse.compute_cycles == half.compute_cycles < dense.compute_cycles


def test_groups_do_not_cross_the_runs_of_k() -> None:
    """9 kernel positions of 20 channels: 3 groups of 8 each, so 9 x 3 x 2 = 54 steps, not 45."""
    (whole,) = gemm(32, 180, 32, pattern=NM(2, 8)).matmuls
    runs = dataclasses.replace(whole, k_run=20)
    config = systolic.Config()
    plan = systolic.schedule(config, Workload(name="runs", operations=(runs,)))
    assert plan.products[0].steps_k == 9 * 3 * 2
    assert systolic.schedule(config, Workload(name="whole", operations=(whole,))).products[
        0
    ].steps_k == 2 * -(-180 // 8)


def test_indices_and_operand_feed_of_a_sparse_operand_are_counted() -> None:
    sparse, dense = one(gemm(64, 256, 64, pattern=NM(2, 8))), one(gemm(64, 256, 64))
    weights = 256 * 64 // 8 * 2
    saved_bytes = 2 * 256 * 64 - (weights * (16 + 3)) // 8
    assert dense["dram_bytes"] - sparse["dram_bytes"] == saved_bytes
    # Two tiles of rows use each weight; the dense operand is fed whole, for both tiles of columns.
    assert dense["sram_bytes"] - sparse["sram_bytes"] == saved_bytes + 2 * saved_bytes


def test_the_operand_that_shortens_k_more_is_exploited() -> None:
    (op,) = gemm(64, 64, 64, pattern=NM(4, 8)).matmuls
    left = dataclasses.replace(op.left, pattern=NM(1, 8))
    both = Workload(name="both", operations=(dataclasses.replace(op, left=left),))
    plan = systolic.schedule(systolic.Config(), both)
    assert (plan.products[0].sparse_operand, plan.products[0].steps_k) == ("left", 8)


@pytest.mark.parametrize(
    ("pattern", "settings"), [(NM(2, 8), {"nm_support": False}), (Unstructured(0.25), {})]
)
def test_a_pattern_that_is_not_exploited_costs_as_dense_and_is_noted(pattern, settings) -> None:
    sparse, dense = run(gemm(96, 64, 32, pattern=pattern), **settings), run(gemm(96, 64, 32))
    assert sparse.cycles == dense.cycles
    assert sparse.dram_bytes == dense.dram_bytes
    assert sparse.useful_macs == dense.useful_macs // 4
    (note,) = sparse.notes
    assert "1 products, such as gemm, run dense" in note


def test_operands_of_other_widths_are_converted_and_a_note_says_so() -> None:
    work = gemm(96, 64, 32, dtype="fp32")
    half, single = run(work), run(work, value_bits=32)
    (note,) = half.notes
    assert note == "operands of 32 bits in the workload are stored and multiplied in 16 bits"
    assert single.notes == ()
    assert single.dram_bytes == 2 * half.dram_bytes


@pytest.mark.parametrize("pattern", [NM(4, 4), NM(3, 7)])
def test_a_group_that_saves_no_step_is_not_exploited(pattern: NM) -> None:
    """K of 3 needs one group of 7 with 3 kept: nothing is shorter, so nothing is indexed."""
    plan = systolic.schedule(systolic.Config(), gemm(8, 3, 8, pattern=pattern))
    assert plan.products[0].sparse_operand == ""


def test_buffers_that_hold_everything_leave_compulsory_traffic() -> None:
    for dataflow in DATAFLOWS:
        row = one(gemm(300, 200, 100), dataflow=dataflow)
        assert row["dram_bytes"] == row["compulsory_bytes"] == 2 * (300 * 200 + 200 * 100 + 3e4)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_smaller_buffers_never_mean_less_traffic(dataflow: str) -> None:
    sizes = [1 << bits for bits in range(8, 24)]
    names = ("left_buffer_bytes", "right_buffer_bytes", "out_buffer_bytes")
    traffic = [
        one(gemm(400, 500, 300), dataflow=dataflow, **dict.fromkeys(names, size))["dram_bytes"]
        for size in sizes
    ]
    assert traffic == sorted(traffic, reverse=True)
    assert traffic[0] > traffic[-1]


def test_partial_sums_that_do_not_fit_are_written_and_read_for_every_further_tile_of_k() -> None:
    """4 tiles of k; a strip of 1000 x 32 sums of 4 bytes does not fit half of 64 KiB."""
    row = one(gemm(1000, 128, 32), dataflow="ws", out_buffer_bytes=64 << 10)
    spilled = 2 * 3 * 1000 * 32 * 4
    assert row["dram_bytes"] == row["compulsory_bytes"] + spilled


def test_memory_bounds_the_time_when_it_is_slower() -> None:
    fast, slow = (one(gemm(512, 64, 512), dram_bytes_per_s=rate) for rate in (1e12, 1e8))
    assert (fast["bottleneck"], slow["bottleneck"]) == ("array", "dram")
    assert fast["cycles"] == fast["compute_cycles"]
    assert slow["cycles"] == slow["memory_cycles"] == np.ceil(slow["dram_bytes"] * 200e6 / 1e8)
    assert slow["stall_cycles"] == slow["cycles"] - slow["compute_cycles"]


def test_short_tiles_are_bound_by_fill_and_drain() -> None:
    assert one(gemm(32, 4, 32))["bottleneck"] == "fill and drain"


def test_batched_products_pay_for_each() -> None:
    (op,) = gemm(32, 64, 32).matmuls
    eight = dataclasses.replace(
        op,
        batch=8,
        left=Operand(tensor="X", elements=8 * 32 * 64),
        right=Operand(tensor="W", elements=8 * 64 * 32),
        out=Operand(tensor="Y", elements=8 * 32 * 32),
    )
    row = one(Workload(name="eight", operations=(eight,)), tile_overlap="none")
    single = one(gemm(32, 64, 32), tile_overlap="none")
    for column in ("compute_cycles", "useful_macs", "issued_macs", "dram_bytes", "sram_bytes"):
        assert row[column] == 8 * single[column]


def test_weight_gradients_leave_as_partial_sums() -> None:
    (op,) = gemm(64, 64, 64).matmuls
    gradient = dataclasses.replace(op, pass_=Pass.WU, out=Operand(tensor="dW", elements=64 * 64))
    wide = one(Workload(name="wu", operations=(gradient,)))
    assert wide["dram_bytes"] - one(gemm(64, 64, 64))["dram_bytes"] == 64 * 64 * 2


def test_vector_work_and_selections_use_the_lanes() -> None:
    relu = VectorOp(
        name="r", layer="l", pass_=Pass.FF, kind="relu", elements=1000, read_bytes=10, write_bytes=6
    )
    select = Selection(
        name="s", layer="l", pass_=Pass.FF, tensor="W", elements=800, pattern=NM(2, 8)
    )
    relu_row, select_row = run(
        Workload(name="w", operations=(relu, select)), vector_lanes=8
    ).as_dict()["operations"]
    assert (relu_row["compute_cycles"], relu_row["dram_bytes"]) == (125, 16)
    # Two scans of 800 elements on 8 lanes; 1600 bytes read, 100 groups of 2 x 19 bits written.
    assert select_row["compute_cycles"] == 2 * 800 // 8
    assert select_row["dram_bytes"] == 1600 + 100 * 2 * 19 // 8
    assert {relu_row["useful_macs"], select_row["useful_macs"]} == {0}


def test_fused_work_moves_its_bytes_while_the_product_leaves_memory_idle() -> None:
    (op,) = gemm(512, 512, 512).matmuls
    bias = VectorOp(
        name="b", layer="l", pass_=Pass.FF, kind="bias", elements=9, read_bytes=960, fused=True
    )
    both = run(Workload(name="w", operations=(op, bias)))
    assert both.cycles == run(gemm(512, 512, 512)).cycles
    assert both.as_dict()["operations"][1]["hidden_cycles"] == np.ceil(960 * 200e6 / 76.8e9)
    starved = run(Workload(name="w", operations=(op, bias)), dram_bytes_per_s=1e7)
    assert starved.cycles == sum(
        np.ceil(row * 200e6 / 1e7) for row in starved.columns["dram_bytes"]
    )


def test_energy_of_the_rows_adds_up_to_the_components() -> None:
    report = run(gemm(100, 100, 100, pattern=NM(2, 8)))
    assert sum(report.columns["energy_pj"]) == pytest.approx(sum(report.energy_pj.values()))
    slots = report.as_dict()["operations"][0]["issued_macs"]
    assert report.energy_pj["array"] == pytest.approx(slots * (1.1 + 0.9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": 0}, "rows must be a positive whole number, not 0"),
        ({"cols": 2.5}, "cols must be a positive whole number, not 2.5"),
        ({"clock_hz": float("nan")}, "clock_hz must be a positive number, not nan"),
        ({"dram_bytes_per_s": float("inf")}, "dram_bytes_per_s must be a positive number, not inf"),
        ({"value_bits": 12}, "value_bits must be 8, 16 or 32, not 12"),
    ],
)
def test_wrong_configs_say_what_would_be_right(settings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        systolic.Config(**settings)


def test_every_dataflow_and_overlap_gives_a_report() -> None:
    """Reports check themselves: useful <= issued <= peak x cycles, traffic >= compulsory."""
    for dataflow, overlap, shape in product(
        DATAFLOWS, ("none", "double_buffered", "ideal"), ODD_SHAPES
    ):
        assert 0 < run(gemm(*shape), dataflow=dataflow, tile_overlap=overlap).utilisation <= 1


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_blocks_as_large_as_a_tile_are_left_out(dataflow: str) -> None:
    """Half of the blocks of K: as many cycles as a product of half the K."""
    settings = {"rows": 16, "cols": 16, "dataflow": dataflow}
    sparse = run(gemm(96, 256, 64, pattern=Block(16, 16, 0.5)), **settings)
    assert sparse.compute_cycles == run(gemm(96, 128, 64), **settings).compute_cycles
    assert any("spread evenly" in note for note in sparse.notes)


@pytest.mark.parametrize(
    ("block", "settings"),
    [
        (Block(16, 8, 0.5), {}),
        (Block(8, 16, 0.5), {"dataflow": "ws"}),
        (Block(16, 16, 0.5), {"dataflow": "is"}),
        (Block(16, 16, 0.5), {"block_support": False}),
    ],
)
def test_blocks_that_fill_no_tile_run_dense_and_are_noted(block: Block, settings) -> None:
    array = {"rows": 16, "cols": 16} | settings
    sparse = run(gemm(96, 256, 64, pattern=block), **array)
    assert sparse.cycles == run(gemm(96, 256, 64), **array).cycles
    assert any("run dense" in note for note in sparse.notes)
