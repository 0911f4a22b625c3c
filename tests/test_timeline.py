"""The timeline: every lane adds up, nothing overlaps on a lane, the format is what viewers read."""

import dataclasses
import json
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from simulator import timeline
from simulator.accelerators import sat, systolic
from simulator.report import Report
from workloads import networks
from workloads.methods import bdwp, dense


@pytest.fixture(params=["sat", "sat slow memory", "sat dense", "systolic"])
def report(request) -> Report:
    method = dense() if request.param == "sat dense" else bdwp(2, 8)
    work = networks.find("resnet18", batch=8).training_step(method)
    model = systolic if request.param == "systolic" else sat
    slow = {"dram_bytes_per_s": 4e9, "vector_lanes": 256} if "slow" in request.param else {}
    config = model.Config(**slow)
    return model.simulate(config, model.schedule(config, work))


def lanes_of(report: Report) -> dict[str, list[timeline.Span]]:
    lanes = defaultdict(list)
    for span in timeline.spans(report):
        lanes[span.lane].append(span)
    return lanes


def test_the_cycles_of_every_lane_add_up(report) -> None:
    table, lanes = report.frame(), lanes_of(report)
    sums = {lane: sum(span.cycles for span in spans) for lane, spans in lanes.items()}
    assert sums["array"] == table.compute_cycles[table.k > 0].sum()
    assert sums["memory"] == table.memory_cycles.sum()
    assert sums["update"] == table.compute_cycles[table.kind == "update"].sum()
    selections = table[table.kind == "selection"]
    hidden = selections.hidden_cycles.sum() if "hidden_cycles" in table else 0
    assert sums.get("selection", 0) == selections.compute_cycles.sum() + hidden


def test_a_lane_does_one_thing_at_a_time_and_ends_in_time(report) -> None:
    for lane, spans in lanes_of(report).items():
        ordered = sorted(spans, key=lambda span: span.start)
        for before, after in pairwise(ordered):
            assert before.start + before.cycles <= after.start, lane
        if lane != "memory":
            assert ordered[-1].start + ordered[-1].cycles <= report.cycles


def test_hidden_selections_run_during_the_update_of_their_layer() -> None:
    config = sat.Config()
    work = networks.find("resnet18", batch=8).training_step(bdwp(2, 8))
    report = sat.simulate(config, sat.schedule(config, work))
    table = report.frame()
    starts = table.cycles.cumsum() - table.cycles
    updates = {r.layer: (starts[i], r.cycles) for i, r in table.iterrows() if r.kind == "update"}
    spans = [span for span in lanes_of(report)["selection"] if table.hidden_cycles[span.operation]]
    assert spans
    for span in spans:
        start, cycles = updates[table.layer[span.operation]]
        assert start <= span.start
        assert span.start + span.cycles <= start + cycles


def test_the_file_is_in_the_trace_event_format(report) -> None:
    document = json.loads(timeline.encode(report))
    events = document["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert next(iter(names.values())) == "array"
    assert list(names.values())[-1] == "memory"
    work = [event for event in events if event["ph"] == "X"]
    assert {event["ph"] for event in events} == {"X", "M"}
    assert all(event["tid"] in names and event["pid"] == 1 for event in work)
    assert all(event["dur"] > 0 and event["ts"] >= 0 for event in work)
    assert {e["args"]["layer"] for e in work} <= set(report.columns["layer"])
    array = sum(e["dur"] for e in work if names[e["tid"]] == "array")
    table = report.frame()
    products = table.compute_cycles[table.k > 0].sum()
    assert array == pytest.approx(products / report.clock_hz * 1e6)


def test_a_model_may_say_when_and_where() -> None:
    config = sat.Config()
    work = networks.find("resnet9", batch=2).inference()
    report = sat.simulate(config, sat.schedule(config, work))
    count = len(report.columns["name"])
    columns = {
        **report.columns,
        "start_cycles": np.arange(count) * 10**9,
        "resource": np.array(["pim"] * count, dtype=object),
    }
    lanes = lanes_of(dataclasses.replace(report, columns=columns))
    assert set(lanes) == {"pim", "memory"}
    assert all(span.start == span.operation * 10**9 for span in lanes["pim"])
