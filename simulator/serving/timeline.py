"""A run of the serving loop as a timeline for Perfetto: the Chrome trace-event format.

One lane for the iterations of the device, one for each prefill unit, and counters of batch and
cache. Times are in microseconds. Source of the format: see `simulator.timeline`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from simulator.serving.loop import Outcome

MICROSECONDS = 1e6


def encode(outcome: Outcome) -> bytes:
    """Return the timeline of a run as JSON."""
    units = sorted({prefill.unit for prefill in outcome.prefills if prefill.unit >= 0})
    events = [
        *_names(outcome.device, units),
        *_iterations(outcome),
        *_prefills(outcome),
        *_counters(outcome),
    ]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, allow_nan=False).encode()


def _names(device: str, units: list[int]) -> Iterator[dict[str, Any]]:
    yield {"name": "process_name", "ph": "M", "pid": 1, "tid": 0, "args": {"name": device}}
    lanes = {1: "iterations", **{unit + 2: f"prefill {unit}" for unit in units}}
    for lane, name in lanes.items():
        yield {"name": "thread_name", "ph": "M", "pid": 1, "tid": lane, "args": {"name": name}}


def _span(
    name: str, lane: int, start_s: float, seconds: float, details: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "ph": "X",
        "pid": 1,
        "tid": lane,
        "ts": start_s * MICROSECONDS,
        "dur": seconds * MICROSECONDS,
        "args": details,
    }


def _iterations(outcome: Outcome) -> Iterator[dict[str, Any]]:
    for each in outcome.iterations:
        yield _span("iteration", 1, each.start_s, each.seconds, each._asdict())


def _prefills(outcome: Outcome) -> Iterator[dict[str, Any]]:
    for each in outcome.prefills:
        if each.unit >= 0:
            name = f"request {each.request}"
            yield _span(name, each.unit + 2, each.start_s, each.seconds, {"tokens": each.tokens})


def _counters(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Yield batch and pages at the start of every iteration, and their end."""
    for each in outcome.iterations:
        yield _count("batch", each.start_s, {"requests": each.decoding})
        yield _count("KV cache", each.start_s, {"pages": each.used_pages})
    if outcome.iterations:
        last = outcome.iterations[-1]
        end = last.start_s + last.seconds
        yield _count("batch", end, {"requests": 0})
        yield _count("KV cache", end, {"pages": outcome.leaked_pages})


def _count(name: str, at_s: float, values: dict[str, int]) -> dict[str, Any]:
    return {"name": name, "ph": "C", "pid": 1, "ts": at_s * MICROSECONDS, "args": values}
