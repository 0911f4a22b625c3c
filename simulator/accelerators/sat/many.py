"""Whole blocks of configurations of the N:M accelerator in one compiled pass, equal to `simulate`.

A network repeats few shapes in many layers: equal products, equal vector work, equal traffic that
rides on them and equal sets of updates and selections are found once for a workload, costed once
for a configuration, and counted as often as they occur. All sums are of integers, so that the order
of the operations does not matter.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dataflow.stationarity import FREE
from simulator import energy
from simulator.accelerators.sat.config import Config
from simulator.accelerators.sat.kernel import (
    Ints,
    Sizes,
    exposed_cycles,
    matmul_table,
    product,
    selection_cycles,
    vector_cycles,
)
from simulator.accelerators.sat.limits import check_totals
from simulator.accelerators.sat.model import CODES, byte_energy_pj, energy_components
from workloads.columns import Columns, columns
from workloads.errors import InputError
from workloads.operations import Workload

NO_HOST, PRODUCT_HOST, VECTOR_HOST = 0, 1, 2
CYCLES, COMPUTE, USEFUL, ISSUED, DRAM, SRAM = range(6)


class Distinct(NamedTuple):
    """What differs in a workload, and how often it occurs; integer tables, one column a thing.

    `products`: the rows of `matmul_table`, `product_counts` their number. `vectors`: lane
    operations, bytes, fused, number (fused work has a number of 0: it is counted as a rider).
    `riders`: kind of host, place of the host in its table, bytes, 1 where a new group starts, and
    the number of such groups; the riders of a group share the slack of one host.
    `layers`: 0 for an update (with its place in `vectors`) or 1 for a selection (with elements, N,
    M, pregenerable), 1 where a new layer starts, and the number of such layers.
    """

    products: Ints
    product_counts: Ints
    vectors: Ints
    riders: Ints
    layers: Ints
    lane_operations: int
    compares: int
    vector_bytes: int


def evaluate_many(
    configs: Mapping[str, NDArray[Any]], workload: Workload
) -> dict[str, NDArray[Any]]:
    """Return the totals that `simulate` would report for many configurations of one workload.

    `configs` maps fields of `Config` to arrays of one length; other fields keep their defaults. The
    result has the numbers of `Report.summary`, an array each. Raises `InputError` if any value is
    refused by `Config`, or if a total may exceed 64 bits with any of them.

    >>> from workloads import gemm
    >>> evaluate_many({"rows": np.array([16, 32])}, gemm(64, 64, 64))["utilisation"].round(2)
    array([...])
    """
    fields = _all_fields(configs)
    if len(fields["rows"]):
        check_totals(fields, workload)
    found = distinct(workload)
    totals = _evaluate(*_packed(fields), *found[:5])
    totals[:, DRAM] += found.vector_bytes
    totals[:, SRAM] += found.vector_bytes
    prices = (
        _each(energy.multiply_pj, fields["value_bits"]),
        _each(
            byte_energy_pj,
            fields["left_buffer_bytes"],
            fields["right_buffer_bytes"],
            fields["out_buffer_bytes"],
        ),
    )
    components = energy_components(
        *prices,
        issued_macs=totals[:, ISSUED],
        lane_operations=found.lane_operations,
        compares=found.compares,
        sram_bytes=totals[:, SRAM],
        dram_bytes=totals[:, DRAM],
    )
    peak = fields["rows"] * fields["cols"]
    return {
        "cycles": totals[:, CYCLES],
        "compute_cycles": totals[:, COMPUTE],
        "seconds": totals[:, CYCLES] / fields["clock_hz"],
        "energy_j": sum(components.values()) * 1e-12,
        "dram_bytes": totals[:, DRAM],
        "utilisation": _ratio(totals[:, USEFUL], totals[:, CYCLES], peak),
    }


def distinct(workload: Workload) -> Distinct:
    """Return the distinct work of a workload, found once for each workload object."""
    cached = workload.__dict__.get("_sat_distinct")
    if cached is None:
        cached = workload.__dict__["_sat_distinct"] = _distinct(columns(workload))
    result: Distinct = cached
    return result


def _distinct(table: Columns) -> Distinct:
    ops = table.vectors
    products, product_places, product_counts = _unique(matmul_table(table.matmuls)[1:])
    rows = np.stack([ops.elements * ops.lane_operations, ops.read_bytes + ops.write_bytes])
    vectors, vector_places, _ = _unique(np.stack([*rows, ops.fused]))
    alone = np.bincount(vector_places, 1 - ops.fused, minlength=vectors.shape[1])
    hosts = {
        int(at): (PRODUCT_HOST, int(i))
        for at, i in zip(table.matmuls.order, product_places, strict=True)
    }
    hosts |= {
        int(at): (VECTOR_HOST, int(i))
        for at, i, fused in zip(ops.order, vector_places, ops.fused, strict=True)
        if not fused
    }
    return Distinct(
        products=np.vstack([np.zeros_like(product_counts), products]),
        product_counts=product_counts,
        vectors=np.vstack([vectors, alone.astype(np.int64)]),
        riders=_riders(table, hosts),
        layers=_layers(table, vector_places),
        lane_operations=int(rows[0].sum()),
        compares=int((table.selections.elements * table.selections.n).sum()),
        vector_bytes=int(rows[1].sum()),
    )


def _unique(table: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the distinct columns, the place of each column among them, and their numbers."""
    found, places, counts = np.unique(table, axis=1, return_inverse=True, return_counts=True)
    return np.ascontiguousarray(found), places.reshape(-1), counts


