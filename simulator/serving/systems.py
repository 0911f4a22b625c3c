"""The four systems of the comparison as devices of the serving loop.

==========  =====================================  =============================  ==============
system      one iteration                          prefill                        pages
==========  =====================================  =============================  ==============
gpu-only    `accelerators.gpu`, its kernels        by itself, before the          16 tokens,
                                                   iteration                      one pool
npu-only,   `accelerators.neupims`, every layer    separate NPUs: the eight       tiles of K and
npu-pim,    as the one that is simulated           arrays as `systolic`, then     V in the
neupims                                            the cache over their link      request's
                                                                                  channel
==========  =====================================  =============================  ==============

With pipeline parallelism the batch is cut into as many groups as there are stages. In an iteration
every stage works on each group in turn, and a group needs all stages in turn: the iteration takes
the longer of the sum over the groups and stages times the longest group.

*Approximate*: prefill units pass their groups on as a whole, and their weights are dense whatever
those of the device are. A GPU keeps nine tenths of its memory for weights and cache. `Reused` takes
the time of an earlier iteration for a similar one, if asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

from simulator.accelerators import gpu, neupims, systolic
from simulator.accelerators.gpu import decode as gpu_decode
from simulator.accelerators.neupims.npu import ARRAYS, SIZE
from simulator.accelerators.neupims.plan import tiles_per_channel
from simulator.serving.caches import ChannelTiles, TokenPages
from simulator.serving.loop import Device
from workloads.errors import InputError
from workloads.llm import Decoder, RequestBatch
from workloads.lowering import lower_attention, lower_linear
from workloads.operations import MatMul, Pass, Workload
from workloads.rounding import ceil_div

PAGE_TOKENS = 16
"""Tokens of a page on the GPU: the default of vLLM."""

GPU_MEMORY_SHARE = 0.9
"""Share of a GPU's memory for weights and cache: the default of vLLM."""

MEMORY_BYTES_PER_CYCLE = 1024
"""Of an NPU that prefills, as of a device (NeuPIMs: 32 channels of 32 bytes a clock)."""

PREFILL_LINK_BYTES_PER_S = 64e9
"""From the prefill NPU to the device: PCIe 5.0 x16, assumed (the paper: PCIe or CXL)."""

LEAST_WIDTH = 0.001
"""Least width in which batches are taken to be alike."""

Times = Callable[[tuple[int, ...], tuple[int, ...]], float]


