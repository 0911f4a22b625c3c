"""Products of given sparse matrices as workloads; sparse operands drawn where none are given."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from workloads.errors import InputError
from workloads.matrices.csr import INDEX_LIMIT, Csr
from workloads.operations import MatMul, Operand, Pass, Workload
from workloads.patterns import Unstructured

DTYPES = {np.dtype(np.float64): "fp64", np.dtype(np.float32): "fp32"}


def sparse_product(left: Csr, right: Csr | None = None, *, name: str | None = None) -> Workload:
    """Make the workload of one product; of the square of `left` without `right`."""
    other = left if right is None else right
    if left.shape[1] != other.shape[0]:
        raise InputError(
            f"columns of {left.name} must be as many as rows of {other.name}, "
            f"not {left.shape[1]} and {other.shape[0]}"
        )
    title = name or f"{left.name}*{other.name}"
    product = MatMul(
        name=title,
        layer=title,
        pass_=Pass.FF,
        m=left.shape[0],
        k=left.shape[1],
        n=other.shape[1],
        left=_operand("X", left),
        right=_operand("W", other),
        out=Operand(tensor="Y", elements=left.shape[0] * other.shape[1], dtype="fp64"),
        matrices=(left, other),
    )
    return Workload(name=title, operations=(product,), method="sparse", source="given matrices")


def training_gemm(
    weights: ArrayLike, mask: ArrayLike, activations: ArrayLike, *, name: str = "layer"
) -> Workload:
    """Make (mask * weights) @ activations a sparse product.

    `weights` and `mask` are (outputs, inputs), `activations` (inputs, samples); the zeros of a
    ReLU are skipped like those of the mask.
    """
    weight, kept = np.asarray(weights), np.asarray(mask)
    if weight.shape != kept.shape:
        raise InputError(
            f"mask must have the shape {weight.shape} of the weights, not {kept.shape}"
        )
    left = Csr.from_dense(np.where(kept != 0, weight, 0), name=f"{name}.weight")
    right = Csr.from_dense(activations, name=f"{name}.input")
    return sparse_product(left, right, name=name)


def with_matrices(product: MatMul, rng: np.random.Generator) -> MatMul:
    """Return the product with CSR operands: its own, or drawn with the densities it states.

    A pattern gives the density of its operand; measured zeros (`statistics`) lower a dense one.
    Places are uniform: real masks are less even, so prefer matrices read from a file. Independent
    products of a batch are one: left operands on the diagonal, right ones below each other.
    """
    if product.matrices is not None:
        return product
    densities = []
    for operand in (product.left, product.right):
        measured = 1.0 if operand.statistics is None else 1 - operand.statistics.zero_fraction
        densities.append(min(operand.pattern.density, measured))
    rows, inner = product.m * product.batch, product.k * product.batch
    if max(rows, inner, product.n) > INDEX_LIMIT:
        raise InputError(f"{product.name} is too large for 32-bit sparse indices")
    left = _sampled((rows, product.k), densities[0], rng, f"{product.name}.left", product.batch)
    right = _sampled((inner, product.n), densities[1], rng, f"{product.name}.right")
    return replace(product, matrices=(left, right))


def _operand(tensor: str, matrix: Csr) -> Operand:
    places = math.prod(matrix.shape)
    if not places:
        raise InputError(
            f"{matrix.name} must have rows and columns to be multiplied, not the shape "
            f"{matrix.shape[0]}x{matrix.shape[1]}"
        )
    stored = Unstructured(max(matrix.nnz, 1) / places, index_bits=32)
    dtype = DTYPES[matrix.values.dtype]
    return Operand(tensor=tensor, elements=places, dtype=dtype, pattern=stored)


def _sampled(
    shape: tuple[int, int], density: float, rng: np.random.Generator, name: str, blocks: int = 1
) -> Csr:
    """Return a random matrix of `shape`, its rows cut into `blocks` that lie on the diagonal."""
    rows, columns = shape
    kept = np.flatnonzero(rng.random(rows * columns) < density)
    values = 1.0 - rng.random(len(kept))
    at = kept // columns
    across = kept % columns + at // (rows // blocks) * columns
    return Csr.from_coo((rows, columns * blocks), at, across, values, name=name)
