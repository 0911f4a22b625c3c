"""Seeded generators of sparse matrices; every value is drawn from the generator given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.matrices.csr import Csr
from workloads.patterns import check_fraction
from workloads.rounding import ceil_div

GRAPH500 = (0.57, 0.19, 0.19, 0.05)
"""Quadrant probabilities of the Graph500 benchmark."""

MILD = (0.5, 0.1, 0.1, 0.3)
"""Quadrants whose scale-14, 16-per-row matrix is within 6 % of the counts recalled for SMASH."""


def rmat(
    scale: int,
    edges_per_row: int,
    quadrants: tuple[float, float, float, float] = GRAPH500,
    *,
    rng: np.random.Generator,
) -> Csr:
    """Draw `edges_per_row * 2**scale` edges by R-MAT (Chakrabarti, SDM 2004); repeats drop.

    `quadrants` are the probabilities (a, b, c, d) of the upper left, upper right, lower left and
    lower right quarter at every level. The labels are raw: low row and column numbers are dense.
    """
    if not 0 <= scale <= 30:
        raise InputError(f"R-MAT scale must be from 0 to 30, not {scale}")
    _positive(edges_per_row, "R-MAT edges per row")
    if min(quadrants) < 0 or abs(sum(quadrants) - 1) > 1e-9:
        raise InputError(f"R-MAT quadrants must be four shares that add up to 1, not {quadrants}")
    size = 1 << scale
    rows = np.zeros(edges_per_row * size, dtype=np.int64)
    columns = np.zeros_like(rows)
    cuts = np.cumsum(quadrants)[:3]
    for _ in range(scale):
        quadrant = np.searchsorted(cuts, rng.random(len(rows)), side="right")
        rows = 2 * rows + (quadrant >> 1)
        columns = 2 * columns + (quadrant & 1)
    return _from_places((size, size), rows, columns, rng, f"rmat-{scale}-{edges_per_row}")


def banded(size: int, half_width: int, *, rng: np.random.Generator | None = None) -> Csr:
    """Fill the 2 * half_width + 1 diagonals around the main one; ones without a generator."""
    _positive(size, "size of a banded matrix")
    if half_width < 0:
        raise InputError(f"half width of a band must not be negative, not {half_width}")
    row = np.repeat(np.arange(size, dtype=np.int64), 2 * half_width + 1)
    column = row + np.tile(np.arange(-half_width, half_width + 1), size)
    inside = (column >= 0) & (column < size)
    name = f"banded-{size}-{half_width}"
    return _from_places((size, size), row[inside], column[inside], rng, name)


def uniform(rows: int, columns: int, per_row: int, *, rng: np.random.Generator) -> Csr:
    """Draw `per_row` columns for each row, all alike; repeats drop."""
    for value, what in ((rows, "rows"), (columns, "columns"), (per_row, "entries per row")):
        _positive(value, what)
    row = np.repeat(np.arange(rows, dtype=np.int64), per_row)
    column = rng.integers(columns, size=len(row))
    return _from_places((rows, columns), row, column, rng, f"uniform-{rows}-{per_row}")


def power_law(size: int, per_row: int, *, exponent: float = 2.1, rng: np.random.Generator) -> Csr:
    """Draw row lengths from a Pareto law around `per_row`, columns with the same weights.

    Lengths are rounded up, and repeats drop.
    """
    _positive(size, "size of a power-law matrix")
    _positive(per_row, "entries per row")
    if exponent <= 1:
        raise InputError(f"exponent of a power law must be above 1, not {exponent}")
    weight = 1 + rng.pareto(exponent - 1, size)
    lengths = np.minimum(np.ceil(weight * (per_row / weight.mean())), size).astype(np.int64)
    rows = np.repeat(np.arange(size, dtype=np.int64), lengths)
    steps = np.cumsum(weight) / weight.sum()
    columns = np.minimum(np.searchsorted(steps, rng.random(len(rows))), size - 1)
    return _from_places((size, size), rows, columns, rng, f"power-law-{size}-{per_row}")


def block_sparse(
    rows: int, columns: int, block: int, density: float, *, rng: np.random.Generator
) -> Csr:
    """Keep a share of the block x block tiles, each whole; edges may cut the last tiles."""
    for value, what in ((rows, "rows"), (columns, "columns"), (block, "block side")):
        _positive(value, what)
    check_fraction(density, "block density")
    kept = rng.random((ceil_div(rows, block), ceil_div(columns, block))) < density
    mask = np.repeat(np.repeat(kept, block, axis=0), block, axis=1)[:rows, :columns]
    row, column = np.nonzero(mask)
    return _from_places((rows, columns), row, column, rng, f"block-{block}-{density:g}")


def pruned_layer(outputs: int, inputs: int, density: float, *, rng: np.random.Generator) -> Csr:
    """Draw normal weights and keep the largest by magnitude over the whole layer."""
    _positive(outputs, "outputs")
    _positive(inputs, "inputs")
    check_fraction(density, "layer density")
    weights = rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)
    kept = max(1, round(density * weights.size))
    threshold = np.partition(np.abs(weights).ravel(), -kept)[-kept]
    weights[np.abs(weights) < threshold] = 0.0
    return Csr.from_dense(weights, name=f"pruned-{outputs}x{inputs}-{density:g}")


def _from_places(
    shape: tuple[int, int],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    rng: np.random.Generator | None,
    name: str,
) -> Csr:
    """Make a matrix of distinct places with values in (0, 1], or ones without a generator."""
    places = np.unique(rows * shape[1] + columns)
    values = np.ones(len(places)) if rng is None else 1.0 - rng.random(len(places))
    return Csr.from_coo(shape, places // shape[1], places % shape[1], values, name=name)


def _positive(value: int, what: str) -> None:
    if value < 1:
        raise InputError(f"{what} must be a positive whole number, not {value!r}")
