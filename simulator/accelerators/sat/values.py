"""The values that the array produces: fp16 products added in fp32, in ascending order of k."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow import nm
from simulator.accelerators.sat.config import Config
from workloads.errors import InputError
from workloads.patterns import NM

KEEP_ALL = NM(1, 1)


def compute(
    config: Config, left: NDArray[Any], right: NDArray[Any], pattern: NM = KEEP_ALL
) -> NDArray[np.float32]:
    """Multiply `left` (P, K) with `right` (K, Q), of which N:M is kept along K; fp32 (P, Q).

    Every sum starts at zero and adds one exact product after the other, rounding each time. Both
    stationarities keep that order, so they give the same bits.

    >>> compute(Config(), np.eye(2, dtype=np.float16), np.ones((2, 1), np.float16)).tolist()
    [[1.0], [1.0]]
    """
    if config.value_bits != 16:
        raise InputError(f"values are computed for value_bits=16, not {config.value_bits}")
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise InputError(
            f"operands must have shapes (P, K) and (K, Q), not {left.shape} and {right.shape}"
        )
    packed = nm.compress(right.astype(np.float16, copy=False), pattern)
    windows = nm.windows(left.astype(np.float16, copy=False), pattern).astype(np.float32)
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    for group, (values, indices) in enumerate(zip(packed.values, packed.indices, strict=True)):
        for kept, index in zip(values, indices, strict=True):
            total += windows[:, group, :][:, index] * kept.astype(np.float32)
    return total
