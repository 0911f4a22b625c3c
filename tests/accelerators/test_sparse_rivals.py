"""Gamma, OuterSPACE, SpArch, MatRaptor, InnerSP and ExTensor on the same small matrices."""

import json
import math

import numpy as np
import pytest

from dataflow.spgemm import count, multiply
from dataflow.traffic import compulsory_bytes
from simulator.accelerators import extensor, find, gamma, innersp, matraptor, outerspace, sparch
from simulator.accelerators.extensor import kernel
from simulator.cli import main
from simulator.sparse_products import report_compulsory_bytes
from workloads import InputError
from workloads.matrices import Csr, banded, block_sparse, rmat, sparse_product, uniform

RIVALS = ("gamma", "outerspace", "sparch", "matraptor", "innersp", "extensor")
RNG = np.random.default_rng(8)
SKEWED = rmat(8, 8, rng=RNG)
PAIRS = {
    "skewed": (SKEWED, SKEWED),
    "banded": (banded(100, 3),) * 2,
    "tall": (uniform(900, 30, 2, rng=RNG), uniform(30, 40, 5, rng=RNG)),
    "flat": (uniform(20, 900, 3, rng=RNG), uniform(900, 15, 1, rng=RNG)),
    "empty": (Csr.from_coo((4, 5), [], [], []), Csr.from_coo((5, 6), [], [], [])),
    "half empty": (uniform(30, 40, 3, rng=RNG), Csr.from_coo((40, 9), [3], [4], [1.0])),
}


def report(name: str, left: Csr, right: Csr, **settings):
    model = find(name)
    config = model.Config(**settings)
    return model.simulate(config, model.schedule(config, sparse_product(left, right)))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", RIVALS)
def test_a_report_does_not_contradict_itself(name: str, pair: str) -> None:
    """`Report` checks traffic against compulsory bytes and time against work by itself."""
    left, right = PAIRS[pair]
    found = report(name, left, right)
    work = count(left, right)
    assert found.extra["multiplies"] == work.multiplies
    assert found.extra["nnz_c"] == multiply(left, right).nnz
    assert sum(found.extra["traffic"].values()) == found.dram_bytes
    assert sum(found.extra["phases"].values()) == found.cycles
    slowest = max(found.columns["memory_cycles"][0], found.compute_cycles)
    assert found.cycles >= slowest - len(found.extra["phases"])


def test_for_a_square_matrix_without_gaps_all_pointers_are_compulsory() -> None:
    matrix = banded(50, 2)
    product = sparse_product(matrix).matmuls[0]
    work = count(matrix, matrix)
    assert report_compulsory_bytes(work, product) == compulsory_bytes(work, 50, 50)


def test_gamma_with_a_huge_cache_moves_only_what_is_compulsory() -> None:
    matrix = block_sparse(256, 256, 32, 0.9, rng=np.random.default_rng(6))
    found = report("gamma", matrix, matrix, cache_bytes=1 << 30)
    assert found.dram_bytes == found.columns["compulsory_bytes"][0]


def test_gamma_without_a_cache_reads_a_row_of_b_for_every_entry_of_a() -> None:
    found = report("gamma", SKEWED, SKEWED, cache_bytes=1)
    rows = 4 * (SKEWED.shape[0] + 1)
    assert found.extra["traffic"]["b"] == 12 * count(SKEWED, SKEWED).multiplies + rows


def test_outerspace_moves_every_partial_product_twice() -> None:
    work = count(SKEWED, SKEWED)
    found = report("outerspace", SKEWED, SKEWED)
    assert found.extra["traffic"]["partial"] == 24 * work.multiplies


def test_matraptor_deals_rows_to_lanes_in_turns() -> None:
    products = count(SKEWED, SKEWED).row_products
    found = report("matraptor", SKEWED, SKEWED, dram_bytes_per_s=1e15)
    assert found.cycles == max(products[lane::8].sum() for lane in range(8))


def test_sparch_spills_nothing_while_its_tree_holds_all_condensed_columns() -> None:
    longest = int(SKEWED.row_lengths.max())
    fits = report("sparch", SKEWED, SKEWED, fan_in=longest)
    assert fits.extra["condensed_columns"] == longest
    assert fits.extra["traffic"]["partial"] == 0
    assert report("sparch", SKEWED, SKEWED, fan_in=4).extra["traffic"]["partial"] > 0


def test_huffman_merges_are_the_cheapest() -> None:
    """Binary: 1 + 2 = 3, 3 + 3 = 6, then the last merge, which is not spilled."""
    assert sparch.huffman_spills(np.array([5, 3, 1, 2]), 2) == 3 + 6
    assert sparch.huffman_spills(np.array([5, 3, 1, 2]), 3) == 1 + 2
    assert sparch.huffman_spills(np.array([5, 3, 1, 2]), 4) == 0


def test_innersp_reads_a_again_for_rows_that_it_splits() -> None:
    wide = uniform(40, 4000, 200, rng=np.random.default_rng(1))
    left = uniform(5, 40, 20, rng=np.random.default_rng(2))
    whole, split = (report("innersp", left, wide, table_entries=n) for n in (1 << 16, 1000))
    assert whole.extra["windows"] == 1
    passes = 5 * math.ceil(4000 / 1000)
    assert split.extra["windows"] == passes
    entries = (4 - 1) * left.nnz
    assert split.extra["traffic"]["a"] - whole.extra["traffic"]["a"] == 12 * entries


