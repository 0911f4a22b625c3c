import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.digits import encode, nonzero_counts, normal_pmf
from dataflow.digits.tables import mask_table
from simulator.accelerators import bitweight
from simulator.accelerators.bitweight import (
    Config,
    Operands,
    baselines,
    columns,
    kernels,
    laws,
    statistical,
    timing,
)
from simulator.accelerators.bitweight.synthesis import find
from simulator.cli import main
from workloads import InputError, gemm

SPARSE = ("opt3", "opt4c", "opt4e", "opt4c_seg", "opt4e_seg")


def normal(rows: int, k: int, *, std: float = 24.4, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(0, std, (rows, k))
    return np.clip(np.rint(drawn), -128, 127).astype(np.int8)


def run(config: Config, work) -> object:
    return bitweight.simulate(config, bitweight.schedule(config, work))


def naive_row_steps(row: np.ndarray, lanes: int, width: int = 8) -> int:
    """Sum over positions of the slowest lane's max(1, non-zero digits) over its groups of four."""
    groups = columns.groups(len(row), lanes)
    padded = np.zeros(4 * groups, np.int64)
    padded[: len(row)] = row
    nonzero = encode(padded, "ent", width).reshape(groups, 4, -1) != 0
    total = 0
    for position in range(width // 2):
        steps = [max(1, int(group[:, position].sum())) for group in nonzero]
        total += max(sum(steps[lane::lanes]) for lane in range(lanes))
    return total


@given(st.data())
def test_steps_are_digits_and_empty_groups_of_the_slowest_lane(data: st.DataObject) -> None:
    lanes = data.draw(st.sampled_from([1, 4]))
    rows, k = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 40))
    a = np.array(
        data.draw(st.lists(st.integers(-128, 127), min_size=rows * k, max_size=rows * k)), np.int8
    ).reshape(rows, k)
    config = Config(engine="opt4e" if lanes == 4 else "opt4c", rows=2)
    steps = columns.exact(config, a)
    own = [naive_row_steps(row, lanes) for row in a]
    slowest = [max(own[i : i + 2]) for i in range(0, rows, 2)]
    assert steps.total == sum(own)
    fixed = laws.last_step(0, passes=4, drain=config.drain_cycles)
    assert steps.tile_ends == sum(slowest) + fixed * len(slowest)