def gpu_device(config: gpu.Config) -> Device:
    """Return a GPU that prefills and decodes; raise `InputError` if the weights leave no room."""
    room = GPU_MEMORY_SHARE * config.chip.memory_bytes - gpu_decode.weight_bytes(config)
    pages = int(room // (PAGE_TOKENS * gpu_decode.cache_bytes_per_token(config)))
    if pages < 1:
        raise InputError(
            f"weights of {config.model} must leave room in the memory of {config.device}; use more "
            "GPUs (--tp, --pp)"
        )
    layers, clock_hz = config.decoder.layers, config.chip.clock_hz

    def decode_s(lengths: tuple[int, ...], channels: tuple[int, ...]) -> float:
        return gpu_decode.decode_cycles(config, lengths)

    def prefill_s(prompts: tuple[int, ...]) -> float:
        operations = gpu_decode.prefill_operations(config, prompts)
        return layers * gpu_decode.layer_cycles(config, operations) / clock_hz

    return Device(
        name="gpu-only",
        decode_s=pipelined(decode_s, layers / clock_hz, config.pipeline_parallel),
        prefill_s=prefill_s,
        make_cache=lambda: TokenPages(capacity_pages=pages, page_tokens=PAGE_TOKENS),
    )


def neupims_device(
    config: neupims.Config, *, prefill_units: int = 1, within: float = 0.0, check_every: int = 0
) -> tuple[Device, Reused]:
    """Return an NPU with or without PIM, and the record of which iterations were simulated.

    `within` and `check_every` are those of `Reused`. Prefill runs on separate NPUs. Raises
    `InputError` if the weights leave no room, or for a configuration that serving would ignore.
    """
    if config.output_layer:
        raise InputError("output_layer must be off where requests are served: it is left out there")
    tiles = tiles_per_channel(config)
    if tiles < 1:
        raise InputError(
            f"weights of {config.model} must leave room in the memory of {config.system}; use more "
            "devices (--tp, --pp)"
        )
    layout = neupims.schedule(config, RequestBatch(name="one", lengths=(1,))).layout
    layers = config.decoder.layers

    def layer_cycles(lengths: tuple[int, ...], channels: tuple[int, ...]) -> float:
        batch = RequestBatch(name="iteration", lengths=lengths, channels=channels)
        report = neupims.simulate(config, neupims.schedule(config, batch))
        return float(report.extra["cycles_per_layer"])

    times = Reused(times=layer_cycles, within=within, check_every=check_every)
    device = Device(
        name=config.system,
        decode_s=pipelined(times, layers / config.clock_hz, config.pipeline_parallel),
        prefill_s=npu_prefill(config.decoder, config.tensor_parallel, config.clock_hz),
        make_cache=lambda: ChannelTiles(
            layout=layout,
            channels=config.channels,
            tiles_per_channel=tiles,
            assignment="least-load" if config.system == "neupims" else "round-robin",
        ),
        prefill_units=prefill_units,
    )
    return device, times


def pipelined(layer_cycles: Times, seconds_per_cycle: float, stages: int) -> Times:
    """Return the time of an iteration from the clocks of a layer for one group of the batch.

    `seconds_per_cycle` is that of all layers; each of the `stages` has its share of them.

    >>> one = pipelined(lambda lengths, channels: len(lengths), 8.0, 1)
    >>> two = pipelined(lambda lengths, channels: len(lengths), 8.0, 2)
    >>> one((5, 5, 5), (0, 0, 0)), two((5, 5, 5), (0, 0, 0))   # groups of 2 and 1: twice the 2
    (24.0, 16.0)
    """

    def iteration_s(lengths: tuple[int, ...], channels: tuple[int, ...]) -> float:
        groups = [
            layer_cycles(lengths[first::stages], channels[first::stages])
            for first in range(min(stages, len(lengths)))
        ]
        return max(sum(groups), stages * max(groups)) * seconds_per_cycle / stages

    return iteration_s


@dataclass(slots=True, kw_only=True)
class Reused:
    """Clocks of a layer, simulated once for batches that are alike.

    Alike are batches of which three numbers lie in the same interval of width `within` (relative):
    requests, tokens of all of them, and tokens of the busiest channel. The first of them is
    simulated. Every `check_every`-th reuse is simulated too, its own time is taken, and the
    deviation is kept in `errors`. With `within` = 0 every batch is simulated.
    """

    times: Times
    within: float
    check_every: int = 0
    known: dict[tuple[int, ...], float] = field(default_factory=dict)
    simulated: int = 0
    reused: int = 0
    errors: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.within != 0 and not LEAST_WIDTH <= self.within < 1:
            raise InputError(
                f"within must be 0, or at least {LEAST_WIDTH} and below 1, not {self.within}"
            )
        if self.check_every < 0:
            raise InputError(f"check-every must be at least 0, not {self.check_every}")

    def __call__(self, lengths: tuple[int, ...], channels: tuple[int, ...]) -> float:
        """Return the clocks of a layer."""
        if self.within == 0:
            self.simulated += 1
            return self.times(lengths, channels)
        key = self._key(lengths, channels)
        if key not in self.known:
            self.simulated += 1
            self.known[key] = self.times(lengths, channels)
            return self.known[key]
        self.reused += 1
        if not self.check_every or self.reused % self.check_every:
            return self.known[key]
        own = self.times(lengths, channels)
        self.errors.append(self.known[key] / own - 1)
        return own

    def _key(self, lengths: tuple[int, ...], channels: tuple[int, ...]) -> tuple[int, ...]:
        load: dict[int, int] = {}
        for length, channel in zip(lengths, channels, strict=True):
            load[channel] = load.get(channel, 0) + length
        numbers = (len(lengths), sum(lengths), max(load.values()))
        return tuple(math.floor(math.log(number) / math.log1p(self.within)) for number in numbers)

    @property
    def largest_error(self) -> float:
        """Largest deviation of a reused time from its own, of those that were checked."""
        return max((abs(error) for error in self.errors), default=0.0)


def npu_prefill(
    decoder: Decoder, shards: int, clock_hz: float
) -> Callable[[tuple[int, ...]], float]:
    """Return the time to prefill prompts together on a group of `shards` NPUs.

    An NPU is that of `neupims`: each of its eight arrays makes an eighth of the columns of every
    product, or of the heads; a product takes that or its bytes, each moved once. Vector work hides
    behind them. The caches of the prompts then cross the link.
    """
    config = systolic.Config(rows=SIZE, cols=SIZE, dataflow="ws", clock_hz=clock_hz)
    token_bytes = 4 * decoder.layers * decoder.kv_heads // shards * decoder.head_width

    def cycles(products: list[MatMul]) -> int:
        work = Workload(name="prompts", operations=tuple(_eighth(op) for op in products))
        report = systolic.simulate(config, systolic.schedule(config, work))
        return sum(
            max(int(compute), ceil_div(op.compulsory_bytes, MEMORY_BYTES_PER_CYCLE))
            for compute, op in zip(report.columns["compute_cycles"], products, strict=True)
        )

    linear = cache(lambda tokens: cycles(_linear(decoder, shards, tokens)))
    attention = cache(lambda tokens: cycles(_attention(decoder, shards, tokens)))

    def prefill_s(prompts: tuple[int, ...]) -> float:
        layer_cycles = linear(sum(prompts)) + sum(attention(tokens) for tokens in prompts)
        handed_over_s = sum(prompts) * token_bytes / PREFILL_LINK_BYTES_PER_S
        return decoder.layers * layer_cycles / clock_hz + handed_over_s

    return prefill_s


def _linear(decoder: Decoder, shards: int, tokens: int) -> list[MatMul]:
    """Return the products with weights of one layer of a shard for so many tokens."""
    width, hidden = decoder.width, decoder.feed_forward // shards
    key_columns = decoder.kv_heads // shards * decoder.head_width
    shapes = (
        ("qkv", width, width // shards + 2 * key_columns),
        ("proj", width // shards, width),
        ("fc1", width, hidden * (2 if decoder.gated else 1)),
        ("fc2", hidden, width),
    )
    return [op for name, k, n in shapes for op in lower_linear(name, tokens, k, n, Pass.FF)]


def _attention(decoder: Decoder, shards: int, tokens: int) -> list[MatMul]:
    """Return the attention products of one layer of a shard for one prompt."""
    heads, kv_heads = decoder.heads // shards, decoder.kv_heads // shards
    shape = (tokens, tokens, decoder.head_width)
    return list(lower_attention("attn", 1, heads, *shape, Pass.FF, kv_heads=kv_heads))


def _eighth(op: MatMul) -> MatMul:
    """Return what one array of an NPU makes of a product: some columns, or some heads."""
    if op.kind == "attention":
        return replace(op, batch=ceil_div(op.batch, ARRAYS))
    return replace(op, n=ceil_div(op.n, ARRAYS))
