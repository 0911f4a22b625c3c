"""Read a TFLite file: the forward graph with its convolutions, and its weights, pruned ones too.

Source of the layout: the TFLite schema (`schema.fbs`, version 3). *Exact*: convolutions, depthwise
convolutions and fully connected layers, and which weights are stored. *Approximate*: SAME padding
that differs between two sides is counted as extra input; every convolution has the cost of a ReLU
behind it, whatever activation is fused into it. *Ignored*: moves and other operators, named in the
notes by the codes of the schema.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.importers.bounded import MOST_EXPANSION, read_bytes
from workloads.importers.flatbuffer import Table, root
from workloads.importers.layers import GeneralConv, Window, same_padding
from workloads.importers.statistics import with_whole_weights
from workloads.layers import Layer, Linear, Vector
from workloads.network import Network
from workloads.operations import Conv2d, Workload

MOST_ELEMENTS = 1 << 32
_ADD, _AVERAGE, _CONV, _DEPTHWISE, _FULLY, _MAX, _SOFTMAX = 0, 1, 3, 4, 9, 17, 25
_DEQUANTIZE, _DENSIFY = 6, 124
_RESHAPE, _SQUEEZE, _EXPAND_DIMS, _QUANTIZE = 22, 43, 70, 114
_KINDS = {
    14: "tanh",  # LOGISTIC
    19: "relu",
    20: "relu",  # RELU_N1_TO_1
    21: "relu",  # RELU6
    _SOFTMAX: "softmax",
    28: "tanh",
    54: "relu",  # PRELU
    98: "relu",  # LEAKY_RELU
    117: "gelu",  # HARD_SWISH
}
_FREE = frozenset({_DEQUANTIZE, _DENSIFY, _RESHAPE, _SQUEEZE, _EXPAND_DIMS, _QUANTIZE})
_FLOATS = {0: "<f4", 1: "<f2"}
"""Tensor types whose values are read: FLOAT32 and FLOAT16."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """The first sub-graph of a model: its tensors and buffers, and the batch to use."""

    path: Path
    tensors: list[Table]
    buffers: list[Table]
    producers: dict[int, Table]

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the sizes of a tensor, which must be positive."""
        tensor = self._at(self.tensors, index)
        shape = tuple(int(size) for size in tensor.array(0, "<i4"))
        if any(size < 1 for size in shape) or prod(shape) > MOST_ELEMENTS:
            raise InputError(
                f"tensor {index} of {self.path} must have fixed positive sizes, not {shape}"
            )
        return shape

    def _at(self, tables: list[Table], index: int) -> Table:
        if not 0 <= index < len(tables):
            raise InputError(f"{self.path} refers to entry {index} of {len(tables)}: it is damaged")
        return tables[index]

    def values(self, index: int) -> NDArray[Any] | None:
        """Return the values of a weight, unpacked; None if they are not floats."""
        source = self.producers.get(index)
        if source is not None:
            inputs = source.array(1, "<i4")
            return self.values(int(inputs[0])) if len(inputs) and inputs[0] < index else None
        tensor = self._at(self.tensors, index)
        kind = _FLOATS.get(tensor.number(1, "<b"))
        if kind is None:
            return None
        stored = self._at(self.buffers, tensor.number(2, "<I")).array(0, "u1")
        values = np.frombuffer(stored.tobytes(), kind, len(stored) // np.dtype(kind).itemsize)
        sparsity = tensor.table(6)
        shape = self.shape(index)
        if sparsity is not None:
            return self._unpacked(index, values, sparsity, shape)
        return values.reshape(shape) if len(values) == prod(shape) else None

    def _unpacked(
        self, index: int, values: NDArray[Any], sparsity: Table, shape: tuple[int, ...]
    ) -> NDArray[Any] | None:
        """Unpack rows whose last axis is stored compressed (CSR); None for another order."""
        dims = sparsity.tables(2)
        formats = [dim.number(0, "<b") for dim in dims]
        order = sparsity.array(0, "<i4").tolist()
        if formats != [0] * (len(shape) - 1) + [1] or order != list(range(len(shape))):
            return None
        segments, columns = _indices(dims[-1], 2), _indices(dims[-1], 4)
        rows = prod(shape[:-1])
        counts = np.diff(segments)
        if len(segments) != rows + 1 or (counts < 0).any() or counts.sum() > len(values):
            raise InputError(f"tensor {index} of {self.path} has rows that do not fit its values")
        stored = int(counts.sum())
        if len(columns) < stored or (columns[:stored] >= shape[-1]).any():
            raise InputError(f"tensor {index} of {self.path} has columns beyond {shape[-1]}")
        if prod(shape) > MOST_EXPANSION * max(stored, 1 << 12):
            raise InputError(
                f"tensor {index} of {self.path} holds {stored} values for {shape}; at most "
                f"{MOST_EXPANSION} times as many are unpacked"
            )
        dense = np.zeros((rows, shape[-1]), values.dtype)
        dense[np.repeat(np.arange(rows), counts), columns[:stored]] = values[:stored]
        return dense.reshape(shape)


def _indices(dimension: Table, number: int) -> NDArray[np.int64]:
    """Return a sparse index vector: the union's type (1, 2, 3: 32, 16, 8 bits) and its table."""
    width = {1: "<i4", 2: "<u2", 3: "u1"}.get(dimension.number(number, "<B"))
    vector = dimension.table(number + 1)
    if width is None or vector is None:
        return np.zeros(0, np.int64)
    return vector.array(0, width).astype(np.int64)


def read_tflite(
    path: Path, *, batch: int | None = None, inference: bool = False, content: bytes | None = None
) -> Workload:
    """Return the training step (or inference) of `batch` inputs of a TFLite model.

    Raises `InputError` that names the tensor and what would be right.
    """
    content = read_bytes(path) if content is None else content
    model = root(content, str(path), b"TFL3")
    graphs = model.tables(2)
    if len(graphs) < 1:
        raise InputError(f"{path} must hold a graph, but holds none")
    operators = graphs[0].tables(3)
    codes = [max(c.number(0, "<b"), c.number(3, "<i")) for c in model.tables(1)]
    producers = {
        int(out): op
        for op in operators
        if _code(path, op, codes) in (_DEQUANTIZE, _DENSIFY)
        for out in op.array(2, "<i4")
    }
    graph = _Graph(path, graphs[0].tables(0), model.tables(4), producers)
    network, weights, notes = _network(graph, operators, codes, 1 if batch is None else batch)
    workload = network.inference() if inference else network.training_step()
    return replace(with_whole_weights(workload, weights), notes=(*workload.notes, *notes))


def _code(path: Path, operator: Table, codes: list[int]) -> int:
    index = operator.number(0, "<I")
    if index >= len(codes):
        raise InputError(f"{path} refers to operator code {index} of {len(codes)}: it is damaged")
    return codes[index]


def _network(
    graph: _Graph, operators: list[Table], codes: list[int], batch: int
) -> tuple[Network, dict[str, NDArray[Any]], tuple[str, ...]]:
    layers: list[Layer] = []
    weights: dict[str, NDArray[Any]] = {}
    others: Counter[int] = Counter()
    for number, operator in enumerate(operators):
        code = _code(graph.path, operator, codes)
        made = _layers(graph, operator, code, number)
        if not made and code not in _FREE:
            others[code] += 1
        layers += made
        if made and made[0].macs:
            found = _oriented(graph, operator, code)
            if found is not None:
                weights[made[0].name] = found
    if not any(layer.macs for layer in layers):
        raise InputError(f"{graph.path} must hold a convolution or a product, but holds none")
    last = max(i for i, layer in enumerate(layers) if layer.macs)
    if isinstance(layers[last], Linear):
        layers[last] = replace(layers[last], classifier=True)  # type: ignore[type-var]
    network = Network(
        name=graph.path.stem,
        source=f"TFLite file {graph.path.name}",
        input=_input(graph, operators),
        batch=batch,
        layers=tuple(layers),
    )
    listed = ", ".join(f"{count} of code {code}" for code, count in sorted(others.items()))
    return network, weights, (f"operators not counted: {listed}",) if listed else ()


def _input(graph: _Graph, operators: list[Table]) -> str:
    """Return the sizes of what the first operator reads that reads anything."""
    read = (operator.array(1, "<i4") for operator in operators)
    first = next((int(inputs[0]) for inputs in read if len(inputs)), None)
    return "" if first is None else "x".join(map(str, graph.shape(first)[1:]))


def _layers(graph: _Graph, operator: Table, code: int, number: int) -> list[Layer]:
    inputs, outputs = operator.array(1, "<i4"), operator.array(2, "<i4")
    if code in _FREE or not len(inputs) or not len(outputs):
        return []
    out = graph.shape(int(outputs[0]))
    elements = prod(out[1:]) or 1
    name = f"op{number}"
    if code in (_CONV, _DEPTHWISE):
        conv = _convolution(graph, operator, f"conv{number}", code == _DEPTHWISE, out)
        return [conv, Vector(name=f"{conv.name}.relu", kind="relu", elements=elements)]
    if code == _FULLY:
        shape = graph.shape(int(inputs[1])) if len(inputs) > 1 else ()
        if len(shape) != 2 or elements % shape[0]:
            raise InputError(f"{name} of {graph.path} must have weights (out, in), not {shape}")
        rows = elements // shape[0]
        return [Linear(name=f"fc{number}", in_features=shape[1], out_features=shape[0], rows=rows)]
    if code == _ADD and len(inputs) == 2 and graph.shape(int(inputs[1])) == out:
        return [Vector(name=name, kind="add", elements=elements)]
    if code in _KINDS:
        return [Vector(name=name, kind=_KINDS[code], elements=elements)]
    if code in (_AVERAGE, _MAX):
        return [_pool(graph, operator, name, code, elements)]
    return []


def _convolution(
    graph: _Graph, operator: Table, name: str, depthwise: bool, out: tuple[int, ...]
) -> GeneralConv:
    """Read geometry from options, input (batch, row, column, channel) and weights."""
    inputs, options = operator.array(1, "<i4"), operator.table(4)
    if len(inputs) < 2 or options is None:
        raise InputError(f"{name} of {graph.path} must have weights and options, but lacks them")
    image, kernel = graph.shape(int(inputs[0])), graph.shape(int(inputs[1]))
    if len(image) != 4 or len(kernel) != 4 or len(out) != 4:
        raise InputError(f"{name} of {graph.path} must have 4 axes, not {image} by {kernel}")
    wanted = out[3] if depthwise else kernel[0]
    if out[3] != wanted or (kernel[3] != out[3] if depthwise else image[3] % kernel[3]):
        raise InputError(
            f"{name} of {graph.path} must have weights for {image[3]} channels in and {out[3]} "
            f"out, not {kernel}"
        )
    first = 5 if depthwise else 4
    stride = (options.number(2, "<i", 1), options.number(1, "<i", 1))
    dilation = (options.number(first + 1, "<i", 1), options.number(first, "<i", 1))
    same = options.number(0, "<b") == 0
    sides = [
        _padded(*side, same) for side in zip(image[1:3], kernel[1:3], stride, dilation, strict=True)
    ]
    geometry = Conv2d(
        batch=1,
        in_channels=image[3],
        out_channels=out[3],
        in_hw=(sides[0][0], sides[1][0]),
        kernel=(kernel[1], kernel[2]),
        stride=stride,
        padding=(sides[0][1], sides[1][1]),
        dilation=dilation,
        groups=image[3] if depthwise else max(1, image[3] // kernel[3]),
    )
    if geometry.out_hw != out[1:3]:
        raise InputError(
            f"{name} of {graph.path} must give {geometry.out_hw}, but its output is {out[1:3]}"
        )
    return GeneralConv(name=name, geometry=geometry, bias=len(inputs) > 2)


def _padded(size: int, kernel: int, stride: int, dilation: int, same: bool) -> tuple[int, int]:
    """Return the size with the padding that has no counterpart, and the padding on both sides."""
    if not same:
        return size, 0
    total = same_padding(size, kernel, stride, dilation)
    return size + total % 2, total // 2


def _pool(graph: _Graph, operator: Table, name: str, code: int, elements: int) -> Window:
    options = operator.table(4)
    window = 1 if options is None else options.number(3, "<i", 1) * options.number(4, "<i", 1)
    inputs = prod(graph.shape(int(operator.array(1, "<i4")[0]))[1:])
    kind = "maxpool" if code == _MAX else "averagepool"
    touched = elements * max(1, window)
    return Window(name=name, kind=kind, inputs=inputs, outputs=elements, touched=touched)


def _oriented(graph: _Graph, operator: Table, code: int) -> NDArray[Any] | None:
    """Return the weights of a product as (out, in, ...)."""
    inputs = operator.array(1, "<i4")
    values = graph.values(int(inputs[1]))
    if values is None or code == _FULLY:
        return values
    return np.moveaxis(values, -1, 0 if code == _DEPTHWISE else 1)
