"""A product of two given sparse matrices as an operation, and sparse products from dense ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workloads.errors import InputError
from workloads.matrices.csr import INDEX_LIMIT, Csr
from workloads.operations import MatMul, Pass, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseMatMul:
    """out[m,n] = sum over k of left[m,k] right[k,n] with both operands given as CSR."""

    name: str
    layer: str
    pass_: Pass
    left: Csr
    right: Csr

    def __post_init__(self) -> None:
        if self.left.shape[1] != self.right.shape[0]:
            raise InputError(
                f"columns of {self.left.name} must be as many as rows of {self.right.name}, "
                f"not {self.left.shape[1]} and {self.right.shape[0]}"
            )

    @property
    def m(self) -> int:
        """Rows of the result."""
        return self.left.shape[0]

    @property
    def k(self) -> int:
        """Length of the reduction."""
        return self.left.shape[1]

    @property
    def n(self) -> int:
        """Columns of the result."""
        return self.right.shape[1]


def sparse_product(left: Csr, right: Csr | None = None, *, name: str | None = None) -> Workload:
    """Make the workload of one product; of the square of `left` without `right`."""
    other = left if right is None else right
    title = name or f"{left.name}*{other.name}"
    product = SparseMatMul(name=title, layer=title, pass_=Pass.FF, left=left, right=other)
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


def sampled_operands(product: MatMul, rng: np.random.Generator) -> SparseMatMul:
    """Draw CSR operands of a dense-described product with the densities it states.

    A pattern gives the density of its operand; measured zeros (`statistics`) lower a dense one.
    Places are uniform: real masks are less even, so prefer matrices read from a file.
    """
    densities = []
    for operand in (product.left, product.right):
        measured = 1.0 if operand.statistics is None else 1 - operand.statistics.zero_fraction
        densities.append(min(operand.pattern.density, measured))
    rows = product.m * product.batch
    if max(rows, product.k, product.n) > INDEX_LIMIT:
        raise InputError(f"{product.name} is too large for 32-bit sparse indices")
    left = _sampled((rows, product.k), densities[0], rng, f"{product.name}.left")
    right = _sampled((product.k, product.n), densities[1], rng, f"{product.name}.right")
    return SparseMatMul(
        name=product.name, layer=product.layer, pass_=product.pass_, left=left, right=right
    )


def _sampled(shape: tuple[int, int], density: float, rng: np.random.Generator, name: str) -> Csr:
    places = math.prod(shape)
    kept = np.flatnonzero(rng.random(places) < density)
    values = 1.0 - rng.random(len(kept))
    return Csr.from_coo(shape, kept // shape[1], kept % shape[1], values, name=name)
