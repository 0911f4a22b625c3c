"""Symmetric quantisers: float tensors to signed integers, per tensor or per channel.

The scale decides how many digits are non-zero: one outlier channel under a per-tensor scale can
halve the mean digits of all the others. It is therefore always a stated choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataflow.digits.encodings import check_width, value_range
from workloads.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """Integers `values` whose real values are `values` x `scale` (one, or one per channel)."""

    values: NDArray[Any]
    scale: NDArray[np.float64]
    width: int

    def dequantise(self) -> NDArray[np.float64]:
        """Return the real values."""
        return self.values * self.scale


def quantise(
    tensor: ArrayLike, *, width: int = 8, channel_axis: int | None = None, percentile: float = 100.0
) -> Quantised:
    """Round `tensor` / scale to `width` bits, half to even, clipped to +-(2^(width-1) - 1).

    scale = limit / (2^(width-1) - 1), where limit is the `percentile` of the magnitudes: 100 is
    the largest (max-abs). With `channel_axis` each index of that axis has its own scale; the scale
    keeps the tensor's rank, so that it broadcasts. A limit of 0, that of a tensor of zeros, counts
    as 1.

    >>> quantise([[0.5, -2.0], [0.25, 0.1]], channel_axis=0).values.tolist()
    [[32, -127], [127, 51]]
    """
    check_width(width)
    array = np.asarray(tensor)
    if array.dtype.kind not in "fiu":
        raise InputError(f"a tensor to quantise must be numeric, not {array.dtype}")
    if not array.size:
        raise InputError("a tensor to quantise must have at least one value")
    if not 0 < percentile <= 100:
        raise InputError(f"percentile must lie above 0 and at most at 100, not {percentile!r}")
    if channel_axis is not None and not -array.ndim <= channel_axis < array.ndim:
        raise InputError(
            f"channel_axis must be an axis of a tensor of rank {array.ndim}, not {channel_axis}"
        )
    if not np.isfinite(array).all():
        raise InputError("a tensor to quantise must be finite; it holds NaN or infinity")
    limit = _limit(np.abs(array.astype(np.float64)), channel_axis, percentile)
    top = value_range(width)[1]
    scale = np.where(limit > 0, limit, 1.0) / top
    storage = np.int8 if width <= 8 else np.int16
    rounded = np.clip(np.rint(array / scale), -top, top).astype(storage)
    return Quantised(values=rounded, scale=scale, width=width)


def _limit(magnitude: NDArray[np.float64], axis: int | None, percentile: float) -> Any:
    """Return the largest magnitude that is kept, with the rank of the tensor if per channel."""
    others = None if axis is None else tuple(np.delete(np.arange(magnitude.ndim), axis).tolist())
    if percentile == 100:
        return magnitude.max(axis=others, keepdims=axis is not None)
    return np.percentile(magnitude, percentile, axis=others, keepdims=axis is not None)
