"""What one training step must compute: matrix products, vector work, N:M selection.

The three passes of a layer `Y = X W` are (SAT's names, used by every table of this project):

====  ==================  =====================  =========================================
pass  what                product                reduction axis K
====  ==================  =====================  =========================================
FF    forward             Y[m,n] = X[m,k] W      input channels x kernel
BP    backward data       dX = dY W^T            output channels x kernel
WU    backward weight     dW = X^T dY            batch x output positions
UP    update              vector work            -
====  ==================  =====================  =========================================

Values only: no operation knows of any hardware. Counts and bytes are `int`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

from workloads.errors import InputError
from workloads.patterns import DENSE, NM, Pattern
from workloads.rounding import ceil_div
from workloads.statistics import Statistics

if TYPE_CHECKING:
    from workloads.matrices.csr import Csr
    from workloads.operand_values import Values

DTYPE_BITS = {
    "fp64": 64,
    "fp32": 32,
    "fp16": 16,
    "bf16": 16,
    "fp8": 8,
    "int64": 64,
    "int32": 32,
    "int16": 16,
    "int8": 8,
    "int4": 4,
    "int2": 2,
    "int1": 1,
    "bool": 8,
}

Kind = Literal["conv", "linear", "attention"]
"""What a matrix product is."""

Position = Literal["first", "inner", "last"]
"""Whether a layer is the first of its network, the last (the classifier) or neither."""


class Pass(StrEnum):
    """A pass of one training step."""

    FF = "FF"
    BP = "BP"
    WU = "WU"
    UP = "UP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """One tensor of a matrix product.

    `tensor` is its role: X, W, Y, dX, dY or dW. `elements` counts what is stored (for a
    convolution the feature map, not its im2col copy). `pattern` groups lie along K. `values`, if
    there are any, are for models whose time depends on them; see `workloads.operand_values`.
    """

    tensor: str
    elements: int
    dtype: str = "fp16"
    pattern: Pattern = DENSE
    statistics: Statistics | None = None
    values: Values | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_BITS:
            raise InputError(
                f"data type of {self.tensor} must be one of {', '.join(DTYPE_BITS)}, "
                f"not {self.dtype!r}"
            )
        _positive(self.elements, f"elements of {self.tensor}")

    @property
    def value_bits(self) -> int:
        """Bits of one element."""
        return DTYPE_BITS[self.dtype]

    @property
    def dense_bytes(self) -> int:
        """Bytes of the dense tensor."""
        return ceil_div(self.elements * self.value_bits, 8)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the tensor in its pattern's compact form, indices included."""
        bits = self.pattern.stored_bits(elements=self.elements, value_bits=self.value_bits)
        return ceil_div(bits, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2d:
    """Geometry of a 2-D convolution; height and width pairs, channels in all groups together."""

    batch: int
    in_channels: int
    out_channels: int
    in_hw: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for value, what in (
            (self.batch, "batch"),
            (self.in_channels, "in_channels"),
            (self.out_channels, "out_channels"),
            (self.groups, "groups"),
            *((v, "in_hw") for v in self.in_hw),
            *((v, "kernel") for v in self.kernel),
            *((v, "stride") for v in self.stride),
            *((v, "dilation") for v in self.dilation),
        ):
            _positive(value, f"convolution {what}")
        if min(self.padding) < 0:
            raise InputError(f"convolution padding must not be negative, not {self.padding}")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise InputError(
                f"convolution groups must divide both channel counts, not {self.groups} groups of "
                f"{self.in_channels} and {self.out_channels} channels"
            )
        if min(self.out_hw) < 1:
            raise InputError(
                f"convolution kernel {self.kernel} with dilation {self.dilation} must fit into the "
                f"padded input {self.in_hw}"
            )

    @property
    def out_hw(self) -> tuple[int, int]:
        """Output height and width: floor((in + 2 pad - dilation (kernel - 1) - 1) / stride) + 1."""
        height, width = (
            (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for size, pad, dilation, kernel, stride in zip(
                self.in_hw, self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        )
        return height, width

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward pass, padding counted as work."""
        return (
            self.batch
            * self.out_hw[0]
            * self.out_hw[1]
            * self.out_channels
            * (self.in_channels // self.groups)
            * self.kernel[0]
            * self.kernel[1]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMul:
    """`batch` independent products out[m,n] = sum over k of left[m,k] right[k,n].

    `k_run` is the length of the runs of K along which groups of N:M may be formed: the channels
    of a convolution whose K is kernel x channels; it divides k. `layer` names the layer of the
    network, `name` is unique in the workload. `matrices` are the two operands themselves, for
    models whose time depends on where the non-zeros are.
    """

    name: str
    layer: str
    pass_: Pass
    m: int
    k: int
    n: int
    batch: int = 1
    left: Operand
    right: Operand
    out: Operand
    k_run: int = 0
    kind: Kind = "linear"
    position: Position = "inner"
    conv: Conv2d | None = None
    matrices: tuple[Csr, Csr] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for value, what in ((self.m, "m"), (self.k, "k"), (self.n, "n"), (self.batch, "batch")):
            _positive(value, f"{what} of {self.name}")
        if self.k_run == 0:
            object.__setattr__(self, "k_run", self.k)
        if self.k_run < 1 or self.k % self.k_run:
            raise InputError(f"k_run of {self.name} must divide k={self.k}, not {self.k_run}")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense product."""
        return self.batch * self.m * self.k * self.n

    @property
    def kept_macs(self) -> int:
        """Multiply-accumulates that the operands' patterns leave, rounded up.

        N:M counts what its groups keep, incomplete ones at the end of a run included; of two
        patterns on one product the expected overlap is left. The pattern of `out` says which
        results are wanted: those at the positions of a mask.
        """
        left, right = (_kept_share(op.pattern, self.k_run) for op in (self.left, self.right))
        wanted = _exact(self.out.pattern.density)
        return math.ceil(self.macs * left * right * wanted)

    @property
    def compulsory_bytes(self) -> int:
        """Bytes of both operands, compactly stored, and of the result, each moved once."""
        return self.left.stored_bytes + self.right.stored_bytes + self.out.stored_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorOp:
    """Work that is linear in its elements: activation, normalisation, softmax, pooling, update.

    `lane_operations` is the number of times one element occupies a vector lane. `fused` work rides
    on the result stream of the matrix product before it: it takes no lane time, and moves only the
    bytes that it states (a second tensor that it reads, such as the skip tensor of a residual).
    """

    name: str
    layer: str
    pass_: Pass
    kind: str
    elements: int
    lane_operations: int = 1
    read_bytes: int = 0
    write_bytes: int = 0
    fused: bool = False

    def __post_init__(self) -> None:
        _positive(self.elements, f"elements of {self.name}")
        _positive(self.lane_operations, f"lane_operations of {self.name}")
        if min(self.read_bytes, self.write_bytes) < 0:
            raise InputError(
                f"bytes of {self.name} must not be negative, not {self.read_bytes} read and "
                f"{self.write_bytes} written"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Choosing the elements that an N:M pattern keeps, of one tensor for one pass.

    `pregenerable` selections act on weights, which are known as soon as the update is done; the
    others act on a tensor that only exists during the step (SDGP: the output gradient).
    """

    name: str
    layer: str
    pass_: Pass
    tensor: str
    elements: int
    pattern: Pattern
    dtype: str = "fp16"
    pregenerable: bool = True

    def __post_init__(self) -> None:
        _positive(self.elements, f"elements of {self.name}")


Operation = MatMul | VectorOp | Selection


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The operations of one training step (or one inference), in the order of execution.

    Iterating gives the operations. `notes` are sentences for the report, such as which layers a
    method left dense and why. Workloads are values: methods return new ones.
    """

    name: str
    operations: tuple[Operation, ...]
    method: str = "dense"
    source: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.operations:
            raise InputError(f"workload {self.name!r} must have at least one operation")

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    @cached_property
    def matmuls(self) -> tuple[MatMul, ...]:
        """The matrix products, in order."""
        return tuple(op for op in self.operations if isinstance(op, MatMul))

    @cached_property
    def vector_ops(self) -> tuple[VectorOp, ...]:
        """The vector work, in order."""
        return tuple(op for op in self.operations if isinstance(op, VectorOp))

    @cached_property
    def selections(self) -> tuple[Selection, ...]:
        """The N:M selections, in order."""
        return tuple(op for op in self.operations if isinstance(op, Selection))

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of all dense products."""
        return sum(op.macs for op in self.matmuls)

    @cached_property
    def kept_macs(self) -> int:
        """Multiply-accumulates that the patterns leave."""
        return sum(op.kept_macs for op in self.matmuls)

    @property
    def flop_ratio(self) -> float:
        """Kept over dense multiply-accumulates, the method's training-FLOP ratio; 1 for none."""
        return self.kept_macs / self.macs if self.macs else 1.0

    def only(self, *passes: Pass) -> Workload:
        """Keep the operations of the named passes."""
        kept = tuple(op for op in self.operations if op.pass_ in passes)
        return replace(self, operations=kept)


def gemm(
    m: int, k: int, n: int, *, pattern: Pattern = DENSE, dtype: str = "fp16", name: str = "gemm"
) -> Workload:
    """Make the workload of a single forward product with the pattern on its right operand.

    >>> gemm(128, 256, 96).macs
    3145728
    """
    for value, what in ((m, "M"), (k, "K"), (n, "N")):
        _positive(value, what)
    product = MatMul(
        name=name,
        layer=name,
        pass_=Pass.FF,
        m=m,
        k=k,
        n=n,
        left=Operand(tensor="X", elements=m * k, dtype=dtype),
        right=Operand(tensor="W", elements=k * n, dtype=dtype, pattern=pattern),
        out=Operand(tensor="Y", elements=m * n, dtype=dtype),
    )
    return Workload(name=f"{name} {m}x{k}x{n}", operations=(product,), source="given shape")


def _kept_share(pattern: Pattern, run: int) -> Fraction:
    """Return the exact share of a run of K that a pattern keeps."""
    if isinstance(pattern, NM):
        return Fraction(pattern.kept_in(run), run)
    return _exact(pattern.density)


@lru_cache(maxsize=1 << 10)
def _exact(density: float) -> Fraction:
    """Return the fraction that is written as `density`."""
    return Fraction(repr(float(density)))


def _positive(value: int, what: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{what} must be a positive whole number, not {value!r}")