@pytest.mark.parametrize("banks", [0, 2, 8])
def test_compiled_kernels_are_their_python_twins(banks: int) -> None:
    a = normal(7, 50)
    steps = kernels.group_steps(a, mask_table("ent", 8), 4, 16)
    spread = kernels._spread
    try:
        kernels._spread = spread.py_func
        plain = kernels.group_steps.py_func(a.astype(np.int64), mask_table("ent", 8), 4, 16)
    finally:
        kernels._spread = spread
    np.testing.assert_array_equal(steps, plain)
    for lanes in (1, 4):
        compiled = kernels.row_steps(steps, lanes)
        np.testing.assert_array_equal(compiled, kernels.row_steps.py_func(steps, lanes))
        chunk = -(-16 // lanes // banks) if banks else 1
        arguments = (lanes, chunk, banks, 4, 3)
        end = kernels._tile_end(steps[:3], *arguments)
        assert end == kernels._tile_end.py_func(steps[:3], *arguments)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("drain", [1, 2, 8])
@pytest.mark.parametrize("k", [1, 4, 30, 64])
def test_stepped_columns_without_conflicts_obey_the_closed_form(k, drain, lanes) -> None:
    groups = columns.groups(k, lanes)
    steps = kernels.group_steps(normal(5, k), mask_table("ent", 8), 4, groups)
    slowest = int(kernels.row_steps(steps, lanes).max())
    for fifo in (3, 4, 9):
        end = kernels._tile_end(steps, lanes, 1, 0, fifo, drain)
        assert end == laws.last_step(slowest, passes=4, drain=drain)


def test_a_fifo_of_two_would_not_keep_a_lane_busy() -> None:
    """Zeros take one step a group: a FIFO needs room for two groups under way and one waiting."""
    steps = np.ones((1, 4, 16), np.uint8)
    law = laws.last_step(64, passes=4, drain=1)
    assert kernels._tile_end(steps, 1, 1, 0, 3, 1) == law
    assert kernels._tile_end(steps, 1, 1, 0, 2, 1) > law


def test_bank_conflicts_cost_time_and_interleaving_wins_it_back() -> None:
    a = normal(64, 2048)
    base = Config(engine="opt4c", rows=32)
    ideal, shared, spread = (
        columns.exact(config, a).tile_ends
        for config in (
            base,
            replace(base, banks=32),
            replace(base, banks=64, interleaved=True),
        )
    )
    assert ideal < spread < 1.02 * ideal < shared


@pytest.mark.parametrize("shape", [(32, 64, 32), (33, 1, 70), (5, 7, 3), (100, 31, 1)])
@pytest.mark.parametrize("array", ["os", "matrix", "ws", "cube", "tree"])
def test_dense_laws_are_the_latest_result_of_all_tiles(array: str, shape) -> None:
    m, k, n = shape
    size = 8
    down, across, deep = (-(-extent // size) for extent in (m, n, k))
    last = 0
    now = 0  # cycle in which the next tile's first operand enters
    if array in ("os", "matrix", "cube"):
        for i in range(down):
            for j in range(across):
                r, c = min(size, m - i * size), min(size, n - j * size)
                steps = deep if array == "cube" else k
                skew = {"os": r + c - 2, "matrix": 0, "cube": r + c - 2 + size - 1}[array]
                last = max(last, now + steps + 1 + skew)
                now += steps
    elif array == "ws":
        for j in range(across):
            c = min(size, n - j * size)
            for _ in range(deep):
                now += size + (m - 1) + (c - 1) + size + 1
        last = now
    else:
        for j in range(across):
            c = min(size, n - j * size)
            now += m * deep
            last = max(last, now - 1 + (c - 1) + 4)
    assert laws.dense(array, m, k, n, rows=size, cols=size) == last


def test_published_laws_hold_for_one_tile() -> None:
    """OS: M + N + K - 1; WS: N + 1 load cycles less one, then the same; cube: b + 3N - 2."""
    assert laws.dense("os", 16, 100, 16, rows=16, cols=16) == 16 + 16 + 100 - 1
    assert laws.dense("ws", 100, 16, 16, rows=16, cols=16) == 16 + (100 + 16 + 16 - 1)
    assert laws.dense("cube", 8, 8 * 5, 8, rows=8, cols=8) == 5 + 3 * 8 - 2


@pytest.mark.parametrize("engine", ["opt4c", "opt4e"])
@pytest.mark.parametrize(("m", "k"), [(32, 1), (40, 5), (64, 18), (70, 64), (64, 500)])
def test_expectations_are_the_mean_of_many_draws(engine: str, m: int, k: int) -> None:
    config = Config(engine=engine)
    drawn = [columns.exact(config, normal(m, k, seed=seed)) for seed in range(60)]
    expected = statistical.expected(config, m, k)
    for name in ("total", "tile_ends"):
        values = np.array([getattr(steps, name) for steps in drawn])
        error = values.std() / np.sqrt(len(values))
        assert abs(getattr(expected, name) - values.mean()) <= 4 * error + 0.5, name


def test_expected_steps_of_a_group_are_the_sum_over_its_patterns() -> None:
    for p in (0.0, 0.3, 1.0):
        for size in (1, 2, 3, 4):
            pmf = statistical.group_pmf(p, size)
            mean = pmf @ np.arange(5)
            assert mean == pytest.approx(size * p + (1 - p) ** size)


def test_lanes_share_all_groups() -> None:
    for k in range(1, 70):
        for lanes in (1, 4):
            sizes = statistical.lane_sizes(k, lanes)
            assert sum(4 * full + partial for full, partial, _ in sizes) == k
            counts = {full + (partial > 0) + empty for full, partial, empty in sizes}
            assert counts == {columns.groups(k, lanes) // lanes}


@pytest.mark.parametrize("engine", bitweight.ENGINES)
def test_every_engine_takes_values_and_shapes(engine: str) -> None:
    a, b = normal(50, 70), normal(70, 40, seed=1)
    config = Config(engine=engine, rows=8, cols=8)
    exact = run(config, Operands(left=a, right=b))
    guessed = run(config, gemm(50, 70, 40, dtype="int8"))
    assert guessed.cycles == pytest.approx(exact.cycles, rel=0.02)
    read = nonzero_counts(a, "ent", 8).mean() if config.reads_digits else 0.0
    assert exact.extra["digits_per_operand"] == pytest.approx(read)
    assert 0.5 < exact.extra["column_utilisation"] <= 1
    assert exact.energy_j > 0


@pytest.mark.parametrize("engine", SPARSE)
def test_time_is_the_law_of_the_slowest_columns(engine: str) -> None:
    a, b = normal(20, 33), normal(33, 30, seed=1)
    config = Config(engine=engine, rows=8, cols=16, dram_bytes_per_s=1e15)
    own = [naive_row_steps(row, config.lanes) for row in a]
    slowest = [max(own[i : i + 8]) for i in range(0, 20, 8)]
    drain = config.drain_cycles
    tiles_across = -(-30 // 16)
    per_pass = sum(s + 2 + 3 * (drain - 1) + drain for s in slowest)
    assert run(config, Operands(left=a, right=b)).cycles == tiles_across * per_pass + 3


def test_fewer_digits_take_less_time_and_zeros_the_least() -> None:
    b = normal(256, 32, seed=1)
    cycles = [
        run(Config(), Operands(left=a, right=b)).cycles
        for a in (normal(32, 256, std=2), normal(32, 256, std=20), normal(32, 256, std=80))
    ]
    assert cycles == sorted(cycles)
    zeros = run(Config(), Operands(left=np.zeros((32, 256), np.int8), right=b))
    assert zeros.extra["steps"] == 32 * 4 * 256 // 4


@pytest.mark.parametrize("width", [4, 8, 16])
def test_values_are_those_of_numpy(width: int) -> None:
    rng = np.random.default_rng(width)
    high = 1 << (width - 1)
    a, b = rng.integers(-high, high, (9, 30)), rng.integers(-high, high, (30, 4))
    product = bitweight.compute(Config(width=width), Operands(left=a, right=b))
    np.testing.assert_array_equal(product, a @ b)


def test_the_clock_and_the_area_are_those_of_the_synthesised_parts() -> None:
    config = Config(engine="opt4c", rows=4, cols=8, simd_lanes=2)
    element, front, simd = find("opt4c"), find("column_front"), find("simd_lane")
    slowest = max(element.min_period_ns, front.min_period_ns)
    assert config.period_ns == pytest.approx(1.1 * slowest)
    area = 32 * element.area + 4 * front.area + 8 * simd.area
    assert config.area_um2 == pytest.approx(area)
    turns = -(-simd.min_period_ns // slowest)
    assert config.drain_cycles == 4 * turns


def test_bit_slice_baselines_are_expectations_over_digits() -> None:
    """Monte Carlo of the same sentences, 16 pairs for Laconic and 64 magnitudes for Bitlet."""
    rng = np.random.default_rng(0)
    a, b = (np.rint(rng.normal(0, 20, (40_000, 16))).clip(-128, 127).astype(int) for _ in "ab")
    pairs = nonzero_counts(a, "booth", 8).astype(int) * nonzero_counts(b, "booth", 8)
    drawn = np.maximum(pairs.max(axis=1), 1).mean()
    pmf = normal_pmf(20.0, 8)
    assert baselines.laconic_cycles(pmf, pmf, 8) == pytest.approx(drawn, rel=0.01)
    weights = np.rint(rng.normal(0, 20, (20_000, 64))).clip(-128, 127).astype(int)
    bits = np.abs(weights)[..., None] >> np.arange(8) & 1
    fullest = bits.sum(axis=1).max(axis=1).mean()
    assert baselines.bitlet_cycles(pmf, 8) == pytest.approx(fullest, rel=0.01)


@pytest.mark.parametrize("engine", ["laconic", "bitlet"])
def test_a_bit_slice_design_reaches_its_peak_on_zeros(engine: str) -> None:
    """An element takes 16 or 64 pairs at once, and at least a cycle for them."""
    a, b = np.zeros((32, 640), np.int8), np.zeros((640, 32), np.int8)
    report = run(Config(engine=engine, dram_bytes_per_s=1e15), Operands(left=a, right=b))
    assert report.utilisation == 1.0
    assert report.cycles == 640 // {"laconic": 16, "bitlet": 64}[engine]


def save(path: Path, array: np.ndarray) -> str:
    np.save(path, array)
    return str(path)


def test_the_command_reads_operands_and_adds_its_keys(tmp_path: Path, capsys) -> None:
    a, b = normal(40, 50), normal(50, 20, seed=1)
    files = [save(tmp_path / "a.npy", a), save(tmp_path / "b.npy", b)]
    arguments = ["run", "bitweight", "--set", "engine=opt4e", "--operands", *files, "--json"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    own = [naive_row_steps(row, 4) for row in a]
    assert printed["steps"] == sum(own)
    assert printed["digits_per_operand"] == pytest.approx(nonzero_counts(a, "ent", 8).mean())
    slowest = max(own[:32]) * 32 + max(own[32:]) * 8
    assert printed["column_utilisation"] == pytest.approx(sum(own) / slowest)


BAD_FILES = [
    (
        "floats",
        np.ones((2, 2)),
        "left operand must be integers, not float64: choose how to scale it by --quantiser tensor "
        "or channel, because the scale decides the digits",
    ),
    ("wide", np.full((2, 2), 200), "left operand must lie in -128 to 127 for 8 bits, not 200"),
    ("vector", np.ones(3, np.int8), "left operand must be a matrix with at least one value"),
    ("shape", np.ones((2, 3), np.int8), "operands must have the same K: left is (2, 3)"),
    ("objects", np.array([[{}]], object), "must be one array as a .npy file"),
]


@pytest.mark.parametrize(("name", "left", "sentence"), BAD_FILES, ids=[x[0] for x in BAD_FILES])
def test_operands_that_do_not_fit_are_refused(
    name: str, left: np.ndarray, sentence: str, tmp_path: Path, capsys
) -> None:
    files = [save(tmp_path / "a.npy", left), save(tmp_path / "b.npy", np.ones((2, 2), np.int8))]
    assert main(["run", "bitweight", "--operands", *files]) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said
    assert "\n" not in said


@pytest.mark.parametrize("content", [b"", b"no array", b"PK\x03\x04"])
def test_a_file_that_is_no_array_is_refused(content: bytes, tmp_path: Path, capsys) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    assert main(["run", "bitweight", "--operands", str(tmp_path / "a.npy"), "x.npy"]) == 2
    assert "a.npy" in capsys.readouterr().err


def test_several_arrays_in_a_file_are_refused(tmp_path: Path) -> None:
    sink = io.BytesIO()
    np.savez(sink, a=np.ones((2, 2), np.int8))
    (tmp_path / "a.npy").write_bytes(sink.getvalue())
    with pytest.raises(InputError, match=r"must be one array as a \.npy file"):
        bitweight.workload_from_options({"operands": (str(tmp_path / "a.npy"), "b.npy")})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 7}, "width must be an even number of bits from 4 to 16, not 7"),
        ({"fifo": 2}, "fifo must be at least 3 groups, not 2"),
        (
            {"engine": "mac", "array": "cube", "rows": 4},
            "a cube needs rows = cols, not 4 and 32",
        ),
        ({"sum_bits": 8}, "sum_bits must be at least width + 2 = 10, not 8"),
        ({"clock_hz": -1.0}, "clock_hz must be zero or a positive number, not -1.0"),
        ({"banks": -1}, "banks must be a whole number from 0 to 4096, not -1"),
    ],
)
def test_configs_that_no_array_has_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        Config(**settings)
    assert str(error.value) == message


def test_a_reduction_of_the_longest_part_cannot_overflow_and_one_more_term_could() -> None:
    longest = Config().largest_k
    assert longest * 256 < 1 << 25 <= (longest + 1) * 256
    assert timing.parts(Config(), longest) == [longest]
    parts = timing.parts(Config(), longest + 1)
    assert sum(parts) == longest + 1
    assert max(parts) <= longest
    assert all(k % 4 == 0 for k in parts[:-1])


@pytest.mark.parametrize("engine", ["mac", "opt1", "opt2", "opt4c", "opt4e"])
def test_a_reduction_beyond_the_sums_range_runs_in_parts_that_the_vector_unit_adds(
    engine: str,
) -> None:
    """A part is a product of its own; each further part costs one addition a result."""
    config = Config(engine=engine, rows=8, cols=8, dram_bytes_per_s=1e15)
    k = 2 * config.k_part + 100
    m, n = 40, 24
    whole = run(config, gemm(m, k, n, dtype="int8"))
    alone = [run(config, gemm(m, part, n, dtype="int8")).cycles for part in timing.parts(config, k)]
    separate = sum(alone) + 2 * m * n // config.vector_lanes
    slack = 0 if engine in ("mac", "opt1") else 3 * (laws.READ_OUT + 1)  # they follow each other
    assert separate - slack <= whole.cycles <= separate
    assert "split into parts, added by the vector unit: gemm" in " ".join(whole.notes)


@pytest.mark.parametrize("width", [4, 8, 10, 16])
@pytest.mark.parametrize("engine", bitweight.ENGINES)
def test_every_engine_takes_every_width(engine: str, width: int) -> None:
    """Sums of whole products grow to 64 bits with wider operands: none of these runs in parts."""
    config = Config(engine=engine, width=width, rows=8, cols=8)
    assert timing.parts(config, 5000) == [5000]
    assert run(config, gemm(20, 5000, 30, dtype="int8")).cycles > 0


@pytest.mark.parametrize("engine", ["opt2", "opt4c", "opt4e"])
def test_sums_that_hold_no_group_make_parts_of_the_terms_that_they_hold(engine: str) -> None:
    """10 bits hold one term of INT8, 12 bits 7: fewer than the 16 of a group for each lane."""
    a, b = normal(3, 23), normal(23, 2, seed=1)
    for sum_bits, most in ((10, 1), (12, 7)):
        config = Config(engine=engine, sum_bits=sum_bits)
        parts = timing.parts(config, 23)
        assert max(parts) <= most
        assert sum(parts) == 23
        operands = Operands(left=a, right=b)
        np.testing.assert_array_equal(bitweight.compute(config, operands), a.astype(int) @ b)
        assert run(config, operands).cycles > 0


def test_parts_of_a_reduction_are_exact_and_values_survive_them() -> None:
    """Narrow sums make short parts: 16 bits hold 127 terms of INT8."""
    config = Config(engine="opt4c", sum_bits=16, rows=4)
    assert config.largest_k == (2**15 - 1) // 256 == 127
    a, b = normal(6, 500), normal(500, 3, seed=1)
    np.testing.assert_array_equal(
        bitweight.compute(config, Operands(left=a, right=b)), a.astype(int) @ b.astype(int)
    )
    start, steps = 0, 0
    for k in timing.parts(config, 500):
        steps += sum(naive_row_steps(row, 1) for row in a[:, start : start + k])
        start += k
    assert run(config, Operands(left=a, right=b)).extra["steps"] == steps


def test_results_between_parts_cross_the_interface_only_if_half_the_buffer_is_too_small() -> None:
    k, m, n = 2 * Config().largest_k, 300, 200
    roomy = run(Config(), gemm(m, k, n, dtype="int8"))
    tight = run(Config(out_buffer_bytes=8 * m * n - 1), gemm(m, k, n, dtype="int8"))
    joins = len(timing.parts(Config(), k)) - 1
    assert tight.dram_bytes - roomy.dram_bytes == 2 * joins * 4 * m * n