def _riders(table: Columns, hosts: Mapping[int, tuple[int, int]]) -> Ints:
    """Return the traffic of fused work, grouped by the operation that it rides on."""
    ops = table.vectors
    places = sorted(hosts)
    groups: dict[int, list[int]] = defaultdict(list)
    for at in np.flatnonzero((ops.fused == 1) & (ops.read_bytes + ops.write_bytes > 0)):
        before = int(np.searchsorted(places, ops.order[at]))
        host = places[before - 1] if before else -1
        groups[host].append(int(ops.read_bytes[at] + ops.write_bytes[at]))
    kinds = Counter((hosts.get(host, (NO_HOST, 0)), tuple(moved)) for host, moved in groups.items())
    rows = [
        (*host, moved, int(place == 0), count)
        for (host, group), count in kinds.items()
        for place, moved in enumerate(group)
    ]
    return _table(rows, 5)


def _layers(table: Columns, vector_places: Ints) -> Ints:
    """Return the updates and selections of every layer that selects."""
    ops, updates = table.selections, table.vectors
    groups: dict[int, list[tuple[int, ...]]] = {int(layer): [] for layer in ops.layer}
    for at in np.flatnonzero(updates.is_update):
        if updates.layer[at] in groups:
            groups[int(updates.layer[at])].append((0, int(vector_places[at]), 0, 0, 0))
    for layer, *selection in zip(
        ops.layer, ops.elements, ops.n, ops.m, ops.pregenerable, strict=True
    ):
        groups[int(layer)].append((1, *map(int, selection)))
    rows = [
        (*row, int(place == 0), count)
        for group, count in Counter(map(tuple, groups.values())).items()
        for place, row in enumerate(group)
    ]
    return _table(rows, 7)


def _table(rows: Sequence[tuple[int, ...]], width: int) -> Ints:
    return np.ascontiguousarray(np.array(rows, np.int64).reshape(-1, width).T)


@njit(cache=True, nogil=True)
def _evaluate(
    numbers: Ints,
    bytes_per_cycle: NDArray[np.float64],
    products: Ints,
    product_counts: Ints,
    vectors: Ints,
    riders: Ints,
    layers: Ints,
) -> Ints:
    """Return the totals (columns) of every configuration (rows), vector bytes left out."""
    totals = np.zeros((len(numbers), 6), np.int64)
    product_slack = np.zeros(products.shape[1], np.int64)
    vector_times = np.zeros((vectors.shape[1], 2), np.int64)
    for j in range(len(numbers)):
        c = numbers[j]
        sizes = Sizes(
            c[0],
            c[1],
            c[2],
            c[3],
            c[4],
            c[5],
            c[6],
            c[7] == 1,
            c[8],
            c[9],
            c[10],
            c[11],
            c[12],
            bytes_per_cycle[j],
        )
        _add_products(totals[j], product_slack, products, product_counts, c[13], sizes)
        _add_vectors(totals[j], vector_times, vectors, sizes)
        _add_riders(totals[j], riders, product_slack, vector_times, sizes)
        _add_selections(totals[j], layers, vector_times, sizes)
    return totals


@njit(cache=True, nogil=True)
def _add_products(
    total: Ints, slack: Ints, products: Ints, counts: Ints, wanted: int, sizes: Sizes
) -> None:
    """Add the matrix products; leave in `slack` how long each leaves memory idle."""
    for i in range(products.shape[1]):
        _, compute, _, memory, useful, issued, dram, _, sram, _, _, _ = product(
            products, i, wanted, sizes
        )
        slack[i] = max(compute - memory, 0)
        total[CYCLES] += counts[i] * max(compute, memory)
        total[COMPUTE] += counts[i] * compute
        total[USEFUL] += counts[i] * useful
        total[ISSUED] += counts[i] * issued
        total[DRAM] += counts[i] * dram
        total[SRAM] += counts[i] * sram


@njit(cache=True, nogil=True)
def _add_vectors(total: Ints, times: Ints, vectors: Ints, sizes: Sizes) -> None:
    """Add the vector work that is not fused; leave its engine and memory cycles in `times`."""
    for i in range(vectors.shape[1]):
        compute, memory = vector_cycles(vectors[0, i], vectors[1, i], vectors[2, i], sizes)
        times[i, 0], times[i, 1] = compute, memory
        total[CYCLES] += vectors[3, i] * max(compute, memory)
        total[COMPUTE] += vectors[3, i] * compute


