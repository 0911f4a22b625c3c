"""Recurrent layers: one product over the inputs of all steps, and small products step after step.

The input product knows all its rows at once. The state of a step needs the step before, so every
step is a product of its own, followed by the work of its cell on the state's elements. The gradient
goes back through the same steps, and those of the weights are added up over them.

====  =====  ==================================================================================
cell  gates  element-wise work of a step (forward; backward)
====  =====  ==================================================================================
LSTM  4      join of all gates, 5 look-ups, 3 products, 1 sum; 6 products, 5 look-ups
GRU   3      join of each gate and of the state, 3 look-ups, 2 products, 1 difference;
             4 products, 1 negation, 1 sum, 3 look-ups
RNN   1      join, look-up; look-up
====  =====  ==================================================================================

Backwards a step also adds the gradients that meet: those of its `joins`, and of its weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from workloads.lowering import lower_linear
from workloads.operations import MatMul, Operation, Pass, Position, VectorOp
from workloads.vector_work import COSTS, FP16_BYTES, vector_work

MOST_STEPS = 1 << 14
"""Steps of all directions of one layer, each of which becomes operations of its own."""


class Work(NamedTuple):
    """`times` operations of a kind, each on `width` times the elements of the state."""

    kind: str
    times: int
    width: int = 1


class Cell(NamedTuple):
    """What a step does beside its product.

    `joins` are the gradients of the state that two readers of a step give; the first step, whose
    state before nobody trains, has none of them, and does not make the `carried` products.
    """

    gates: int
    forward: tuple[Work, ...]
    backward: tuple[Work, ...]
    joins: int
    carried: int = 0


_LOOK_UP = "tanh"

CELLS = {
    "LSTM": Cell(
        gates=4,
        forward=(Work("add", 1, 4), Work(_LOOK_UP, 5), Work("mul", 3), Work("add", 1)),
        backward=(Work("mul", 5), Work(_LOOK_UP, 5)),
        joins=2,
        carried=1,
    ),
    "GRU": Cell(
        gates=3,
        forward=(Work("add", 4), Work(_LOOK_UP, 3), Work("mul", 2), Work("sub", 1)),
        backward=(Work("mul", 4), Work("neg", 1), Work("split", 1), Work(_LOOK_UP, 3)),
        joins=2,
    ),
    "RNN": Cell(
        gates=1,
        forward=(Work("add", 1), Work(_LOOK_UP, 1)),
        backward=(Work(_LOOK_UP, 1),),
        joins=1,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentInput:
    """The inputs of all steps by the weights of each direction: `rows` rows an item."""

    name: str
    directions: int
    rows: int
    in_features: int
    out_features: int
    bias: bool
    classifier: ClassVar[bool] = False

    @property
    def parameters(self) -> int:
        """Weights and biases of all directions."""
        return self.directions * (self.in_features + self.bias) * self.out_features

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one item."""
        return self.directions * self.rows * self.in_features * self.out_features

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """One product a direction, its bias, and the sum of the directions' gradients dX."""
        rows = batch * self.rows
        found: list[Operation] = []
        for direction in range(self.directions):
            shape = (rows, self.in_features, self.out_features)
            products = lower_linear(self.name, *shape, pass_, position=position)
            bias = vector_work(self.name, "bias", pass_, rows * self.out_features)
            made: tuple[MatMul | VectorOp, ...] = products + bias if self.bias else products
            found += _named(made, f"direction{direction}")
            if direction and pass_ is Pass.BP and products:
                fork = vector_work(self.name, "split", pass_, rows * self.in_features)
                found += _named(fork, f"direction{direction}")
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentState:
    """The steps of each direction: the state of `features` by its weights, and the cell."""

    name: str
    cell: Cell
    directions: int
    steps: int
    rows: int
    features: int
    bias: bool
    classifier: ClassVar[bool] = False

    @property
    def _width(self) -> int:
        return self.cell.gates * self.features

    @property
    def parameters(self) -> int:
        """Weights and biases of all directions."""
        return self.directions * (self.features + self.bias) * self._width

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one item."""
        return self.directions * self.steps * self.rows * self.features * self._width

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """The steps of a pass in order; backwards from the last to the first."""
        steps = range(self.steps) if pass_ is Pass.FF else range(self.steps - 1, -1, -1)
        return tuple(
            op
            for direction in range(self.directions)
            for step in steps
            for op in _named(
                self._step(pass_, batch * self.rows, step), f"direction{direction}.step{step}"
            )
        )

    def _step(self, pass_: Pass, rows: int, step: int) -> Iterator[Operation]:
        shape = (rows, self.features, self._width)
        state = rows * self.features
        if pass_ is Pass.BP:
            yield from self._cell(pass_, self.cell.backward, state)
            if step == 0:
                return  # nobody needs the gradient of the state before
            yield from self._cell(pass_, (Work("mul", self.cell.carried),), state)
        yield from lower_linear(self.name, *shape, pass_)
        if self.bias:
            yield from vector_work(self.name, "bias", pass_, rows * self._width)
        if pass_ is Pass.FF:
            yield from self._cell(pass_, self.cell.forward, state)
        elif pass_ is Pass.BP:
            yield from self._cell(pass_, (Work("split", self.cell.joins),), state)
            yield from vector_work(self.name, "split", pass_, self.features * self._width)
            if self.bias:
                yield from vector_work(self.name, "split", pass_, self._width)

    def _cell(self, pass_: Pass, work: tuple[Work, ...], state: int) -> Iterator[VectorOp]:
        for kind, times, width in work:
            for _ in range(times):
                if kind in COSTS:
                    yield from vector_work(self.name, kind, pass_, width * state)
                else:
                    yield self._elementwise(pass_, kind, width * state)

    def _elementwise(self, pass_: Pass, kind: str, elements: int) -> VectorOp:
        """Return a product, difference or negation: every operand is read, the result written."""
        tensor_bytes = elements * FP16_BYTES
        return VectorOp(
            name=f"{self.name}.{kind}.{pass_}",
            layer=self.name,
            pass_=pass_,
            kind=kind,
            elements=elements,
            read_bytes=(1 if kind == "neg" else 2) * tensor_bytes,
            write_bytes=tensor_bytes,
        )


def _named(
    operations: Iterator[Operation] | tuple[MatMul | VectorOp, ...], part: str
) -> Iterator[Operation]:
    """Number the operations of a part, as each needs a name of its own."""
    for number, op in enumerate(operations):
        yield replace(op, name=f"{op.name}.{part}.{number}")
