"""One iteration of a decoder on the GPU: every request of a batch gets its next or first token.

A layer of one tensor-parallel shard is a sequence of kernels, named as those of `neupims`: norm,
query-key-value product, attention over the paged caches, projection, norm, feed-forward products
with their activation, and two all-reduces. Residuals ride on the products before them.

Attention while decoding splits the cache of every request and stored head into pieces of
`PIECE_TOKENS`; a thread block reads one piece's keys and values once and multiplies them with the
query heads that share them. Pieces run in waves over the SMs. With `attention=unfused` the caches
are one tensor, padded to the longest request, as in a program without paged caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from simulator import collectives, decoding, energy, operation_rows
from simulator.accelerators.gpu import model
from simulator.accelerators.gpu.config import Config
from simulator.accelerators.gpu.plan import (
    SPARSE,
    ProductPlan,
    plan_product,
    runs_sparse,
    stored_bytes,
    wider_dtype,
)
from simulator.report import Report
from workloads.errors import InputError
from workloads.llm import Decoder, RequestBatch
from workloads.lowering import lower_attention
from workloads.operations import MatMul, Operand, Pass, VectorOp
from workloads.patterns import DENSE
from workloads.rounding import ceil_div
from workloads.vector_work import FP16_BYTES, vector_work

PIECE_TOKENS = 256
"""Tokens of a cache that one thread block reads (Flash-Decoding); assumed."""

MMA_ROWS = 16
"""Rows of a tensor-core instruction (mma.m16n8k16): fewer query heads are padded to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAttention:
    """Attention of one new token of each request over its cache; heads are those of the shard."""

    name: str
    layer: str
    pass_: Pass
    lengths: tuple[int, ...]
    heads: int
    kv_heads: int
    head_width: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of scores and context."""
        return 2 * sum(self.lengths) * self.heads * self.head_width

    @property
    def cache_bytes(self) -> int:
        """Bytes of all keys and values."""
        return 2 * FP16_BYTES * sum(self.lengths) * self.kv_heads * self.head_width


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReduce:
    """The sum over shards of activations."""

    name: str
    layer: str
    pass_: Pass
    reduced_bytes: int


LayerOperation = MatMul | VectorOp | CacheAttention | AllReduce


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodePlan:
    """The kernels of one decoder layer, and for each product its decisions."""

    batch: RequestBatch
    operations: tuple[LayerOperation, ...]
    products: tuple[ProductPlan, ...]


def schedule_batch(config: Config, batch: RequestBatch) -> DecodePlan:
    """Lay out the kernels of a layer; raise `InputError` if weights and caches do not fit."""
    _check_capacity(config, batch)
    operations = decode_operations(config, batch.lengths)
    return DecodePlan(batch=batch, operations=operations, products=_plans(config, operations))


def _plans(config: Config, operations: Sequence[LayerOperation]) -> tuple[ProductPlan, ...]:
    return tuple(plan_product(config, op) for op in operations if isinstance(op, MatMul))


def cache_bytes_per_token(config: Config) -> int:
    """Return the bytes of keys and values of one token on one GPU, all its layers."""
    decoder, shards = config.decoder, config.tensor_parallel
    layers = decoder.layers // config.pipeline_parallel
    return 2 * FP16_BYTES * layers * decoder.kv_heads // shards * decoder.head_width


def weight_bytes(config: Config) -> int:
    """Return the bytes of one GPU's share of the weights, embedding included.

    They are compact where products of fp16 activations with them run as 2:4.
    """
    shards = config.tensor_parallel * config.pipeline_parallel
    weights = Operand(
        tensor="W", elements=ceil_div(config.decoder.parameters, shards), dtype=config.weight_dtype
    )
    dtype = wider_dtype("fp16", config.weight_dtype)
    compact = runs_sparse(config, config.weights, run=SPARSE.m, dtype=dtype)
    return stored_bytes(weights, compact)


def _check_capacity(config: Config, batch: RequestBatch) -> None:
    wanted = weight_bytes(config) + sum(batch.lengths) * cache_bytes_per_token(config)
    if wanted > config.chip.memory_bytes:
        raise InputError(
            f"weights and caches of {batch.name} must fit the {config.chip.memory_bytes / 1e9:.3g} "
            f"GB of a GPU, not take {wanted / 1e9:.3g} GB; use more GPUs (--tp, --pp) or a "
            "smaller batch"
        )


def decode_operations(config: Config, lengths: Sequence[int]) -> tuple[LayerOperation, ...]:
    """Return the kernels of one layer that give each request one token."""
    return _layer(config, len(lengths), _attention(config, lengths))


def _attention(config: Config, lengths: Sequence[int]) -> tuple[LayerOperation, ...]:
    if config.attention == "unfused":
        return _padded_attention(config, len(lengths), max(lengths))
    decoder, shards = config.decoder, config.tensor_parallel
    attention = CacheAttention(
        name="attn.FusedMHA",
        layer="attn",
        pass_=Pass.FF,
        lengths=tuple(lengths),
        heads=decoder.heads // shards,
        kv_heads=decoder.kv_heads // shards,
        head_width=decoder.head_width,
    )
    return (attention,)


def _padded_attention(config: Config, requests: int, longest: int) -> tuple[LayerOperation, ...]:
    """Return scores, softmax and context of caches that are padded to the longest request's."""
    decoder, shards = config.decoder, config.tensor_parallel
    heads, kv_heads = decoder.heads // shards, decoder.kv_heads // shards
    shape = (requests, heads, 1, longest, decoder.head_width)
    scores, context = lower_attention("attn", *shape, Pass.FF, kv_heads=kv_heads)
    softmax = vector_work("attn", "softmax", Pass.FF, requests * heads * longest)
    return (scores, *softmax, context)


