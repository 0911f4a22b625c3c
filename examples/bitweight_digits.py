"""Digits of the weights of real models, and how well a histogram of them stands for their values.

    python examples/bitweight_digits.py models [FOLDER]   mean digits: model x quantiser x encoding
    python examples/bitweight_digits.py errors [FOLDER]   histograms against values, on one model
    python examples/bitweight_digits.py trace FILE.trace  the shipped trace minilm-int8

Models come with Python packages (`sparsight models` says which to install); the default folder is
sim_results/bitweight. Each table gets a .meta.json that says what made it. The first takes half a
minute with all packages installed.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from dataflow.digits import ENCODINGS, quantise
from dataflow.digits.statistics import digit_statistics, value_histogram
from simulator.accelerators import bitweight
from workloads.files import csv_content, json_content, write_whole
from workloads.importers import packages, read_model
from workloads.operand_values import TensorValues, ValueHistograms, line_histograms, lines_of
from workloads.operations import MatMul, Workload
from workloads.trace import write_trace

MODELS = (
    "open-nsfw",
    "speech-embedding",
    "minilm",
    "smollm2-135m",
    "pose-sparse",
    "face-sparse",
)
QUANTISERS: dict[str, dict[str, Any]] = {
    "tensor, max-abs": {},
    "channel, max-abs": {"channel": True},
    "tensor, 99.9th percentile": {"percentile": 99.9},
    "channel, 99.9th percentile": {"channel": True, "percentile": 99.9},
}
FOLDER = Path(__file__).parent.parent / "sim_results" / "bitweight"
TRACED = "minilm"


def weights(work: Workload) -> Iterator[tuple[MatMul, TensorValues]]:
    """Yield the products of the forward pass whose weights are known, depthwise ones left out."""
    for op in work.matmuls:
        if isinstance(op.right.values, TensorValues) and op.batch == 1:
            yield op, op.right.values


def quantised(
    values: TensorValues, *, channel: bool = False, percentile: float = 100.0
) -> np.ndarray:
    """Return a weight as INT8."""
    axis = values.channel_axis if channel else None
    return quantise(values.read(), channel_axis=axis, percentile=percentile).values


def model_digits(models: tuple[str, ...] = MODELS) -> list[dict[str, Any]]:
    """Return mean non-zero digits of the GEMM weights of each model, each weight counted once."""
    rows = []
    for name in models:
        work = read_model(name, inference=True)
        counts = {quantiser: np.zeros(256, np.int64) for quantiser in QUANTISERS}
        for _, values in weights(work):
            for quantiser, how in QUANTISERS.items():
                counts[quantiser] += value_histogram(quantised(values, **how), 8)
        for quantiser, count in counts.items():
            rows += [_digits_row(name, quantiser, scheme, count) for scheme in ENCODINGS]
    return rows


def _digits_row(model: str, quantiser: str, scheme: str, count: np.ndarray) -> dict[str, Any]:
    total = int(count.sum())
    every = [digit_statistics([value], scheme, 8).mean for value in range(-128, 128)]
    known = {**packages.MODELS, **packages.EXAMPLES}[model]
    return {
        "model": model,
        "kind": known.kind.partition(":")[0],
        "package": known.requirement,
        "weights": total,
        "quantiser": quantiser,
        "encoding": scheme,
        "mean_digits": round(float(count @ np.array(every)) / total, 4),
        "zero_share": round(int(count[128]) / total, 4),
    }


def with_integers(work: Workload, make: Callable[[MatMul, np.ndarray], Any]) -> Workload:
    """Replace the values of weights by what `make` makes of their INT8 lines, per channel."""
    made = {}
    for op, values in weights(work):
        lines = lines_of(op, "right", quantised(values, channel=True))
        made[op.name] = replace(op, right=replace(op.right, values=make(op, lines)))
    return replace(work, operations=tuple(made.get(op.name, op) for op in work))


def mode_errors(model: str = TRACED) -> list[dict[str, Any]]:
    """Return cycles of the products with known weights, by values and by expectations."""
    work = read_model(model, inference=True)
    known = tuple(op for op, _ in weights(work))
    work = replace(work, operations=known)
    rows = []
    for engine in ("opt4c", "opt4e"):
        for columns in (8, 32, 128):
            config = bitweight.Config(engine=engine, rows=columns, quantiser="channel")
            exact = _cycles(config, work)
            for what, other in _stand_ins(work).items():
                expected = _cycles(config, other)
                error = expected / exact - 1
                rows.append(
                    {
                        "model": model,
                        "engine": engine,
                        "columns": columns,
                        "digits_from": what,
                        "products": len(exact),
                        "cycles": int(expected.sum()),
                        "exact_cycles": int(exact.sum()),
                        "error_percent": round(100 * (expected.sum() / exact.sum() - 1), 3),
                        "worst_product_percent": round(100 * error[np.abs(error).argmax()], 3),
                    }
                )
    return rows


def _stand_ins(work: Workload) -> dict[str, Workload]:
    def counted(classes: int) -> Workload:
        return with_integers(work, lambda _, lines: line_histograms(lines, 8, classes))

    blind = tuple(replace(op, right=replace(op.right, values=None)) for op in work.matmuls)
    return {
        "histograms of 8 classes of lines": counted(8),
        "histograms of 4 classes of lines": counted(4),
        "one histogram": counted(1),
        "assumed normal, deviation 24.4": replace(work, operations=blind),
    }


def _cycles(config: bitweight.Config, work: Workload) -> np.ndarray:
    report = bitweight.simulate(
        replace(config, encoded="right"),
        bitweight.schedule(replace(config, encoded="right"), work),
    )
    return np.array(report.columns["compute_cycles"])


def trace(path: Path, model: str = TRACED) -> None:
    """Write the forward pass of a model with the histograms of its INT8 weights beside it."""
    histograms = {}

    def count(op: MatMul, lines: np.ndarray) -> ValueHistograms:
        made = line_histograms(lines, 8)
        histograms[f"{op.name}.right.histogram"] = made.counts.astype(np.uint32)
        return made

    work = with_integers(read_model(model, inference=True), count)
    known = packages.MODELS[model]
    notes = (
        f"Weights of the package {known.requirement} ({known.licence}), rounded to INT8 per output "
        "channel, max-abs; the tensors are counts of each integer in 8 classes of columns.",
    )
    named = replace(work, name=path.stem, notes=(*work.notes, *notes))
    command = f"python examples/bitweight_digits.py trace {path.name}"
    write_trace(named, path, histograms, command=command)


def write_table(path: Path, rows: list[dict[str, Any]], what: str) -> None:
    """Write a table as CSV, and beside it what made it."""
    meta = {
        "command": f"python examples/bitweight_digits.py {what}",
        "packages": sorted({packages.MODELS[row["model"]].requirement for row in rows}),
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
    }
    write_whole(
        {
            path: csv_content(rows, list(rows[0])),
            path.with_suffix(".meta.json"): json_content(meta),
        }
    )


def main(what: str, where: str = "") -> None:
    """Do one of the three."""
    if what == "trace":
        trace(Path(where))
        return
    table = {"models": model_digits, "errors": mode_errors}[what]
    name = {"models": "model-digits.csv", "errors": "statistical-error.csv"}[what]
    rows = table()
    write_table((Path(where) if where else FOLDER) / name, rows, what)
    for row in rows:
        print(*row.values(), sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