@njit(cache=True, nogil=True)
def _add_riders(
    total: Ints, riders: Ints, product_slack: Ints, vector_times: Ints, sizes: Sizes
) -> None:
    """Add the traffic of fused work that the operation it rides on cannot hide."""
    slack = 0
    for i in range(riders.shape[1]):
        kind, place = riders[0, i], riders[1, i]
        if riders[3, i] == 1:
            slack = 0
            if kind == PRODUCT_HOST:
                slack = product_slack[place]
            elif kind == VECTOR_HOST:
                slack = max(vector_times[place, 0] - vector_times[place, 1], 0)
        _, memory = vector_cycles(0, riders[2, i], 1, sizes)
        hidden = min(memory, slack)
        slack -= hidden
        total[CYCLES] += riders[4, i] * (memory - hidden)


@njit(cache=True, nogil=True)
def _add_selections(total: Ints, layers: Ints, vector_times: Ints, sizes: Sizes) -> None:
    """Add the selections; pre-generated ones run behind the updates of their layer in turn."""
    slack = idle = 0
    for i in range(layers.shape[1]):
        first, second, n, m = layers[0, i], layers[1, i], layers[2, i], layers[3, i]
        count = layers[6, i]
        if layers[5, i] == 1:
            slack = idle = 0
        if first == 0:
            busy = max(vector_times[second, 0], vector_times[second, 1])
            slack += busy
            idle += busy - vector_times[second, 1]
            continue
        needed, memory, written, sram, behind = selection_cycles(second, n, m, layers[4, i], sizes)
        hidden = 0
        if behind:
            hidden = max(needed, memory) - exposed_cycles(needed, memory, slack, idle)
            slack -= min(needed, slack)
            idle -= min(memory, idle)
        total[CYCLES] += count * (max(needed, memory) - hidden)
        total[COMPUTE] += count * max(needed - hidden, 0)
        total[DRAM] += count * written
        total[SRAM] += count * sram


def _all_fields(configs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return an array for every field of `Config`, all values accepted by it."""
    defaults = {f.name: f.default for f in dataclasses.fields(Config)}
    unknown = sorted(configs.keys() - defaults.keys())
    if unknown:
        raise InputError(f"sat has no field {unknown[0]!r}; it has {', '.join(defaults)}")
    lengths = {len(values) for values in configs.values()}
    if len(lengths) > 1:
        raise InputError(f"arrays of configurations must have one length, not {sorted(lengths)}")
    count = lengths.pop() if lengths else 1
    for name, values in configs.items():
        _check(name, np.asarray(values))
    whole = {name: np.full(count, default) for name, default in defaults.items()}
    return whole | {name: np.asarray(values) for name, values in configs.items()}


def _check(name: str, values: NDArray[Any]) -> None:
    """Raise what `Config` raises for a value of the field; ranges are checked at their ends."""
    ends = values
    if name not in ("value_bits", "stationarity") and values.dtype.kind in "if" and len(values):
        ends = np.array([values.min(), values.max()])  # a NaN is both
    for value in dict.fromkeys(ends.tolist()):
        Config(**{name: value})


def _packed(fields: Mapping[str, NDArray[Any]]) -> tuple[Ints, NDArray[np.float64]]:
    """Return the whole numbers, in the order that `_evaluate` reads, and DRAM bytes a cycle."""
    names = (
        "rows",
        "cols",
        "interleave",
        "mul_latency",
        "add_latency",
        "value_bits",
        "feed_values_per_cycle",
        "pregeneration",
        "left_buffer_bytes",
        "right_buffer_bytes",
        "out_buffer_bytes",
        "selection_lanes",
        "vector_lanes",
    )
    held = [CODES.get(text, FREE) for text in fields["stationarity"].tolist()]
    numbers = np.stack([*(fields[name].astype(np.int64) for name in names), np.array(held)], axis=1)
    rate = fields["dram_bytes_per_s"].astype(np.float64) / fields["clock_hz"].astype(np.float64)
    return np.ascontiguousarray(numbers), rate


def _each(function: Any, *arguments: NDArray[Any]) -> NDArray[np.float64]:
    """Apply a scalar function to every row of equally long arrays, each distinct row once."""
    once = cache(function)
    rows = zip(*(argument.tolist() for argument in arguments), strict=True)
    return np.array([once(*row) for row in rows], np.float64)


def _ratio(useful: Ints, cycles: Ints, peak: Ints) -> NDArray[np.float64]:
    """Return useful / (cycles x peak), rounded once as Python does with whole numbers; 0 for 0."""
    most = float(cycles.max(initial=1)) * float(peak.max(initial=1))
    if max(most, float(useful.max(initial=0))) < 2**53:
        return np.asarray(useful / np.maximum(cycles * peak, 1))
    rows = zip(useful.tolist(), cycles.tolist(), peak.tolist(), strict=True)
    return np.array([u / max(c * p, 1) for u, c, p in rows])
