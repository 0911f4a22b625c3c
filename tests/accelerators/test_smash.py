"""SMASH: values as of `multiply` for any interleaving, and what else its design promises."""

import itertools
import json

import numpy as np
import pytest

from dataflow.row_windows import row_windows, work_items
from dataflow.spgemm import count, multiply
from simulator.accelerators import smash
from simulator.accelerators.smash import kernel, phases
from simulator.accelerators.smash.run import run
from simulator.cli import main
from workloads import InputError
from workloads.matrices import (
    MILD,
    Csr,
    banded,
    block_sparse,
    read_matrix,
    rmat,
    sparse_product,
    uniform,
)
from workloads.trace import read_trace, shipped

VERSIONS = ("v1", "v2", "v3")
FAIR = {"hash_kind": "multiplicative"}


def generator(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


SKEWED = rmat(9, 12, rng=generator())
EVEN = banded(1024, 4, rng=generator())


def outcome(matrix: Csr, version: str, right: Csr | None = None, **settings):
    config = smash.Config(version=version, **settings)
    other = matrix if right is None else right
    work = count(matrix, other)
    windows = row_windows(work.row_products, other.shape[1], config.capacity(version))
    limit = None if version == "v1" else config.token_products
    items = work_items(matrix, other, windows, limit)
    return run(config, version, matrix, other, work, windows, items)


def cycles(matrix: Csr, version: str, **settings) -> int:
    return outcome(matrix, version, **settings).cycles


def assert_equal(product, left: Csr, right: Csr) -> None:
    ours, theirs = product.csr(), multiply(left, right).csr()
    assert np.array_equal(ours.indptr, theirs.indptr)
    assert np.array_equal(ours.indices, theirs.indices)
    assert ours.values == pytest.approx(theirs.values, rel=1e-12)


SMALL = {
    "skewed": (rmat(7, 6, rng=generator()),) * 2,
    "banded": (banded(60, 3, rng=generator()),) * 2,
    "wide": (uniform(30, 40, 5, rng=generator()), uniform(40, 500, 9, rng=generator())),
    "empty": (Csr.from_coo((4, 5), [], [], []), Csr.from_coo((5, 6), [], [], [])),
    "one row": (uniform(1, 9, 5, rng=generator()), uniform(9, 300, 40, rng=generator())),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pipelines": 1, "threads_per_pipeline": 1},
        {"pipelines": 3, "threads_per_pipeline": 7, "scratchpad_banks": 1},
        {"dram_latency_cycles": 9999, "instruction_latency_cycles": 1},
        {"hash_kind": "high", "fill_limit": 1.0, "scratchpad_bytes": 1024},
        {"hash_kind": "multiplicative", "access_bytes": 8, "token_products": 1},
    ],
)
def test_1_the_product_is_right_for_any_interleaving(name, version, settings) -> None:
    left, right = SMALL[name]
    found = outcome(left, version, right, **settings)
    assert_equal(found.product, left, right)
    assert found.products == count(left, right).multiplies
    assert found.probe_histogram.sum() == found.products
    assert sum(found.phases.values()) == found.cycles


def test_2_tokens_beat_static_rows_and_fragments_beat_both_on_skewed_rows() -> None:
    v1, v2, v3 = (cycles(SKEWED, version, **FAIR) for version in VERSIONS)
    assert v3 < v2 < v1


def test_2_tokens_gain_nothing_on_even_rows() -> None:
    """Hashing alone: what is left is the cost of tokens and of reading items in other places."""
    v1, v2 = (outcome(EVEN, version, **FAIR).phases["hashing"] for version in ("v1", "v2"))
    assert v2 == pytest.approx(v1, rel=0.1)
    skewed = [outcome(SKEWED, version, **FAIR).phases["hashing"] for version in ("v1", "v2")]
    assert skewed[0] / skewed[1] > 1.3 > v1 / v2


