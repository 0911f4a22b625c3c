"""The adjacency part of graph-tool's binary format, as its documentation lays it out.

Magic "⛾ gt", version 1, a byte of endianness, a comment (length and bytes), a byte that says
whether the graph is directed, the number of vertices, then for each vertex the number of its
out-neighbours and their labels in the smallest unsigned type that holds the number of vertices.
The property maps that follow are not read: every edge has the value 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.matrices.csr import Csr

MAGIC = "⛾ gt".encode()


def parse_graph_tool(content: bytes, *, name: str = "graph") -> Csr:
    """Return the adjacency matrix; an undirected graph becomes symmetric, repeated edges one.

    Raises `InputError` if the bytes are not such a file or end too early.
    """
    if not content.startswith(MAGIC) or len(content) < 16:
        raise InputError(f"{name} is not a graph-tool file: it does not begin with its mark")
    if content[6] != 1:
        raise InputError(f"{name} is version {content[6]} of the graph-tool format; 1 is known")
    order = ">" if content[7] else "<"
    comment = int(np.frombuffer(content, f"{order}u8", 1, 8)[0])
    at = 16 + comment
    if len(content) < at + 9:
        raise InputError(f"{name} ends before its number of vertices")
    directed = content[at] != 0
    vertices = int(np.frombuffer(content, f"{order}u8", 1, at + 1)[0])
    rows, columns = _edges(content, at + 9, vertices, order, name)
    if not directed:
        rows, columns = np.concatenate([rows, columns]), np.concatenate([columns, rows])
    places = np.unique(rows.astype(np.int64) * vertices + columns.astype(np.int64))
    ones = np.ones(len(places))
    shape = (vertices, vertices)
    return Csr.from_coo(
        shape, places // max(vertices, 1), places % max(vertices, 1), ones, name=name
    )


def _edges(
    content: bytes, at: int, vertices: int, order: str, name: str
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    label = np.dtype(f"{order}u{_label_bytes(vertices)}")
    degrees = np.zeros(min(vertices, len(content) // 8 + 1), dtype=np.int64)
    pieces: list[NDArray[np.uint64]] = []
    for vertex in range(vertices):
        if at + 8 > len(content):
            raise InputError(f"{name} ends at vertex {vertex} of {vertices}")
        degree = int.from_bytes(content[at : at + 8], "big" if order == ">" else "little")
        at += 8
        if at + degree * label.itemsize > len(content):
            raise InputError(f"{name} ends inside the neighbours of vertex {vertex}")
        pieces.append(np.frombuffer(content, label, degree, at).astype(np.uint64))
        degrees[vertex] = degree
        at += degree * label.itemsize
    columns = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.uint64)
    if len(columns) and columns.max() >= vertices:
        raise InputError(f"{name} has a neighbour {columns.max()} but only {vertices} vertices")
    return np.repeat(np.arange(vertices), degrees[:vertices]), columns


def _label_bytes(vertices: int) -> int:
    for size in (1, 2, 4):
        if vertices <= 1 << (8 * size):
            return size
    return 8
