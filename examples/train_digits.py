"""Train the handwritten digits of scikit-learn with dense, SR-STE and BDWP weights; plot the trade.

    python examples/train_digits.py [--epochs 30] [--seeds 3] [--out sim_results/training]

Every step trains with the masks of `dataflow.nm`. After every epoch the masks of all layers are
taken and fed to two simulators: SAT, whose time follows from N:M once each group is checked to keep
N of M, and Gamma, which multiplies the masked weights of that epoch by the activations of a test
image as sparse matrices, zeros of the ReLU included. The result is accuracy beside time:
`digits.csv`, one row per method, seed and epoch, and `digits.png`. Nothing is downloaded. An epoch
of all three methods takes about three seconds, the 30 epochs with three seeds five minutes.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn

from dataflow.pruned_training import Scheme, current_masks, prune, pruned_layers
from simulator.accelerators import gamma, sat
from workloads import NM, Workload
from workloads.capture import capture_training_step
from workloads.files import csv_content, write_whole
from workloads.matrices import training_gemm
from workloads.methods import parse_method

Masks = Mapping[str, NDArray[np.bool_]]

PATTERN = NM(2, 8)
BATCH = 64
METHODS: dict[Scheme, str] = {"dense": "dense", "sr-ste": "sr-ste:2:8", "bdwp": "bdwp:2:8"}
COLUMNS = (
    *("method", "seed", "epoch", "accuracy", "seconds_on_sat", "density", "mask_change"),
    *("multiplies", "seconds_on_gamma"),
)


def network() -> nn.Module:
    """Three convolutions after the first, a hidden layer and the classifier."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return images and labels: 1437 to train with and 360 to test with, always the same."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = torch.tensor(found.images[order] / 16, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(found.target[order])
    return images[:1437], labels[:1437], images[1437:], labels[1437:]


def train(scheme: Scheme, seed: int, epochs: int) -> Iterator[dict[str, Any]]:
    """Train once; yield a row after every epoch."""
    torch.manual_seed(seed)
    images, labels, test_images, test_labels = digits()
    model = prune(network(), scheme, PATTERN)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    seconds, before = 0.0, current_masks(model)
    for epoch in range(1, epochs + 1):
        batches = torch.randperm(len(labels)).split(BATCH)
        for batch in batches:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimiser.step()
        schedule.step()
        masks = current_masks(model)
        seconds += len(batches) * seconds_of_step(scheme, masks)
        with torch.no_grad():
            right = (model(test_images).argmax(1) == test_labels).float().mean().item()
        yield {
            "method": METHODS[scheme],
            "seed": seed,
            "epoch": epoch,
            "accuracy": round(right, 6),
            "seconds_on_sat": round(seconds, 9),
            "density": round(_density(masks), 6),
            "mask_change": round(_change(before, masks), 6),
            **sparse_inference(model, masks, test_images[:1]),
        }
        before = masks


def seconds_of_step(scheme: Scheme, masks: Masks) -> float:
    """Return the time of a step on SAT under masks that must keep N of every M."""
    for name, mask in masks.items():
        axis = 1 if name.endswith(".FF") or scheme == "sr-ste" else 0
        groups = np.moveaxis(mask, axis, -1).reshape(-1, PATTERN.m)
        assert (groups.sum(axis=1) == PATTERN.n).all(), f"{name} is not {PATTERN}"
    return _simulated(scheme)


@cache
def _simulated(scheme: Scheme) -> float:
    """Simulate the step once: its time follows from shapes and N:M alone."""
    images, labels = torch.zeros(BATCH, 1, 8, 8), torch.zeros(BATCH, dtype=torch.long)
    step = capture_training_step(network(), images, labels, name="digits", statistics=False)
    workload = parse_method(METHODS[scheme])(step)
    config = sat.Config()
    return sat.simulate(config, sat.schedule(config, workload)).seconds


def sparse_inference(model: nn.Module, masks: Masks, image: torch.Tensor) -> dict[str, Any]:
    """Return multiplications and time of the inner layers on Gamma, for one image."""
    inputs: dict[str, torch.Tensor] = {}
    layers = dict(pruned_layers(model))
    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: inputs.update({name: args[0]}))
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    products = [
        operation
        for name, layer in layers.items()
        for operation in training_gemm(
            *_as_matrices(layer.weight.detach().numpy(), masks.get(f"{name}.FF")),
            _columns(layer, inputs[name]),
            name=name,
        )
    ]
    workload = Workload(name="digits", operations=tuple(products))
    report = gamma.simulate(gamma.Config(), gamma.schedule(gamma.Config(), workload))
    return {
        "multiplies": report.extra["multiplies"],
        "seconds_on_gamma": round(report.seconds, 12),
    }


