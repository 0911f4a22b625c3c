"""Which tensors of a running step are weights: parameters and what is computed from them alone.

A cast (autocast), a mask times a weight, a re-parametrised or a transposed weight are still weights
of the layer that owns the parameter. So a tensor is *static* if no input of the step went into it,
and a static tensor carries the name of the parameter (or else buffer) that it was computed from
without a change of shape. Storages are known by their address and a weak reference, so that an
address which is used again for another tensor is not confused with the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from workloads.statistics import Statistics

_TENSOR_OF_LAYER = re.compile(
    r"(\.parametrizations)?(^|[._])(weight|bias)(_orig|_mask|_v|_g|\.original\d*)?$"
)

_weak_reference: Any = StorageWeakRef

Measured = dict[tuple[Any, ...], Statistics | None]
"""What was measured on a tensor, by the view and the axis that it was measured along."""


class _Static(NamedTuple):
    """A storage, by a weak reference, the weight in it, and what was measured on its values."""

    reference: Any
    weight: Weight | None
    measured: Measured


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter or buffer: its qualified name, its type, and whether the step trains it.

    `others` are the further names of one that several modules share.
    """

    name: str
    dtype: torch.dtype
    trained: bool
    others: tuple[str, ...] = ()

    @property
    def layer(self) -> str:
        """The layer of the first name."""
        return layer_of(self.name)

    def layer_in(self, running: str) -> str:
        """Return the running layer if the weight is one of its own, else the layer of its name.

        >>> tied = Weight("embed.weight", torch.float32, True, ("head.weight",))
        >>> tied.layer_in("head"), tied.layer_in("block.0")
        ('head', 'embed')
        """
        return running if running in map(layer_of, self.others) else self.layer


def layer_of(name: str) -> str:
    """Return the name of a tensor without the part that says which tensor of the layer it is.

    >>> names = ("attn.in_proj_weight", "fc.parametrizations.weight.original", "bias")
    >>> [layer_of(name) for name in names]
    ['attn.in_proj', 'fc', 'model']
    """
    return plain_name(_TENSOR_OF_LAYER.sub("", name)) or "model"


def plain_name(name: str) -> str:
    """Return the name of a module or tensor without what `torch.compile` puts into it.

    >>> plain_name("block._orig_mod.fc.weight")
    'block.fc.weight'
    """
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def storage_key(tensor: torch.Tensor) -> int:
    """Return the address that identifies the storage behind a tensor while it lives."""
    return int(tensor.untyped_storage()._cdata)


class Weights:
    """The static tensors of a module while its step runs."""

    def __init__(self, module: torch.nn.Module) -> None:
        """Know the parameters, buffers and other tensors of `module` by their qualified names."""
        self._static: dict[int, _Static] = {}
        shared: dict[int, list[str]] = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            shared.setdefault(id(parameter), []).append(name)
        for name, tensor in tensors_of(module):
            trained = isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad
            others = tuple(other for other in shared.get(id(tensor), ()) if other != name)
            self._remember(tensor, Weight(name, tensor.dtype, trained, others))

    def _remember(self, tensor: torch.Tensor, weight: Weight | None) -> None:
        storage = tensor.untyped_storage()
        self._static[int(storage._cdata)] = _Static(_weak_reference(storage), weight, {})

    def _lookup(self, tensor: torch.Tensor) -> _Static | None:
        found = self._static.get(storage_key(tensor))
        return None if found is None or found.reference.expired() else found

    def weight_of(self, tensor: torch.Tensor) -> Weight | None:
        """Return the weight that `tensor` is, or was computed from; None for an activation."""
        found = self._lookup(tensor)
        return found.weight if found else None

    def measured_on(self, tensor: torch.Tensor) -> Measured:
        """Return what is known of the values of `tensor`, to be added to; nothing is kept of an
        activation.
        """
        found = self._lookup(tensor)
        return found.measured if found else {}

    def overwritten(self, tensors: Sequence[torch.Tensor]) -> None:
        """Forget what was measured on tensors whose values may have changed."""
        for tensor in tensors:
            self.measured_on(tensor).clear()

    def propagate(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> None:
        """Learn from an operation with these tensors in and out whether the results are static."""
        found = [(tensor, self._lookup(tensor)) for tensor in inputs]
        seen = {storage_key(tensor) for tensor in inputs}
        weights = [(tensor, known.weight) for tensor, known in found if known]
        static = len(weights) == len(found)
        for output in outputs:
            if not static:
                self._static.pop(storage_key(output), None)
            elif storage_key(output) not in seen:
                sources = [w for t, w in weights if w and _sizes(t) == _sizes(output)]
                self._remember(output, max(sources, key=lambda w: w.trained, default=None))


def tensors_of(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield plain tensor attributes, buffers, parameters; the last name of a tensor counts."""
    for path, child in module.named_modules():
        for name, value in vars(child).items():
            if isinstance(value, torch.Tensor):
                yield f"{path}.{name}".lstrip("."), value
    yield from module.named_buffers()
    yield from module.named_parameters()


def _sizes(tensor: torch.Tensor) -> list[int]:
    return sorted(size for size in tensor.shape if size > 1)
