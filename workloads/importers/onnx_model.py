"""Read an ONNX file: the forward graph; the backward and update passes follow from its layers.

Weights stored outside the file are not needed and not opened. A graph is trained as it stands: a
batch norm folded into a convolution stays folded; the loss is a softmax over the first output.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from workloads.errors import InputError, first_line
from workloads.importers.bounded import checked_size
from workloads.importers.onnx_layers import Builder, Uneven
from workloads.importers.onnx_tensors import GraphTensors, batch_of, tensors_of
from workloads.importers.statistics import with_whole_weights
from workloads.layers import Layer, Linear, Vector
from workloads.names import numbered
from workloads.network import Network
from workloads.operations import Workload

MOST_BYTES = (2 << 30) - 1
"""What a protobuf can hold."""


def read_onnx(
    path: Path,
    *,
    batch: int | None = None,
    tokens: int | None = None,
    inference: bool = False,
    content: bytes | None = None,
) -> Workload:
    """Return the training step (or the inference) of an ONNX graph; weights give statistics.

    `batch` sets a dynamic first size, `tokens` every other dynamic size. `content` is the file, if
    it comes from an archive. Raises `InputError` that names the node and what would be right.
    """
    model = _load(path, content)
    size, sizes = batch_of(path, model, batch)
    named = _all_symbols(model, sizes, tokens)
    tensors = tensors_of(path, model, named)
    network, builder = _network(path, model, tensors, size)
    workload = network.inference() if inference else network.training_step()
    workload = with_whole_weights(workload, _weights(model, builder))
    moves = ", ".join(f"{count} {kind}" for kind, count in sorted(builder.moves.items()))
    notes = (f"not counted, as they only move elements: {moves}",) if moves else ()
    return replace(workload, notes=(*workload.notes, *notes))


def _load(path: Path, content: bytes | None) -> Any:
    if importlib.util.find_spec("onnx") is None:
        raise InputError(
            "reading ONNX files needs the onnx library; pip install 'sparsight[models]'"
        )
    import onnx

    if content is None:
        checked_size(path, most=MOST_BYTES)
        content = path.read_bytes()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's DecodeError has moved between modules
        raise InputError(
            f"{path} must be a whole ONNX file, but it is damaged or cut short: {first_line(error)}"
        ) from error
    _check_texts(path, model)
    if not model.graph.node or not model.opset_import:
        raise InputError(f"{path} must be an ONNX file with a graph and an opset, but it has none")
    return model


def _check_texts(path: Path, model: Any) -> None:
    """Refuse names that are no text; the library hands them out as they are."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.initializer, *graph.value_info)
    try:
        names = [graph.name, *(value.name for value in values)]
        for node in graph.node:
            names += [node.name, node.op_type, node.domain, *node.input, *node.output]
            names += [attribute.name for attribute in node.attribute]
        readable = all(isinstance(name, str) for name in names)
    except UnicodeDecodeError:
        readable = False
    if not readable:
        raise InputError(f"{path} must name its nodes and tensors in UTF-8, but it is damaged")


def _all_symbols(model: Any, sizes: Mapping[str, int], tokens: int | None) -> dict[str, int]:
    """Give `tokens` to every symbolic size that the batch does not set."""
    found = dict(sizes)
    if tokens is not None:
        for value in model.graph.input:
            for dim in value.type.tensor_type.shape.dim[1:]:
                if dim.dim_param:
                    found.setdefault(dim.dim_param, tokens)
    return found


def _network(path: Path, model: Any, tensors: GraphTensors, batch: int) -> tuple[Network, Builder]:
    """Build the layers by item; where a size is no multiple of the batch, by the whole batch."""
    try:
        return _build(path, model, tensors, batch)
    except Uneven:
        return _build(path, model, tensors, 1)


def _build(path: Path, model: Any, tensors: GraphTensors, batch: int) -> tuple[Network, Builder]:
    builder = Builder(tensors, batch)
    consumers = _consumers(model, tensors)
    layers: list[Layer] = []
    for index, node in enumerate(model.graph.node):
        if all(not tensors.is_activation(name) for name in node.output):
            continue
        name = _safe(node.name) or f"{node.op_type.lower()}{index}"
        layers += builder.layers(node, name)
        for output in node.output:
            for fork in range(consumers[output] - 1):
                elements = builder.item(prod(tensors.shape(output, name)))
                kind = f"{name}.{_safe(output)}.fork{fork}"
                layers.append(Vector(name=kind, kind="split", elements=elements))
    if not any(layer.macs for layer in layers):
        raise InputError(f"{path} must hold a convolution or a matrix product, but it has none")
    layers = _classified(numbered(layers))
    layers.append(Vector(name="loss", kind="loss", elements=_outputs(builder, model, tensors)))
    inputs = [i for i in model.graph.input if i.name not in tensors.weights]
    shape = tensors.shape(inputs[0].name, "the graph")
    network = Network(
        name=model.graph.name if not path.stem else path.stem,
        source=f"ONNX file {path.name}, opset {model.opset_import[0].version}",
        input="x".join(map(str, shape[1:] or shape)),
        batch=batch,
        layers=tuple(layers),
    )
    return network, builder


def _outputs(builder: Builder, model: Any, tensors: GraphTensors) -> int:
    shape = tensors.shapes.get(model.graph.output[0].name) if model.graph.output else None
    try:
        return builder.item(prod(shape)) if shape else 1
    except Uneven:
        return prod(shape or (1,))


def _consumers(model: Any, tensors: GraphTensors) -> Counter[str]:
    """Count the nodes that read each activation and make another from it."""
    return Counter(
        name
        for node in model.graph.node
        if any(tensors.is_activation(output) for output in node.output)
        for name in node.input
        if tensors.is_activation(name)
    )


def _safe(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:200]


def _classified(layers: list[Layer]) -> list[Layer]:
    """Mark the last product as the classifier, if it is a linear layer."""
    products = [i for i, layer in enumerate(layers) if layer.macs]
    last = layers[products[-1]]
    if len(products) > 1 and isinstance(last, Linear):
        layers[products[-1]] = replace(last, classifier=True)
    return layers


def _weights(model: Any, builder: Builder) -> dict[str, Any]:
    """Return the values of the weights that are in the file, as (out, in, ...)."""
    import onnx

    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for layer, name in builder.weights.items():
        tensor = initializers.get(name)
        if tensor is None or tensor.external_data:
            continue
        try:
            values = onnx.numpy_helper.to_array(tensor)
        except Exception as error:
            raise InputError(
                f"the weights {name!r} of {builder.tensors.path} do not hold what their shape and "
                f"type say: {first_line(error)}"
            ) from error
        if values.dtype.kind == "f" and values.ndim >= 2:
            found[layer] = values.T if layer in builder.in_by_out else values
    return found
