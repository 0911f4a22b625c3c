"""Training with the masks of `dataflow.nm`: BDWP, SR-STE and dense, as PyTorch layers.

*Source*: BDWP, arXiv 2309.13015; SR-STE, Zhou et al., ICLR 2021, arXiv 2102.04010, whose decay of
pruned weights is 2e-4.

============  =====================  ============================  ==============================
method        forward                backward data                 backward weight
============  =====================  ============================  ==============================
dense         W                      W                             X^T dY
sr-ste        W, masked over inputs  the same masked W             X^T dY + decay x W where masked
bdwp          W, masked over inputs  W, masked over outputs        X^T dY
============  =====================  ============================  ==============================

The dense master weight is kept and updated; both masks come from it anew in every step, from
`forward_mask` and `backward_mask`, so that hardware, simulator and training agree on every element.
PyTorch is imported with this module, and this module only by those who train.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import grad as gradients_of

from dataflow.nm import backward_mask, forward_mask
from workloads.errors import InputError
from workloads.patterns import NM

Scheme = Literal["dense", "sr-ste", "bdwp"]

SR_STE_DECAY = 2e-4


def masks(weight: torch.Tensor, pattern: NM) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the masks of the forward and of the backward-data pass of a weight (out, in, ...)."""
    values: NDArray[Any] = weight.detach().cpu().numpy()
    forward, backward = forward_mask(values, pattern), backward_mask(values, pattern)
    return _tensor(forward, weight), _tensor(backward, weight)


def _tensor(mask: NDArray[np.bool_], like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask)).to(like.device, like.dtype)


class _Split(torch.autograd.Function):
    """A product whose passes use different copies of one weight, and whose gradient is dense."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        forward_weight: torch.Tensor,
        backward_weight: torch.Tensor,
        pull: torch.Tensor | None,
        geometry: dict[str, Any] | None,
    ) -> torch.Tensor:
        """Multiply by `forward_weight`; `pull` is added to the gradient of `weight`."""
        ctx.save_for_backward(inputs, backward_weight, pull)
        ctx.geometry = geometry
        if geometry is None:
            return inputs @ forward_weight.T
        return nn.functional.conv2d(inputs, forward_weight, **geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Multiply by the backward copy; the gradient of the weight is that of a dense one."""
        (gradient,) = gradients
        inputs, weight, pull = ctx.saved_tensors
        if ctx.geometry is None:
            to_inputs = gradient @ weight
            flat = gradient.reshape(-1, gradient.shape[-1])
            to_weight = flat.T @ inputs.reshape(-1, inputs.shape[-1])
        else:
            of_conv: Any = gradients_of
            to_inputs = of_conv.conv2d_input(inputs.shape, weight, gradient, **ctx.geometry)
            to_weight = of_conv.conv2d_weight(inputs, weight.shape, gradient, **ctx.geometry)
        if pull is not None:
            to_weight = to_weight + pull
        return to_inputs, to_weight, None, None, None, None


class _Pruned:
    """What both layers share: a scheme, a pattern, and the copies of the weight for a step."""

    scheme: Scheme
    pattern: NM
    weight: torch.Tensor

    def copies(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return the weights of FF and BP, and what SR-STE adds to the gradient."""
        weight = self.weight.detach()
        if self.scheme == "dense":
            return weight, weight, None
        forward, backward = masks(weight, self.pattern)
        if self.scheme == "bdwp":
            return weight * forward, weight * backward, None
        return weight * forward, weight * forward, SR_STE_DECAY * (1 - forward) * weight


class PrunedLinear(_Pruned, nn.Linear):
    """A linear layer that trains under a scheme."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return X W^T + b."""
        forward, backward, pull = self.copies()
        copies = (self.weight, forward, backward, pull, None)
        out: torch.Tensor = _Split.apply(input, *copies)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias


class PrunedConv2d(_Pruned, nn.Conv2d):
    """A convolution without groups that trains under a scheme."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the convolution of `input`, plus bias."""
        forward, backward, pull = self.copies()
        geometry = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        if isinstance(self.padding, str) or self.padding_mode != "zeros":
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            input = nn.functional.pad(input, self._reversed_padding_repeated_twice, mode=mode)
            geometry["padding"] = (0, 0)
        copies = (self.weight, forward, backward, pull, geometry)
        out: torch.Tensor = _Split.apply(input, *copies)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias.reshape(1, -1, 1, 1)


def prune(module: nn.Module, scheme: Scheme, pattern: NM) -> nn.Module:
    """Put every inner layer of `module` under a scheme, in place; return it.

    The first layer and the last (the classifier) stay dense, and so do layers whose inputs or
    outputs cannot hold a group of M: what the methods of `workloads` leave dense. Convolutions with
    groups stay dense too. Raises `InputError` for an unknown scheme.
    """
    if scheme not in ("dense", "sr-ste", "bdwp"):
        raise InputError(f"training scheme must be dense, sr-ste or bdwp, not {scheme!r}")
    layers: list[Any] = [layer for layer in module.modules() if type(layer) in _PRUNED]
    for layer in layers[1:-1]:
        groups = getattr(layer, "groups", 1)
        if groups == 1 and min(layer.weight.shape[:2]) >= pattern.m:
            layer.__class__ = _PRUNED[type(layer)]
            layer.scheme, layer.pattern = scheme, pattern
    return module


_PRUNED: dict[type[nn.Module], Any] = {nn.Linear: PrunedLinear, nn.Conv2d: PrunedConv2d}


def pruned_layers(module: nn.Module) -> Iterator[tuple[str, PrunedLinear | PrunedConv2d]]:
    """Yield the layers under a scheme with their names."""
    for name, layer in module.named_modules():
        if isinstance(layer, (PrunedLinear, PrunedConv2d)):
            yield name, layer


def current_masks(module: nn.Module) -> dict[str, NDArray[np.bool_]]:
    """Return the masks in force, by `layer.FF` and `layer.BP`; both are the same for SR-STE."""
    found: dict[str, NDArray[np.bool_]] = {}
    for name, layer in pruned_layers(module):
        if layer.scheme == "dense":
            continue
        forward, backward = masks(layer.weight, layer.pattern)
        found[f"{name}.FF"] = forward.bool().cpu().numpy()
        found[f"{name}.BP"] = (backward if layer.scheme == "bdwp" else forward).bool().cpu().numpy()
    return found
