"""The nodes of a Chakra host trace: read, checked, paired with the autograd node they run in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.errors import InputError, first_line
from workloads.importers.bounded import read_bytes

VERSIONS = ("1.0.2", "1.0.3", "1.1.0", "1.1.1")
"""Schema versions whose nodes nest values, shapes and types in `inputs` and `outputs`."""

MOST_NODES = 5_000_000

_DTYPES = {
    "float": "fp32",
    "double": "fp64",
    "c10::Half": "fp16",
    "c10::BFloat16": "bf16",
    "signed char": "int8",
    "int": "int32",
    "long int": "int64",
}


@dataclass(frozen=True, slots=True)
class Node:
    """One node: arguments as (value, shape, type), the same for results."""

    id: int
    parent: int
    name: str
    sequence: int
    inputs: tuple[tuple[Any, Any, str], ...]
    outputs: tuple[tuple[Any, Any, str], ...]

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of an argument that must be a tensor."""
        return self._sizes(self.inputs, index, "argument")

    def out_shape(self, index: int = 0) -> tuple[int, ...]:
        """Return the shape of a result."""
        return self._sizes(self.outputs, index, "result")

    def value(self, index: int) -> Any:
        """Return the value of an argument that is no tensor."""
        if index >= len(self.inputs):
            raise InputError(f"node {self.id} ({self.name}) must have argument {index}")
        return self.inputs[index][0]

    def storage(self, index: int) -> Any:
        """Return what tells the storage of an argument from others; None if it is not known."""
        value = self.inputs[index][0]
        found = value[1] if isinstance(value, list) and len(value) > 1 else None
        return found if isinstance(found, int) else None

    def dtype(self, index: int) -> str:
        """Return the data type of an argument."""
        text = self.inputs[index][2].removeprefix("Tensor(").removesuffix(")")
        if text not in _DTYPES:
            raise InputError(
                f"data type of node {self.id} ({self.name}) must be one of {', '.join(_DTYPES)}, "
                f"not {text!r}"
            )
        return _DTYPES[text]

    def _sizes(self, arguments: Any, index: int, what: str) -> tuple[int, ...]:
        shape = arguments[index][1] if index < len(arguments) else None
        whole = isinstance(shape, list) and all(type(s) is int and 0 < s < 2**40 for s in shape)
        if not whole or not shape:
            raise InputError(
                f"{what} {index} of node {self.id} ({self.name}) must be a tensor with positive "
                f"sizes, not {shape!r:.60}"
            )
        return tuple(shape)


def read_nodes(path: Path) -> dict[int, Node]:
    """Return the nodes by id; raise `InputError` that names the entry that is wrong."""
    try:
        trace = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be a whole JSON trace: {first_line(error)}") from error
    if not isinstance(trace, dict) or not isinstance(trace.get("nodes"), list):
        raise InputError(f"{path} must be a Chakra trace: a JSON object with a list of nodes")
    version = str(trace.get("schema", "")).partition("-")[0]
    if version not in VERSIONS:
        raise InputError(
            f"{path} has the Chakra schema {trace.get('schema')!r}; {', '.join(VERSIONS)} are read"
        )
    if len(trace["nodes"]) > MOST_NODES:
        raise InputError(f"{path} has {len(trace['nodes'])} nodes; at most {MOST_NODES} are read")
    nodes: dict[int, Node] = {}
    for index, found in enumerate(trace["nodes"]):
        node = _node(path, index, found)
        if node.id in nodes:
            raise InputError(f"{path} names node {node.id} twice; ids must be unique")
        nodes[node.id] = node
    return nodes


def _node(path: Path, index: int, found: Any) -> Node:
    try:
        attributes = {a["name"]: a.get("value") for a in found.get("attrs", ())}
        sequence = attributes.get("seq_id", -1)
        node = Node(
            id=found["id"],
            parent=found["ctrl_deps"],
            name=found["name"],
            sequence=sequence if type(sequence) is int else -1,
            inputs=_tensors(found["inputs"]),
            outputs=_tensors(found["outputs"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"entry {index} of {path} must be a node with id, ctrl_deps, name, inputs and outputs: "
            f"{type(error).__name__} {first_line(error)}"
        ) from error
    if type(node.id) is not int or type(node.parent) is not int or type(node.name) is not str:
        raise InputError(f"entry {index} of {path} must have whole numbers as id and ctrl_deps")
    return node


def _tensors(part: Mapping[str, list[Any]]) -> tuple[tuple[Any, Any, str], ...]:
    return tuple(
        (value, shape, str(kind))
        for value, shape, kind in zip(part["values"], part["shapes"], part["types"], strict=True)
    )


def autograd_nodes(nodes: Mapping[int, Node]) -> dict[int, Node]:
    """Map each node inside an autograd node to that node, whose sequence number pairs it.

    Raises `InputError` if a node is its own ancestor.
    """
    found: dict[int, Node | None] = {}
    for start in nodes:
        chain: dict[int, None] = {}
        at = start
        while at in nodes and at not in found:
            if at in chain:
                raise InputError(f"node {start} must not be its own ancestor: the trace is cyclic")
            chain[at] = None
            parent = nodes[at].parent
            at = -1 if parent == at else parent
        autograd = found.get(at)
        for each in reversed(chain):
            if _is_autograd(nodes[each].name):
                autograd = nodes[each]
            found[each] = autograd
    return {at: node for at, node in found.items() if node is not None}


def _is_autograd(name: str) -> bool:
    return bool(re.fullmatch(r"\w+Backward\d+", name))


def outermost(
    nodes: Mapping[int, Node], wanted: re.Pattern[str], is_read: Callable[[str], bool]
) -> Iterator[Node]:
    """Yield the nodes of names that match `wanted` whose work no node that is read does.

    Neither such a node, nor one around or inside it, is read; of nested ones the outermost counts.
    """
    around = {
        each for node in nodes.values() if is_read(node.name) for each in _ancestors(nodes, node)
    }
    for node in nodes.values():
        if wanted.fullmatch(node.name) is None or is_read(node.name) or node.id in around:
            continue
        names = [nodes[each].name for each in _ancestors(nodes, node)]
        if not any(is_read(name) or wanted.fullmatch(name) for name in names):
            yield node


def _ancestors(nodes: Mapping[int, Node], node: Node) -> Iterator[int]:
    """Yield the nodes around `node`, which `autograd_nodes` has found to be no cycle."""
    at = node
    while at.parent != at.id and at.parent in nodes:
        at = nodes[at.parent]
        yield at.id
