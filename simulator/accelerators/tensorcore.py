"""The tensor cores of one GPU multiprocessor, with 2:4 sparse matrix instructions.

Source: NVIDIA A100 Tensor Core GPU Architecture (white paper, 2020): four tensor cores, each 256
fp16 multiply-accumulates a cycle, twice the rate per instruction on 2:4 operands, and the sizes in
`Config`. Instruction shapes: PTX ISA, `mma.m16n8k16` and `mma.sp.m16n8k32`. Measured since by Sun
et al., arXiv 2206.02874. Energy from `simulator.energy`.

Exact: instructions of a product cut into blocks and warps, operands padded to whole instructions;
bytes that a warp needs for each step of k, metadata of 2 bits a kept value included.

Approximate:
- An instruction holds its tensor core for 2048 multiplications over 256 a cycle; `mma.sp` takes as
  long and covers twice the k. Sparse is the first operand of the instruction: a product whose right
  operand is sparse is computed transposed.
- N:M runs sparse if no aligned group of four can keep more than two: N <= 2 and M a multiple of 4.
  2:8 is therefore as fast as 2:4, and no faster. All other patterns run dense.
- A step of k takes as long as the slowest of the instructions, the shared memory (fragments of each
  warp, and what is copied in) and the port to the L2 cache.
- Operands are fp16 whatever the workload says, weight gradients fp32.
- Off-chip bytes are moved once: what a block reads again is found in the L2 cache, of which this
  multiprocessor has its share of the bandwidth.
- Vector work and selection run on the fp32 lanes, alone, one operation after the other; fused work
  takes the time of its bytes only.

Ignored: start and end of a block (others are resident then), instruction issue, bank conflicts,
several multiprocessors, registers and control in the energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator import area, energy, operation_rows
from simulator.configuration import check_positive
from simulator.counting import check_countable
from simulator.report import Report
from workloads.errors import InputError
from workloads.operations import MatMul, Operation, Selection, VectorOp, Workload
from workloads.patterns import DENSE, NM, Pattern

MMA_M, MMA_N, MMA_K = 16, 8, 16
"""Shape of `mma.m16n8k16`; `mma.sp` has the same values of its first operand for twice the k."""

VALUE_BYTES, SUM_BYTES, METADATA_BITS = 2, 4, 2
WARP_THREADS, THREAD_REGISTERS, REGISTER_BYTES = 32, 255, 4

NEVER_SLOWER_WITH = (
    "shared_bytes_per_cycle",
    "l2_bytes_per_cycle",
    "dram_bytes_per_s",
    "vector_lanes",
)
"""Config fields whose increase never makes a run slower."""

QUANTITIES = {
    "area_mm2": area.expression(
        "tensor_cores * macs_per_cycle",
        mac=f"({area.FP16_MULTIPLIER_UM2} + {area.FP32_ADDER_UM2})",
        lanes="vector_lanes",
        sram_bytes="shared_bytes",
    )
}
"""What follows from the config alone, as expressions that studies may use by name."""

COLUMNS = (
    "name",
    "layer",
    "pass",
    "kind",
    "pattern",
    "m",
    "k",
    "n",
    "batch",
    "cycles",
    "compute_cycles",
    "memory_cycles",
    "stall_cycles",
    "useful_macs",
    "issued_macs",
    "utilisation",
    "dram_bytes",
    "compulsory_bytes",
    "sram_bytes",
    "energy_pj",
    "bottleneck",
)
COMPONENTS = ("tensor cores", "shared memory", "L2 cache", "vector lanes", "dram")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One multiprocessor of an A100, with its share of cache and memory bandwidth."""

    tensor_cores: int = 4
    """Tensor cores, each fed by warps of its own (white paper)."""

    macs_per_cycle: int = 256
    """fp16 multiply-accumulates of one tensor core per cycle (white paper)."""

    clock_hz: float = 1.41e9
    """Clock in Hz: the boost clock (white paper)."""

    warp_m: int = 64
    """Rows of results that a warp holds; a multiple of 16. Usual for fp16; not published."""

    warp_n: int = 64
    """Columns of results that a warp holds; a multiple of 8. Usual for fp16; not published."""

    warps_m: int = 4
    """Warps of a block along the rows. Usual for fp16; not published."""

    warps_n: int = 2
    """Warps of a block along the columns. Usual for fp16; not published."""

    stages: int = 3
    """Steps of k that shared memory holds at once. Usual; not published."""

    shared_bytes: int = 164 << 10
    """Shared memory in bytes (white paper)."""

    shared_bytes_per_cycle: int = 128
    """Bytes per cycle of the shared memory: 32 banks of 4 bytes (white paper)."""

    l2_bytes_per_cycle: int = 47
    """Bytes per cycle from the L2 cache: 5120 for 108 multiprocessors (white paper)."""

    dram_bytes_per_s: float = 14.4e9
    """Off-chip bandwidth in bytes/s: 1555 GB/s for 108 multiprocessors (white paper)."""

    vector_lanes: int = 64
    """fp32 lanes (white paper)."""

    def __post_init__(self) -> None:
        check_positive(self, *self.__dataclass_fields__)
        for name, unit in (("warp_m", MMA_M), ("warp_n", MMA_N)):
            if getattr(self, name) % unit:
                raise InputError(f"{name} must be a multiple of {unit}, not {getattr(self, name)}")
        if self.thread_registers > THREAD_REGISTERS:
            raise InputError(
                f"warp_m x warp_n must fit {THREAD_REGISTERS} registers a thread; "
                f"{self.warp_m} x {self.warp_n} needs {self.thread_registers}"
            )
        staged = self.stages * _copied_bytes(self, sparse=True)
        if staged > self.shared_bytes:
            raise InputError(f"shared_bytes must hold {self.stages} stages: {staged} bytes")

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiplications per cycle of all tensor cores."""
        return self.tensor_cores * self.macs_per_cycle

    @property
    def thread_registers(self) -> int:
        """Registers of a thread: sums, and two steps of sparse fragments."""
        needed = SUM_BYTES * self.warp_m * self.warp_n + 2 * _fragment_bytes(self, sparse=True)
        return -(-needed // (WARP_THREADS * REGISTER_BYTES))


def _panel_bytes(rows: int, cols: int, *, sparse: bool) -> int:
    """Return the bytes of a step of k: `rows` of the first operand, `cols` of the second."""
    first = rows * MMA_K * VALUE_BYTES
    metadata = -(-rows * MMA_K * METADATA_BITS // 8) if sparse else 0
    return first + metadata + (1 + sparse) * cols * MMA_K * VALUE_BYTES


def _fragment_bytes(config: Config, *, sparse: bool) -> int:
    """Return what one warp reads from shared memory for a step of k."""
    return _panel_bytes(config.warp_m, config.warp_n, sparse=sparse)


def _copied_bytes(config: Config, *, sparse: bool) -> int:
    """Return what a block copies from the L2 cache for a step of k."""
    rows, cols = config.warps_m * config.warp_m, config.warps_n * config.warp_n
    return _panel_bytes(rows, cols, sparse=sparse)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPlan:
    """Decisions for one product: which operand is compact, the blocks, and the steps of k."""

    sparse_operand: str
    """left, right, or empty if the product runs dense."""

    blocks: int
    """Blocks of results of one product of the batch."""

    steps: int
    """Steps of k of a block: 16 dense or 32 sparse elements each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The operations, and for each product its decisions."""

    workload: Workload
    products: tuple[ProductPlan, ...]


def schedule(config: Config, workload: Workload) -> Plan:
    """Choose the compact operand of every product and cut it into blocks."""
    check_countable(workload.name, workload.macs)
    return Plan(
        workload=workload, products=tuple(_plan_product(config, op) for op in workload.matmuls)
    )


def fits_two_of_four(pattern: Pattern) -> bool:
    """Return whether no aligned group of four along k can keep more than two.

    >>> [fits_two_of_four(NM(*nm)) for nm in ((2, 4), (1, 4), (2, 8), (4, 8), (2, 6))]
    [True, True, True, False, False]
    """
    return isinstance(pattern, NM) and pattern.n <= 2 and pattern.m % 4 == 0


def _plan_product(config: Config, op: MatMul) -> ProductPlan:
    sparse = next(
        (side for side in ("left", "right") if fits_two_of_four(getattr(op, side).pattern)), ""
    )
    rows, cols = (op.n, op.m) if sparse == "right" else (op.m, op.n)
    run = -(-op.k_run // 4) * 4 if sparse else op.k_run
    k = op.k // op.k_run * run
    return ProductPlan(
        sparse_operand=sparse,
        blocks=-(-rows // (config.warps_m * config.warp_m))
        * -(-cols // (config.warps_n * config.warp_n)),
        steps=-(-k // (2 * MMA_K if sparse else MMA_K)),
    )


def simulate(config: Config, plan: Plan) -> Report:
    """Return time, traffic and energy of the plan, operations one after the other."""
    decided = iter(plan.products)
    rows = [
        _product_row(config, op, next(decided))
        if isinstance(op, MatMul)
        else _vector_row(config, op)
        for op in plan.workload
    ]
    return Report(
        accelerator="tensorcore",
        config=config,
        workload=plan.workload.name,
        method=plan.workload.method,
        clock_hz=config.clock_hz,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        columns=operation_rows.columns(rows, COLUMNS),
        energy_pj={name: sum(row.get(name, 0.0) for row in rows) for name in COMPONENTS},
        notes=(*plan.workload.notes, *_notes(plan)),
    )


def _product_row(config: Config, op: MatMul, plan: ProductPlan) -> dict[str, Any]:
    sparse = bool(plan.sparse_operand)
    warps = config.warps_m * config.warps_n
    instructions = warps * (config.warp_m // MMA_M) * (config.warp_n // MMA_N)
    macs = instructions * MMA_M * MMA_N * MMA_K
    per_core = -(-warps // config.tensor_cores) * (macs // warps)
    copied = _copied_bytes(config, sparse=sparse)
    shared = copied + warps * _fragment_bytes(config, sparse=sparse)
    cycles = {
        "tensor cores": -(-per_core // config.macs_per_cycle),
        "shared memory": -(-shared // config.shared_bytes_per_cycle),
        "L2 cache": -(-copied // config.l2_bytes_per_cycle),
    }
    busy = max(cycles, key=lambda unit: cycles[unit])
    steps = op.batch * plan.blocks * plan.steps
    return _row(
        config,
        op,
        busy=busy,
        compute_cycles=steps * cycles[busy],
        dram_bytes=_moved_bytes(op, plan.sparse_operand),
        m=op.m,
        k=op.k,
        n=op.n,
        batch=op.batch,
        kind=op.kind,
        pattern=str(getattr(op, plan.sparse_operand).pattern if sparse else DENSE),
        useful_macs=op.kept_macs,
        issued_macs=steps * macs,
        sram_bytes=steps * shared,
        copied_bytes=steps * copied,
    )


def _moved_bytes(op: MatMul, sparse_operand: str) -> int:
    """Return the bytes of both fp16 operands and the result, a weight gradient in fp32."""
    left, right = (
        operation_rows.stored_bytes(
            getattr(op, side), 8 * VALUE_BYTES, compact=side == sparse_operand
        )
        for side in ("left", "right")
    )
    out_bytes = SUM_BYTES if op.out.tensor == "dW" else VALUE_BYTES
    return left + right + out_bytes * op.out.elements


def _vector_row(config: Config, op: VectorOp | Selection) -> dict[str, Any]:
    if isinstance(op, Selection):
        scans = op.pattern.n if isinstance(op.pattern, NM) else 1
        lane_operations, kind = scans * op.elements, "selection"
        moved = sum(
            operation_rows.stored_bytes(op, 8 * VALUE_BYTES, compact=compact)
            for compact in (False, True)
        )
    else:
        lane_operations = 0 if op.fused else op.elements * op.lane_operations
        moved, kind = op.read_bytes + op.write_bytes, op.kind
    return _row(
        config,
        op,
        busy="vector lanes",
        compute_cycles=-(-lane_operations // config.vector_lanes),
        dram_bytes=moved,
        kind=kind,
        lane_operations=lane_operations,
    )


def _row(config: Config, op: Operation, *, dram_bytes: int, **values: Any) -> dict[str, Any]:
    """Complete a row with its times and its energy; everything off-chip is compulsory here."""
    made = operation_rows.row(
        op,
        dram_bytes=dram_bytes,
        compulsory_bytes=dram_bytes,
        clock_hz=config.clock_hz,
        dram_bytes_per_s=config.dram_bytes_per_s,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        **values,
    )
    mac_pj = energy.FP16_MULTIPLY_PJ + energy.FP32_ADD_PJ
    lane_pj = energy.FP32_MULTIPLY_PJ + energy.FP32_ADD_PJ
    components = {
        "tensor cores": made.get("issued_macs", 0) * mac_pj,
        "shared memory": made.get("sram_bytes", 0) * energy.sram_byte_pj(config.shared_bytes),
        "L2 cache": made.get("copied_bytes", 0) * energy.sram_byte_pj(1 << 20),
        "vector lanes": made.get("lane_operations", 0) * lane_pj,
        "dram": dram_bytes * energy.DRAM_BYTE_PJ,
    }
    return made | components | {"energy_pj": sum(components.values())}


def _notes(plan: Plan) -> tuple[str, ...]:
    notes = []
    decided = list(zip(plan.workload.matmuls, plan.products, strict=True))
    dense = [op for op, product in decided if op.kept_macs < op.macs and not product.sparse_operand]
    wider = [op for op, product in decided if product.sparse_operand and 2 * op.kept_macs < op.macs]
    if dense:
        notes.append(
            f"{len(dense)} sparse products, such as {dense[0].name}, run dense: only N:M with at "
            "most two of four runs sparse"
        )
    if wider:
        notes.append(f"{len(wider)} products sparser than 2:4, such as {wider[0].name}, run as 2:4")
    return tuple(notes)
