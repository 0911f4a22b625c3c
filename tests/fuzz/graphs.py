"""Small ONNX files to begin with: recurrent layers, and sizes that the graph computes itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

STEPS, BATCH, INPUTS, STATE = 3, 2, 4, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(cell: str) -> bytes:
    """Return a layer of both directions with a bias, and a state to start from."""
    width = GATES[cell] * STATE
    constants = {
        "w": np.ones((2, width, INPUTS), np.float32),
        "r": np.ones((2, width, STATE), np.float32),
        "b": np.zeros((2, 2 * width), np.float32),
        "h": np.zeros((2, BATCH, STATE), np.float32),
    }
    node = helper.make_node(
        cell, ["x", "w", "r", "b", "", "h"], ["y"], hidden_size=STATE, direction="bidirectional"
    )
    return _file([node], [STEPS, BATCH, INPUTS], constants, "y")


def folded() -> bytes:
    """Return a product whose operand's shape is cut from another one and joined again."""
    constants = {
        "w": np.ones((INPUTS, STATE), np.float32),
        "begin": np.array([0]),
        "end": np.array([1]),
        "minus": np.array([-INPUTS]),
    }
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "begin", "end"], ["first"]),
        helper.make_node("Neg", ["minus"], ["size"]),
        helper.make_node("Concat", ["first", "size"], ["joined"], axis=0),
        helper.make_node("Reshape", ["x", "joined"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["y"]),
    ]
    return _file(nodes, [BATCH, 1, INPUTS], constants, "y")


def _file(
    nodes: list[NodeProto], shape: list[int], constants: dict[str, Any], output: str
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return model
