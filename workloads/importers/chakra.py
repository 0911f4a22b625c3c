"""Read a Chakra host trace: the JSON that PyTorch's ExecutionTraceObserver writes of one step.

*Exact*: shapes, geometry, data types and passes of `mm`, `addmm`, `bmm`, `baddbmm`, 1-D and 2-D
convolutions and fused attention (expanded, its recomputed scores included). A backward product is
told apart by the storage that it shares with its forward product, found by sequence number; by its
shape where storages are of no help. *Approximate*: layers are numbered, since a trace names none;
normalisation, softmax and activations are counted, sums, products, means and joins are named in the
notes, and so are products of other kinds. *Ignored*: all other work between the products, kernels,
times and other ranks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from workloads.errors import InputError
from workloads.importers.chakra_nodes import Node, autograd_nodes, outermost, read_nodes
from workloads.lowering import activation_product, lower_attention, lower_conv, lower_linear
from workloads.names import numbered
from workloads.operations import Conv2d, MatMul, Operation, Pass, VectorOp, Workload
from workloads.vector_work import vector_work, weight_update

_MATRIX = {"aten::mm": 0, "aten::bmm": 0, "aten::addmm": 1, "aten::baddbmm": 1}
_FUSED = re.compile(
    r"aten::_scaled_dot_product_(flash|efficient|cudnn)_attention(_for_cpu)?(_backward)?"
)
_KINDS = {
    "aten::relu": "relu",
    "aten::threshold_backward": "relu",
    "aten::gelu": "gelu",
    "aten::gelu_backward": "gelu",
    "aten::tanh": "tanh",
    "aten::tanh_backward": "tanh",
    "aten::_softmax": "softmax",
    "aten::_softmax_backward_data": "softmax",
    "aten::_log_softmax": "loss",
    "aten::_log_softmax_backward_data": "loss",
    "aten::native_layer_norm": "layernorm",
    "aten::native_layer_norm_backward": "layernorm",
    "aten::native_batch_norm": "batchnorm",
    "aten::native_batch_norm_backward": "batchnorm",
}
_UNCOUNTED = ("aten::add", "aten::mul", "aten::div", "aten::sum", "aten::mean", "aten::cat")
_PRODUCT = re.compile(
    r"aten::(\w*_)?(mm|bmm|addmm|baddbmm|addbmm)(_\w+)?|aten::\w*(conv|attention|lstm|gru|rnn)\w*"
)


class _Forward(NamedTuple):
    """A forward operation: its node, its layer, and for a linear layer (rows, in, out).

    `first` is the place of the input among the arguments of a linear layer; the weight follows it.
    """

    node: Node
    layer: str
    sizes: tuple[int, int, int] | None = None
    first: int = 0


@dataclass
class _State:
    """What the forward pass leaves for the backward pass."""

    forward: dict[int, _Forward] = field(default_factory=dict)
    trained: dict[str, int] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)
    uncounted: Counter[str] = field(default_factory=Counter)

    def layer(self, kind: str) -> str:
        """Number the layers of a kind."""
        self.names[kind] += 1
        return f"{kind}{self.names[kind] - 1}"


def read_chakra(path: Path) -> Workload:
    """Return the training step (or inference) that a trace has recorded.

    Raises `InputError` that names the node and what would be right.
    """
    nodes = read_nodes(path)
    backward = autograd_nodes(nodes)
    state = _State()
    operations: list[Operation] = []
    for node in sorted(nodes.values(), key=lambda n: n.id):
        operations += _operations(state, node, backward.get(node.id))
    if not any(isinstance(op, MatMul) for op in operations):
        raise InputError(f"{path} must record a matrix product or convolution, but records none")
    operations += [weight_update(layer, count) for layer, count in state.trained.items()]
    notes = [f"not counted: {count} x {name}" for name, count in sorted(state.uncounted.items())]
    missing = Counter(node.name for node in outermost(nodes, _PRODUCT, _is_read))
    notes += [f"NOT in this workload: {count} x {name}" for name, count in sorted(missing.items())]
    return Workload(
        name=path.name.split(".")[0],
        operations=tuple(numbered(operations)),
        source=f"Chakra execution trace {path.name}",
        notes=tuple(notes),
    )


def _is_read(name: str) -> bool:
    """Say whether an operation is lowered to products."""
    known = name in _MATRIX or name in ("aten::convolution", "aten::convolution_backward")
    return known or _FUSED.fullmatch(name) is not None


def _operations(state: _State, node: Node, autograd: Node | None) -> Iterator[Operation]:
    if node.name in _MATRIX:
        first = _MATRIX[node.name]
        yield from _matrix(state, node, autograd, first)
    elif node.name == "aten::convolution":
        yield from _convolution(state, node)
    elif node.name == "aten::convolution_backward":
        yield from _convolution_backward(state, node, autograd)
    elif match := _FUSED.fullmatch(node.name):
        yield from _attention(state, node, autograd, backward=match[3] is not None)
    elif node.name in _KINDS:
        yield from _vectors(state, node, autograd)
    elif node.name in _UNCOUNTED:
        state.uncounted[node.name] += 1


def _matrix(state: _State, node: Node, autograd: Node | None, first: int) -> Iterator[MatMul]:
    left, right = node.shape(first), node.shape(first + 1)
    if len(left) != len(right) or len(left) not in (2, 3) or left[-1] != right[-2]:
        raise InputError(f"node {node.id} ({node.name}) cannot multiply {left} by {right}")
    m, k, n = left[-2], left[-1], right[-1]
    dtype, batched = node.dtype(first), len(left) == 3
    forward = state.forward.get(autograd.sequence) if autograd else None
    if autograd is None and not batched:
        layer = state.layer("linear")
        state.forward[node.sequence] = _Forward(node, layer, (m, k, n), first)
        state.trained[layer] = k * n
        yield from lower_linear(layer, m, k, n, Pass.FF, dtype=dtype)
        return
    if forward and forward.sizes and not batched and sorted(forward.sizes) == sorted((m, k, n)):
        pass_ = _backward_pass(node, first, forward)
        yield from lower_linear(forward.layer, *forward.sizes, pass_, dtype=dtype)
        return
    layer = forward.layer if forward else state.layer("product")
    if autograd is None:
        state.forward[node.sequence] = _Forward(node, layer)
    pass_ = Pass.FF if autograd is None else Pass.BP
    roles = ("X", "X", "Y") if autograd is None else ("dY", "X", "dX")
    count = prod(left[:-2])
    yield activation_product(
        f"{layer}.{pass_}", layer, pass_, (m, k, n), roles, batch=count, dtype=dtype
    )


def _backward_pass(node: Node, first: int, forward: _Forward) -> Pass:
    """Tell dX, which reads the weight again, from dW, which reads the input again."""
    assert forward.sizes is not None
    rows, _, out_features = forward.sizes
    inputs, weight = (forward.node.storage(forward.first + i) for i in range(2))
    read = {node.storage(first), node.storage(first + 1)} - {None}
    if (weight in read) != (inputs in read):
        return Pass.BP if weight in read else Pass.WU
    depth = node.shape(first)[-1]
    if rows != out_features and depth in (rows, out_features):
        return Pass.WU if depth == rows else Pass.BP
    return Pass.BP if rows in node.out_shape() else Pass.WU


def _convolution(state: _State, node: Node) -> Iterator[MatMul]:
    layer = state.layer("conv")
    state.forward[node.sequence] = _Forward(node, layer)
    conv = _geometry(node, 0, 1, 3, transposed=6)
    state.trained[layer] = prod(node.shape(1))
    yield from lower_conv(layer, conv, Pass.FF, dtype=node.dtype(0))


def _convolution_backward(state: _State, node: Node, autograd: Node | None) -> Iterator[MatMul]:
    pair = state.forward.get(autograd.sequence if autograd else -1)
    layer = pair.layer if pair else state.layer("conv")
    conv = _geometry(node, 1, 2, 4, transposed=7)
    wanted = node.value(10)
    if not isinstance(wanted, list) or len(wanted) != 3:
        raise InputError(f"node {node.id} ({node.name}) must say which gradients it computes")
    for needed, pass_ in zip(wanted, (Pass.BP, Pass.WU), strict=False):
        if needed:
            yield from lower_conv(layer, conv, pass_, dtype=node.dtype(0))


def _geometry(node: Node, x: int, w: int, first: int, *, transposed: int) -> Conv2d:
    """Read stride, padding and dilation from argument `first` on, and groups after `transposed`."""
    images, kernel = node.shape(x), node.shape(w)
    if node.value(transposed) or len(images) not in (3, 4) or len(kernel) != len(images):
        raise InputError(
            f"node {node.id} ({node.name}) must be a 1-D or 2-D convolution that is not "
            f"transposed, not of {images} by {kernel}"
        )
    stride, padding, dilation = (node.value(first + i) for i in range(3))
    groups = node.value(transposed + 2)
    pairs = [_pair(node, each, rows) for each, rows in ((stride, 1), (padding, 0), (dilation, 1))]
    if type(groups) is not int or groups < 1 or images[1] != kernel[1] * groups:
        raise InputError(
            f"node {node.id} ({node.name}) must have weights for its {images[1]} channels in "
            f"{groups} groups, not {kernel}"
        )
    return Conv2d(
        batch=images[0],
        in_channels=images[1],
        out_channels=kernel[0],
        in_hw=(images[2] if len(images) == 4 else 1, images[-1]),
        kernel=(kernel[2] if len(kernel) == 4 else 1, kernel[-1]),
        stride=pairs[0],
        padding=pairs[1],
        dilation=pairs[2],
        groups=groups,
    )


def _pair(node: Node, values: Any, rows: int) -> tuple[int, int]:
    whole = isinstance(values, list) and all(type(v) is int and v < 2**31 for v in values)
    if not whole or len(values) not in (1, 2):
        raise InputError(f"node {node.id} ({node.name}) must have one or two sizes, not {values!r}")
    return (values[0], values[1]) if len(values) == 2 else (rows, values[0])


def _attention(
    state: _State, node: Node, autograd: Node | None, *, backward: bool
) -> Iterator[Operation]:
    """Expand a fused attention kernel; the backward one computes the scores again."""
    shift = 1 if backward else 0
    query, key = node.shape(shift), node.shape(shift + 1)
    if len(query) != 4 or len(key) != 4:
        raise InputError(f"node {node.id} ({node.name}) must have 4 axes, not {query} and {key}")
    pair = state.forward.get(autograd.sequence if autograd else node.sequence)
    layer = pair.layer if pair and backward else state.layer("attention")
    shape = (query[0], query[1], query[2], key[2], query[3])
    scores = query[0] * query[1] * query[2] * key[2]
    forward = lower_attention(layer, *shape, Pass.FF, kv_heads=key[1], dtype=node.dtype(shift))
    if not backward:
        state.forward[node.sequence] = _Forward(node, layer)
        yield forward[0]
        yield from vector_work(layer, "softmax", Pass.FF, scores)
        yield forward[1]
        return
    yield replace(forward[0], name=f"{forward[0].name}.recompute", pass_=Pass.BP)
    products = lower_attention(layer, *shape, Pass.BP, kv_heads=key[1], dtype=node.dtype(shift))
    yield from products[:2]
    yield from vector_work(layer, "softmax", Pass.BP, scores)
    yield from products[2:]


def _vectors(state: _State, node: Node, autograd: Node | None) -> Iterator[VectorOp]:
    kind, pass_ = _KINDS[node.name], Pass.FF if autograd is None else Pass.BP
    if autograd is None:
        layer = state.layer(kind)
        state.forward.setdefault(node.sequence, _Forward(node, layer))
    else:
        pair = state.forward.get(autograd.sequence)
        layer = pair.layer if pair else state.layer(kind)
    yield from vector_work(layer, kind, pass_, prod(node.shape(0)))
