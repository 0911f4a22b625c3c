"""Requests as they arrive: drawn from a data set as a Poisson process, or read from a trace.

The CSV format is `arrival_s,input_tokens,output_tokens`: one line per request in the order of
arrival, seconds from the start, tokens of the prompt, and tokens that are generated.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workloads import numerals
from workloads.errors import InputError
from workloads.files import read_text
from workloads.llm.requests import DATASETS, sample_lengths

HEADER = ("arrival_s", "input_tokens", "output_tokens")

LATEST_ARRIVAL_S = 1e9
"""Thirty years: up to here a float tells times apart that differ by less than a microsecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: when it arrives, and its tokens; `where` names it in messages."""

    arrival_s: float
    input_tokens: int
    output_tokens: int
    where: str = "request"

    def __post_init__(self) -> None:
        if not 0 <= self.arrival_s <= LATEST_ARRIVAL_S:
            raise InputError(
                f"{self.where}: arrival_s must be a number from 0 to {LATEST_ARRIVAL_S:g}, "
                f"not {self.arrival_s}"
            )
        for name in ("input_tokens", "output_tokens"):
            tokens = getattr(self, name)
            if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
                raise InputError(f"{self.where}: {name} must be at least 1, not {tokens}")

    @property
    def cached_tokens(self) -> int:
        """Tokens in the cache when it ends: the last one is never read again."""
        return self.input_tokens + self.output_tokens - 1


def poisson_requests(
    dataset: str, *, rate_per_s: float, count: int, generator: np.random.Generator
) -> tuple[Request, ...]:
    """Draw `count` requests of a data set that arrive independently, `rate_per_s` on average."""
    if dataset not in DATASETS:
        raise InputError(f"data set must be one of {', '.join(DATASETS)}, not {dataset!r}")
    if not 0 < rate_per_s < math.inf:
        raise InputError(f"rate must be a positive number of requests/s, not {rate_per_s}")
    if count < 1:
        raise InputError(f"count must be at least 1 request, not {count}")
    arrivals = np.cumsum(generator.exponential(1 / rate_per_s, count))
    lengths = sample_lengths(DATASETS[dataset], count, generator)
    columns = (column.tolist() for column in (arrivals, *lengths))
    return tuple(
        Request(
            arrival_s=arrival,
            input_tokens=prompt,
            output_tokens=output,
            where=f"{dataset} request {number}",
        )
        for number, (arrival, prompt, output) in enumerate(zip(*columns, strict=True))
    )


def read_arrivals(path: Path) -> tuple[Request, ...]:
    """Read an arrival trace; raise `InputError` naming the line for whatever is wrong with it."""
    rows = list(csv.reader(read_text(path).splitlines()))
    if not rows or tuple(cell.strip() for cell in rows[0]) != HEADER:
        found = ",".join(rows[0]) if rows else "nothing"
        raise InputError(f"{path} line 1: the header must be {','.join(HEADER)}, not {found}")
    made: list[Request] = []
    for number, row in enumerate(rows[1:], start=2):
        if row:
            made.append(_read_row(row, f"{path} line {number}"))
            if len(made) > 1 and made[-1].arrival_s < made[-2].arrival_s:
                raise InputError(
                    f"{path} line {number}: arrival_s must not be less than that of the request "
                    f"before, {made[-2].arrival_s}, not {made[-1].arrival_s}"
                )
    if not made:
        raise InputError(f"{path} line 2: there must be at least one request after the header")
    return tuple(made)


def _read_row(row: list[str], where: str) -> Request:
    if len(row) != len(HEADER):
        raise InputError(
            f"{where}: there must be three values, {', '.join(HEADER)}, not {len(row)}"
        )
    try:
        arrival, prompt, output = (
            numerals.number(row[0]),
            numerals.whole(row[1]),
            numerals.whole(row[2]),
        )
    except ValueError:
        raise InputError(
            f"{where}: arrival_s must be a number and tokens whole numbers, not {','.join(row)!r}"
        ) from None
    return Request(arrival_s=arrival, input_tokens=prompt, output_tokens=output, where=where)
