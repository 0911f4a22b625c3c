"""Hypothesis strategies of every value that a test draws."""

from __future__ import annotations

from hypothesis import strategies as st

from workloads import (
    DENSE,
    NM,
    Block,
    Conv2d,
    Group,
    MatMul,
    Operand,
    Pass,
    Pattern,
    Selection,
    Statistics,
    TransposableNM,
    Unstructured,
    VectorOp,
    Workload,
)
from workloads.operations import DTYPE_BITS

counts = st.integers(1, 2**40)
small = st.integers(1, 9)
fractions = st.floats(0, 1, exclude_min=True, allow_subnormal=False)
shares = st.floats(0, 1)
passes = st.sampled_from(Pass)
dtypes = st.sampled_from(sorted(DTYPE_BITS))
names = st.text(max_size=12)


@st.composite
def nm_sizes(draw: st.DrawFn) -> tuple[int, int]:
    m = draw(st.integers(1, 64))
    return draw(st.integers(1, m)), m


patterns: st.SearchStrategy[Pattern] = st.one_of(
    st.just(DENSE),
    nm_sizes().map(lambda size: NM(*size)),
    nm_sizes().map(lambda size: TransposableNM(*size)),
    st.builds(Unstructured, fractions, st.integers(0, 64)),
    st.builds(Block, counts, counts, fractions),
    st.builds(Group, counts, fractions),
)


@st.composite
def statistics(draw: st.DrawFn) -> Statistics:
    sizes = draw(st.lists(nm_sizes(), unique=True, max_size=3))
    energy = tuple((f"{n}:{m}", draw(shares)) for n, m in sizes)
    return Statistics(zero_fraction=draw(shares), nm_energy=energy)


operands = st.builds(
    Operand,
    tensor=st.sampled_from(["X", "W", "Y", "dX", "dW", "dY"]),
    elements=counts,
    dtype=dtypes,
    pattern=patterns,
    statistics=st.none() | statistics(),
)


@st.composite
def convolutions(draw: st.DrawFn) -> Conv2d:
    """Convolutions of every geometry whose padded input holds the kernel."""
    groups = draw(small)
    kernel, stride, dilation = (draw(st.tuples(small, small)) for _ in range(3))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    reach = [d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    height, width = (max(1, least) + draw(st.integers(0, 9)) for least in reach)
    return Conv2d(
        batch=draw(small),
        in_channels=groups * draw(small),
        out_channels=groups * draw(small),
        in_hw=(height, width),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@st.composite
def matmuls(draw: st.DrawFn) -> MatMul:
    k_run = draw(st.integers(1, 2**20))
    return MatMul(
        name=draw(names),
        layer=draw(names),
        pass_=draw(passes),
        m=draw(counts),
        k=k_run * draw(small),
        n=draw(counts),
        batch=draw(counts),
        left=draw(operands),
        right=draw(operands),
        out=draw(operands),
        k_run=k_run,
        kind=draw(st.sampled_from(["conv", "linear", "attention"])),
        position=draw(st.sampled_from(["first", "inner", "last"])),
        conv=draw(st.none() | convolutions()),
    )


vector_ops = st.builds(
    VectorOp,
    name=names,
    layer=names,
    pass_=passes,
    kind=names,
    elements=counts,
    lane_operations=counts,
    read_bytes=st.integers(0, 2**60),
    write_bytes=st.integers(0, 2**60),
    fused=st.booleans(),
)
selections = st.builds(
    Selection,
    name=names,
    layer=names,
    pass_=passes,
    tensor=names,
    elements=counts,
    pattern=patterns,
    dtype=dtypes,
    pregenerable=st.booleans(),
)
workloads = st.builds(
    Workload,
    name=names,
    operations=st.lists(matmuls() | vector_ops | selections, min_size=1, max_size=6).map(tuple),
    method=names,
    source=names,
    notes=st.lists(names, max_size=3).map(tuple),
)
