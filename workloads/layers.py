"""Layers as small values: what a network's table is made of.

Every layer describes **one item** (an image, a sequence); the batch comes with the network. A layer
says how many parameters it trains, how many multiply-accumulates its forward pass takes for one
item, and which operations a pass consists of. Feature maps are stored once, channels last, so that
no layer pays for a change of layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Protocol

from workloads.lowering import conv_elements, lower_attention, lower_conv, lower_linear
from workloads.operations import Conv2d, Operation, Pass, Position, VectorOp
from workloads.vector_work import FP16_BYTES, FP32_BYTES, vector_work

INDEX_BYTES = 4
"""Bytes of a token number, int32."""


class Layer(Protocol):
    """What every layer can say about itself."""

    @property
    def name(self) -> str:
        """Name, unique in the network."""

    @property
    def parameters(self) -> int:
        """Trained numbers."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward pass of one item."""

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """Operations of `pass_` (FF, BP or WU) over `batch` items, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A 2-D convolution with a square kernel; bias is rare, since batch norm follows."""

    name: str
    in_channels: int
    out_channels: int
    in_hw: tuple[int, int]
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = False
    classifier: ClassVar[bool] = False

    def geometry(self, batch: int) -> Conv2d:
        """Geometry of the convolution of `batch` images."""
        return Conv2d(
            batch=batch,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            in_hw=self.in_hw,
            kernel=(self.kernel, self.kernel),
            stride=(self.stride, self.stride),
            padding=(self.padding, self.padding),
            groups=self.groups,
        )

    @property
    def out_hw(self) -> tuple[int, int]:
        """Output height and width."""
        return self.geometry(1).out_hw

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        _, weights, _ = conv_elements(self.geometry(1))
        return weights + self.bias * self.out_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, padding counted."""
        return self.geometry(1).macs

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """The products of `lower_conv`, and the bias."""
        return convolution(self.name, self.geometry(batch), pass_, position, bias=self.bias)


def convolution(
    name: str, geometry: Conv2d, pass_: Pass, position: Position, *, bias: bool
) -> tuple[Operation, ...]:
    """Return the products of a convolution in a pass, and the work on its bias if it has one."""
    products = lower_conv(name, geometry, pass_, position=position)
    if not bias:
        return products
    _, _, outputs = conv_elements(geometry)
    return products + vector_work(name, "bias", pass_, outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A linear layer on `rows` rows an item (1, or the tokens of a sequence).

    A `classifier` is the last layer, which the methods treat apart. `tied` weights belong to
    another layer (an embedding), which counts and updates them.
    """

    name: str
    in_features: int
    out_features: int
    rows: int = 1
    bias: bool = True
    classifier: bool = False
    tied: bool = False

    @property
    def parameters(self) -> int:
        """Weights, unless tied, and biases."""
        weights = 0 if self.tied else self.in_features * self.out_features
        return weights + self.bias * self.out_features

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one item."""
        return self.rows * self.in_features * self.out_features

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """The product of `lower_linear`, and the bias."""
        rows = batch * self.rows
        shape = (rows, self.in_features, self.out_features)
        products = lower_linear(self.name, *shape, pass_, position=position)
        if not self.bias:
            return products
        return products + vector_work(self.name, "bias", pass_, rows * self.out_features)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Softmax(Q K^T) V of all heads; the projections are linear layers of their own.

    A causal mask is counted as if it were not there: the whole square of scores is computed.
    """

    name: str
    heads: int
    q_len: int
    kv_len: int
    head_dim: int
    kv_heads: int | None = None
    parameters: ClassVar[int] = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of both products of one item."""
        return 2 * self.heads * self.q_len * self.kv_len * self.head_dim

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """Scores, softmax, context; backwards dP, dV, softmax, dQ, dK."""
        products = lower_attention(
            self.name,
            batch,
            self.heads,
            self.q_len,
            self.kv_len,
            self.head_dim,
            pass_,
            kv_heads=self.kv_heads,
        )
        scores = batch * self.heads * self.q_len * self.kv_len
        half = len(products) // 2
        return products[:half] + vector_work(self.name, "softmax", pass_, scores) + products[half:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """Work that is linear in its `elements`, of a kind of `vector_work.COSTS`."""

    name: str
    kind: str
    elements: int
    parameters: int = 0
    macs: ClassVar[int] = 0

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """The lines of the cost table for this kind and pass."""
        return vector_work(self.name, self.kind, pass_, batch * self.elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Max or average pooling of square windows.

    Every element of every window is one comparison or addition. Backwards, max pooling compares
    once more to find where the gradient goes (it reads its input again, instead of storing
    positions) and adds there; average pooling scales and adds.
    """

    name: str
    kind: str
    channels: int
    in_hw: tuple[int, int]
    kernel: int
    stride: int
    padding: int = 0
    parameters: ClassVar[int] = 0
    macs: ClassVar[int] = 0

    @property
    def out_hw(self) -> tuple[int, int]:
        """Output height and width."""
        height, width = (
            (size + 2 * self.padding - self.kernel) // self.stride + 1 for size in self.in_hw
        )
        return height, width

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """One vector operation over the elements of all windows."""
        if pass_ not in (Pass.FF, Pass.BP):
            return ()
        inputs = batch * self.channels * prod(self.in_hw)
        outputs = batch * self.channels * prod(self.out_hw)
        kind, touched = f"{self.kind}pool", outputs * self.kernel**2
        name = f"{self.name}.{self.kind}.{pass_}"
        return (pooling(name, self.name, kind, pass_, inputs, outputs, touched),)


def pooling(
    name: str, layer: str, kind: str, pass_: Pass, inputs: int, outputs: int, touched: int
) -> VectorOp:
    """Return the pooling (FF or BP) of `inputs` to `outputs` by windows of `touched` elements."""
    forward = pass_ is Pass.FF
    small, large = outputs * FP16_BYTES, inputs * FP16_BYTES
    searched = large if kind == "maxpool" else 0
    return VectorOp(
        name=name,
        layer=layer,
        pass_=pass_,
        kind=kind,
        elements=touched,
        lane_operations=1 if forward else 2,
        read_bytes=large if forward else small + searched,
        write_bytes=small if forward else large,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The sum of one row from each of several tables of `table_rows` rows, for every token.

    Forward it gathers rows; in WU it adds the gradient of each token to fp32 rows of dW. There is
    no BP: nobody needs the gradient of a token number.
    """

    name: str
    tokens: int
    dim: int
    table_rows: tuple[int, ...]
    macs: ClassVar[int] = 0

    @property
    def parameters(self) -> int:
        """Elements of all tables."""
        return sum(self.table_rows) * self.dim

    def operations(self, pass_: Pass, batch: int, position: Position) -> tuple[Operation, ...]:
        """Gather (FF) or scattered addition (WU)."""
        elements, tables = batch * self.tokens * self.dim, len(self.table_rows)
        indices = batch * self.tokens * tables * INDEX_BYTES
        if pass_ is Pass.FF:
            read, write = tables * elements * FP16_BYTES, elements * FP16_BYTES
        elif pass_ is Pass.WU:
            rows = tables * elements * FP32_BYTES
            read, write = elements * FP16_BYTES + rows, rows
        else:
            return ()
        return (
            VectorOp(
                name=f"{self.name}.{pass_}",
                layer=self.name,
                pass_=pass_,
                kind="embedding",
                elements=elements,
                lane_operations=tables,
                read_bytes=read + indices,
                write_bytes=write,
            ),
        )
