"""Training uses, element by element, the masks of the hardware's format."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from dataflow import nm  # noqa: E402
from dataflow.pruned_training import (  # noqa: E402
    SR_STE_DECAY,
    current_masks,
    prune,
    pruned_layers,
)
from workloads import NM, InputError  # noqa: E402

PATTERN = NM(2, 4)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, stride=2),
        nn.Flatten(),
        nn.Linear(64, 24),
        nn.Linear(24, 5),
    ).double()


def gradients(model: nn.Module, inputs) -> list[np.ndarray]:
    inputs.requires_grad_()
    model(inputs).square().sum().backward()
    return [inputs.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]


def images():
    return torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()


def test_dense_training_is_that_of_plain_layers() -> None:
    ours = gradients(prune(network(), "dense", PATTERN), images())
    for mine, plain in zip(ours, gradients(network(), images()), strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-12)


@pytest.mark.parametrize(
    "padding", [{"padding": (1, 2), "padding_mode": "reflect"}, {"padding": "same"}], ids=str
)
def test_dense_training_pads_as_plain_layers_do(padding) -> None:
    def padded() -> nn.Module:
        torch.manual_seed(0)
        middle = nn.Conv2d(8, 8, (3, 5), **padding)
        return nn.Sequential(nn.Conv2d(1, 8, 3), middle, nn.Conv2d(8, 1, 1)).double()

    inputs = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    model = prune(padded(), "dense", PATTERN)
    assert [name for name, _ in pruned_layers(model)] == ["1"]
    ours, plain = gradients(model, inputs.clone()), gradients(padded(), inputs.clone())
    np.testing.assert_allclose(model(inputs).detach(), padded()(inputs).detach(), rtol=1e-12)
    for mine, theirs in zip(ours, plain, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scheme", ["bdwp", "sr-ste"])
def test_the_masks_are_those_of_the_format(scheme) -> None:
    model = prune(network(), scheme, PATTERN)
    found = current_masks(model)
    assert {name.rpartition(".")[0] for name in found} == {"2", "4"}
    for name, layer in pruned_layers(model):
        weight = layer.weight.detach().numpy()
        backward = nm.backward_mask if scheme == "bdwp" else nm.forward_mask
        assert (found[f"{name}.FF"] == nm.forward_mask(weight, PATTERN)).all()
        assert (found[f"{name}.BP"] == backward(weight, PATTERN)).all()


@pytest.mark.parametrize("scheme", ["bdwp", "sr-ste"])
def test_each_pass_multiplies_by_its_own_copy(scheme) -> None:
    """One linear layer by hand: Y = X (W F)^T, dX = dY (W B), dW = dY^T X (+ decay W (1 - F))."""
    rng = np.random.default_rng(0)
    model = prune(
        nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 8)).double(),
        scheme,
        PATTERN,
    )
    layer = model[1]
    weight, x, dy = (rng.normal(size=(8, 8)) for _ in range(3))
    layer.weight.data = torch.from_numpy(weight)
    inputs = torch.from_numpy(x).requires_grad_()
    out = layer(inputs)
    out.backward(torch.from_numpy(dy))
    forward = nm.forward_mask(weight, PATTERN)
    backward = nm.backward_mask(weight, PATTERN) if scheme == "bdwp" else forward
    pull = SR_STE_DECAY * weight * ~forward if scheme == "sr-ste" else 0
    np.testing.assert_allclose(out.detach().numpy(), x @ (weight * forward).T)
    np.testing.assert_allclose(inputs.grad.numpy(), dy @ (weight * backward))
    np.testing.assert_allclose(layer.weight.grad.numpy(), dy.T @ x + pull)


def test_first_layer_classifier_and_narrow_layers_stay_dense() -> None:
    model = prune(network(), "bdwp", NM(2, 16))
    assert [name for name, _ in pruned_layers(model)] == ["4"]  # 8 inputs hold no group of 16


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InputError, match="must be dense, sr-ste or bdwp, not 'x'"):
        prune(network(), "x", PATTERN)  # type: ignore[arg-type]
