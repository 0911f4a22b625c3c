"""Shapes that follow from sizes which the graph itself computes.

Exporters write sizes as small integer sub-graphs (Shape, Gather, Mod, Div, Slice, Concat, Reshape).
ONNX's shape inference propagates the values of some of these operators only. Here the graph is
walked once, in order: what depends on constants and shapes alone is computed by ONNX's reference
operators, and the shape of every other node is inferred with the values found so far.
"""

from __future__ import annotations

from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# fmt: off
_COMPUTED = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Equal",
    "Expand", "Floor", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
    "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze", "Sub", "Transpose",
    "Unsqueeze", "Where",
})
# fmt: on
"""Arithmetic on sizes: its cost is that of its operands and its result, which are both bounded."""


def completed_types(model: Any, types: dict[str, Any], most: int) -> dict[str, Any]:
    """Return `types` (onnx.TypeProto by name) with those that follow from computed sizes.

    Initializers of `model` are the constants at hand; a result of more than `most` elements is not
    computed. What cannot be inferred stays as it is.
    """
    import onnx

    constants = model.graph.initializer
    of_type = onnx.helper.make_tensor_type_proto
    types = types | {t.name: of_type(t.data_type, t.dims) for t in constants}
    values: dict[str, Array] = {}
    for tensor in constants:
        with suppress(Exception):  # damaged values: who needs them says so
            values[tensor.name] = onnx.numpy_helper.to_array(tensor)
    versions = {i.domain: i.version for i in model.opset_import}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        sizes = [_elements(types.get(name)) for name in node.output]
        if None in sizes:
            types |= _inferred(node, types, values, versions)
            sizes = [_elements(types.get(name)) for name in node.output]
        if not all(size is not None and size <= most for size in sizes):
            continue
        if node.op_type in _COMPUTED:
            values |= _computed(node, types, values, versions)
    return types


def _inferred(
    node: Any, types: dict[str, Any], values: dict[str, Array], versions: dict[str, int]
) -> dict[str, Any]:
    """Return the types of a node's outputs whose sizes are known now."""
    import onnx

    data = {n: onnx.numpy_helper.from_array(values[n], n) for n in node.input if n in values}
    try:
        schema = onnx.defs.get_schema(node.op_type, versions.get(node.domain, 1), node.domain)
        found = onnx.shape_inference.infer_node_outputs(schema, node, types, data)
    except Exception:  # the library raises many types; who needs the shape reports it missing
        return {}
    return {name: kind for name, kind in found.items() if _elements(kind) is not None}


def _computed(
    node: Any, types: dict[str, Any], values: dict[str, Array], versions: dict[str, int]
) -> dict[str, Array]:
    """Return the results of a node; none if an operand is not known or the library refuses it."""
    from onnx.reference import ReferenceEvaluator

    operands = {name: values[name] for name in node.input if name in values}
    if node.op_type in ("Shape", "Size") and _elements(types.get(node.input[0])) is not None:
        shape = [size.dim_value for size in types[node.input[0]].tensor_type.shape.dim]
        operands = {node.input[0]: np.broadcast_to(np.float32(0), shape)}
    if any(name and name not in operands for name in node.input):
        return {}
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(node, opsets=versions).run(None, operands)
    except Exception:  # as above: any type, and a size that is missing is reported by its user
        return {}
    return dict(zip(node.output, map(np.asarray, results), strict=False))


def _elements(kind: Any) -> int | None:
    """Return the elements of a tensor of a type; None if its sizes are not known."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return prod(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None
