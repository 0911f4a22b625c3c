"""Batches of requests that decode together: context lengths, and the memory channel of each.

The CSV format `seq_len,ch_idx` is that of the published NeuPIMs simulator: one line per request,
the tokens in its cache and the channel that holds them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workloads import numerals
from workloads.errors import InputError
from workloads.files import read_text
from workloads.rounding import ceil_div

HEADER = ["seq_len", "ch_idx"]
MAX_TOKENS = 2048
"""Longest request of the models' training context (GPT-3), prompt and output together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthStatistics:
    """Mean prompt and output lengths of a data set, in tokens, and how much outputs vary.

    `shape` is that of a gamma distribution of the outputs: 1 varies as much as waiting times, more
    varies less.
    """

    prompt: float
    output: float
    shape: float


DATASETS = {
    "alpaca": LengthStatistics(prompt=12, output=56, shape=1),
    "sharegpt": LengthStatistics(prompt=80, output=296, shape=2),
}
"""NeuPIMs (ASPLOS 2024), section on workloads: mean input and output tokens. The shapes are
calibrated to the mean length in the batches that its repository ships (ShareGPT: 286 to 326 tokens
a file) and that were drawn for the reference runs (Alpaca: 59)."""

SNAPSHOT_ITERATIONS = 10
"""Iterations after which the published trace generator replaces requests that have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBatch:
    """Requests that decode together: tokens in the cache of each, and its channel if it has one.

    Without `channels` the accelerator assigns them.
    """

    name: str
    lengths: tuple[int, ...]
    channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.lengths:
            raise InputError(f"{self.name} must have at least one request")
        for i, length in enumerate(self.lengths):
            if not isinstance(length, int) or length < 1:
                raise InputError(f"{self.name}: length of request {i} must be positive: {length}")
        if self.channels is not None and len(self.channels) != len(self.lengths):
            raise InputError(f"{self.name} must name a channel for each request, or for none")


def read_requests(path: Path) -> RequestBatch:
    """Read a request trace; raise `InputError` naming the line for whatever is wrong with it.

    How many channels there are is for the accelerator to know.
    """
    try:
        rows = list(csv.reader(read_text(path).splitlines()))
    except csv.Error as error:
        raise InputError(f"{path} must be lines of seq_len,ch_idx: {error}") from None
    if not rows or [cell.strip() for cell in rows[0]] != HEADER:
        found = ",".join(rows[0]) if rows else "nothing"
        raise InputError(f"{path} line 1: the header must be seq_len,ch_idx, not {found}")
    pairs = [
        _read_row(row, f"{path} line {number}")
        for number, row in enumerate(rows[1:], start=2)
        if row
    ]
    if not pairs:
        raise InputError(f"{path} line 2: there must be at least one request after the header")
    lengths, numbers = zip(*pairs, strict=True)
    return RequestBatch(name=path.stem, lengths=tuple(lengths), channels=tuple(numbers))


def _read_row(row: list[str], where: str) -> tuple[int, int]:
    if len(row) != len(HEADER):
        raise InputError(f"{where}: there must be two values, seq_len and ch_idx, not {len(row)}")
    try:
        length, channel = (numerals.whole(cell) for cell in row)
    except ValueError:
        raise InputError(
            f"{where}: seq_len and ch_idx must be whole numbers, not {','.join(row)!r}"
        ) from None
    if length < 1:
        raise InputError(f"{where}: seq_len must be at least 1 token, not {length}")
    if channel < 0:
        raise InputError(f"{where}: ch_idx must be at least 0, not {channel}")
    return length, channel


def sample_lengths(
    statistics: LengthStatistics, count: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw prompt and output lengths of `count` requests.

    Only the means of the data sets are published: prompts are drawn from a geometric, outputs from
    a gamma distribution with these means, cut at `MAX_TOKENS` together.
    """
    prompts = np.minimum(generator.geometric(1 / statistics.prompt, count), MAX_TOKENS - 1)
    scale = (statistics.output - 0.5) / statistics.shape
    outputs = np.ceil(generator.gamma(statistics.shape, scale, count)).astype(np.int64)
    return prompts, np.clip(outputs, 1, MAX_TOKENS - prompts)


def warm_batch(dataset: str, batch: int, generator: np.random.Generator) -> RequestBatch:
    """Draw a batch in the steady state of continuous batching: each request part way through.

    As the published trace generator does it: every ten iterations requests that have ended make
    room for new ones, and then the batch is taken. In the steady state the request found in a slot
    is picked in proportion to the tens of iterations that it stays, and its progress is uniform
    over these.
    """
    if dataset not in DATASETS:
        raise InputError(f"data set must be one of {', '.join(DATASETS)}, not {dataset!r}")
    if batch < 1:
        raise InputError(f"batch must be at least 1 request, not {batch}")
    prompts, outputs = sample_lengths(DATASETS[dataset], 64 * batch, generator)
    stays = ceil_div(outputs, SNAPSHOT_ITERATIONS)
    chosen = generator.choice(len(outputs), size=batch, p=stays / stays.sum())
    done = SNAPSHOT_ITERATIONS * generator.integers(0, stays[chosen])
    lengths = np.minimum(prompts[chosen] + done, MAX_TOKENS)
    return RequestBatch(name=f"{dataset}-bs{batch}", lengths=tuple(lengths.tolist()))
