"""Why claims of the NeuPIMs paper are missed: one change at a time, measured.

    python examples/neupims_causes.py [TABLE.csv]

Each row changes one thing of the preset `paper`, or takes the clocks of the published simulator
instead, and gives what the claim then is and how much of the gap that closes (1: all of it; below
0: it widens). The default table is sim_results/neupims/causes.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from dataflow.kv_layout import round_robin
from simulator.accelerators import gpu, neupims
from simulator.accelerators.gpu import decode
from simulator.accelerators.neupims import analytic, npu, plan
from simulator.accelerators.neupims.program import LATENCY
from simulator.experiments import neupims as experiment
from simulator.published import read
from simulator.report import Report
from workloads.files import csv_content, json_content, write_whole
from workloads.llm import RequestBatch
from workloads.llm.requests import DATASETS, MAX_TOKENS, sample_lengths, warm_batch

FOLDER = Path(__file__).parent.parent / "sim_results" / "neupims"
LEAST_CHANGE = 0.002
"""A change that moves a claim by less, relative, has no row."""

Change = Callable[[], AbstractContextManager[object]]


class Cause(NamedTuple):
    """One experiment: the claim, what was changed, and the claim's value with it."""

    quantity: str
    changed: str
    value: float


@cache
def claims() -> dict[str, float]:
    """Return our values of all claims."""
    return experiment.claims()


def missed() -> dict[str, float]:
    """Return the published values of the claims that we miss."""
    return {row.quantity: row.published for row in read("neupims/claims") if row.expected_miss}


@cache
def causes_on_the_text() -> tuple[Cause, ...]:
    """Return the experiments with the preset `paper`."""
    return tuple(
        Cause(quantity, changed, value)
        for changed, change in CHANGES.items()
        for quantity, value in _claims_with(change).items()
        if quantity in missed()
        if abs(value / claims()[quantity] - 1) > LEAST_CHANGE
    )


def _claims_with(change: Change) -> dict[str, float]:
    with change():
        return experiment.claims()


def _any_size() -> AbstractContextManager[object]:
    """Let caches of any size fit, as in the published simulator, which holds one layer's."""
    return patch.object(plan, "tiles_per_channel", lambda config: sys.maxsize)


@contextmanager
def _whole_batch() -> Iterator[None]:
    """Give every pipeline stage all requests."""

    def requests(dataset: str, batch: int, pp: int) -> RequestBatch:
        return warm_batch(dataset, batch, np.random.default_rng(0))

    with _any_size(), patch.object(experiment, "_requests", requests):
        yield


