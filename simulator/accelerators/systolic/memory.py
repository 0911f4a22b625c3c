"""Off-chip traffic of one product with finite buffers: what stays on the chip is not read again.

Each of the three buffers (left operand, right operand, results) is double-buffered: one half feeds
the array while the other half is filled, so a half is what reuse can count on.

For output-stationary tiles either operand may be the one that stays: a block of its stripes is held
while the other operand streams past, once per block. A tile of outputs is finished before the next
begins, so an operand of which not one stripe fits is read again for every tile.

For weight- and input-stationary tiles the stationary operand is read once; partial sums either stay
in the result buffer, which bounds how many strips share one pass over the streamed operand, or
spill, which costs a write and a read of all sums for each further tile of k.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from simulator.accelerators.systolic.timing import Dataflow
from workloads.rounding import ceil_div


class Product(NamedTuple):
    """Shape of one product, the stored bytes of its tensors, and the bytes of all its sums."""

    m: int
    k: int
    n: int
    left_bytes: int
    right_bytes: int
    out_bytes: int
    psum_bytes: int

    @property
    def compulsory_bytes(self) -> int:
        """Bytes of the operands and the result, each moved once."""
        return self.left_bytes + self.right_bytes + self.out_bytes


class Reuse(NamedTuple):
    """How often each operand crosses the off-chip interface, and the bytes of spilled sums."""

    order: str
    left_reads: int
    right_reads: int
    spilled_bytes: int

    def traffic_bytes(self, product: Product) -> int:
        """Return the bytes of one product, the result written once."""
        reads = self.left_reads * product.left_bytes + self.right_reads * product.right_bytes
        return reads + product.out_bytes + self.spilled_bytes


class Buffers(NamedTuple):
    """Capacity of the three double-buffered memories in bytes."""

    left: int
    right: int
    out: int


@lru_cache(maxsize=1 << 16)
def best_reuse(
    product: Product, buffers: Buffers, *, rows: int, cols: int, dataflow: Dataflow
) -> Reuse:
    """Return the order of tiles with the least traffic; of equals, the first named here.

    Layers of the same shape are worked out once.

    >>> whole = Product(64, 64, 64, 8192, 8192, 8192, 16384)
    >>> best_reuse(whole, Buffers(32768, 32768, 32768), rows=32, cols=32, dataflow="os")
    Reuse(order='left stays', left_reads=1, right_reads=1, spilled_bytes=0)
    """
    match dataflow:
        case "os":
            choices = _output_stationary(product, buffers, rows, cols)
        case "ws":
            choices = _weight_stationary(product, buffers, rows, cols)
        case "is":
            turned = Buffers(buffers.right, buffers.left, buffers.out)
            choices = [
                reuse._replace(left_reads=reuse.right_reads, right_reads=reuse.left_reads)
                for reuse in _weight_stationary(_turned(product), turned, rows, cols)
            ]
    return min(choices, key=lambda choice: choice.traffic_bytes(product))


def _output_stationary(product: Product, buffers: Buffers, rows: int, cols: int) -> list[Reuse]:
    down, across = ceil_div(product.m, rows), ceil_div(product.n, cols)
    left = _stripes_held(product.left_bytes, down, buffers.left)
    right = _stripes_held(product.right_bytes, across, buffers.right)
    return [
        Reuse("left stays", _rereads(left, across), _passes(right, across, left, down), 0),
        Reuse("right stays", _passes(left, down, right, across), _rereads(right, down), 0),
    ]


def _weight_stationary(product: Product, buffers: Buffers, rows: int, cols: int) -> list[Reuse]:
    deep, across = ceil_div(product.k, rows), ceil_div(product.n, cols)
    left = _stripes_held(product.left_bytes, deep, buffers.left)
    strips = _stripes_held(product.psum_bytes, across, buffers.out)
    choices = [
        Reuse("partial sums spill", _rereads(left, across), 1, 2 * (deep - 1) * product.psum_bytes)
    ]
    if strips or deep == 1:
        together = strips if left else 1
        reads = 1 if left == deep else ceil_div(across, max(together, 1))
        choices.insert(0, Reuse("partial sums stay", reads, 1, 0))
    return choices


def _stripes_held(total_bytes: int, stripes: int, buffer_bytes: int) -> int:
    """Return how many of the stripes of a tensor fit half a buffer; at most all of them."""
    return min(stripes, buffer_bytes // 2 // ceil_div(total_bytes, stripes))


def _rereads(held: int, tiles: int) -> int:
    """Return the reads of an operand whose stripe is used for `tiles` tiles in a row."""
    return 1 if held else tiles


def _passes(streamed: int, streamed_stripes: int, held: int, held_stripes: int) -> int:
    """Return the reads of an operand that streams past blocks of the other.

    Once if it fits whole, once per block if a stripe of it fits, else once per stripe of the other.
    """
    if streamed == streamed_stripes:
        return 1
    return ceil_div(held_stripes, max(held, 1)) if streamed else held_stripes


def _turned(product: Product) -> Product:
    """Exchange the roles of the operands: out' = right' left'."""
    m, k, n, left, right, out, psum = product
    return Product(n, k, m, right, left, out, psum)
