"""A report as a timeline that Perfetto and chrome://tracing open: the Chrome trace-event format.

One lane a unit: array, selection, update, vector, memory, and whatever else a model names. A model
whose operations overlap says when each starts and where (columns `start_cycles` and
`resource`). Without them the operations follow each other, and what a report counts as hidden runs
behind the operation that hides it: a selection behind the update of its layer, the traffic of fused
work behind the operation that it rides on. Transfers follow each other on the memory lane, so that
one may show later than the work that it belongs to. Times are in microseconds.

Source of the format: "Trace Event Format", Google, 2016 (complete events, `ph` X; metadata, M).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from simulator.report import Report

LANES = ("array", "selection", "update", "vector", "pim", "memory")
"""Lanes in the order in which they are shown; others follow by name."""

DETAILS = ("layer", "pass", "kind", "pattern", "stationarity", "m", "k", "n", "bottleneck")


class Span(NamedTuple):
    """Work of one operation on one lane, from `start` for `cycles`."""

    lane: str
    start: int
    cycles: int
    operation: int


def encode(report: Report) -> bytes:
    """Return the timeline of a report as JSON."""
    found = sorted(spans(report), key=lambda span: span.start)
    lanes = sorted({span.lane for span in found}, key=_rank)
    columns = _columns(report)
    events = [_event(report, columns, lanes, span) for span in found]
    about = {**report.summary(), "config": str(report.config)}
    document = {
        "traceEvents": [*_names(report, lanes), *events],
        "displayTimeUnit": "ms",
        "otherData": about,
    }
    return json.dumps(document, allow_nan=False).encode()


def spans(report: Report) -> Iterator[Span]:
    """Yield the work of every operation on every lane; what takes no time is left out.

    The cycles of a lane add up to the report's: compute and hidden cycles of the operations of a
    lane, memory cycles on the memory lane.
    """
    rows = _rows(report)
    updates = {row.layer: row.start for row in reversed(rows) if row.lane == "update"}
    host = 0
    transfers: list[Span] = []
    for place, row in enumerate(rows):
        anchor = row.start
        if row.lane == "selection" and row.hidden:
            anchor = updates.get(row.layer, row.start)
            updates[row.layer] = anchor + row.hidden
            yield Span(row.lane, anchor, row.hidden, place)
        elif row.hidden:
            anchor = host
        if row.compute:
            yield Span(row.lane, row.start, row.compute, place)
            host = row.start
        if row.memory:
            transfers.append(Span("memory", anchor, row.memory, place))
    yield from _in_turn(transfers)


def _in_turn(transfers: list[Span]) -> Iterator[Span]:
    """Yield transfers one after the other, each as soon as it may and the lane is free."""
    free = 0
    for span in sorted(transfers, key=lambda span: span.start):
        start = max(free, span.start)
        free = start + span.cycles
        yield span._replace(start=start)


class _Row(NamedTuple):
    """What places an operation."""

    layer: str
    lane: str
    start: int
    compute: int
    memory: int
    hidden: int


def _rows(report: Report) -> list[_Row]:
    columns = _columns(report)
    count = len(columns["name"])
    ends = np.cumsum(columns["cycles"])
    follows = (ends - np.asarray(columns["cycles"])).tolist()
    lanes = map(_lane, columns["k"], columns["kind"])
    return [
        _Row(*row)
        for row in zip(
            columns["layer"],
            columns.get("resource", lanes),
            columns.get("start_cycles", follows),
            columns["compute_cycles"],
            columns["memory_cycles"],
            columns.get("hidden_cycles", [0] * count),
            strict=True,
        )
    ]


def _lane(k: int, kind: str) -> str:
    if k:
        return "array"
    return kind if kind in ("selection", "update") else "vector"


def _rank(lane: str) -> tuple[int, str]:
    return (LANES.index(lane) if lane in LANES else len(LANES), lane)


def _names(report: Report, lanes: list[str]) -> Iterator[dict[str, Any]]:
    title = f"{report.accelerator}: {report.workload}, {report.method}"
    yield {"name": "process_name", "ph": "M", "pid": 1, "tid": 0, "args": {"name": title}}
    for place, lane in enumerate(lanes, 1):
        shared = {"ph": "M", "pid": 1, "tid": place}
        yield {"name": "thread_name", **shared, "args": {"name": lane}}
        yield {"name": "thread_sort_index", **shared, "args": {"sort_index": place}}


def _event(
    report: Report, columns: dict[str, list[Any]], lanes: list[str], span: Span
) -> dict[str, Any]:
    microseconds = 1e6 / report.clock_hz
    index = span.operation
    details = {name: columns[name][index] for name in DETAILS if name in columns}
    return {
        "name": str(columns["name"][index]),
        "cat": str(columns["pass"][index]),
        "ph": "X",
        "pid": 1,
        "tid": lanes.index(span.lane) + 1,
        "ts": span.start * microseconds,
        "dur": span.cycles * microseconds,
        "args": {**details, "cycles": span.cycles},
    }


def _columns(report: Report) -> dict[str, list[Any]]:
    return {name: np.asarray(column).tolist() for name, column in report.columns.items()}
