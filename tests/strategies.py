"""Hypothesis strategies of every value that a test draws."""

from __future__ import annotations

from dataclasses import fields, replace
from operator import attrgetter

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
from workloads.lowering import lower_conv, lower_linear
from workloads.operations import DTYPE_BITS
from workloads.scalesim import ScaleSimConfig

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
def convolutions(draw: st.DrawFn, most: int = 9) -> Conv2d:
    """Convolutions of every geometry whose padded input holds the kernel; sizes up to `most`."""
    small = st.integers(1, most)
    groups = draw(small)
    kernel, stride, dilation = (draw(st.tuples(small, small)) for _ in range(3))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    reach = [d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    height, width = (max(1, least) + draw(st.integers(0, most)) for least in reach)
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
    operations=st.lists(
        matmuls() | vector_ops | selections, min_size=1, max_size=6, unique_by=attrgetter("name")
    ).map(tuple),
    method=names,
    source=names,
    notes=st.lists(names, max_size=3).map(tuple),
)

layer_names = st.text("abcABC_0123 ", min_size=1, max_size=8).map(str.strip).filter(bool)
sizes = st.integers(1, 5000)
topology_patterns = st.one_of(
    st.just(DENSE), st.sampled_from([NM(1, 4), NM(2, 4), NM(2, 8), NM(3, 5), NM(2, 16)])
)


@st.composite
def gemm_layers(draw: st.DrawFn) -> MatMul:
    """Forward products that a SCALE-Sim topology can hold."""
    shape = (draw(sizes), draw(sizes), draw(sizes))
    (product,) = lower_linear(draw(layer_names), *shape, Pass.FF)
    return _with_pattern(product, draw(topology_patterns))


@st.composite
def conv_layers(draw: st.DrawFn) -> MatMul:
    """Forward convolutions that a SCALE-Sim topology can hold."""
    few = st.integers(1, 7)
    kernel, stride = draw(st.tuples(few, few)), draw(few)
    channels, filters, depthwise = draw(few), draw(few), draw(st.booleans())
    groups = channels if depthwise else 1
    conv = Conv2d(
        batch=1,
        in_channels=channels,
        out_channels=filters * groups,
        in_hw=(kernel[0] + draw(st.integers(0, 20)), kernel[1] + draw(st.integers(0, 20))),
        kernel=kernel,
        stride=(stride, stride),
        padding=draw(st.tuples(st.integers(0, 3), st.integers(0, 3))),
        groups=groups,
    )
    (product,) = lower_conv(draw(layer_names), conv, Pass.FF)
    return _with_pattern(product, draw(topology_patterns))


def _with_pattern(product: MatMul, pattern: object) -> MatMul:
    right = replace(product.right, pattern=pattern)
    return replace(product, right=right)


printable = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9
)
_DRAWN = {int: st.integers(1, 10**12), bool: st.booleans(), str: printable}


@st.composite
def scale_sim_configurations(draw: st.DrawFn) -> ScaleSimConfig:
    """Configurations with every field drawn."""
    values: dict[str, object] = {}
    for item in fields(ScaleSimConfig):
        kind = {"int": int, "bool": bool, "str": str}.get(str(item.type))
        values[item.name] = draw(_DRAWN[kind]) if kind else tuple(draw(st.lists(sizes, min_size=1)))
    values["dataflow"] = draw(st.sampled_from(["os", "ws", "is"]))
    values["interface_bandwidth"] = draw(st.sampled_from(["CALC", "USER"]))
    height = draw(sizes)
    values["array_height"] = height
    values["block_size"] = draw(st.integers(1, height))
    return ScaleSimConfig(**values)  # type: ignore[arg-type]


layers = st.sampled_from(["a", "b", "c"])
few_bytes = st.sampled_from([0, 1, 4096, 10**6])
nm_patterns = nm_sizes().map(lambda size: NM(*size))


@st.composite
def products(draw: st.DrawFn) -> MatMul:
    """Products that an array computes, either operand dense or N:M."""
    k_run = draw(st.integers(1, 300))
    m, k, n, batch = draw(sizes), k_run * draw(small), draw(sizes), draw(small)
    sparse = (draw(st.just(DENSE) | nm_patterns), DENSE)
    left, right = sparse if draw(st.booleans()) else sparse[::-1]
    return MatMul(
        name="product",
        layer=draw(layers),
        pass_=draw(passes),
        m=m,
        k=k,
        n=n,
        batch=batch,
        left=Operand(tensor="X", elements=batch * m * k, pattern=left),
        right=Operand(tensor="W", elements=batch * k * n, pattern=right),
        out=Operand(tensor=draw(st.sampled_from(["Y", "dW"])), elements=batch * m * n),
        k_run=k_run,
    )


step_vectors = st.builds(
    VectorOp,
    name=st.just("vector"),
    layer=layers,
    pass_=passes,
    kind=st.sampled_from(["relu", "update"]),
    elements=sizes,
    lane_operations=small,
    read_bytes=few_bytes,
    write_bytes=few_bytes,
    fused=st.booleans(),
)
step_selections = st.builds(
    Selection,
    name=st.just("selection"),
    layer=layers,
    pass_=passes,
    tensor=st.just("W"),
    elements=sizes,
    pattern=nm_patterns,
    pregenerable=st.booleans(),
)
training_steps = st.builds(
    Workload,
    name=st.just("step"),
    operations=st.lists(products() | step_vectors | step_selections, min_size=1, max_size=12).map(
        lambda operations: tuple(operations * 2)  # every operation occurs twice
    ),
)
buffer_bytes = st.integers(1024, 1 << 22)
sat_fields = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 64),
        "cols": st.integers(1, 64),
        "clock_hz": st.sampled_from([200e6, 333_333_333.3]),
        "interleave": st.integers(1, 8),
        "mul_latency": st.integers(0, 4),
        "add_latency": st.integers(1, 8),
        "value_bits": st.sampled_from([8, 16, 32]),
        "feed_values_per_cycle": small,
        "selection_lanes": st.integers(1, 64),
        "vector_lanes": st.integers(1, 64),
        "pregeneration": st.booleans(),
        "stationarity": st.sampled_from(["auto", "os", "ws"]),
        "left_buffer_bytes": buffer_bytes,
        "right_buffer_bytes": buffer_bytes,
        "out_buffer_bytes": buffer_bytes,
        "dram_bytes_per_s": st.sampled_from([1e8, 19.2e9, 76.8e9]),
    }
)