def _finished() -> AbstractContextManager[object]:
    """Let every request be as long as its prompt and whole answer."""

    def requests(dataset: str, batch: int, pp: int) -> RequestBatch:
        drawn = sample_lengths(DATASETS[dataset], batch // pp, np.random.default_rng(0))
        return RequestBatch(name=dataset, lengths=tuple(sum(drawn).tolist()))

    return patch.object(experiment, "_requests", requests)


def _seed(seed: int) -> Change:
    def requests(dataset: str, batch: int, pp: int) -> RequestBatch:
        return warm_batch(dataset, batch // pp, np.random.default_rng(seed))

    return lambda: patch.object(experiment, "_requests", requests)


def _only(wanted: str, place: int) -> Change:
    points = [point for point in experiment._points() if point[place] == wanted]
    return lambda: patch.object(experiment, "_points", lambda: points)


def _better_of_both() -> AbstractContextManager[object]:
    """Split batches wherever that is faster."""
    original = experiment._paper_report

    def report(system: str, *point: object, **settings: object) -> Report | None:
        found = original(system, *point, **settings)
        if system != "neupims" or found is None or "off" in point:
            return found
        variants = [original(system, *point[:5], split) for split in ("off", "on")]
        return min(variants, key=lambda r: r.extra["cycles_per_layer"])

    return patch.object(experiment, "_paper_report", report)


def _one_pass() -> AbstractContextManager[object]:
    """Let both sub-batches share one pass of the weights."""
    original = analytic.run

    def run(config, plan_):
        halve = patch.object(
            neupims.Config, "weight_bytes", lambda self, depth, columns: depth * columns
        )
        with halve if plan_.split else ExitStack():
            return original(config, plan_)

    return patch.object(analytic, "run", run)


@contextmanager
def _whole_batch_in_one_pass() -> Iterator[None]:
    with _whole_batch(), _one_pass():
        yield


def _attention(clocks: Callable[[neupims.Plan, plan.Attention, int], int]) -> Change:
    """Let attention of npu-only take other clocks, which may depend on ours."""
    original = analytic.npu_work

    def work(config, plan_, op):
        found = original(config, plan_, op)
        if not isinstance(op, plan.Attention):
            return found
        return replace(found, clocks=clocks(plan_, op, found.clocks))

    return lambda: patch.object(analytic, "npu_work", work)


def _fill_and_drain(plan_: neupims.Plan, op: plan.Attention, clocks: int) -> int:
    """Return the latencies of every GEMV and softmax, one after the other."""
    lengths = [plan_.batch.lengths[i] for i in op.requests]
    layout = plan_.layout
    heads = layout.heads * layout.groups
    program = npu.fused_attention(op.name, lengths, heads, layout.head_width)
    return max(clocks, int(program.steps[:, LATENCY].sum()))


def _half_bandwidth(plan_: neupims.Plan, op: plan.Attention, clocks: int) -> int:
    return 2 * clocks


def _pim(change: Callable[[neupims.Config, analytic.PimWork], analytic.PimWork]) -> Change:
    original = analytic.pim_work

    def work(config, plan_, operators):
        found = original(config, plan_, operators)
        return change(config, found) if operators else found

    return lambda: patch.object(analytic, "pim_work", work)


def _no_time(config: neupims.Config, work: analytic.PimWork) -> analytic.PimWork:
    return replace(work, spans=dict.fromkeys(work.spans, 0), mean_clocks=0.0)


def _one_instruction_a_clock(config: neupims.Config, work: analytic.PimWork) -> analytic.PimWork:
    """Let npu-pim take a clock for each GWRITE, header, COMP and READRES of all channels."""
    if config.dual:
        return work
    counts = work.commands
    headers = counts["G_ACT"] // (config.timing.ranks * config.timing.groups)
    clocks = counts["GWRITE"] + headers + counts["COMP"] + counts["READRES"]
    factor = max(1.0, clocks / sum(work.spans.values()))
    spans = {name: round(factor * span) for name, span in work.spans.items()}
    return replace(work, spans=spans)


def _held_rows() -> AbstractContextManager[object]:
    """Let tiles take as long with two row buffers as with one."""
    original = analytic.run_ends

    def run_ends(timing, runs, *, refresh, dual):
        return original(timing, runs, refresh=refresh, dual=False)

    return patch.object(analytic, "run_ends", run_ends)


def _gpu(**settings: object) -> Change:
    def config(**given: object) -> gpu.Config:
        return gpu_config(**{**given, **settings})

    gpu_config = gpu.Config
    return lambda: patch.object(gpu, "Config", config)


def _longest_padding() -> AbstractContextManager[object]:
    original = decode._padded_attention
    return patch.object(
        decode,
        "_padded_attention",
        lambda config, requests, longest: original(config, requests, MAX_TOKENS),
    )


CHANGES: dict[str, Change] = {
    "PIM works in no time": _pim(_no_time),
    "both sub-batches share one pass of the weights": _one_pass,
    "sub-batches wherever they are faster": _better_of_both,
    "caches of any size": _any_size,
    "all requests in every pipeline stage, caches of any size": _whole_batch,
    "all requests in every pipeline stage, sub-batches share one pass": _whole_batch_in_one_pass,
    "requests as long as prompt and whole answer": _finished,
    "ShareGPT alone": _only("sharegpt", 3),
    "7B alone": _only("gpt3-7b", 0),
    "npu-only reads caches at half of the bandwidth": _attention(_half_bandwidth),
    "npu-only attention waits for fill and drain of the arrays": _attention(_fill_and_drain),
    "npu-pim gets one PIM instruction a clock": _pim(_one_instruction_a_clock),
    "neupims holds a tile's rows until its last sums": _held_rows,
    "GPU caches padded to 2048 tokens": _longest_padding,
    "GPU kernels 10 us apart": _gpu(launch_ns=1e4),
    "GPU at 0.6 of its bandwidth": _gpu(dram_efficiency=0.6),
    "GPU with paged caches and fused attention": _gpu(attention="fused"),
    "GPU without all-reduces": _gpu(all_reduce=False),
    "lengths of another draw (seed 1)": _seed(1),
    "lengths of another draw (seed 2)": _seed(2),
}


PAIRS = {
    "neupims over npu-only, mean": ("npu-only", "neupims"),
    "neupims over npu-pim, mean": ("npu-pim", "neupims"),
    "npu-pim over npu-only, mean": ("npu-only", "npu-pim"),
}
DUAL = "two row buffers alone over npu-pim, 7B, sharegpt"
BATCHES = (64, 256)


def causes_of_the_simulator(batches: tuple[int, ...] = BATCHES) -> Iterator[Cause]:
    """Yield what the published simulator makes of the claims, stepped clock by clock."""
    for dataset in DATASETS:
        for batch in batches:
            clocks = _stepped_clocks(dataset, batch)
            where = f"published simulator, 7B, {dataset}, {batch} requests"
            for quantity, (slow, fast) in PAIRS.items():
                yield Cause(quantity, where, clocks[slow] / clocks[fast])
                if "npu-pim" in (slow, fast):
                    free = {**clocks, "npu-pim": clocks["npu-pim, no limit"]}
                    lifted = f"{where}, no limit of one PIM instruction a clock"
                    yield Cause(quantity, lifted, free[slow] / free[fast])
            if dataset == "sharegpt":
                yield Cause(DUAL, where, clocks["npu-pim"] / clocks["dual"])
                lifted = f"{where}, no limit of one PIM instruction a clock"
                yield Cause(DUAL, lifted, clocks["npu-pim, no limit"] / clocks["dual"])


def causes_of_utilisation(batches: tuple[int, ...] = (128, 256)) -> Iterator[Cause]:
    """Yield the utilisations of the published simulator, by requests in a pipeline stage."""
    for batch in batches:
        work = warm_batch("sharegpt", batch, np.random.default_rng(0))
        for system, splits in (("npu-pim", ("off",)), ("neupims", ("off", "on"))):
            for split in splits:
                extra = _stepped(work, system, model="gpt3-30b", sub_batch=split).extra
                where = f"published simulator, {batch} requests in a stage"
                where += ", sub-batches" if split == "on" else ""
                for unit in ("npu", "pim"):
                    quantity = f"{unit} utilisation, {system}, 30B, sharegpt, 256 requests"
                    if quantity in missed():
                        yield Cause(quantity, where, extra[f"{unit}_utilisation"])


def _stepped_clocks(dataset: str, batch: int) -> dict[str, int]:
    work = warm_batch(dataset, batch, np.random.default_rng(0))
    turns = replace(work, channels=tuple(round_robin(batch, channels=32)))
    runs = {
        "npu-only": _stepped(work, "npu-only"),
        "npu-pim": _stepped(work, "npu-pim"),
        "npu-pim, no limit": _stepped(work, "npu-pim", dispatch_limit="off"),
        "dual": _stepped(turns, "neupims", sub_batch="off"),
        "neupims": _stepped(work, "neupims"),
    }
    return {name: report.extra["cycles_per_layer"] for name, report in runs.items()}


def _stepped(work: RequestBatch, system: str, **settings: object) -> Report:
    config = neupims.Config(preset="published-simulator", system=system, **settings)
    with _any_size():
        return neupims.simulate(config, neupims.schedule(config, work))


def rows(causes: tuple[Cause, ...]) -> list[dict[str, str]]:
    """Return experiments with the published number and ours, and the share of the gap closed."""
    found = []
    for quantity, published in missed().items():
        ours = claims()[quantity]
        found += [
            {
                "quantity": quantity,
                "published": f"{published:g}",
                "ours": f"{ours:.4g}",
                "changed": cause.changed,
                "then": f"{cause.value:.4g}",
                "share_of_gap": f"{(cause.value - ours) / (published - ours):.2f}",
            }
            for cause in causes
            if cause.quantity == quantity
        ]
    return found


def main(path: Path = FOLDER / "causes.csv") -> None:
    """Write the table, and beside it what made it."""
    table = rows((*causes_on_the_text(), *causes_of_the_simulator(), *causes_of_utilisation()))
    meta = {
        "command": "python examples/neupims_causes.py",
        "tables": ["simulator/published/neupims/claims.paper.csv"],
    }
    write_whole(
        {
            path: csv_content(table, list(table[0])),
            path.with_suffix(".meta.json"): json_content(meta),
        }
    )
    for row in table:
        print(*row.values(), sep="\t")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