def prefill_operations(config: Config, prompts: Sequence[int]) -> tuple[LayerOperation, ...]:
    """Return the kernels of one layer that read whole prompts; scores are computed as a square."""
    decoder, shards = config.decoder, config.tensor_parallel
    attention = [
        op
        for i, tokens in enumerate(prompts)
        for op in lower_attention(
            f"attn.{i}",
            1,
            decoder.heads // shards,
            tokens,
            tokens,
            decoder.head_width,
            Pass.FF,
            kv_heads=decoder.kv_heads // shards,
        )
    ]
    return _layer(config, sum(prompts), tuple(attention))


def _layer(
    config: Config, rows: int, attention: tuple[LayerOperation, ...]
) -> tuple[LayerOperation, ...]:
    """Return the kernels of one layer around its attention, for `rows` tokens."""
    decoder, shards = config.decoder, config.tensor_parallel
    width, hidden = decoder.width, decoder.feed_forward // shards
    columns = (width + 2 * decoder.kv_heads * decoder.head_width) // shards
    first = hidden * (2 if decoder.gated else 1)
    return (
        _norm("attn.ln", rows, width),
        _product(config, "attn.QKVgen", rows, width, columns),
        *attention,
        _product(config, "attn.proj", rows, width // shards, width),
        *_all_reduce(config, "attn.allreduce", rows, decoder),
        _residual("attn.res", rows, width),
        _norm("ffn.ln", rows, width),
        _product(config, "ffn.fc1", rows, width, first),
        _activation("ffn.gelu", rows, hidden, first),
        _product(config, "ffn.fc2", rows, hidden, width),
        *_all_reduce(config, "ffn.allreduce", rows, decoder),
        _residual("ffn.res", rows, width),
    )


def _part(name: str) -> str:
    """Return the part of a layer that a kernel belongs to: attn or ffn."""
    return name.partition(".")[0]


def _product(config: Config, name: str, m: int, k: int, n: int) -> MatMul:
    return MatMul(
        name=name,
        layer=_part(name),
        pass_=Pass.FF,
        m=m,
        k=k,
        n=n,
        left=Operand(tensor="X", elements=m * k),
        right=Operand(
            tensor="W", elements=k * n, dtype=config.weight_dtype, pattern=config.weights
        ),
        out=Operand(tensor="Y", elements=m * n),
    )


def _vector(name: str, kind: str, elements: int) -> VectorOp:
    """Return vector work as `workloads.vector_work` counts it, under the kernel's own name."""
    (op,) = vector_work(_part(name), kind, Pass.FF, elements)
    return replace(op, name=name)


def _norm(name: str, rows: int, width: int) -> VectorOp:
    return _vector(name, "layernorm", rows * width)


def _residual(name: str, rows: int, width: int) -> VectorOp:
    return replace(_vector(name, "add", rows * width), kind="residual")


def _activation(name: str, rows: int, hidden: int, inputs: int) -> VectorOp:
    """Return the activation, which reads `inputs` columns: both halves of a gated layer."""
    return replace(_vector(name, "gelu", rows * hidden), read_bytes=FP16_BYTES * rows * inputs)


def _all_reduce(config: Config, name: str, rows: int, decoder: Decoder) -> tuple[AllReduce, ...]:
    if not config.all_reduce or config.tensor_parallel == 1:
        return ()
    reduced = FP16_BYTES * rows * decoder.width
    return (AllReduce(name=name, layer=_part(name), pass_=Pass.FF, reduced_bytes=reduced),)


def rows(
    config: Config,
    operations: Sequence[LayerOperation],
    products: Sequence[ProductPlan],
) -> list[dict[str, Any]]:
    """Return the rows of the kernels of a layer."""
    plans = iter(products)
    made = []
    for op in operations:
        match op:
            case MatMul():
                made.append(model.product_row(config, op, next(plans)))
            case VectorOp():
                made.append(model.vector_row(config, op))
            case CacheAttention():
                made.append(_attention_row(config, op))
            case AllReduce():
                made.append(_all_reduce_row(config, op))
    return list(operation_rows.hide_fused_traffic(made, operations))


def layer_cycles(config: Config, operations: Sequence[LayerOperation]) -> int:
    """Return the clocks of a layer."""
    made = rows(config, operations, _plans(config, operations))
    return sum(row["cycles"] for row in made)


def decode_cycles(config: Config, lengths: Sequence[int]) -> int:
    """Return `layer_cycles` of `decode_operations`; what depends on no length is kept."""
    return _cycles_around(config, len(lengths)) + layer_cycles(config, _attention(config, lengths))


@lru_cache(maxsize=1 << 14)
def _cycles_around(config: Config, requests: int) -> int:
    return layer_cycles(config, _layer(config, requests, ()))


def _attention_row(config: Config, op: CacheAttention) -> dict[str, Any]:
    """Return the row of attention over caches: pieces in waves, or the bytes of the caches."""
    chip = config.chip
    lengths = np.asarray(op.lengths, np.int64)
    pieces = int(ceil_div(lengths, PIECE_TOKENS).sum()) * op.kv_heads
    longest = min(PIECE_TOKENS, int(lengths.max()))
    waves = ceil_div(pieces, chip.sms)
    active = ceil_div(pieces, waves)
    share = min(config.port_bytes_per_cycle, chip.l2_bytes_per_cycle / active)
    padded = ceil_div(op.heads // op.kv_heads, MMA_ROWS) * MMA_ROWS
    piece_macs = 2 * longest * op.head_width * padded
    multiply = ceil_div(piece_macs, chip.rate("fp16"))
    feed = int(np.ceil(2 * FP16_BYTES * longest * op.head_width / share))
    issued = 2 * int(lengths.sum()) * op.kv_heads * op.head_width * padded
    queries = 2 * FP16_BYTES * len(lengths) * op.heads * op.head_width
    moved = op.cache_bytes + queries
    return model.complete_row(
        config,
        op,
        kind="attention",
        m=len(lengths),
        k=op.heads * op.head_width,
        n=1,
        waves=waves,
        compute_cycles=waves * (max(multiply, feed) + config.memory_latency_cycles),
        fill_cycles=waves * config.memory_latency_cycles,
        launches=1,
        useful_macs=op.macs,
        issued_macs=issued,
        dram_bytes=moved,
        compulsory_bytes=moved,
        sram_bytes=2 * moved,
        busy="tensor cores" if multiply >= feed else "L2",
        tensor_pj=issued * (energy.FP16_MULTIPLY_PJ + energy.FP32_ADD_PJ),
    )


def _all_reduce_row(config: Config, op: AllReduce) -> dict[str, Any]:
    chip = config.chip
    link = collectives.Link(
        bytes_per_s=chip.link_bytes_per_s, latency_s=config.link_latency_ns * 1e-9
    )
    seconds = collectives.all_reduce_seconds(link, config.tensor_parallel, op.reduced_bytes)
    return model.complete_row(
        config,
        op,
        kind="all-reduce",
        launches=1,
        link_cycles=int(np.ceil(seconds * chip.clock_hz)),
        dram_bytes=2 * op.reduced_bytes,
        compulsory_bytes=2 * op.reduced_bytes,
        sram_bytes=2 * op.reduced_bytes,
        busy="link",
    )


def simulate_batch(config: Config, plan: DecodePlan) -> Report:
    """Return clocks, traffic and energy of one decoder layer for the whole batch, on one GPU.

    The headline is that of one batch that passes all layers, through one pipeline stage after the
    other, as for `neupims`; `simulator.serving` fills the stages with several groups.
    """
    made = rows(config, plan.operations, plan.products)
    cycles = sum(row["cycles"] for row in made)
    layers, devices = config.decoder.layers, config.tensor_parallel
    notes = [decoding.covers("one decoder layer", layers=layers, devices=devices)]
    if config.weights != DENSE and not any(p.sparse_operand for p in plan.products):
        products = (op for op in plan.operations if isinstance(op, MatMul))
        first = next(op for op in products if config.weights in (op.left.pattern, op.right.pattern))
        notes.append(f"weights of {config.weights} run dense: {model.why_dense(config, first)}")
    energy_pj = {name: sum(row["components"][name] for row in made) for name in model.COMPONENTS}
    return Report(
        accelerator="gpu",
        config=config.resolved,
        workload=plan.batch.name,
        method=config.weight_pattern,
        clock_hz=config.chip.clock_hz,
        peak_macs_per_cycle=model.peak_macs_per_cycle(config, plan.products),
        columns={name: [row[name] for row in made] for name in model.COLUMNS},
        energy_pj=energy_pj,
        extra={
            **decoding.iteration(
                layers=layers,
                devices=devices,
                requests=len(plan.batch.lengths),
                clock_hz=config.chip.clock_hz,
                layer_cycles=cycles,
                layer_pj=sum(energy_pj.values()),
                layer_bytes=sum(row["dram_bytes"] for row in made),
            ),
            "stages": {"A": cycles},
            "operators": {row["name"]: row["cycles"] for row in made},
        },
        headline=decoding.HEADLINE,
        notes=tuple(notes),
    )
