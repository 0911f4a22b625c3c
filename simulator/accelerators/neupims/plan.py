"""Every decision for one decoder layer: channels, sub-batches, stages and operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.kv_layout import (
    KvLayout,
    channel_order,
    check_capacity,
    pack_channels,
    round_robin,
    split_sub_batches,
)
from simulator.accelerators.neupims.config import Config
from workloads.errors import InputError
from workloads.llm import RequestBatch
from workloads.rounding import ceil_div

STAGES = {
    "A": (("qkv", 0), None),
    "B": (("qkv", 1), 0),
    "C": (("ffn+qkv", 0), 1),
    "D": (("ffn+qkv", 1), 0),
    "E": (("ffn", 0), 1),
    "F": (("ffn", 1), None),
}
"""Two layers of two interleaved sub-batches: the NPU's part, and whose attention the PIM works on
(NeuPIMs, figure on sub-batch interleaving). C and D repeat for every further layer."""

OUTPUT = "output"
"""Name of the stage behind the last layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product of `rows` activations with weights [depth, columns]."""

    name: str
    rows: int
    depth: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWork:
    """Vector work on `rows` rows of `width` elements."""

    name: str
    rows: int
    width: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Decode attention of some requests of the batch, by position, in the order of channels."""

    name: str
    requests: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReduce:
    """The sum over tensor-parallel devices of `rows` rows of `width` activations."""

    name: str
    rows: int
    width: int


Operator = Product | RowWork | Attention | AllReduce


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What NPU and PIM do at the same time."""

    name: str
    npu: tuple[Operator, ...] = ()
    pim: tuple[Attention, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The stages of the simulated layers, and where each request's cache lies."""

    batch: RequestBatch
    channels_of: tuple[int, ...]
    layout: KvLayout
    stages: tuple[Stage, ...]
    split: bool


def schedule(config: Config, workload: RequestBatch) -> Plan:
    """Place the requests on channels, form sub-batches and lay out the stages.

    A batch without channels is packed by least estimated load (neupims) or in turn (the others).
    """
    if not isinstance(workload, RequestBatch):
        raise InputError(
            "neupims works on a batch of requests: sparsight run neupims --requests alpaca, or "
            "FILE.csv; sparsight run gpu takes the same requests, to compare with"
        )
    decoder, shards = config.decoder, config.tensor_parallel
    layout = KvLayout(
        heads=decoder.kv_heads // shards,
        head_width=decoder.head_width,
        groups=decoder.heads // decoder.kv_heads,
        banks=config.timing.banks_total,
        row_elements=config.timing.row_bytes // 2,
    )
    channels_of = _channels(config, workload, layout)
    check_capacity(
        layout,
        workload.lengths,
        channels_of,
        tiles_per_channel=tiles_per_channel(config),
        name=workload.name,
    )
    return Plan(
        batch=workload,
        channels_of=tuple(channels_of),
        layout=layout,
        stages=_stages(config, channels_of) + _output(config, len(channels_of)),
        split=config.splits(len(channels_of)),
    )


def tiles_per_channel(config: Config) -> int:
    """Return the PIM rows of a channel that weights leave to one layer's share of the cache.

    A device holds its shard of all its layers, and each layer of a request needs its own tiles; the
    published simulator holds the cache of one layer only.
    """
    timing, decoder = config.timing, config.decoder
    weights = 2 * decoder.parameters // (config.tensor_parallel * config.pipeline_parallel)
    free = timing.rows - ceil_div(weights, config.channels * timing.row_bytes * timing.banks_total)
    if config.preset == "paper":
        free //= decoder.layers // config.pipeline_parallel
    return max(free, 0)


def _channels(config: Config, batch: RequestBatch, layout: KvLayout) -> Sequence[int]:
    if batch.channels is not None:
        for i, channel in enumerate(batch.channels):
            if not 0 <= channel < config.channels:
                raise InputError(
                    f"{batch.name}, request {i + 1} (line {i + 2} of a trace): the channel must be "
                    f"0 to {config.channels - 1}, not {channel}"
                )
        return batch.channels
    if config.system == "neupims":
        return pack_channels(layout, batch.lengths, channels=config.channels)
    return round_robin(len(batch.lengths), channels=config.channels)


def _stages(config: Config, channels_of: Sequence[int]) -> tuple[Stage, ...]:
    everyone = channel_order(channels_of, channels=config.channels)
    if config.system == "npu-only":
        count = len(everyone)
        attention = Attention(name="attn.FusedMHA", requests=tuple(range(count)))
        work = (*_qkv(config, count), attention, *_feed_forward(config, count))
        return (Stage(name="A", npu=work),)
    if not config.splits(len(everyone)):
        count = len(everyone)
        return (
            Stage(name="A", npu=_qkv(config, count)),
            Stage(name="B", pim=_attention(everyone)),
            Stage(name="E", npu=_feed_forward(config, count)),
        )
    halves = split_sub_batches(channels_of, channels=config.channels)
    stages = []
    for name, ((parts, sub_batch), attending) in STAGES.items():
        count = len(halves[sub_batch])
        work = _feed_forward(config, count) if "ffn" in parts else ()
        work += _qkv(config, count) if "qkv" in parts else ()
        pim = _attention(halves[attending]) if attending is not None else ()
        stages.append(Stage(name=name, npu=work if count else (), pim=pim))
    return tuple(stages)


def _output(config: Config, rows: int) -> tuple[Stage, ...]:
    """Return the product with the vocabulary, once for all layers, if it is asked for."""
    if not config.output_layer:
        return ()
    decoder = config.decoder
    columns = ceil_div(decoder.vocabulary, config.tensor_parallel)
    product = Product(name="output.logits", rows=rows, depth=decoder.width, columns=columns)
    return (Stage(name=OUTPUT, npu=(product,)),)


def _attention(requests: Sequence[int]) -> tuple[Attention, ...]:
    if not requests:
        return ()
    names = ("attn.NeuPIMSLogitSoftmax", "attn.NeuPIMSAttend")
    return tuple(Attention(name=name, requests=tuple(requests)) for name in names)


def _qkv(config: Config, rows: int) -> tuple[Operator, ...]:
    decoder, shards = config.decoder, config.tensor_parallel
    columns = (decoder.width + 2 * decoder.kv_heads * decoder.head_width) // shards
    return (
        RowWork(name="attn.ln", rows=rows, width=decoder.width, kind="layernorm"),
        Product(name="attn.QKVgen", rows=rows, depth=decoder.width, columns=columns),
    )


def _feed_forward(config: Config, rows: int) -> tuple[Operator, ...]:
    decoder, shards = config.decoder, config.tensor_parallel
    width, hidden = decoder.width, decoder.feed_forward // shards
    first = hidden * (2 if decoder.gated else 1)
    attention, feed_forward = (
        (AllReduce(name=f"{part}.allreduce", rows=rows, width=width),)
        if config.link_bytes_per_s and shards > 1
        else ()
        for part in ("attn", "ffn")
    )
    return (
        Product(name="attn.proj", rows=rows, depth=width // shards, columns=width),
        *attention,
        RowWork(name="attn.res", rows=rows, width=width, kind="residual"),
        RowWork(name="ffn.ln", rows=rows, width=width, kind="layernorm"),
        Product(name="ffn.fc1", rows=rows, depth=width, columns=first),
        RowWork(name="ffn.gelu", rows=rows, width=hidden, kind="gelu"),
        Product(name="ffn.fc2", rows=rows, depth=hidden, columns=width),
        *feed_forward,
        RowWork(name="ffn.res", rows=rows, width=width, kind="residual"),
    )
