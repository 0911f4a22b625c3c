"""Sparse times sparse: counting what a product needs, and multiplying faster than libraries.

>>> from workloads.matrices import banded
>>> matrix = banded(4, 1)
>>> work = count(matrix, matrix)
>>> work.multiplies, work.nnz_c, work.adds
(26, 14, 12)
>>> multiply(matrix, matrix).csr().nnz
14
"""

from dataflow.spgemm.count import Work, count, row_products, split_evenly
from dataflow.spgemm.memory import release_memory
from dataflow.spgemm.multiply import Product, Semiring, multiply

__all__ = [
    "Product",
    "Semiring",
    "Work",
    "count",
    "multiply",
    "release_memory",
    "row_products",
    "split_evenly",
]
