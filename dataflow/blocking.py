"""Which block of a product stays on chip, and the off-chip bytes that follow.

A product with operands of L (left, P x K) and W (right, K x Q) bytes and a result of O bytes is cut
so that a block of one tensor stays in its buffer while the other tensors stream past it. Half of
each operand buffer holds the block in use while the other half is filled. Each operand is fetched
once for every block of what it streams past:

===================  ===================================  =====================================
what stays           blocks                               off-chip bytes
===================  ===================================  =====================================
right block          j = ceil(W / half the buffer)        j L + W + O
left block           i = ceil(L / half the buffer)        L + i W + O
output block, fp32   i row blocks x j column blocks       j L + i W + O
===================  ===================================  =====================================

A resident operand block must hold the whole reduction of at least one strip: of the rows or
columns that the array takes at once.
An output block lets the reduction be cut into chunks instead, each short enough for the operand
buffers: partial sums of the chunks are added in the output buffer. The choice is the one with the
fewest bytes, the first of the table if several are equal. Overlapping convolution windows at the
edges of blocks are not fetched twice.
"""

from __future__ import annotations

from numba import njit

from dataflow.tiling import ceil_div

PSUM_BYTES = 4


@njit(cache=True)
def blocking(
    p: int,
    q: int,
    left_bytes: int,
    right_bytes: int,
    rows: int,
    cols: int,
    left_buffer_bytes: int,
    right_buffer_bytes: int,
    out_buffer_bytes: int,
) -> tuple[int, int]:
    """Return (operand bytes fetched, chunks of the reduction) of the best choice; O is extra.

    >>> blocking(1000, 64, 2_000_000, 50_000, 32, 32, 1 << 20, 1 << 20, 1 << 20)   # right fits
    (2050000, 1)
    """
    best = -1
    chunks = 1
    right_blocks = ceil_div(right_bytes, right_buffer_bytes // 2)
    if ceil_div(q, cols) >= right_blocks:
        best = right_blocks * left_bytes + right_bytes
    left_blocks = ceil_div(left_bytes, left_buffer_bytes // 2)
    if ceil_div(p, rows) >= left_blocks:
        fetched = left_bytes + left_blocks * right_bytes
        if best < 0 or fetched < best:
            best = fetched
    capacity = out_buffer_bytes // PSUM_BYTES
    column_blocks = 1
    while column_blocks <= ceil_div(q, cols):
        if 0 <= best <= column_blocks * left_bytes + right_bytes:
            break
        block_q = ceil_div(q, column_blocks)
        block_p = max(rows, min(p, capacity // block_q))
        row_blocks = ceil_div(p, block_p)
        fetched = column_blocks * left_bytes + row_blocks * right_bytes
        if best < 0 or fetched < best:
            best = fetched
            chunks = max(
                ceil_div(ceil_div(left_bytes, row_blocks), left_buffer_bytes // 2),
                ceil_div(ceil_div(right_bytes, column_blocks), right_buffer_bytes // 2),
            )
        # More column blocks only help once there is one row block less.
        if row_blocks == 1 or capacity < ceil_div(p, row_blocks - 1):
            break
        narrower = capacity // ceil_div(p, row_blocks - 1)
        column_blocks = max(column_blocks + 1, ceil_div(q, narrower))
    return best, chunks
