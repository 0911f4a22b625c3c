"""What models of sparse products share: operands, report columns, command-line options."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from dataflow.spgemm import Work, count
from dataflow.traffic import CSR12, EntryFormat, Traffic
from simulator.configuration import check_positive
from simulator.report import Report
from simulator.run_options import RunOption
from workloads.errors import InputError
from workloads.matrices import read_matrix, sparse_product, with_matrices
from workloads.matrices.csr import Csr
from workloads.operations import MatMul, Workload

MATRIX_OPTIONS = (
    RunOption(name="--matrix", help="A: file or name of a sparse matrix.", values=("MATRIX",)),
    RunOption(name="--b", help="B; without it A is squared.", values=("MATRIX",)),
    RunOption(
        name="--operation",
        help="Of --trace or --network, only the product of this name.",
        values=("NAME",),
        narrows=True,
    ),
)


def check_seed(seed: object) -> None:
    """Raise `InputError` unless `sampling_seed` can seed a generator."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"sampling_seed must be a whole number from 0 on, not {seed!r}")


def workload_from_options(options: Mapping[str, tuple[str, ...]]) -> Workload:
    """Return the product of the matrices named by --matrix and --b."""
    if "matrix" not in options:
        raise InputError("--b needs --matrix, which names the left operand")
    left = read_matrix(options["matrix"][0])
    right = read_matrix(options["b"][0]) if "b" in options else None
    return sparse_product(left, right)


def narrow(workload: Workload, options: Mapping[str, tuple[str, ...]]) -> Workload:
    """Return the one matrix product of the workload that --operation names."""
    wanted = options["operation"][0]
    found = [product for product in workload.matmuls if product.name == wanted]
    if found:
        return replace(workload, name=f"{workload.name}/{wanted}", operations=tuple(found[:1]))
    names = [product.name for product in workload.matmuls]
    near = get_close_matches(wanted, names, n=3, cutoff=0) or ["none"]
    raise InputError(
        f"{workload.name} has no matrix product called {wanted!r}; nearest are {', '.join(near)}"
    )


def products_of(workload: Workload, seed: int) -> list[MatMul]:
    """Return the matrix products with CSR operands, drawn with `seed` where none are given."""
    rng = np.random.default_rng(seed)
    return [with_matrices(product, rng) for product in workload.matmuls]


def operands(product: MatMul) -> tuple[Csr, Csr]:
    """Return the CSR operands that `products_of` made sure are there."""
    assert product.matrices is not None
    return product.matrices


def skipped_note(workload: Workload) -> tuple[str, ...]:
    """Say which operations a model of sparse products leaves out."""
    others = len(workload) - len(workload.matmuls)
    if not others:
        return ()
    return (f"{others} operations that are no matrix products are not modelled.",)


def report_compulsory_bytes(work: Work, product: MatMul, *, pointers: bool = True) -> int:
    """Return the least bytes of a product, for a report.

    As `dataflow.traffic.compulsory_bytes`, less what some design can leave out: entries of A that
    meet an empty row of B; pointers of A by row or by column, whichever are more; pointers of B
    beyond two for each entry of A. Tiled formats have no pointers.
    """
    left, right = operands(product)
    rows, inner = left.shape
    needed = int((right.row_lengths[left.indices] > 0).sum())
    entries = needed + work.referenced_nnz + work.nnz_c
    counted_pointers = min(rows, inner) + 1 + min(inner + 1, 2 * work.nnz_a) + rows
    return CSR12.entry_bytes * entries + pointers * CSR12.pointer_bytes * counted_pointers


