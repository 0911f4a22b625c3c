"""Arrays against numpy and against the simulator's closed forms: values and cycles are equal."""

from pathlib import Path

import numpy as np
import pytest

from rtl.bitweight.arrays import Matrix, OutputStationary
from rtl.bitweight.cube import Cube
from rtl.bitweight.dense import is_carry_save, pack, step_offset
from rtl.bitweight.passing import WeightStationary
from rtl.bitweight.tree import Tree
from simulator.accelerators.bitweight import laws
from tests.rtl.bitweight_words import fields, flags, packed, play, signed

STYLES = ("mac", "opt1", "opt1_offset")
KINDS = ("random", "smallest", "largest")
SLACK = 3


def operands(kind: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(sum(map(sum, shapes)))
    fill = {"smallest": -128, "largest": 127}
    if kind in fill:
        return [np.full(shape, fill[kind]) for shape in shapes]
    return [rng.integers(-128, 128, shape) for shape in shapes]


def names(style: str) -> list[str]:
    return ["total", "carry"] if is_carry_save(style) else ["total"]


def result(seen: dict, edge: int, place: int, count: int, terms: int, style: str) -> int:
    """The signed value that output `place` of `count` shows in the cycle that begins at `edge`."""
    raw = sum(fields(words[edge], 32, count)[place] for words in seen.values())
    return signed(raw - terms * step_offset(8, style), 32)


@pytest.mark.parametrize(
    ("m", "k", "n", "kind"),
    [(3, 7, 5, "random"), (1, 1, 4, "random"), (2, 5, 2, "smallest"), (2, 5, 1, "largest")],
)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("array", ["os", "matrix"])
def test_each_output_is_final_at_its_edge_and_not_before(
    array: str, style: str, m: int, k: int, n: int, kind: str
) -> None:
    """Two products follow each other without a gap; the second one's first term restarts."""
    a, b = operands(kind, (2, m, k), (2, k, n))
    cycles = 2 * k + m + n + SLACK
    dut = (OutputStationary if array == "os" else Matrix)(rows=m, cols=n, style=style)
    inputs = {
        "a": packed(np.concatenate([a[0].T, a[1].T]), 8, cycles),
        "b": packed(np.concatenate([b[0], b[1]]), 8, cycles),
        "first": flags(cycles, 0, k),
    }
    seen = play(dut, inputs, names(style))
    for q in (0, 1):
        product = a[q] @ b[q]
        for i, j in np.ndindex(m, n):
            edge = q * k + k + 1 + (i + j if array == "os" else 0)
            assert result(seen, edge, i * n + j, m * n, k, style) == product[i, j]
            if k > 1:  # one edge before, the last term is missing
                early = result(seen, edge - 1, i * n + j, m * n, k - 1, style)
                assert early == a[q, i, :-1] @ b[q, :-1, j]
    last = 2 * k + (m + n - 1 if array == "os" else 1)
    assert laws.dense(array, 2 * m, k, n, rows=m, cols=n) == last


@pytest.mark.parametrize(
    ("m", "r", "c", "kind"),
    [(6, 4, 3, "random"), (1, 2, 5, "smallest"), (5, 1, 1, "largest")],
)
@pytest.mark.parametrize("style", STYLES)
def test_weight_stationary_rows_leave_in_turn(
    style: str, m: int, r: int, c: int, kind: str
) -> None:
    a, b = operands(kind, (m, r), (r, c))
    cycles = r + m + r + c + SLACK
    dut = WeightStationary(rows=r, cols=c, style=style)
    inputs = {
        "a": packed(a, 8, cycles, start=r),
        "b": packed(b[::-1], 8, cycles),
        "load": [int(t < r) for t in range(cycles)],
    }
    seen = play(dut, inputs, names(style))
    product = a @ b
    for i, j in np.ndindex(m, c):
        assert result(seen, r + i + j + r + 1, j, c, r, style) == product[i, j]
    assert laws.dense("ws", m, r, c, rows=r, cols=c) == r + (m - 1) + (c - 1) + r + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", STYLES)
def test_a_cube_takes_a_block_a_cycle(style: str, kind: str) -> None:
    size, blocks = 3, 4
    a, b = operands(kind, (blocks, size, size), (blocks, size, size))
    cycles = blocks + 3 * size + SLACK
    inputs = {"a": packed(a, 8, cycles), "b": packed(b, 8, cycles)}
    seen = play(Cube(size=size, style=style), inputs, names(style))
    for q, x, z in np.ndindex(blocks, size, size):
        edge = q + x + z + size + 1
        got = result(seen, edge, x * size + z, size * size, size, style)
        assert got == a[q, x] @ b[q, :, z]
    last = (blocks - 1) + 2 * (size - 1) + size + 1
    assert laws.dense("cube", size, size * blocks, size, rows=size, cols=size) == last


def tree_value(seen: dict, edge: int, tile: int, dut: Tree, steps: int) -> int:
    if dut.style == "mac":
        return signed(fields(seen["total"][edge], 32, dut.cols)[tile], 32)
    count, bits = dut.width // 2, dut.low_width
    value = 0
    for i in range(count):
        place = tile * count + i
        raw = sum(fields(words[edge], bits, dut.cols * count)[place] for words in seen.values())
        value += signed(raw - steps * dut.step_offset, bits) << 2 * i
    return value


@pytest.mark.parametrize("corner", [(-128, -128), (-2, -128), (-86, -128), None])
@pytest.mark.parametrize(("lanes", "cols"), [(16, 2), (5, 1), (1, 2)])
@pytest.mark.parametrize("style", ["mac", "opt2"])
def test_a_tree_accumulates_any_number_of_terms(
    style: str, lanes: int, cols: int, corner: tuple[int, int] | None
) -> None:
    """16 x (-128 x -128) and 16 x (-2 x -128) overflow in the published tree."""
    steps, restart, delay = 6, 4, 4 if style == "mac" else 3
    a, b = operands("random", (steps, lanes), (steps, cols, lanes))
    if corner:
        a[1:], b[1:] = corner
    cycles = steps + cols + delay + SLACK
    dut = Tree(lanes=lanes, cols=cols, style=style)
    inputs = {
        "a": packed(a, 8, cycles),
        "b": packed(b, 8, cycles),
        "first": flags(cycles, 0, restart),
    }
    seen = play(dut, inputs, ["total", "carry"] if style == "opt2" else ["total"])
    for t, j in np.ndindex(steps, cols):
        start = restart if t >= restart else 0
        exact = int((a[start : t + 1] * b[start : t + 1, j]).sum())
        assert tree_value(seen, t + j + delay, j, dut, t + 1 - start) == exact
    law = laws.dense("tree", steps, lanes, cols, rows=lanes, cols=cols, carry_save=delay == 3)
    assert law == steps - 1 + cols - 1 + delay


@pytest.mark.parametrize("style", ["mac", "opt1"])
def test_a_product_cut_into_tiles_takes_the_closed_forms_edges(style: str, tmp_path: Path) -> None:
    """M, N no multiples of the array and K = 5, as Verilog under cocotb: 7 x 5 x 8 on 3 x 5."""
    m, k, n, rows, cols = 7, 5, 8, 3, 5
    a, b = operands("random", (m, k), (k, n))
    tiles = [(i, j) for i in range(0, m, rows) for j in range(0, n, cols)]
    cycles = len(tiles) * k + rows + cols + SLACK
    a_words, b_words = [0] * cycles, [0] * cycles
    for q, (i, j) in enumerate(tiles):
        for t in range(k):
            a_words[q * k + t] = pack(a[i : i + rows, t], 8)
            b_words[q * k + t] = pack(b[t, j : j + cols], 8)
    starts = [q * k for q in range(len(tiles))]
    inputs = {"a": a_words, "b": b_words, "first": flags(cycles, *starts)}
    dut = OutputStationary(rows=rows, cols=cols, style=style)
    seen = play(dut, inputs, names(style), tmp_path)
    latest = 0
    product = a @ b
    for q, (i, j) in enumerate(tiles):
        for x, y in np.ndindex(min(rows, m - i), min(cols, n - j)):
            edge = q * k + x + y + k + 1
            got = result(seen, edge, x * cols + y, rows * cols, k, style)
            assert got == product[i + x, j + y]
            latest = max(latest, edge)
    assert laws.dense("os", m, k, n, rows=rows, cols=cols) == latest
