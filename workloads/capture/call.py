"""One operation of the running step, with what is known about it when it is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from workloads.capture.identity import Weight, Weights, storage_key
from workloads.capture.values import dtype_name, measure
from workloads.errors import InputError
from workloads.operations import MatMul, Operand, Pass
from workloads.statistics import Statistics

Keep = Callable[[str, torch.Tensor], None]


class Side(NamedTuple):
    """The values of an operand and its reduction axis.

    `tensor` None: they never exist in memory. `axis` None: only zeros are measured. `view` is the
    tensor as the axis sees it, and `dtype` the type to report, where they are not the tensor's own.
    """

    tensor: torch.Tensor | None
    axis: int | None = None
    view: torch.Tensor | None = None
    dtype: torch.dtype | None = None


@dataclass(slots=True)
class ForwardProduct:
    """What the backward pass must know of a product: its weight, shape, and storage of operands."""

    weight: Weight | None
    in_features: int
    out_features: int
    operands: tuple[int, ...]


@dataclass(slots=True)
class Origin:
    """The module in which an autograd node was made, and the products that it stands for."""

    layer: str
    products: list[ForwardProduct] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An ATen operation: where it runs, its arguments and results, and how to describe them.

    `recompute` marks a forward operation that runs again within the backward pass. `tensors` are
    those among the arguments, lists opened.
    """

    name: str
    tags: frozenset[str]
    layer: str
    pass_: Pass
    recompute: bool
    origin: Origin
    args: tuple[Any, ...]
    outs: tuple[Any, ...]
    tensors: tuple[torch.Tensor, ...]
    weights: Weights
    statistics: bool
    keep: Keep

    def weight_of(self, tensor: torch.Tensor) -> Weight | None:
        """Return the weight that the tensor is, or was computed from."""
        return self.weights.weight_of(tensor)

    def remember(
        self, weight: Weight | None, shape: tuple[int, int], *operands: torch.Tensor
    ) -> None:
        """Tell the backward pass of a forward product with (in, out) features."""
        keys = tuple(storage_key(tensor) for tensor in operands)
        self.origin.products.append(ForwardProduct(weight, *shape, keys))

    def describe(self, op: MatMul, left: Side, right: Side, out: Side) -> MatMul:
        """Give the operands of a lowered product their types and statistics."""
        again = ".recompute" if self.recompute else ""
        return replace(
            op,
            name=op.name + again,
            left=self._operand(op, "left", left),
            right=self._operand(op, "right", right),
            out=self._operand(op, "out", out),
        )

    def _operand(self, op: MatMul, place: str, side: Side) -> Operand:
        operand: Operand = getattr(op, place)
        if side.tensor is None:
            return operand
        operand = replace(operand, dtype=dtype_name(side.dtype or side.tensor.dtype))
        activations = op.kind == "attention"
        self.keep(
            f"{op.name}.{place}" if activations else f"{op.layer}.{operand.tensor}", side.tensor
        )
        if not self.statistics:
            return operand
        try:
            return replace(operand, statistics=self._measured(side.tensor, side))
        except InputError as error:
            raise InputError(
                f"{operand.tensor} of layer {op.layer!r} in pass {op.pass_}: {error}; capture a "
                "step with a finite loss and finite gradients"
            ) from error

    def _measured(self, tensor: torch.Tensor, side: Side) -> Statistics | None:
        """Measure an operand; a weight once for each view and axis, until it is written to."""
        seen = tensor if side.view is None else side.view
        known, view = self.weights.measured_on(tensor), (*_place(tensor), *_place(seen), side.axis)
        if view not in known:
            known[view] = measure(seen, side.axis)
        return known[view]


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