def test_2_fragments_gain_less_the_less_there_is_to_write_back() -> None:
    """Blocks merge many products into each entry; a mild R-MAT merges almost none."""
    few = block_sparse(512, 512, 64, 0.5, rng=generator())
    many = rmat(11, 12, MILD, rng=generator()).permuted(generator())
    assert count(few, few).compression > 100 > 2 > count(many, many).compression
    small = {"scratchpad_bytes": 1 << 19, **FAIR}
    gains = [cycles(m, "v2", **small) / cycles(m, "v3", **small) for m in (few, many)]
    assert gains[1] > 1.15
    assert abs(gains[0] - 1) < 0.1


def busy_spread(matrix: Csr, version: str, **settings) -> float:
    busy = outcome(matrix, version, **settings).thread_busy_cycles
    return busy.max() / busy.mean()


def test_3_tokens_even_out_the_threads() -> None:
    static, dynamic = (busy_spread(SKEWED, version, **FAIR) for version in ("v1", "v2"))
    assert static > 1.5
    assert dynamic < 1.1


def test_3_tokens_cost_time_when_they_are_tiny() -> None:
    """One token per entry instead of per 256 products: its fetch and its item load add up."""
    coarse, fine = (cycles(EVEN, "v2", token_products=size, **FAIR) for size in (256, 1))
    assert fine > 1.15 * coarse


def test_3_the_token_counter_serialises() -> None:
    """With rows of one product, tokens / bank cycles bounds the rate, whatever else is free."""
    diagonal = banded(4096, 0)
    fast = {"instruction_latency_cycles": 1, "dram_latency_cycles": 1, "dram_bytes_per_cycle": 4096}
    found = outcome(diagonal, "v2", atomic_bank_cycles=64, **fast, **FAIR)
    assert found.phases["hashing"] >= 4096 * 64


@pytest.mark.parametrize("fill", [0.25, 0.5, 0.75])
def test_4_probes_follow_the_fill_of_the_table(fill: float) -> None:
    """Nothing merges, so a product is an insertion: (1 + 1 / (1 - fill)) / 2 probes on average."""
    spread = uniform(4096, 1 << 20, 1, rng=generator())
    left = uniform(512, 4096, 24, rng=generator(6))
    found = outcome(left, "v2", spread, fill_limit=fill, scratchpad_bytes=1 << 14, **FAIR)
    entries = found.product.nnz
    full = entries / found.windows / (1 << 10)
    assert full == pytest.approx(fill, rel=0.1)
    assert found.probes / found.products == pytest.approx((1 + 1 / (1 - full)) / 2, rel=0.1)


def test_4_probes_depend_on_the_bits_and_on_the_labels() -> None:
    raw = rmat(9, 12, MILD, rng=generator())
    mixed = raw.permuted(generator())

    def probes(matrix: Csr, kind: str) -> float:
        found = outcome(matrix, "v2", hash_kind=kind, scratchpad_bytes=1 << 18)
        return found.probes / found.products

    assert probes(raw, "high") > 3 * probes(mixed, "low")
    assert probes(raw, "low") > 1.2 * probes(mixed, "low")
    assert probes(raw, "multiplicative") == pytest.approx(probes(mixed, "multiplicative"), rel=0.1)


