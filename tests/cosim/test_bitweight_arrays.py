"""Dense arrays as Verilog against numpy and the simulator: values and cycles are equal.

The arrays of all styles stand side by side and get the same operands, so that one simulation
compares them all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from amaranth.lib import wiring

from rtl.bitweight.arrays import Matrix, OutputStationary
from rtl.bitweight.complete import ReadGrid, ReadStream
from rtl.bitweight.cube import Cube
from rtl.bitweight.dense import step_offset
from rtl.bitweight.passing import WeightStationary
from rtl.bitweight.tree import Tree
from rtl.bitweight.weights import EqualWeight
from rtl.elaboration import owned
from simulator.accelerators.bitweight import laws
from tests.cosim.bitweight_arrays import (
    PAIRS,
    SLACK,
    STYLES,
    Stream,
    drawn,
    play,
    result,
    simulated,
    tiles,
    value,
)
from tests.rtl.bitweight_words import fields, signed
from workloads import InputError


def grids(array: str, rows: int, cols: int, simd: int) -> dict[str, wiring.Component]:
    kind = OutputStationary if array == "os" else Matrix
    parts = {style: kind(rows=rows, cols=cols, style=style) for style in STYLES}
    reads = {
        f"read_{style}": ReadGrid(grid=kind(rows=rows, cols=cols, style=style), simd=simd)
        for style in PAIRS
    }
    return parts | reads


GRIDS = [(3, 4, 2), (2, 5, 5), (4, 1, 1)]


@pytest.mark.parametrize(("rows", "cols", "simd"), GRIDS)
@pytest.mark.parametrize("array", ["os", "matrix"])
def test_products_of_any_shape_are_final_at_their_edges(
    array: str, rows: int, cols: int, simd: int, icarus, tmp_path: Path
) -> None:
    """Products follow each other without a gap, K = 1 and M != N among them, extremes first."""
    rng = np.random.default_rng(rows)
    stream, now, jobs = Stream("a", "b", "first"), 0, []
    for q in range(12):
        k = 1 if q == 3 else int(rng.integers(1, 9))
        m, n = int(rng.integers(1, rows + 1)), int(rng.integers(1, cols + 1))
        a, b = drawn(rng, q, (m, k), (k, n))
        stream.rows("a", now, a.T, 8, rows)
        stream.rows("b", now, b, 8, cols)
        stream.put("first", now, 1)
        jobs.append((now, a, b))
        now += k
    inputs = stream.lists(now + rows + cols + SLACK)
    key = f"{array} {rows} {cols} {simd}"
    seen = play(lambda: grids(array, rows, cols, simd), key, inputs, tmp_path)
    wrong = []
    for start, a, b in jobs:
        (m, k), n = a.shape, b.shape[1]
        for style in STYLES:
            for i, j in np.ndindex(m, n):
                edge = start + k + 1 + (i + j if array == "os" else 0)
                place = i * cols + j, rows * cols
                if value(seen, style, edge, *place, k) != a[i] @ b[:, j]:
                    wrong.append(f"{style}: element {i}, {j} of the product at {start}")
                if k > 1 and value(seen, style, edge - 1, *place, k - 1) != a[i, :-1] @ b[:-1, j]:
                    wrong.append(f"{style}: element {i}, {j} of the product at {start}, one early")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("rows", "cols", "simd"), GRIDS)
@pytest.mark.parametrize("array", ["os", "matrix"])
def test_a_product_with_its_read_out_takes_the_cycles_of_the_simulator(
    array: str, rows: int, cols: int, simd: int, icarus, tmp_path: Path
) -> None:
    """M and N are no multiples of the array; K is once below the cycles of a read-out.

    Both products run in one simulation, the second one when the results of the first are there.
    """
    m, n, drain = 2 * rows + 1, 3 * cols - cols // 2, -(-cols // simd)
    places = tiles(m, n, rows, cols)
    ports = [f"read_{style}_correction" for style in PAIRS]
    stream, begin, jobs = Stream("a", "b", "first", "last", "restart", *ports), 0, []
    for k in (6, 1):
        rng, period = np.random.default_rng(k), max(k, drain)
        a, b = rng.integers(-128, 128, (m, k)), rng.integers(-128, 128, (k, n))
        for q, (i, j, r, c) in enumerate(places):
            now = begin + q * period
            stream.rows("a", now, a[i : i + r].T, 8, rows)
            stream.rows("b", now, b[:, j : j + c], 8, cols)
            stream.put("first", now, 1)
            stream.put("last", now + k - 1, 1)
            stream.put("restart", now + k - 1, 1)
        jobs.append((begin, period, a, b))
        end = begin + len(places) * period + rows + cols + drain + SLACK
        for style, port in zip(PAIRS, ports, strict=True):
            for t in range(begin, end):
                stream.put(port, t, k * step_offset(8, style))
        begin = end
    key = f"{array} {rows} {cols} {simd}"
    seen = play(lambda: grids(array, rows, cols, simd), key, stream.lists(begin), tmp_path)
    for begin, period, a, b in jobs:
        k, latest = a.shape[1], 0
        for q, (i, j, r, c) in enumerate(places):
            for x, y in np.ndindex(r, c):
                edge = q * period + k + 3 + (x + y if array == "os" else y % drain)
                latest = max(latest, edge)
                for style in PAIRS:
                    got = result(seen, style, begin + edge, x * cols + y, rows * cols)
                    assert got == a[i + x] @ b[:, j + y], (style, q, x, y)
        for style in PAIRS:
            own = {"rows": rows, "cols": cols, "simd_lanes": simd}
            assert simulated(array, style, (m, k, n), **own) == latest
        if k >= drain:
            last = max(
                q * k + k + 1 + (r + c - 2 if array == "os" else 0)
                for q, (_, _, r, c) in enumerate(places)
            )
            assert simulated(array, "mac", (m, k, n), rows=rows, cols=cols) == last


def streams(kind: type, **parameters: int) -> dict[str, wiring.Component]:
    parts = {style: kind(style=style, **parameters) for style in STYLES}
    reads = {f"read_{style}": ReadStream(array=kind(style=style, **parameters)) for style in PAIRS}
    return parts | reads


def agree(seen: dict, edge: int, place: int, count: int, terms: int, exact: int) -> bool:
    """Whether all styles show the value, and the read-outs two cycles later."""
    shown = [value(seen, style, edge, place, count, terms) for style in STYLES]
    read = [result(seen, style, edge + 2, place, count) for style in PAIRS]
    return {*shown, *read} == {exact}


def corrections(inputs: dict, terms: int) -> dict:
    cycles = max(map(len, inputs.values()))
    return inputs | {
        f"read_{style}_correction": [terms * step_offset(8, style)] * cycles for style in PAIRS
    }


@pytest.mark.parametrize(("rows", "cols"), [(4, 3), (2, 5), (1, 1)])
def test_weight_stationary_products_are_exact_and_on_time(
    rows: int, cols: int, icarus, tmp_path: Path
) -> None:
    """K and N are no multiples of the array; the sums over tiles of K are added here."""
    rng = np.random.default_rng(rows)
    stream, now, checks = Stream("a", "b", "load"), 0, []
    for q in range(4):
        m = 1 if q == 3 else int(rng.integers(1, 7))
        k, n = int(rng.integers(1, 2 * rows + 1)), int(rng.integers(1, 2 * cols + 1))
        a, b = drawn(rng, q, (m, k), (k, n))
        begin = now
        for d, j, r, c in tiles(k, n, rows, cols):
            weights = np.zeros((rows, c), np.int64)
            weights[:r] = b[d : d + r, j : j + c]
            stream.rows("b", now, weights[::-1], 8, cols)
            for t in range(rows):
                stream.put("load", now + t, 1)
            stream.rows("a", now + rows, a[:, d : d + r], 8, rows)
            product = a[:, d : d + r] @ b[d : d + r, j : j + c]
            checks += [
                (now + rows + x + y + rows + 1, y, int(product[x, y])) for x, y in np.ndindex(m, c)
            ]
            now += rows + m + rows + c - 1
        law = laws.dense("ws", m, k, n, rows=rows, cols=cols)
        assert checks[-1][0] - begin == now - begin == law
        for style in PAIRS:
            assert simulated("ws", style, (m, k, n), rows=rows, cols=cols) == law + 2
    inputs = corrections(stream.lists(now + SLACK), rows)
    seen = play(
        lambda: streams(WeightStationary, rows=rows, cols=cols),
        f"ws {rows} {cols}",
        inputs,
        tmp_path,
    )
    assert [each for each in checks if not agree(seen, *each[:2], cols, rows, each[2])] == []


@pytest.mark.parametrize("size", [3, 1])
def test_cubes_are_exact_and_on_time(size: int, icarus, tmp_path: Path) -> None:
    rng = np.random.default_rng(size)
    stream, checks = Stream("a", "b"), []
    m, k, n = 2 * size - size // 2, 3 * size - size // 2, size + 1
    blocks, begin, latest = tiles(m, n, size, size), 8, 0
    for q in range(begin):  # single blocks first: extremes
        a, b = drawn(rng, q, (size, size), (size, size))
        stream.rows("a", q, a[None], 8, size**2)
        stream.rows("b", q, b[None], 8, size**2)
        product = a @ b
        checks += [
            (q + x + z + size + 1, x * size + z, int(product[x, z]))
            for x, z in np.ndindex(size, size)
        ]
    a, b = rng.integers(-128, 128, (m, k)), rng.integers(-128, 128, (k, n))
    now = begin
    for i, j, r, c in blocks:
        for d in range(0, k, size):
            left, right = np.zeros((2, size, size), np.int64)
            part_a, part_b = a[i : i + r, d : d + size], b[d : d + size, j : j + c]
            left[:r, : part_a.shape[1]], right[: part_b.shape[0], :c] = part_a, part_b
            stream.rows("a", now, left[None], 8, size**2)
            stream.rows("b", now, right[None], 8, size**2)
            for x, z in np.ndindex(r, c):
                edge = now + x + z + size + 1
                checks.append((edge, x * size + z, int(part_a[x] @ part_b[:, z])))
                latest = max(latest, edge - begin)
            now += 1
    inputs = corrections(stream.lists(now + 3 * size + SLACK), size)
    seen = play(lambda: streams(Cube, size=size), f"cube {size}", inputs, tmp_path)
    assert [each for each in checks if not agree(seen, *each[:2], size**2, size, each[2])] == []
    assert laws.dense("cube", m, k, n, rows=size, cols=size) == latest
    for style in PAIRS:
        assert simulated("cube", style, (m, k, n), rows=size, cols=size) == latest + 2


def trees(lanes: int, cols: int) -> dict[str, wiring.Component]:
    parts = streams(Tree, lanes=lanes, cols=cols)
    return parts | {"opt2": Tree(lanes=lanes, cols=cols, style="opt2")}


def by_weight(seen: dict, dut: Tree, edge: int, tile: int, steps: int) -> int:
    """The value of a tile of OPT2: four sums, each with its weight."""
    total, count, bits = 0, dut.width // 2, dut.low_width
    for i in range(count):
        place = tile * count + i
        raw = sum(
            fields(seen[f"opt2_{port}"][edge], bits, dut.cols * count)[place]
            for port in ("total", "carry")
        )
        total += signed(raw - steps * dut.step_offset, bits) << 2 * i
    return total


@pytest.mark.parametrize(("lanes", "cols"), [(16, 1), (5, 3), (1, 2)])
def test_trees_accumulate_any_number_of_terms_on_time(
    lanes: int, cols: int, icarus, tmp_path: Path
) -> None:
    """16 x (-128 x -128) and 16 x (-2 x -128) overflow in the published tree."""
    rng = np.random.default_rng(lanes)
    stream, now, checks = Stream("a", "b", "first"), 0, []
    corners = [(-128, -128), (-2, -128), (-86, -128), (127, -128)]
    for q in range(8):
        m, n = int(rng.integers(1, 4)), int(rng.integers(1, 2 * cols + 1))
        k = int(rng.integers(1, 4 * lanes + 1))
        a, b = rng.integers(-128, 128, (m, k)), rng.integers(-128, 128, (k, n))
        if q < len(corners):
            a[:], b[:] = corners[q]
        steps, begin, latest = -(-k // lanes), now, 0
        for _, j, _, c in tiles(1, n, 1, cols):
            for row in a:
                for t in range(steps):
                    own = slice(t * lanes, (t + 1) * lanes)
                    sides = np.zeros((c, lanes), np.int64)
                    sides[:, : len(row[own])] = b[own, j : j + c].T
                    stream.rows("a", now + t, row[None, own], 8, lanes)
                    stream.rows("b", now + t, sides[None], 8, cols * lanes)
                stream.put("first", now, 1)
                now += steps
                for y in range(c):
                    checks.append((now - 1 + y, y, steps, int(row @ b[:, j + y])))
                    latest = max(latest, now - 1 + y - begin)
        for style, delay in (("mac", 4), ("opt1", 3), ("opt1_offset", 3)):
            law = simulated("tree", style, (m, k, n), rows=lanes, cols=cols)
            assert law == latest + delay + 2 * (style != "mac")
    wrong = []
    dut = Tree(lanes=lanes, cols=cols, style="opt2")
    owned(dut)
    inputs = stream.lists(now + cols + 2 * SLACK)
    inputs = corrections(inputs, 0)
    seen = play(lambda: trees(lanes, cols), f"tree {lanes} {cols}", inputs, tmp_path)
    for edge, y, steps, exact in checks:
        got = {
            "mac": value(seen, "mac", edge + 4, y, cols, 0),
            "opt1": value(seen, "opt1", edge + 3, y, cols, 0),
            "opt1_offset": value(seen, "opt1_offset", edge + 3, y, cols, steps * lanes),
            "opt2": by_weight(seen, dut, edge + 3, y, steps),
            "read opt1": result(seen, "opt1", edge + 5, y, cols),
            "read opt1_offset": signed(
                result(seen, "opt1_offset", edge + 5, y, cols)
                - steps * lanes * step_offset(8, "opt1_offset"),
                32,
            ),
        }
        wrong += [f"{name} at {edge}: {v}, not {exact}" for name, v in got.items() if v != exact]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("lanes", "simd", "width"), [(4, 2, 8), (3, 1, 4)])
@pytest.mark.parametrize("skewed", [True, False])
def test_opt2_arrays_add_the_weights_of_any_product(
    skewed: bool, lanes: int, simd: int, width: int, icarus, tmp_path: Path
) -> None:
    """OPT2 as systolic array and 2D matrix, K in KP lanes and steps, weights highest first."""
    rows, cols, passes = 3, 4, width // 2
    drain = -(-cols // simd)
    rng = np.random.default_rng(lanes)
    low = -(1 << (width - 1))
    stream, now, checks = Stream("a", "b", "first", "last", "restart"), 0, []
    for q in range(5):
        m, k, n = rows, int(rng.integers(1, 6 * lanes)), cols
        if q == 4:
            m, k, n = 2, 1, 3
        a, b = rng.integers(low, -low, (m, k)), rng.integers(low, -low, (k, n))
        if q < 2:
            a[:], b[:] = (low, -2)[q], low
        steps = -(-k // lanes)
        period = max(steps, drain)
        padding = steps * lanes - k
        terms = np.pad(a, ((0, 0), (0, padding))).reshape(m, steps, lanes)
        factors = np.pad(b, ((0, padding), (0, 0))).reshape(steps, lanes, n)
        now += period - steps  # so that two read-outs do not overlap
        begin = now
        for position in reversed(range(passes)):
            triples = (terms << 1) >> (2 * position) & 7
            stream.rows("a", now, triples.transpose(1, 0, 2), 3, rows * lanes)
            stream.rows("b", now, factors.transpose(0, 2, 1), width, cols * lanes)
            stream.put("first", now, 1)
            stream.put("last", now + steps - 1, 1)
            stream.put("restart", now + steps - 1, int(position == passes - 1))
            now += period
        edge = now - period + steps + 3
        now -= period - steps
        skew = [(x + y if skewed else y % drain) for x, y in np.ndindex(m, n)]
        checks += [
            (edge + late, x * cols + y, int(a[x] @ b[:, y]))
            for late, (x, y) in zip(skew, np.ndindex(m, n), strict=True)
        ]
        if (m, n) == (rows, cols):  # the law of a grid: a weight is a tile
            array = "os" if skewed else "matrix"
            law = laws.dense(array, passes * rows, steps, cols, rows=rows, cols=cols, least=drain)
            assert edge + max(skew) - begin == law + laws.READ_OUT
    inputs = stream.lists(now + rows + cols + drain + SLACK)
    inputs["read_correction"] = [0] * len(inputs["a"])

    def make() -> dict[str, wiring.Component]:
        grid = EqualWeight(rows=rows, cols=cols, lanes=lanes, width=width, skewed=skewed)
        return {"read": ReadGrid(grid=grid, simd=simd)}

    seen = play(make, f"weights {lanes} {simd} {width} {skewed}", inputs, tmp_path)
    words = seen["read_results"]
    wrong = [
        (edge, place)
        for edge, place, exact in checks
        if signed(fields(words[edge], 32, rows * cols)[place], 32) != exact
    ]
    assert wrong == []


def test_only_pairs_are_read_out() -> None:
    with pytest.raises(InputError, match="only carry-save sums need a read-out"):
        ReadGrid(grid=OutputStationary(rows=1, cols=1, style="mac"))
    by_weight = Tree(lanes=2, cols=1, style="opt2"), EqualWeight(rows=1, cols=1)
    for array in (Cube(size=1, style="mac"), *by_weight):
        with pytest.raises(InputError, match="only pairs of the styles opt1 and opt1_offset"):
            ReadStream(array=array)
