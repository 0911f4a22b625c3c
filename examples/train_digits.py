"""Train the handwritten digits of scikit-learn with dense, SR-STE and BDWP weights; plot the trade.

    python examples/train_digits.py [--epochs 30] [--seeds 3] [--out sim_results/training]

Every step trains with the masks of `dataflow.nm`; after every epoch the masks of all layers are
taken, checked to be N:M, and handed to the simulator as the patterns of that epoch's steps. The
result is accuracy beside the time that SAT would need: `digits.csv`, one row per method, seed and
epoch, and `digits.png`. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn

from dataflow.pruned_training import Scheme, current_masks, prune
from simulator.accelerators import sat
from workloads import NM
from workloads.capture import capture_training_step
from workloads.files import write_whole
from workloads.methods import parse_method

Masks = Mapping[str, NDArray[np.bool_]]

PATTERN = NM(2, 8)
BATCH = 64
METHODS: dict[Scheme, str] = {"dense": "dense", "sr-ste": "sr-ste:2:8", "bdwp": "bdwp:2:8"}
COLUMNS = ("method", "seed", "epoch", "accuracy", "seconds_on_sat", "density", "mask_change")


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
        }
        before = masks


def seconds_of_step(scheme: Scheme, masks: Masks) -> float:
    """Return the time of a step on SAT under masks that must keep N of every M."""
    for name, mask in masks.items():
        axis = 1 if name.endswith(".FF") or scheme == "sr-ste" else 0
        groups = np.moveaxis(mask, axis, -1).reshape(-1, PATTERN.m)
        assert (groups.sum(axis=1) == PATTERN.n).all(), f"{name} is not {PATTERN}"
    return _simulated(scheme)


_SECONDS: dict[str, float] = {}


def _simulated(scheme: Scheme) -> float:
    """Simulate the step once: its time follows from shapes and N:M alone."""
    if scheme not in _SECONDS:
        images, labels = torch.zeros(BATCH, 1, 8, 8), torch.zeros(BATCH, dtype=torch.long)
        step = capture_training_step(network(), images, labels, name="digits", statistics=False)
        workload = parse_method(METHODS[scheme])(step)
        config = sat.Config()
        _SECONDS[scheme] = sat.simulate(config, sat.schedule(config, workload)).seconds
    return _SECONDS[scheme]


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
    """Draw mean test accuracy over estimated time, with the range of the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        epochs = sorted({row["epoch"] for row in mine})
        by_epoch = [[r["accuracy"] * 100 for r in mine if r["epoch"] == e] for e in epochs]
        times = [next(r["seconds_on_sat"] for r in mine if r["epoch"] == e) for e in epochs]
        (line,) = axes.plot(times, [np.mean(each) for each in by_epoch], label=method)
        low, high = [min(each) for each in by_epoch], [max(each) for each in by_epoch]
        axes.fill_between(times, low, high, alpha=0.2, color=line.get_color(), linewidth=0)
    seeds = len({row["seed"] for row in rows})
    axes.set(
        xlabel="estimated training time on SAT (s)",
        ylabel="test accuracy (%)",
        ylim=(90, 100),
        title=f"scikit-learn digits, mean and range of {seeds} seeds",
    )
    axes.legend()
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=130, metadata={"Software": None})
    return sink.getvalue()


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
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(
        {
            options.out / "digits.csv": table.getvalue().encode(),
            options.out / "digits.png": plot(rows),
        }
    )
    for method in METHODS.values():
        last = [r for r in rows if r["method"] == method and r["epoch"] == options.epochs]
        mean = 100 * float(np.mean([r["accuracy"] for r in last]))
        print(f"{method:12} {mean:6.2f} % after {last[0]['seconds_on_sat'] * 1e3:8.1f} ms on SAT")


if __name__ == "__main__":
    main()