def expected_bytes(matrix: Csr, version: str, access: int) -> int:
    """Count every access of the program by its definition, in plain Python."""
    config = smash.Config(version=version, access_bytes=access, **FAIR)
    windows = row_windows(
        count(matrix, matrix).row_products, matrix.shape[1], config.capacity(version)
    )
    items = work_items(matrix, matrix, windows, None if version == "v1" else 256)

    def stream(first: int, last: int) -> int:
        lines = {("i", at * 4 // access) for at in range(first, last)}
        lines |= {("v", at * 8 // access) for at in range(first, last)}
        return len(lines) * access

    total = 16 * len(items)
    for first, last in zip(items.first, items.last, strict=True):
        total += stream(first, last) + 8 * (last - first)
        for k in matrix.indices[first:last]:
            total += stream(matrix.indptr[k], matrix.indptr[k + 1])
    entries, rows = multiply(matrix, matrix).nnz, matrix.shape[0]
    total += (12 if version == "v3" else 16) * entries + 8 * rows
    return total + phases.distribution(config, matrix.nnz, rows).dram_bytes


@pytest.mark.parametrize("access", [8, 64])
@pytest.mark.parametrize("version", VERSIONS)
def test_5_dram_bytes_are_those_of_every_access(version: str, access: int) -> None:
    matrix = rmat(7, 8, rng=generator())
    found = outcome(matrix, version, access_bytes=access, **FAIR)
    assert found.dram_bytes == expected_bytes(matrix, version, access)


def test_5_wide_accesses_move_more_for_short_rows() -> None:
    short = uniform(512, 512, 2, rng=generator())
    narrow, wide = (outcome(short, "v2", access_bytes=a, **FAIR).dram_bytes for a in (8, 64))
    assert wide > 2 * narrow


def utilisation(matrix: Csr, version: str, **settings) -> float:
    report = smash.simulate(
        config := smash.Config(version=version, **settings),
        smash.schedule(config, sparse_product(matrix)),
    )
    return report.extra["dram_utilisation"]


def test_6_each_version_uses_dram_better() -> None:
    v1, v2, v3 = (utilisation(SKEWED, version, **FAIR) for version in VERSIONS)
    assert v1 < v2 < v3 <= 1


@pytest.mark.parametrize("version", VERSIONS)
def test_6_instructions_per_cycle_respect_pipelines_and_latency(version: str) -> None:
    whole = outcome(SKEWED, version, **FAIR)
    assert whole.instructions <= 4 * whole.cycles
    alone = outcome(SMALL["skewed"][0], version, pipelines=1, threads_per_pipeline=1, **FAIR)
    assert alone.instructions * 4 <= alone.cycles + 4


def test_7_threads_needed_to_saturate_follow_littles_law() -> None:
    """One access in flight per thread: latency x bandwidth / bytes threads keep DRAM busy."""
    latency, rate, access = 400, 8, 64
    needed = latency * rate / access
    rows = uniform(2048, 2048, 8, rng=generator())
    plain = {
        "product_instructions": 1,
        "probe_instructions": 1,
        "entry_instructions": 1,
        "instruction_latency_cycles": 1,
        "scratchpad_latency_cycles": 1,
        "atomic_bank_cycles": 1,
        "dram_latency_cycles": latency,
        "dram_bytes_per_cycle": rate,
        **FAIR,
    }

    def bytes_per_cycle(threads: int) -> float:
        plain["pipelines"] = threads
        found = outcome(rows, "v3", threads_per_pipeline=1, **plain)
        spent = found.phases["hashing"]
        outside = phases.distribution(smash.Config(), rows.nnz, rows.shape[0]).dram_bytes
        return (found.dram_bytes - outside - 12 * found.product.nnz) / spent

    quarter, many = bytes_per_cycle(int(needed / 4)), bytes_per_cycle(int(8 * needed))
    assert quarter <= needed / 4 * access / latency
    assert quarter > 0.2 * needed / 4 * access / latency
    assert many > 0.6 * rate


def test_8_windows_fall_with_the_scratchpad_and_cycles_flatten() -> None:
    sizes = [1 << bits for bits in (14, 16, 18, 20, 22)]
    found = [outcome(SKEWED, "v3", scratchpad_bytes=size, **FAIR) for size in sizes]
    windows = [each.windows for each in found]
    assert windows[0] == pytest.approx(4 * windows[1], rel=0.15)
    assert windows[1] == pytest.approx(4 * windows[2], rel=0.15)
    times = [each.cycles for each in found]
    assert times == sorted(times, reverse=True)
    assert times[0] / times[1] > times[-2] / times[-1]


def test_8_a_row_larger_than_the_scratchpad_is_done_in_passes() -> None:
    left = Csr.from_coo((3, 50), [1] * 50, range(50), np.arange(1.0, 51.0))
    right = uniform(50, 4000, 100, rng=generator())
    config = smash.Config(scratchpad_bytes=8192, **FAIR)
    report = smash.simulate(config, smash.schedule(config, sparse_product(left, right)))
    assert report.extra["split_rows"] == 1
    assert report.extra["windows"] > 4000 / config.capacity("v3")
    assert_equal(smash.compute(config, (left, right)), left, right)


def test_9_the_engine_streams_while_threads_hash() -> None:
    """With a slow DRAM the time is close to that of all bytes, not to hashing plus write-back."""
    matrix = rmat(9, 12, MILD, rng=generator())
    small = {"scratchpad_bytes": 1 << 16, **FAIR}
    alone = outcome(matrix, "v3", dram_bytes_per_cycle=4096, **small)
    for rate in (4, 8):
        found = outcome(matrix, "v3", dram_bytes_per_cycle=rate, **small)
        moving = found.dram_bytes / rate
        longer = max(alone.cycles, moving)
        assert longer <= found.cycles < alone.cycles + moving
        assert found.cycles < 1.25 * longer


def test_10_more_threads_help_less_once_something_saturates() -> None:
    found = [cycles(SKEWED, "v3", threads_per_pipeline=n, **FAIR) for n in (1, 2, 4, 8, 16, 32)]
    gains = [slow / fast for slow, fast in itertools.pairwise(found)]
    assert gains[0] > 1.8
    assert gains[-1] < 1.1
    assert gains == sorted(gains, reverse=True)


def test_the_interpreted_window_agrees_with_the_compiled_one(monkeypatch) -> None:
    matrix = rmat(5, 3, rng=generator())
    compiled = outcome(matrix, "v2", **FAIR)
    monkeypatch.setattr(kernel, "run_window", kernel.run_window.py_func)
    interpreted = outcome(matrix, "v2", **FAIR)
    assert interpreted.cycles == compiled.cycles
    assert np.array_equal(interpreted.product.values, compiled.product.values)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"version": "v4"}, "version must list v1, v2 or v3, each once, not 'v4'"),
        ({"version": "v1,v1"}, "each once"),
        ({"hash_kind": "best"}, "hash_kind must be one of version, high, low, multiplicative"),
        ({"access_bytes": 12}, "access_bytes must be 8, 16, 32 or 64, not 12"),
        ({"scratchpad_banks": 12}, "scratchpad_banks must be a power of two, not 12"),
        ({"fill_limit": 1.5}, "fill_limit must be above 0 and at most 1, not 1.5"),
        ({"scratchpad_bytes": 8}, "scratchpad_bytes must hold at least one table slot"),
        ({"threads_per_pipeline": 5000}, "threads must be at most 4096"),
        ({"sort_instructions": -1}, "sort_instructions must be a whole number from 0 on"),
        ({"sampling_seed": -1}, "sampling_seed must be a whole number from 0 on"),
    ],
)
def test_configs_that_cannot_be_built_are_refused(settings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        smash.Config(**settings)


def test_several_versions_are_reported_side_by_side() -> None:
    config = smash.Config(version="v1,v2,v3", **FAIR)
    report = smash.simulate(config, smash.schedule(config, sparse_product(SMALL["skewed"][0])))
    assert [result["version"] for result in report.extra["versions"]] == list(VERSIONS)
    assert report.extra["multiplies"] == count(*SMALL["skewed"]).multiplies
    assert len(report.columns["cycles"]) == 3


def test_the_command_line_gives_the_stable_keys(capsys) -> None:
    assert main(["run", "smash", "--matrix", "polblogs", "--version", "v2", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    blogs = read_matrix("polblogs")
    work = count(blogs, blogs)
    assert (values["multiplies"], values["adds"], values["nnz_c"]) == (
        work.multiplies,
        work.adds,
        work.nnz_c,
    )
    assert {"compulsory_bytes", "windows", "probes_per_product", "phases"} <= set(values)
    assert sum(values["phases"].values()) == values["cycles"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--b", "polblogs"], "--b needs --matrix"),
        (["--matrix", "polblogs", "--b", "email-Enron"], "must be as many as rows of email-Enron"),
        (["--matrix", "gone.mtx"], "no matrix file is at gone.mtx"),
        (["--matrix", "polblogs", "--version", "v9"], "version must list v1, v2 or v3"),
    ],
)
def test_wrong_input_gives_one_sentence_and_code_2(arguments, message: str, capsys) -> None:
    assert main(["run", "smash", *arguments]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error


def test_an_operation_of_a_trace_is_multiplied_as_sparse_matrices(capsys) -> None:
    """Masked weights times activations with zeros: their densities thin the products out."""
    name = "blocks.3.shortcut.0.FF"
    (wanted,) = (p for p in read_trace(shipped()["digits-resnet"]).matmuls if p.name == name)
    assert wanted.left.statistics is not None
    density = (1 - wanted.left.statistics.zero_fraction) * 2 / 8
    arguments = ["--trace", "digits-resnet", "--method", "bdwp:2:8", "--operation", name]
    assert main(["run", "gamma", *arguments, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [operation["name"] for operation in values["operations"]] == [name]
    assert values["multiplies"] == pytest.approx(wanted.m * wanted.k * wanted.n * density, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trace", "digits-vit", "--operation", "gone"], "no matrix product called 'gone'"),
        (["--matrix", "polblogs", "--operation", "x"], "--operation picks a part of --network"),
        (["--operation", "x"], "name a workload: --matrix"),
    ],
)
def test_an_operation_that_is_not_there_is_refused(arguments, message: str, capsys) -> None:
    assert main(["run", "gamma", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("columns", ["80", "200"])
def test_versions_are_shown_side_by_side_in_words(columns: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["run", "smash", "--matrix", "polblogs", "--versions", "v2,v3"]) == 0
    shown = capsys.readouterr().out
    assert not set("{[…") & set(shown)
    lines = [line.split() for line in shown.splitlines()]
    assert lines.index(["Versions"]) < lines.index(["v2", "v3"])
    rows = {" ".join(line[:-2]): line[-2:] for line in lines}
    v2, v3 = (int(number.replace(",", "")) for number in rows["cycles"])
    seconds = next(line for line in lines if line[:1] == ["seconds"])
    assert [seconds[2], seconds[4]] == ["ms", "ms"]
    shown_s = [float(seconds[1]) * 1e-3, float(seconds[3]) * 1e-3]
    assert shown_s == pytest.approx([v2 / 1e9, v3 / 1e9], rel=2e-3)
    assert [float(ratio) for ratio in rows["speedup"]] == pytest.approx([1, v2 / v3], rel=1e-3)


def test_a_note_says_where_keys_crowd_and_which_hash_spreads_them() -> None:
    product = sparse_product(read_matrix("polblogs"), read_matrix("polblogs"))
    crowded, spread = (
        smash.simulate(config, smash.schedule(config, product))
        for config in (
            smash.Config(version="v1"),
            smash.Config(version="v1", hash_kind="multiplicative"),
        )
    )
    assert any("--hash multiplicative spreads them" in note for note in crowded.notes)
    assert not any("--hash" in note for note in spread.notes)
    assert spread.extra["probes_per_product"] < 2 < crowded.extra["probes_per_product"]


def test_phases_are_shown_with_their_unit(capsys) -> None:
    assert main(["run", "smash", "--matrix", "polblogs", "--version", "v3"]) == 0
    assert "Phases, cycles" in capsys.readouterr().out


def test_rivals_are_compared_on_one_matrix(capsys) -> None:
    names = ["smash", "gamma", "outerspace", "extensor", "sparch", "matraptor", "innersp"]
    assert main(["compare", *names, "--matrix", "polblogs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["accelerator"] for row in rows] == names
    assert len({row["dram_bytes"] for row in rows}) == len(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--b", "polblogs", "--gemm", "2,2,2"], "--b needs --matrix"),
        (["--matrix", "polblogs", "--methods", "dense"], "a --matrix is sparse as it is"),
        (["--matrix", "polblogs", "--gemm", "2,2,2"], "name one workload"),
    ],
)
def test_a_comparison_of_matrices_refuses_what_it_would_ignore(arguments, message, capsys) -> None:
    assert main(["compare", "smash", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
