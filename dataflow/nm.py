"""N:M selection and compression: the format that array, selection unit and software agree on.

Order of magnitude: the bits of a float without its sign, read as an unsigned integer. That is the
order of |x| for finite values; infinity is above them and NaN above infinity. Integers are ordered
by |x|. Tie rule: of equal magnitudes the one with the lowest index in its group is kept. Kept
elements stay in ascending index order. A last, incomplete group is filled with zeros.

Source of the format: Zhou et al., arXiv 2102.04010 (N:M by magnitude); of the two directions:
arXiv 2309.13015 (BDWP). The tie rule is this project's choice: torch's argsort leaves it open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.patterns import NM, Pattern

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Compressed:
    """A matrix whose reduction axis (axis 0, length `length`) is stored as N of every M elements.

    `values` and `indices` have shape (groups, N, columns); `indices` count inside the group, in
    the smallest unsigned type that holds M - 1.
    """

    values: Array
    indices: NDArray[np.unsignedinteger]
    pattern: NM
    length: int

    @property
    def stored_bits(self) -> int:
        """Bits of values and indices: N (value + ceil(log2 M)) a group and column."""
        groups, kept, columns = self.values.shape
        entry_bits = self.values.itemsize * 8 + self.pattern.index_bits
        return int(groups * kept * columns * entry_bits)


def fits_two_of_four(pattern: Pattern) -> bool:
    """Return whether no aligned group of four can keep more than two: what 2:4 hardware multiplies.

    One of every M meets four elements in at most two groups; two of every M keep two of them only
    where no four lie across the end of a group.

    >>> [fits_two_of_four(NM(*nm)) for nm in ((2, 4), (1, 2), (1, 3), (2, 8), (4, 8), (2, 6))]
    [True, True, True, True, False, False]
    """
    if not isinstance(pattern, NM):
        return False
    return pattern.n == 1 < pattern.m or (pattern.n == 2 and pattern.m % 4 == 0)


def magnitude_key(values: Array) -> NDArray[np.int64]:
    """Return integers that order `values` by magnitude, the rule that the hardware compares by.

    >>> magnitude_key(np.array([-2.0, 1.0, np.nan], np.float16)).argsort().tolist()
    [1, 0, 2]
    """
    key: NDArray[np.int64]
    if values.dtype.kind in "iu":
        key = np.abs(values.astype(np.int64))
        return key
    if values.dtype not in (np.float16, np.float32, np.float64):
        raise InputError(f"values must be integers or fp16, fp32, fp64, not {values.dtype}")
    bits = values.dtype.itemsize * 8
    raw = np.ascontiguousarray(values).view(f"u{bits // 8}")
    key = (raw & np.array((1 << (bits - 1)) - 1, raw.dtype)).astype(np.int64)
    return key


def kept_indices(groups: Array, pattern: NM) -> NDArray[np.unsignedinteger]:
    """Return the ascending indices of the N kept elements of each group.

    `groups` has shape (..., M); the result has shape (..., N), of the smallest unsigned type.

    >>> kept_indices(np.array([[1, -4, 4, 2], [3, 3, 3, 3]]), NM(2, 4)).tolist()
    [[1, 2], [0, 1]]
    """
    if groups.shape[-1] != pattern.m:
        raise InputError(f"groups must have {pattern.m} elements, not {groups.shape[-1]}")
    order = np.argsort(-magnitude_key(groups), axis=-1, kind="stable")
    return np.sort(order[..., : pattern.n], axis=-1).astype(np.min_scalar_type(pattern.m - 1))


def mask(values: Array, pattern: NM, *, axis: int) -> NDArray[np.bool_]:
    """Return which elements of `values` the pattern keeps, with groups along `axis`.

    Same shape as `values`. The axis need not be a multiple of M.

    >>> mask(np.array([3.0, -1.0, 2.0, 0.5, 7.0]), NM(1, 4), axis=0).tolist()
    [True, False, False, False, True]
    """
    last = np.moveaxis(values, axis, -1)
    grouped = _grouped(last, pattern.m)
    kept = np.zeros(grouped.shape, bool)
    np.put_along_axis(kept, kept_indices(grouped, pattern).astype(np.intp), True, axis=-1)
    flat = kept.reshape(*last.shape[:-1], -1)[..., : last.shape[-1]]
    return np.moveaxis(flat, -1, axis)


def forward_mask(weight: Array, pattern: NM) -> NDArray[np.bool_]:
    """BDWP mask of the forward pass: groups along the input channels.

    `weight` has shape (out, in) or (out, in, kernel height, kernel width).
    """
    return mask(weight, pattern, axis=1)


def backward_mask(weight: Array, pattern: NM) -> NDArray[np.bool_]:
    """BDWP mask of the backward-data pass: groups along the output channels.

    Derived from the same dense weight as `forward_mask`, of the shapes named there, independently
    of it.
    """
    return mask(weight, pattern, axis=0)


def compress(matrix: Array, pattern: NM) -> Compressed:
    """Keep N of every M elements along axis 0 of `matrix` (K, Q) and store them compactly.

    >>> packed = compress(np.array([[1.0], [-4.0], [4.0], [2.0]], np.float16), NM(2, 4))
    >>> packed.values.ravel().tolist(), packed.indices.ravel().tolist()
    ([-4.0, 4.0], [1, 2])
    """
    if matrix.ndim != 2:
        raise InputError(f"matrix must have two axes (K, Q), not {matrix.ndim}")
    grouped = _grouped(matrix.T, pattern.m)
    indices = kept_indices(grouped, pattern)
    values = np.take_along_axis(grouped, indices.astype(np.intp), axis=-1)
    to_hardware = (1, 2, 0)
    return Compressed(
        values=np.ascontiguousarray(values.transpose(to_hardware)),
        indices=np.ascontiguousarray(indices.transpose(to_hardware)),
        pattern=pattern,
        length=matrix.shape[0],
    )


def expand(packed: Compressed) -> Array:
    """Return the (K, Q) matrix with zeros at the dropped positions; inverse of `compress`."""
    groups, _, columns = packed.values.shape
    dense = np.zeros((groups, packed.pattern.m, columns), packed.values.dtype)
    np.put_along_axis(dense, packed.indices.astype(np.intp), packed.values, axis=1)
    return dense.reshape(-1, columns)[: packed.length]


def windows(matrix: Array, pattern: NM) -> Array:
    """Cut the rows of the dense operand (P, K) into the windows (P, groups, M) an index selects in.

    The last window is filled with zeros.
    """
    return _grouped(matrix, pattern.m)


def _grouped(rows: Array, m: int) -> Array:
    """Reshape the last axis into groups of `m`, zero-filled."""
    length = rows.shape[-1]
    fill = -length % m
    if fill:
        rows = np.concatenate([rows, np.zeros((*rows.shape[:-1], fill), rows.dtype)], axis=-1)
    return rows.reshape(*rows.shape[:-1], -1, m)