def _as_matrices(
    weight: NDArray[Any], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a weight and its mask (all of it, if None) as outputs by inputs."""
    kept = np.ones(weight.shape, bool) if mask is None else mask
    return weight.reshape(len(weight), -1), kept.reshape(len(weight), -1)


def _columns(layer: nn.Module, inputs: torch.Tensor) -> NDArray[Any]:
    """Return what a layer multiplies: a column for each output position."""
    if isinstance(layer, nn.Conv2d):
        kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
        unfolded = nn.functional.unfold(inputs, kernel, padding=padding, stride=stride)
        return unfolded[0].numpy()
    return inputs.T.numpy()


def _density(masks: Masks) -> float:
    kept, total = sum(int(m.sum()) for m in masks.values()), sum(m.size for m in masks.values())
    return kept / total if total else 1.0


def _change(
    before: Mapping[str, NDArray[np.bool_]], after: Mapping[str, NDArray[np.bool_]]
) -> float:
    """Return the share of mask positions that differ from those of the epoch before."""
    different = sum(int((before[name] != mask).sum()) for name, mask in after.items())
    return different / max(1, sum(mask.size for mask in after.values()))


def plot(rows: list[dict[str, Any]]) -> bytes:
    """Draw accuracy over the time on SAT, and beside it the time of an image on Gamma by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        epochs = sorted({row["epoch"] for row in mine})
        times = [next(r["seconds_on_sat"] for r in mine if r["epoch"] == e) for e in epochs]
        colour = _band(left, times, [_by_seed(mine, e, "accuracy", 100) for e in epochs], method)
        gamma_us = [_by_seed(mine, e, "seconds_on_gamma", 1e6) for e in epochs]
        _band(right, epochs, gamma_us, method)
        left.plot(times[-1], np.mean(_by_seed(mine, epochs[-1], "accuracy", 100)), "o", c=colour)
    seeds = len({row["seed"] for row in rows})
    left.set(
        title=f"Training on SAT: mean and range of {seeds} seeds, a dot at the end",
        xlabel="estimated training time (s)",
        ylabel="test accuracy (%)",
        ylim=(90, 100),
    )
    right.set(
        title="Inner layers of one image on Gamma",
        xlabel="epoch whose masks are used",
        ylabel="time (µs)",
        ylim=(0, None),
    )
    left.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=130, metadata={"Software": None})
    return sink.getvalue()


def _by_seed(rows: list[dict[str, Any]], epoch: int, column: str, factor: float) -> list[float]:
    return [row[column] * factor for row in rows if row["epoch"] == epoch]


def _band(axes: Any, places: Sequence[float], values: list[list[float]], label: str) -> str:
    """Draw the mean with the range behind it; return the colour."""
    (line,) = axes.plot(places, [np.mean(each) for each in values], label=label)
    colour: str = line.get_color()
    low, high = [min(each) for each in values], [max(each) for each in values]
    axes.fill_between(places, low, high, alpha=0.2, color=colour, linewidth=0)
    return colour


def main() -> None:
    """Train all methods with all seeds; write the table and the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("sim_results/training"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row
        for scheme in METHODS
        for seed in range(options.seeds)
        for row in train(scheme, seed, options.epochs)
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(
        {
            options.out / "digits.csv": csv_content(rows, COLUMNS),
            options.out / "digits.png": plot(rows),
        }
    )
    for method in METHODS.values():
        last = [r for r in rows if r["method"] == method and r["epoch"] == options.epochs]
        mean = 100 * float(np.mean([r["accuracy"] for r in last]))
        print(f"{method:12} {mean:6.2f} % after {last[0]['seconds_on_sat'] * 1e3:8.1f} ms on SAT")


if __name__ == "__main__":
    main()
