"""The tensors of an ONNX graph: shapes, which of them are weights, and which only describe shapes.

Weights are taken out of the graph before shapes are inferred, so that memory does not grow with
them; small integer constants stay, because shapes are computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from workloads.errors import InputError, first_line
from workloads.importers.bounded import limited_memory
from workloads.importers.onnx_folding import completed_types

Shape = tuple[int, ...]

MOST_NODES = 200_000
MOST_ELEMENTS = 1 << 42
SMALL = 4096
"""Elements up to which a constant may describe a shape, and so stays in the graph."""

_SHAPE_ONLY = {"Shape", "Size", "NonZero"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTensors:
    """What is known of each tensor, by name."""

    path: Path
    shapes: Mapping[str, Shape]
    weights: frozenset[str]
    constants: frozenset[str]

    def shape(self, name: str, user: str) -> Shape:
        """Return the shape of a tensor; raise `InputError` that says which node needs it."""
        if name not in self.shapes:
            raise InputError(
                f"{self.path} must have static shapes, but the shape of {name!r} (node {user!r}) "
                "does not follow from its inputs; export it with fixed sizes"
            )
        return self.shapes[name]

    def is_activation(self, name: str) -> bool:
        """Say whether a tensor depends on the input of the graph through its values."""
        return bool(name) and name not in self.constants


def tensors_of(path: Path, model: Any, sizes: Mapping[str, int]) -> GraphTensors:
    """Infer all shapes; `sizes` gives symbolic dimensions by name.

    Raises `InputError` for a graph that is cyclic or out of order, and for sizes that are missing,
    negative or impossible.
    """
    graph = model.graph
    if len(graph.node) > MOST_NODES:
        raise InputError(f"{path} has {len(graph.node)} nodes; at most {MOST_NODES} are read")
    _check_order(path, graph)
    weights = {tensor.name: _dims(path, tensor.name, tensor.dims) for tensor in graph.initializer}
    inputs = [i for i in graph.input if i.name not in weights]
    for value in inputs:
        _fix_input(path, value, sizes)
    shapes = _inferred(path, model, weights)
    return GraphTensors(
        path=path,
        shapes=shapes | weights,
        weights=frozenset(weights),
        constants=_constants(graph, frozenset(weights)),
    )


def batch_of(path: Path, model: Any, batch: int | None) -> tuple[int, dict[str, int]]:
    """Return the first size of the first input, and the symbolic sizes that the batch sets."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    if not inputs:
        raise InputError(f"{path} must have an input that is no weight, but has none")
    dims = inputs[0].type.tensor_type.shape.dim
    if not dims:
        return 1, {}
    if dims[0].HasField("dim_value") and dims[0].dim_value > 0:
        fixed = int(dims[0].dim_value)
        if batch not in (None, fixed):
            raise InputError(
                f"the batch of {path} is fixed to {fixed}; export it with a dynamic first "
                f"dimension to use {batch}"
            )
        return fixed, {}
    chosen = 1 if batch is None else batch
    sizes = {"": chosen}
    for value in inputs:
        first = value.type.tensor_type.shape.dim[:1]
        if first and not first[0].HasField("dim_value"):
            sizes[first[0].dim_param] = chosen
    return chosen, sizes


def _check_order(path: Path, graph: Any) -> None:
    """Refuse what is read before it is made: a cycle, or a graph that is not sorted."""
    made = {""} | {i.name for i in graph.input} | {t.name for t in graph.initializer}
    made |= {t.values.name for t in graph.sparse_initializer}
    later = {name for node in graph.node for name in node.output}
    for index, node in enumerate(graph.node):
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise InputError(
                f"{path} must be a static graph, but node {node.name or index} ({node.op_type}) "
                "has a sub-graph; export it without control flow"
            )
        for name in node.input:
            if name not in made:
                cause = "the graph is cyclic or not sorted" if name in later else "nothing makes it"
                raise InputError(
                    f"node {node.name or index} ({node.op_type}) of {path} reads {name!r} before "
                    f"it is there: {cause}"
                )
        made |= set(node.output)


def _dims(path: Path, name: str, dims: Any) -> Shape:
    shape = tuple(int(size) for size in dims)
    elements = 1
    for size in shape:
        elements *= size
        if size < 1 or elements > MOST_ELEMENTS:
            raise InputError(
                f"sizes of {name!r} in {path} must be positive and at most {MOST_ELEMENTS} "
                f"elements together, not {shape}"
            )
    return shape


def _fix_input(path: Path, value: Any, sizes: Mapping[str, int]) -> None:
    """Put numbers where an input has symbolic sizes."""
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.HasField("dim_value"):
            if dim.dim_value < 1:
                raise InputError(
                    f"size {axis} of input {value.name!r} of {path} must be positive, "
                    f"not {dim.dim_value}"
                )
            continue
        label = dim.dim_param
        if axis == 0 and label not in sizes:
            label = ""
        if label not in sizes or (label == "" and axis > 0):
            raise InputError(
                f"size {axis} of input {value.name!r} of {path} is dynamic "
                f"({dim.dim_param or 'unnamed'}); give it a number with --tokens, or export the "
                "model with fixed sizes"
            )
        dim.dim_value = sizes[label]


def _inferred(path: Path, model: Any, weights: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes that follow from the inputs."""
    import onnx

    small = onnx.ModelProto()
    small.CopyFrom(_without_weights(model))
    kept = {tensor.name for tensor in small.graph.initializer}
    declared = {value.name for value in small.graph.input}
    for tensor in model.graph.initializer:
        if tensor.name not in kept and tensor.name not in declared:
            small.graph.input.append(
                onnx.helper.make_tensor_value_info(
                    tensor.name, tensor.data_type, weights[tensor.name]
                )
            )
    del small.graph.value_info[:]
    try:
        with limited_memory():
            done = onnx.shape_inference.infer_shapes(small, strict_mode=False, data_prop=True)
            graph = done.graph
            types = {v.name: v.type for v in (*graph.value_info, *graph.input, *graph.output)}
            types = completed_types(small, types, SMALL)
    except MemoryError as error:
        raise InputError(f"the shapes of {path} cannot be inferred in bounded memory") from error
    except Exception as error:  # the library raises many types, all about the model
        raise InputError(
            f"the shapes of {path} do not fit together: {first_line(error)}"
        ) from error
    shapes = {}
    for name, kind in types.items():
        dims = kind.tensor_type.shape.dim
        if kind.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            shapes[name] = tuple(int(d.dim_value) for d in dims)
    for name, shape in shapes.items():
        _dims(path, name, [max(size, 1) if size == 0 else size for size in shape])
    return shapes


def _without_weights(model: Any) -> Any:
    """Return the model without the constants that are too large to describe a shape."""
    import onnx

    bare = onnx.ModelProto()
    bare.ir_version = model.ir_version
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    bare.graph.name = model.graph.name or "graph"
    bare.graph.node.extend(model.graph.node)
    bare.graph.input.extend(model.graph.input)
    bare.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= SMALL and not tensor.external_data:
            bare.graph.initializer.append(tensor)
    return bare


def _constants(graph: Any, weights: frozenset[str]) -> frozenset[str]:
    """Return the tensors that do not depend on the values of the input."""
    constants = {"", *weights}
    for node in graph.node:
        if node.op_type in _SHAPE_ONLY or all(name in constants for name in node.input):
            constants |= set(node.output)
    return frozenset(constants)
