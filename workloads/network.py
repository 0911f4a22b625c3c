"""A network: a named list of layers, and the workload of one training step or one inference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from workloads.errors import InputError
from workloads.layers import Layer, Vector
from workloads.operations import Operation, Pass, Position, Workload
from workloads.vector_work import INFERENCE_KIND, weight_update


@dataclass(frozen=True, kw_only=True)
class Network:
    """Layers in forward order, for `batch` items of `input`.

    `source` names where the table comes from. A block cut out of a network
    `needs_input_gradient`; a whole network does not, and its first layer has no BP.

    >>> from workloads.networks import find
    >>> resnet = find("resnet50", batch=256)
    >>> resnet.parameters
    25557032
    >>> resnet.training_step().name
    'resnet50, batch 256'
    """

    name: str
    source: str
    input: str
    batch: int
    layers: tuple[Layer, ...]
    needs_input_gradient: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.batch, int) or isinstance(self.batch, bool) or self.batch < 1:
            raise InputError(
                f"batch of {self.name} must be a positive whole number, not {self.batch!r}"
            )
        twice = [name for name, n in Counter(layer.name for layer in self.layers).items() if n > 1]
        if twice:
            raise InputError(f"layers of {self.name} must have names of their own, not {twice}")

    @cached_property
    def parameters(self) -> int:
        """Trained numbers of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of the forward pass of one item."""
        return sum(layer.macs for layer in self.layers)

    @property
    def title(self) -> str:
        """Name and batch."""
        return f"{self.name}, batch {self.batch}"

    def training_step(self, method: Callable[[Workload], Workload] | None = None) -> Workload:
        """Return one training step, with `method` applied to it if there is one.

        FF of all layers in order; then, last layer first, BP and WU of each; then the weight update
        of each layer. Layers before the first that has parameters have no BP.
        """
        operations = [op for layer in self.layers for op in self._run(layer, Pass.FF)]
        first = self._first_trained
        for layer in reversed(self.layers[first:]):
            if layer is not self.layers[first] or self.needs_input_gradient:
                operations += self._run(layer, Pass.BP)
            operations += self._run(layer, Pass.WU)
        operations += [weight_update(x.name, x.parameters) for x in self.layers if x.parameters]
        step = Workload(name=self.title, operations=tuple(operations), source=self.source)
        return step if method is None else method(step)

    def inference(self) -> Workload:
        """Return one forward pass: batch norm folded into a scale, no loss."""
        operations: list[Operation] = []
        for layer in self.layers:
            if isinstance(layer, Vector) and layer.kind in INFERENCE_KIND:
                kind = INFERENCE_KIND[layer.kind]
                if kind is not None:
                    operations += self._run(replace(layer, kind=kind), Pass.FF)
            else:
                operations += self._run(layer, Pass.FF)
        return Workload(
            name=f"{self.title}, inference", operations=tuple(operations), source=self.source
        )

    @cached_property
    def _first_trained(self) -> int:
        return next((i for i, layer in enumerate(self.layers) if layer.parameters), 0)

    def _run(self, layer: Layer, pass_: Pass) -> tuple[Operation, ...]:
        return layer.operations(pass_, self.batch, self._position(layer))

    def _position(self, layer: Layer) -> Position:
        if layer.name == self.layers[self._first_trained].name and not self.needs_input_gradient:
            return "first"
        if getattr(layer, "classifier", False):
            return "last"
        return "inner"
