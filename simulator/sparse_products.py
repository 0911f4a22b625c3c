"""What models of sparse products share: operands, report columns, command-line options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dataflow.spgemm import Work, count
from dataflow.traffic import CSR12, EntryFormat
from simulator.run_options import RunOption
from workloads.errors import InputError
from workloads.matrices import read_matrix, sparse_product, with_matrices
from workloads.matrices.csr import Csr
from workloads.operations import MatMul, Workload

MATRIX_OPTIONS = (
    RunOption(name="--matrix", help="A: file or name of a sparse matrix", values=("MATRIX",)),
    RunOption(name="--b", help="B; without it A is squared", values=("MATRIX",)),
)


def workload_from_options(options: Mapping[str, tuple[str, ...]]) -> Workload:
    """Return the product of the matrices named by --matrix and --b."""
    if "matrix" not in options:
        raise InputError("--b needs --matrix, which names the left operand")
    left = read_matrix(options["matrix"][0])
    right = read_matrix(options["b"][0]) if "b" in options else None
    return sparse_product(left, right)


def products_of(workload: Workload, seed: int) -> list[MatMul]:
    """Return the matrix products with CSR operands, drawn with `seed` where none are given."""
    rng = np.random.default_rng(seed)
    return [with_matrices(product, rng) for product in workload.matmuls]


def operands(product: MatMul) -> tuple[Csr, Csr]:
    """Return the CSR operands that `products_of` made sure are there."""
    assert product.matrices is not None
    return product.matrices


def skipped_note(workload: Workload) -> tuple[str, ...]:
    """Say which operations a model of sparse products leaves out."""
    others = len(workload) - len(workload.matmuls)
    if not others:
        return ()
    return (f"{others} operations that are no matrix products are not modelled.",)


def report_compulsory_bytes(work: Work, product: MatMul, layout: EntryFormat = CSR12) -> int:
    """Return the least bytes of a product, for a report.

    As `dataflow.traffic.compulsory_bytes`, but of B's row pointers at most the two for each entry
    of A count: no more have to be read.
    """
    left = operands(product)[0]
    pointers = 2 * left.shape[0] + 1 + min(left.shape[1] + 1, 2 * left.nnz)
    entries = work.nnz_a + work.referenced_nnz + work.nnz_c
    return layout.entry_bytes * entries + layout.pointer_bytes * pointers


def base_columns(products: Sequence[MatMul], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns that describe the products."""
    return {
        "name": list(names),
        "layer": [product.layer for product in products],
        "pass": [str(product.pass_) for product in products],
        "kind": [product.kind for product in products],
        "m": [operands(product)[0].shape[0] for product in products],
        "k": [product.k for product in products],
        "n": [product.n for product in products],
    }


def totals(works: Sequence[Work], layout_bytes: Sequence[int]) -> dict[str, int]:
    """Return the counts that the command line prints for sparse products."""
    return {
        "multiplies": sum(work.multiplies for work in works),
        "adds": sum(work.adds for work in works),
        "nnz_c": sum(work.nnz_c for work in works),
        "compulsory_bytes": sum(layout_bytes),
    }


def counted(products: Sequence[MatMul]) -> list[Work]:
    """Count what each product needs; the same operands are counted once."""
    known: dict[tuple[int, int], Work] = {}
    for product in products:
        left, right = operands(product)
        key = (id(left), id(right))
        if key not in known:
            known[key] = count(left, right)
    return [known[id(a), id(b)] for a, b in map(operands, products)]