def base_columns(products: Sequence[MatMul], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns that describe the products."""
    return {
        "name": list(names),
        "layer": [product.layer for product in products],
        "pass": [str(product.pass_) for product in products],
        "kind": [product.kind for product in products],
        "m": [operands(product)[0].shape[0] for product in products],
        "k": [product.k for product in products],
        "n": [product.n for product in products],
    }


def totals(works: Sequence[Work], layout_bytes: Sequence[int]) -> dict[str, int]:
    """Return the counts that the command line prints for sparse products."""
    return {
        "multiplies": sum(work.multiplies for work in works),
        "adds": sum(work.adds for work in works),
        "nnz_c": sum(work.nnz_c for work in works),
        "compulsory_bytes": sum(layout_bytes),
    }


def counted(products: Sequence[MatMul]) -> list[Work]:
    """Count what each product needs; the same operands are counted once."""
    known: dict[tuple[int, int], Work] = {}
    for product in products:
        left, right = operands(product)
        key = (id(left), id(right))
        if key not in known:
            known[key] = count(left, right)
    return [known[id(a), id(b)] for a, b in map(operands, products)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One product, what it needs, and the model's own decisions about it."""

    product: MatMul
    work: Work
    decisions: Any = None

    @property
    def left(self) -> Csr:
        """The left operand A."""
        return operands(self.product)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """The products of a workload in order."""

    workload: str
    method: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Time and traffic of one product; `phases` maps a phase to its cycles."""

    traffic: Traffic
    cycles: int
    compute_cycles: int
    phases: dict[str, int]
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalConfig:
    """What every traffic-and-time model is configured by; each states its values and sources."""

    clock_hz: float
    """Clock in Hz."""

    dram_bytes_per_s: float
    """Off-chip bandwidth in bytes/s."""

    sampling_seed: int = 0
    """Seed for operands of workloads that state densities instead of matrices."""

    def __post_init__(self) -> None:
        numbers = [each.name for each in fields(self) if each.name != "sampling_seed"]
        check_positive(self, *numbers)
        check_seed(self.sampling_seed)

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiplies per cycle."""
        raise NotImplementedError


C = TypeVar("C", bound=RivalConfig)


def plan(config: C, workload: Workload, decide: Callable[[C, Csr, Csr, Work], Any]) -> Plan:
    """Return the products with their counts and what `decide` says about A, B and the counts."""
    products = products_of(workload, config.sampling_seed)
    steps = [
        Step(product=product, work=work, decisions=decide(config, *operands(product), work))
        for product, work in zip(products, counted(products), strict=True)
    ]
    return Plan(
        workload=workload.name,
        method=workload.method,
        steps=tuple(steps),
        notes=skipped_note(workload),
    )


def b_pointer_bytes(left: Csr, layout: EntryFormat = CSR12) -> int:
    """Return the bytes of B's row pointers when each is read once, as far as A needs them."""
    return layout.pointer_bytes * min(left.shape[1] + 1, 2 * left.nnz)


def memory_cycles(config: RivalConfig, moved_bytes: int) -> int:
    """Return the cycles that the bytes take at full bandwidth, rounded up."""
    return math.ceil(moved_bytes * config.clock_hz / config.dram_bytes_per_s)


def overlapped(
    config: RivalConfig, traffic: Traffic, compute_cycles: int, phase: str, **extra: Any
) -> Cost:
    """Return the cost of a product whose one phase computes and moves at the same time."""
    cycles = max(compute_cycles, memory_cycles(config, traffic.total))
    return Cost(
        traffic=traffic,
        cycles=cycles,
        compute_cycles=compute_cycles,
        phases={phase: cycles},
        extra=extra,
    )


def report(
    accelerator: str,
    config: C,
    of: Plan,
    cost: Callable[[C, Step], Cost],
    *,
    pointers: bool = True,
) -> Report:
    """Return the report of a traffic-and-time model, one row for each product."""
    costs = [cost(config, step) for step in of.steps]
    compulsory = [
        report_compulsory_bytes(step.work, step.product, pointers=pointers) for step in of.steps
    ]
    products = [step.product for step in of.steps]
    memory = [memory_cycles(config, cost.traffic.total) for cost in costs]
    columns = base_columns(products, [product.name for product in products]) | {
        "cycles": [cost.cycles for cost in costs],
        "compute_cycles": [cost.compute_cycles for cost in costs],
        "memory_cycles": memory,
        "useful_macs": [step.work.multiplies for step in of.steps],
        "issued_macs": [step.work.multiplies for step in of.steps],
        "dram_bytes": [cost.traffic.total for cost in costs],
        "compulsory_bytes": compulsory,
        "bottleneck": [
            "memory" if moving >= cost.compute_cycles else "compute"
            for moving, cost in zip(memory, costs, strict=True)
        ],
    }
    names = {name: None for cost in costs for name in cost.phases}
    phases = {name: sum(cost.phases.get(name, 0) for cost in costs) for name in names}
    moved = {
        name: sum(getattr(cost.traffic, name) for cost in costs)
        for name in ("a", "b", "partial", "c")
    }
    return Report(
        accelerator=accelerator,
        config=config,
        workload=of.workload,
        method=of.method,
        clock_hz=config.clock_hz,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        columns=columns,
        extra=totals([step.work for step in of.steps], compulsory)
        | {"windows": 0, "probes_per_product": 0.0, "phases": phases, "traffic": moved}
        | (costs[0].extra if len(costs) == 1 else {}),
        notes=of.notes,
    )
