"""Layers that graphs of other programs need beside those of `workloads.layers`; their padding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from workloads.layers import convolution, pooling
from workloads.lowering import activation_product, batched, conv_elements, lower_linear
from workloads.operations import Conv2d, Operation, Pass, Position, VectorOp
from workloads.rounding import ceil_div
from workloads.vector_work import FP16_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralConv:
    """A convolution of any geometry; `geometry` is that of one item."""

    name: str
    geometry: Conv2d
    bias: bool = False
    classifier: bool = False

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        _, weights, _ = conv_elements(self.geometry)
        return weights + self.bias * self.geometry.out_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one item, padding counted."""
        return self.geometry.macs

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """The products of `lower_conv`, and the bias."""
        geometry = replace(self.geometry, batch=self.geometry.batch * batch)
        return convolution(self.name, geometry, pass_, position, bias=self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedLinear:
    """`count` linear layers of one shape, each with its own weights and `rows` rows of an item."""

    name: str
    count: int
    rows: int
    in_features: int
    out_features: int
    classifier: ClassVar[bool] = False

    @property
    def parameters(self) -> int:
        """Weights of all."""
        return self.count * self.in_features * self.out_features

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one item."""
        return self.count * self.rows * self.in_features * self.out_features

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """One operation of `count` products."""
        shape = (batch * self.rows, self.in_features, self.out_features)
        products = lower_linear(self.name, *shape, pass_, position=position)
        return tuple(batched(op, self.count) for op in products)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationProduct:
    """`count` products left[m,k] right[k,n] of two activations an item, as in attention."""

    name: str
    count: int
    m: int
    k: int
    n: int
    parameters: ClassVar[int] = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one item."""
        return self.count * self.m * self.k * self.n

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """FF: out = left right. BP: dLeft = dOut right^T and dRight = left^T dOut."""
        m, k, n = self.m, self.k, self.n
        table: tuple[tuple[str, tuple[int, int, int], tuple[str, str, str]], ...] = ()
        if pass_ is Pass.FF:
            table = (("product", (m, k, n), ("X", "X", "Y")),)
        elif pass_ is Pass.BP:
            table = (
                ("dLeft", (m, n, k), ("dY", "X", "dX")),
                ("dRight", (k, m, n), ("X", "dY", "dX")),
            )
        count = self.count * batch
        return tuple(
            activation_product(
                f"{self.name}.{part}.{pass_}", self.name, pass_, shape, roles, batch=count
            )
            for part, shape, roles in table
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise:
    """Work on each element of `inputs` activations of the same size, of no kind that is counted.

    Forwards one lane operation an element, backwards one for each input. Backwards it reads the
    gradient and every input, and writes a gradient for each.
    """

    name: str
    kind: str
    elements: int
    inputs: int = 1
    parameters: int = 0
    macs: ClassVar[int] = 0

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """One vector operation in FF and one in BP."""
        if pass_ not in (Pass.FF, Pass.BP):
            return ()
        tensor_bytes = batch * self.elements * FP16_BYTES
        forward = pass_ is Pass.FF
        return (
            VectorOp(
                name=f"{self.name}.{self.kind}.{pass_}",
                layer=self.name,
                pass_=pass_,
                kind=self.kind,
                elements=batch * self.elements,
                lane_operations=1 if forward else self.inputs,
                read_bytes=(self.inputs + (not forward)) * tensor_bytes,
                write_bytes=(1 if forward else self.inputs) * tensor_bytes,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Pooling whose windows hold `touched` elements an item; costs as in `layers.Pool`."""

    name: str
    kind: str
    inputs: int
    outputs: int
    touched: int
    parameters: ClassVar[int] = 0
    macs: ClassVar[int] = 0

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """One vector operation over the elements of all windows."""
        if pass_ not in (Pass.FF, Pass.BP):
            return ()
        sizes = (batch * self.inputs, batch * self.outputs, batch * self.touched)
        name = f"{self.name}.{self.kind}.{pass_}"
        return (pooling(name, self.name, self.kind, pass_, *sizes),)


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return what both sides of an axis get together for ceil(size / stride) outputs: padding SAME.

    A stride below 1, which `Conv2d` refuses, gets none.

    >>> same_padding(8, 3, 2, 1), same_padding(8, 3, 1, 2), same_padding(8, 1, 2, 1)
    (1, 4, 0)
    """
    if stride < 1:
        return 0
    return max(0, (ceil_div(size, stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
