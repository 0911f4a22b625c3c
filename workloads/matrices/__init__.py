"""Sparse matrices: one checked CSR type, seeded generators, readers, and a shipped real graph.

>>> import numpy as np
>>> matrix = banded(4, 1)
>>> matrix.shape, matrix.nnz
((4, 4), 10)
>>> rmat(6, 4, (0.5, 0.1, 0.1, 0.3), rng=np.random.default_rng(1)).shape
(64, 64)
"""

from workloads.matrices.csr import Csr
from workloads.matrices.files import read_matrix, write_matrix
from workloads.matrices.generators import (
    GRAPH500,
    MILD,
    banded,
    block_sparse,
    power_law,
    pruned_layer,
    rmat,
    uniform,
)
from workloads.matrices.product import sparse_product, training_gemm, with_matrices

__all__ = [
    "GRAPH500",
    "MILD",
    "Csr",
    "banded",
    "block_sparse",
    "power_law",
    "pruned_layer",
    "read_matrix",
    "rmat",
    "sparse_product",
    "training_gemm",
    "uniform",
    "with_matrices",
    "write_matrix",
]