def naive_steps(left: list[int], right: list[int]) -> int:
    """Matches, and runs of elements of one list before the next match or the end of a list."""
    steps, side = 0, None
    a, b = list(left), list(right)
    while a and b:
        if a[0] == b[0]:
            a.pop(0), b.pop(0)
            steps, side = steps + 1, None
            continue
        smaller = "a" if a[0] < b[0] else "b"
        (a if smaller == "a" else b).pop(0)
        steps += smaller != side
        side = smaller
    return steps


def test_extensor_counts_skip_ahead_steps() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        a, b = (np.sort(rng.choice(30, size=rng.integers(1, 9), replace=False)) for _ in range(2))
        ours = kernel.skip_ahead_steps(a, 0, len(a), b, 0, len(b))
        assert ours == naive_steps(a.tolist(), b.tolist())


@pytest.mark.parametrize("run", [kernel.pipelined, kernel.pipelined.py_func])
def test_blocks_of_extensor_share_one_port(run) -> None:
    """Loads end at 2, 4 and 12: the first result goes before the third load, from 7 to 10.

    The first block is worked on from 2 to 7, the second from 7 to 8, the third from 12 to 21; the
    second result moves from 12 to 16 and the third, alone, from 21 to 22.
    """
    loads, steps, stores = (np.array(x, dtype=float) for x in ([2, 2, 2], [5, 1, 9], [3, 4, 1]))
    assert run(loads, steps, stores) == 22
    rng = np.random.default_rng(2)
    for size in range(30):
        times = tuple(rng.integers(0, 9, size).astype(float) for _ in range(3))
        assert run(*times) == naive_pipeline(*times)


def naive_pipeline(loads, steps, stores) -> float:
    """Each end by its definition: the port takes load 1, load 2, store 1, load 3, store 2, ..."""
    n = len(steps)
    loaded, worked, stored, port = [0.0] * n, [0.0] * n, [0.0] * n, 0.0
    for block in range(n):
        port = loaded[block] = max(port, worked[block - 2] if block > 1 else 0) + loads[block]
        begin = max(loaded[block], worked[block - 1] if block else 0)
        worked[block] = max(begin, stored[block - 2] if block > 1 else 0) + steps[block]
        if block:
            port = stored[block - 1] = max(port, worked[block - 1]) + stores[block - 1]
    return max(port, worked[-1]) + stores[-1] if n else 0.0


def test_extensor_steps_do_not_depend_on_the_blocks() -> None:
    """One PE: its time is the sum of all steps, however they are grouped."""
    alone = {"pes": 1, "tile": 8}
    found = [
        report("extensor", SKEWED, SKEWED, m_tiles=m, k_tiles=k, n_tiles=n, **alone).compute_cycles
        for m, k, n in ((1, 1, 1), (4, 8, 2), (64, 64, 64))
    ]
    assert len(set(found)) == 1
    assert found[0] > count(SKEWED, SKEWED).multiplies


def test_extensor_reads_partial_outputs_again_for_each_block_of_k() -> None:
    dense = block_sparse(32, 32, 8, 1.0, rng=np.random.default_rng(0))
    found = report("extensor", dense, dense, tile=8, k_tiles=2, m_tiles=4, n_tiles=4)
    entries = 32 * 32
    assert found.extra["traffic"]["partial"] == 2 * 16 * entries
    once = report("extensor", dense, dense, tile=8, k_tiles=4, m_tiles=4, n_tiles=4)
    assert once.extra["traffic"]["partial"] == 0


def test_the_row_wise_designs_beat_the_outer_one_where_products_merge() -> None:
    merging = block_sparse(256, 256, 32, 0.4, rng=np.random.default_rng(5))
    moved = {name: report(name, merging, merging).dram_bytes for name in RIVALS}
    assert moved["gamma"] < moved["innersp"] < moved["outerspace"]
    assert moved["gamma"] < moved["matraptor"] < moved["outerspace"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gamma.Config(radix=1), "radix must be at least 2, not 1"),
        (lambda: sparch.Config(fan_in=1), "fan_in must be at least 2, not 1"),
        (lambda: outerspace.Config(merge_pes=0), "merge_pes must be a positive whole number"),
        (lambda: matraptor.Config(lanes=0), "lanes must be a positive whole number"),
        (lambda: innersp.Config(cache_bytes=0), "cache_bytes must be a positive whole number"),
        (lambda: extensor.Config(tile=0), "tile must be a positive whole number"),
        (lambda: extensor.Config(sampling_seed=-1), "sampling_seed must be a whole number"),
    ],
)
def test_configs_that_cannot_be_built_are_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("name", ["gamma", "outerspace", "extensor"])
def test_the_command_line_gives_the_stable_keys(name: str, capsys) -> None:
    assert main(["run", name, "--matrix", "polblogs", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    stable = {"multiplies", "adds", "nnz_c", "compulsory_bytes", "windows", "phases"}
    assert stable | {"probes_per_product"} <= set(values)
