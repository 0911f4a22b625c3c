"""The tensor cores of GPU multiprocessors, with 2:4 sparse matrix instructions.

The instructions of a multiprocessor, and what feeds them; `gpu` models a whole card by its kernels.

*Source*: NVIDIA A100 Tensor Core GPU Architecture (white paper, 2020): four tensor cores, each 256
fp16 multiply-accumulates a cycle, twice the rate per instruction on 2:4 operands, and the sizes in
`Config`. Instruction shapes: PTX ISA, `mma.m16n8k16` and `mma.sp.m16n8k32`. Measured since by Sun
et al., arXiv 2206.02874. Energy from `simulator.energy`.

*Exact*: instructions of a product cut into blocks and warps, operands padded to whole instructions;
bytes that a warp needs for each step of k, metadata of 2 bits a kept value included.

*Approximate*:
- An instruction holds its tensor core for 2048 multiplications over 256 a cycle; `mma.sp` takes as
  long and covers twice the k. Sparse is the first operand of the instruction: a product whose right
  operand is sparse is computed transposed, or dense where its shape makes that faster.
- N:M runs sparse if no aligned group of four can keep more than two
  (`dataflow.nm.fits_two_of_four`). 2:8 is therefore as fast as 2:4, and no faster. All other
  patterns run dense.
- Each product gets the warp tile, the config's or halves and quarters of its sides, that takes the
  fewest cycles, as a library picks a kernel. Blocks are dealt to the multiprocessors evenly.
- A step of k takes as long as the slowest of the instructions, the shared memory (fragments of each
  warp, and what is copied in) and the port to the L2 cache.
- Operands are fp16 whatever the workload says, weight gradients fp32.
- Off-chip bytes are moved once: what a block reads again is found in the L2 cache, of which each
  multiprocessor has its share of the bandwidth.
- Vector work and selection run on the fp32 lanes, alone, one operation after the other; fused work
  takes the time of its bytes only.

*Ignored*: start and end of a block (others are resident then), instruction issue, bank conflicts,
misses of the L2 cache, registers and control in the energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataflow.nm import fits_two_of_four
from simulator import area, energy, operation_rows
from simulator.configuration import check_positive
from simulator.counting import check_countable
from simulator.report import REQUIRED, Report
from workloads.columns import operand_bits
from workloads.errors import InputError
from workloads.operations import MatMul, Operation, Selection, VectorOp, Workload
from workloads.patterns import DENSE
from workloads.rounding import ceil_div

MMA_M, MMA_N, MMA_K = 16, 8, 16
"""Shape of `mma.m16n8k16`; `mma.sp` has the same values of its first operand for twice the k."""

VALUE_BYTES, SUM_BYTES, METADATA_BITS = 2, 4, 2
WARP_THREADS, THREAD_REGISTERS, REGISTER_BYTES = 32, 255, 4

NEVER_SLOWER_WITH = (
    "sms",
    "shared_bytes_per_cycle",
    "port_bytes_per_cycle",
    "dram_bytes_per_s",
    "vector_lanes",
)
"""Config fields whose increase never makes a run slower."""

QUANTITIES = {
    "area_mm2": area.expression(
        "sms * tensor_cores * macs_per_cycle",
        mac=f"({area.FP16_MULTIPLIER_UM2} + {area.FP32_ADDER_UM2})",
        lanes="sms * vector_lanes",
        sram_bytes="sms * (shared_bytes + l2_share_bytes)",
    )
}
"""What follows from the config alone, as expressions that studies may use by name."""

COLUMNS = (*REQUIRED, "pattern", "batch", "stall_cycles", "utilisation", "sram_bytes", "energy_pj")

COMPONENTS = ("tensor cores", "shared memory", "L2 cache", "vector lanes", "dram")
"""Components of the energy."""

Tile = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One multiprocessor of an A100, with its share of cache and memory bandwidth.

    Per multiprocessor, but for the memory bandwidth: `dram_bytes_per_s` is that of all.
    """

    sms: int = 1
    """Multiprocessors that share the blocks of a product. 108 in the whole chip (white paper)."""

    tensor_cores: int = 4
    """Tensor cores, each fed by warps of its own (white paper)."""

    macs_per_cycle: int = 256
    """fp16 multiply-accumulates of one tensor core per cycle (white paper)."""

    clock_hz: float = 1.41e9
    """Clock in Hz: the boost clock (white paper)."""

    warp_m: int = 64
    """Most rows of results that a warp holds; a multiple of 16. Usual for fp16; not published."""

    warp_n: int = 64
    """Most columns of results that a warp holds; a multiple of 8. Usual; not published."""

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

    l2_share_bytes: int = (40 << 20) // 108
    """Its share of the L2 cache in bytes: 40 MB for 108 (white paper). Only the area counts it."""

    port_bytes_per_cycle: int = 47
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
        staged = self.stages * _copied_bytes(self, (self.warp_m, self.warp_n), sparse=True)
        if staged > self.shared_bytes:
            raise InputError(
                f"shared_bytes must hold {self.stages} stages, {staged} bytes, "
                f"not {self.shared_bytes}"
            )

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiplications per cycle of all tensor cores of all multiprocessors."""
        return self.sms * self.tensor_cores * self.macs_per_cycle

    @property
    def thread_registers(self) -> int:
        """Registers of a thread: sums, and two steps of sparse fragments."""
        needed = SUM_BYTES * self.warp_m * self.warp_n + 2 * _panel_bytes(
            self.warp_m, self.warp_n, sparse=True
        )
        return ceil_div(needed, WARP_THREADS * REGISTER_BYTES)


def _panel_bytes(rows: int, cols: int, *, sparse: bool) -> int:
    """Return the bytes of a step of k: `rows` of the first operand, `cols` of the second."""
    first = rows * MMA_K * VALUE_BYTES
    metadata = ceil_div(rows * MMA_K * METADATA_BITS, 8) if sparse else 0
    return first + metadata + (1 + sparse) * cols * MMA_K * VALUE_BYTES


def _copied_bytes(config: Config, tile: Tile, *, sparse: bool) -> int:
    """Return what a block copies from the L2 cache for a step of k."""
    return _panel_bytes(config.warps_m * tile[0], config.warps_n * tile[1], sparse=sparse)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPlan:
    """Decisions for one product: which operand is compact, the tile of a warp, blocks and steps."""

    sparse_operand: str
    """left, right, or empty if the product runs dense."""

    transposed: bool
    """Whether the right operand comes first in the instructions, and columns are rows."""

    tile: Tile
    """Rows and columns of results that a warp holds."""

    blocks: int
    """Blocks of results of all products of the batch."""

    steps: int
    """Steps of k of a block: 16 dense or 32 sparse elements each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The operations, and for each product its decisions."""

    workload: Workload
    products: tuple[ProductPlan, ...]

    def __post_init__(self) -> None:
        operation_rows.check_decisions(self.workload, self.products)


def schedule(config: Config, workload: Workload) -> Plan:
    """Choose the compact operand of every product and cut it into blocks."""
    check_countable(workload.name, workload.macs)
    products = tuple(_plan_product(config, op) for op in workload.matmuls)
    return Plan(workload=workload, products=products)


def _plan_product(config: Config, op: MatMul) -> ProductPlan:
    plans = [
        _candidate(config, op, sparse, tile, transposed=transposed)
        for sparse, transposed in (("left", False), ("right", True), ("", False), ("", True))
        if not sparse or fits_two_of_four(getattr(op, sparse).pattern)
        for tile in _tiles(config)
    ]
    return min(plans, key=lambda plan: _compute_cycles(config, plan)[0])


def _candidate(
    config: Config, op: MatMul, sparse_operand: str, tile: Tile, *, transposed: bool
) -> ProductPlan:
    rows, cols = (op.n, op.m) if transposed else (op.m, op.n)
    run = ceil_div(op.k_run, 4) * 4 if sparse_operand else op.k_run
    blocks = ceil_div(rows, config.warps_m * tile[0]) * ceil_div(cols, config.warps_n * tile[1])
    return ProductPlan(
        sparse_operand=sparse_operand,
        transposed=transposed,
        tile=tile,
        blocks=op.batch * blocks,
        steps=ceil_div(op.k // op.k_run * run, 2 * MMA_K if sparse_operand else MMA_K),
    )


def _tiles(config: Config) -> list[Tile]:
    """Return the tiles of a warp that there are kernels for, the largest first."""
    return [
        (config.warp_m // down, config.warp_n // across)
        for down in (1, 2, 4)
        for across in (1, 2, 4)
        if config.warp_m % (down * MMA_M) == 0 and config.warp_n % (across * MMA_N) == 0
    ]


def _step_macs(config: Config, plan: ProductPlan) -> int:
    """Return the multiplications of a block in a step of k."""
    return config.warps_m * plan.tile[0] * config.warps_n * plan.tile[1] * MMA_K


def _step_bytes(config: Config, plan: ProductPlan) -> tuple[int, int]:
    """Return what a block copies from the L2 cache in a step of k, and all that moves in shared."""
    sparse = bool(plan.sparse_operand)
    copied = _copied_bytes(config, plan.tile, sparse=sparse)
    fragments = config.warps_m * config.warps_n * _panel_bytes(*plan.tile, sparse=sparse)
    return copied, copied + fragments


def _compute_cycles(config: Config, plan: ProductPlan) -> tuple[int, str]:
    """Return the cycles of a product with its operands in the L2 cache, and the slowest unit."""
    warps = config.warps_m * config.warps_n
    per_core = ceil_div(warps, config.tensor_cores) * (_step_macs(config, plan) // warps)
    copied, shared = _step_bytes(config, plan)
    cycles = {
        "tensor cores": ceil_div(per_core, config.macs_per_cycle),
        "shared memory": ceil_div(shared, config.shared_bytes_per_cycle),
        "L2 cache": ceil_div(copied, config.port_bytes_per_cycle),
    }
    slowest = max(cycles, key=lambda unit: cycles[unit])
    waves = ceil_div(plan.blocks, config.sms)
    return waves * plan.steps * cycles[slowest], slowest


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
    cycles, slowest = _compute_cycles(config, plan)
    copied, shared = _step_bytes(config, plan)
    steps = plan.blocks * plan.steps
    exploited = getattr(op, plan.sparse_operand).pattern if plan.sparse_operand else DENSE
    return _row(
        config,
        op,
        busy=slowest,
        compute_cycles=cycles,
        dram_bytes=_moved_bytes(op, plan.sparse_operand),
        m=op.m,
        k=op.k,
        n=op.n,
        batch=op.batch,
        kind=op.kind,
        pattern=str(exploited),
        useful_macs=op.kept_macs,
        issued_macs=steps * _step_macs(config, plan),
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
        lane_operations, kind = operation_rows.comparisons(op), "selection"
        moved = operation_rows.selected_bytes(op, 8 * VALUE_BYTES)
    else:
        lane_operations = op.elements * op.lane_operations
        moved, kind = op.read_bytes + op.write_bytes, op.kind
    busy_lanes = 0 if isinstance(op, VectorOp) and op.fused else lane_operations
    return _row(
        config,
        op,
        busy="vector lanes",
        compute_cycles=ceil_div(busy_lanes, config.sms * config.vector_lanes),
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
    components = {
        "tensor cores": made.get("issued_macs", 0) * mac_pj,
        "shared memory": made.get("sram_bytes", 0) * energy.sram_byte_pj(config.shared_bytes),
        "L2 cache": made.get("copied_bytes", 0) * energy.sram_byte_pj(1 << 20),
        "vector lanes": made.get("lane_operations", 0) * energy.LANE_PJ,
        "dram": dram_bytes * energy.DRAM_BYTE_PJ,
    }
    return made | components | {"energy_pj": sum(components.values())}


def _notes(plan: Plan) -> tuple[str, ...]:
    """Say which sparse products run dense, and why, which are sparser, and what is converted."""
    decided = zip(plan.workload.matmuls, plan.products, strict=True)
    sparse = [(op, product.sparse_operand) for op, product in decided if op.kept_macs < op.macs]
    able = {
        op.name
        for op, _ in sparse
        if any(map(fits_two_of_four, (op.left.pattern, op.right.pattern)))
    }
    unable = [op.name for op, _ in sparse if op.name not in able]
    slower = [op.name for op, used in sparse if op.name in able and not used]
    wider = [op.name for op, used in sparse if used and 2 * op.kept_macs < op.macs]
    sentences = (
        (unable, "run dense: only N:M with at most two of four runs sparse"),
        (slower, "run dense: their shapes fill the tiles better"),
        (wider, "are sparser than 2:4 and run as 2:4"),
    )
    dense = (
        f"{len(names)} sparse products, such as {names[0]}, {what}"
        for names, what in sentences
        if names
    )
    converted = operation_rows.width_notes(operand_bits(plan.workload), 8 * VALUE_BYTES)
    return (*dense, *converted)
