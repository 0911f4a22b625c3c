"""From the nodes of an ONNX graph to layers, one function per kind of node.

*Exact*: convolutions (1-D and 2-D, any stride, dilation and groups), Gemm, MatMul, and recurrent
layers as the products and the cells of all their steps. *Approximate*: padding that differs between
two sides is counted as extra input; a transposed convolution is its products before the scattered
addition, without its bias; a GRU resets after its product, and every activation of a cell is one
look-up. *Ignored*: moves (named in the notes). Other contractions are refused, not left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import prod
from typing import Any

from workloads.errors import InputError
from workloads.importers.layers import (
    ActivationProduct,
    BatchedLinear,
    Elementwise,
    GeneralConv,
    Window,
    same_padding,
)
from workloads.importers.onnx_tensors import GraphTensors
from workloads.importers.recurrent import CELLS, MOST_STEPS, RecurrentInput, RecurrentState
from workloads.layers import Embedding, Layer, Linear, Vector
from workloads.operations import Conv2d
from workloads.rounding import ceil_div

# fmt: off
FREE = frozenset({
    "BatchToSpace", "Cast", "CastLike", "Constant", "ConstantOfShape", "Dropout", "Flatten",
    "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze", "DequantizeLinear",
    "QuantizeLinear", "DynamicQuantizeLinear",
})
MOVES = frozenset({
    "ArgMax", "ArgMin", "Concat", "DepthToSpace", "Expand", "EyeLike", "Gather", "GatherElements",
    "GatherND", "NonMaxSuppression", "OneHot", "Pad", "Range", "Resize", "ScatterElements",
    "ScatterND", "Slice", "SpaceToDepth", "Split", "Tile", "TopK", "Transpose", "Trilu",
    "Upsample", "Where",
})
_KINDS = {
    "Relu": "relu", "Clip": "relu", "LeakyRelu": "relu", "PRelu": "relu",
    "Tanh": "tanh", "Sigmoid": "tanh", "HardSigmoid": "tanh", "Elu": "tanh", "Selu": "tanh",
    "Softplus": "tanh", "Mish": "gelu", "Gelu": "gelu", "HardSwish": "gelu", "Swish": "gelu",
    "Softmax": "softmax", "LogSoftmax": "softmax",
    "LayerNormalization": "layernorm", "InstanceNormalization": "layernorm",
    "GroupNormalization": "layernorm", "SimplifiedLayerNormalization": "rmsnorm",
    "RMSNormalization": "rmsnorm", "BatchNormalization": "batchnorm",
}
# fmt: on
_REFUSED = re.compile(r"Einsum|If|Loop|Scan|\w*(MatMul|Gemm|Conv|Attention|MoE)([A-Z0-9]\w*)?")
"""Products that are not lowered here, those of other domains among them, and what may hold some."""

_NORMS = {"layernorm": 2, "batchnorm": 2, "rmsnorm": 1}
_POOLS = {
    "MaxPool": "maxpool",
    "AveragePool": "averagepool",
    "GlobalMaxPool": "maxpool",
    "GlobalAveragePool": "averagepool",
}


class Uneven(Exception):
    """A size is no multiple of the batch, so that items cannot be told apart."""


class Builder:
    """Makes layers for one item of `batch`.

    `weights` holds the initializer of each product, `in_by_out` the products whose initializer is
    (in, out) and not (out, in, ...). `moves` counts nodes that only move elements.
    """

    def __init__(self, tensors: GraphTensors, batch: int) -> None:
        self.tensors = tensors
        self.batch = batch
        self.weights: dict[str, str] = {}
        self.in_by_out: set[str] = set()
        self.moves: dict[str, int] = {}

    def item(self, count: int) -> int:
        """Return the share of one item; raise `Uneven` if there is none."""
        if count % self.batch:
            raise Uneven
        return count // self.batch

    def layers(self, node: Any, name: str) -> Iterable[Layer]:
        """Return the layers of a node, in forward order."""
        kind = node.op_type
        if kind in FREE:
            return ()
        if kind == "Gather" and node.input[:1] and node.input[0] in self.tensors.weights:
            return self._embedding(node, name)
        if kind in MOVES:
            self.moves[kind] = self.moves.get(kind, 0) + 1
            return ()
        make = _PRODUCTS.get(kind)
        if make is not None:
            return make(self, node, name)
        if _REFUSED.fullmatch(kind):
            raise InputError(
                f"node {name} ({kind}) of {self.tensors.path} is a product that is not lowered "
                "here; export the model with MatMul, Gemm and Conv"
            )
        if kind in _KINDS:
            return self._known(node, name)
        if kind in _POOLS:
            return self._pool(node, name)
        return self._elementwise(node, name)

    def shape(self, node: Any, index: int) -> tuple[int, ...]:
        """Return the shape of an input of a node."""
        if index >= len(node.input):
            raise InputError(
                f"node {node.name or node.op_type} of {self.tensors.path} must have at least "
                f"{index + 1} inputs, not {len(node.input)}"
            )
        return self.tensors.shape(node.input[index], node.name or node.op_type)

    def out(self, node: Any) -> tuple[int, ...]:
        """Return the shape of the first output of a node."""
        return self.tensors.shape(node.output[0], node.name or node.op_type)

    def _known(self, node: Any, name: str) -> list[Layer]:
        kind = _KINDS[node.op_type]
        scale = [self.shape(node, i) for i in (1,) if kind in _NORMS and len(node.input) > 1]
        parameters = _NORMS.get(kind, 0) * sum(prod(shape) for shape in scale)
        elements = self.item(prod(self.out(node)))
        return [Vector(name=name, kind=kind, elements=elements, parameters=parameters)]

    def _pool(self, node: Any, name: str) -> list[Layer]:
        kind = _POOLS[node.op_type]
        inputs, outputs = self.item(prod(self.shape(node, 0))), self.item(prod(self.out(node)))
        kernel = attribute(node, "kernel_shape", None)
        touched = inputs if kernel is None else outputs * prod(kernel)
        return [Window(name=name, kind=kind, inputs=inputs, outputs=outputs, touched=touched)]

    def _elementwise(self, node: Any, name: str) -> list[Layer]:
        """Bias, join of two branches, or any other work on each element."""
        active = [i for i in node.input if self.tensors.is_activation(i)]
        shapes = [self.tensors.shape(i, name) for i in active]
        elements = self.item(max(prod(shape) for shape in [*shapes, self.out(node)]))
        if node.op_type == "Add" and len(active) == 1 and len(node.input) == 2:
            (added,) = [i for i in node.input if i not in active]
            trained = added in self.tensors.weights
            parameters = prod(self.tensors.shape(added, name)) if trained else 0
            return [Vector(name=name, kind="bias", elements=elements, parameters=parameters)]
        if node.op_type in ("Add", "Sum") and len(set(shapes)) == 1 and len(active) == 2:
            return [Vector(name=name, kind="add", elements=elements)]
        kind = node.op_type.lower()
        return [Elementwise(name=name, kind=kind, elements=elements, inputs=max(1, len(active)))]

    def _embedding(self, node: Any, name: str) -> list[Layer]:
        table, indices = self.shape(node, 0), self.shape(node, 1)
        if len(table) != 2 or not self.tensors.is_activation(node.input[1]):
            return []
        tokens = self.item(prod(indices))
        return [Embedding(name=name, tokens=tokens, dim=table[1], table_rows=(table[0],))]


def attribute(node: Any, name: str, default: Any) -> Any:
    """Return an attribute of a node: whole number, list of them, or text, as the default is.

    Raises `InputError` for one of another type.
    """
    import onnx

    wanted = list if default is None else type(default)
    for found in node.attribute:
        if found.name == name:
            value = onnx.helper.get_attribute_value(found)
            value = list(value) if wanted is list and _is_list(value) else value
            if not isinstance(value, wanted):
                raise InputError(
                    f"{name} of node {node.name or node.op_type} must be of type "
                    f"{wanted.__name__}, not {value!r:.60}"
                )
            return value
    return default


def _is_list(value: Any) -> bool:
    texts = isinstance(value, (bytes, str))
    return not texts and hasattr(value, "__iter__") and all(isinstance(i, int) for i in value)


def _along(node: Any, name: str, axes: int) -> tuple[int, int]:
    """Return a number for each axis of a convolution, 1 unless the node says otherwise."""
    values = attribute(node, name, [1] * axes)
    if len(values) != axes:
        raise InputError(
            f"{name} of node {node.name or node.op_type} must be {axes} numbers, not {values}"
        )
    return _two(values)


def _conv(builder: Builder, node: Any, name: str) -> list[Layer]:
    at = 3 if node.op_type == "QLinearConv" else 1
    x, w = builder.shape(node, 0), builder.shape(node, at)
    _check_conv(builder, node, name, x, w)
    geometry = _geometry(builder, node, x, w)
    _check_output(builder, node, name, geometry)
    builder.weights[name] = node.input[at]
    bias = node.op_type == "Conv" and len(node.input) > 2 and bool(node.input[2])
    return [GeneralConv(name=name, geometry=geometry, bias=bias)]


def _check_conv(builder: Builder, node: Any, name: str, x: Any, w: Any) -> None:
    if len(x) not in (3, 4) or len(w) != len(x):
        raise InputError(
            f"convolution {name} of {builder.tensors.path} must be 1-D or 2-D, not of input {x} "
            f"and weights {w}"
        )
    groups = attribute(node, "group", 1)
    if groups < 1 or x[1] != w[1] * groups or w[0] % groups:
        raise InputError(
            f"convolution {name} of {builder.tensors.path} must have weights for its {x[1]} "
            f"channels in {groups} groups, not {w}"
        )


def _geometry(builder: Builder, node: Any, x: Any, w: Any) -> Conv2d:
    """Return the geometry of one item; a 1-D convolution has one row."""
    size, kernel = _two(x[2:]), _two(w[2:])
    stride, dilation = (_along(node, each, len(x) - 2) for each in ("strides", "dilations"))
    before, after = _pads(node, size, kernel, stride, dilation)
    padding = (min(before[0], after[0]), min(before[1], after[1]))
    extra = [b + a - 2 * p for b, a, p in zip(before, after, padding, strict=True)]
    return Conv2d(
        batch=builder.item(x[0]),
        in_channels=x[1],
        out_channels=w[0],
        in_hw=(size[0] + extra[0], size[1] + extra[1]),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=attribute(node, "group", 1),
    )


def _pads(
    node: Any, size: Any, kernel: Any, stride: Any, dilation: Any
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the padding before and after each of the two axes."""
    automatic = attribute(node, "auto_pad", b"NOTSET").decode()
    if automatic.startswith("SAME"):
        sides = zip(size, kernel, stride, dilation, strict=True)
        total = [same_padding(*side) for side in sides]
        return (total[0] // 2, total[1] // 2), (ceil_div(total[0], 2), ceil_div(total[1], 2))
    pads = list(attribute(node, "pads", [0, 0, 0, 0]))
    if len(pads) == 2:
        pads = [0, pads[0], 0, pads[1]]
    if automatic == "VALID" or len(pads) != 4:
        pads = [0, 0, 0, 0]
    return (pads[0], pads[1]), (pads[2], pads[3])


def _check_output(builder: Builder, node: Any, name: str, geometry: Conv2d) -> None:
    """Hold our output size against the one that the library inferred."""
    out = builder.out(node)
    if _two(out[2:]) != geometry.out_hw or out[1] != geometry.out_channels:
        raise InputError(
            f"convolution {name} of {builder.tensors.path} must give {geometry.out_channels} "
            f"channels of {geometry.out_hw}, but its output is declared as {out}"
        )


def _two(sizes: Any) -> tuple[int, int]:
    """Return the last two of some sizes, with a 1 in front of a single one."""
    padded = [1, *sizes][-2:]
    return int(padded[0]), int(padded[1])


def _conv_transpose(builder: Builder, node: Any, name: str) -> list[Layer]:
    x, w = builder.shape(node, 0), builder.shape(node, 1)
    groups = attribute(node, "group", 1)
    if len(x) < 3 or len(w) != len(x) or groups < 1 or x[1] != w[0] or w[0] % groups:
        raise InputError(
            f"transposed convolution {name} of {builder.tensors.path} must have weights for its "
            f"input {x} in {groups} groups, not {w}"
        )
    rows = builder.item(x[0] * prod(x[2:]))
    shape = {"rows": rows, "in_features": w[0] // groups, "out_features": prod(w[1:])}
    return [BatchedLinear(name=name, count=groups, **shape)]


def _gemm(builder: Builder, node: Any, name: str) -> list[Layer]:
    a, b = builder.shape(node, 0), builder.shape(node, 1)
    a = a[::-1] if attribute(node, "transA", 0) else a
    in_by_out = not attribute(node, "transB", 0)
    b_out = b[::-1] if in_by_out else b
    if len(a) != 2 or len(b) != 2 or a[1] != b_out[1]:
        raise InputError(f"Gemm {name} of {builder.tensors.path} cannot multiply {a} by {b}")
    if builder.tensors.is_activation(node.input[1]):
        return [ActivationProduct(name=name, count=1, m=a[0], k=a[1], n=b_out[0])]
    builder.weights[name] = node.input[1]
    if in_by_out:
        builder.in_by_out.add(name)
    bias = len(node.input) > 2 and bool(node.input[2])
    rows = builder.item(a[0])
    return [
        Linear(name=name, in_features=a[1], out_features=b_out[0], rows=rows, bias=bias),
    ]


def _matmul(builder: Builder, node: Any, name: str) -> list[Layer]:
    a, b = builder.shape(node, 0), builder.shape(node, 1)
    if not a or not b or 0 in (*a, *b) or a[-1] != (b[-2] if len(b) > 1 else b[0]):
        raise InputError(f"MatMul {name} of {builder.tensors.path} cannot multiply {a} by {b}")
    left, right = (builder.tensors.is_activation(i) for i in node.input[:2])
    n = b[-1] if len(b) > 1 else 1
    m = a[-2] if len(a) > 1 else 1
    if left and right:
        count = builder.item(prod(builder.out(node)) // (m * n))
        return [ActivationProduct(name=name, count=count, m=m, k=a[-1], n=n)]
    weight, other = (b, a) if left else (a, b)
    copies = prod(weight[:-2])
    ins, outs = a[-1], n if left else m
    rows = max(1, builder.item(prod(other) // ins // copies))
    if copies > 1:
        return [
            BatchedLinear(name=name, count=copies, rows=rows, in_features=ins, out_features=outs)
        ]
    if left:
        builder.weights[name] = node.input[1]
        builder.in_by_out.add(name)
    return [Linear(name=name, bias=False, rows=rows, in_features=ins, out_features=outs)]


def _recurrent(builder: Builder, node: Any, name: str) -> list[Layer]:
    """The inputs of all steps by W, then the state by R and the cell, step after step."""
    x, w, r = (builder.shape(node, i) for i in range(3))
    cell = CELLS[node.op_type]
    width = cell.gates * (r[-1] if r else 0)
    if len(x) != 3 or w[1:] != (width, x[2]) or r[:2] != (w[0], width) or len(r) != 3:
        raise InputError(
            f"{node.op_type} {name} of {builder.tensors.path} must have weights of {cell.gates} "
            f"gates for its input and its state, not {w} and {r} for an input {x}"
        )
    steps, batch = x[1::-1] if attribute(node, "layout", 0) else x[:2]
    if steps * w[0] > MOST_STEPS:
        raise InputError(
            f"{node.op_type} {name} of {builder.tensors.path} must have at most {MOST_STEPS} steps "
            f"in all directions, not {steps * w[0]}"
        )
    rows, bias = builder.item(batch), len(node.input) > 3 and bool(node.input[3])
    inputs = RecurrentInput(
        name=f"{name}.input",
        directions=w[0],
        rows=steps * rows,
        in_features=x[2],
        out_features=width,
        bias=bias,
    )
    shape = {"directions": w[0], "steps": steps, "rows": rows, "features": r[2]}
    return [inputs, RecurrentState(name=f"{name}.state", cell=cell, bias=bias, **shape)]


_PRODUCTS: dict[str, Callable[[Builder, Any, str], list[Layer]]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
