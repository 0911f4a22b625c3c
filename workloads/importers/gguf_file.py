"""The header of a GGUF file (version 2 or 3): keys with single values, and where each tensor lies.

Every length is held against the size of the file before anything is read, so that a damaged file
costs neither memory nor time. Source of the layout: the GGUF specification of the ggml project.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

from workloads.errors import InputError
from workloads.rounding import ceil_div

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
MOST_KEYS = 100_000
MOST_DIMENSIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor: its shape with rows first, its quantisation type, and its place in bytes."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(slots=True)
class _Cursor:
    """A place in a mapped file; every read is checked against its end."""

    path: Path
    content: mmap.mmap | bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.content) - self.at:
            raise InputError(
                f"{self.path} must be a whole GGUF file, but {count} bytes at {self.at} lie beyond "
                f"its end at {len(self.content)}"
            )
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def text(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Keys with a single value, tensors by name, and where their bytes start."""

    keys: dict[str, object] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    start: int = 0


def read_header(path: Path, content: mmap.mmap | bytes) -> Header:
    """Read keys and tensor places; raise `InputError` for a file that is none or is damaged."""
    cursor = _Cursor(path, content)
    if len(content) < 24 or cursor.take(4) != b"GGUF":
        raise InputError(f"{path} must start with GGUF and a header, but does not")
    version = cursor.number("<I")
    if version not in (2, 3):
        raise InputError(f"{path} has GGUF version {version}; versions 2 and 3 are read")
    tensors, keys = cursor.number("<Q"), cursor.number("<Q")
    if max(tensors, keys) > MOST_KEYS:
        raise InputError(f"{path} cannot hold {tensors} tensors and {keys} keys: it is damaged")
    found = dict(_key(cursor) for _ in range(keys))
    places = {place.name: place for place in (_tensor(cursor) for _ in range(tensors))}
    alignment = found.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise InputError(f"general.alignment of {path} must be a positive number, not {alignment}")
    start = ceil_div(cursor.at, alignment) * alignment
    single = {key: value for key, value in found.items() if value is not None}
    return Header(keys=single, tensors=places, start=start)


def _key(cursor: _Cursor) -> tuple[str, object]:
    """Read a key and its value; None stands for an array."""
    name, kind = cursor.text(), cursor.number("<I")
    if kind in _SCALARS:
        return name, cursor.number(_SCALARS[kind])
    if kind == _STRING:
        return name, cursor.text()
    if kind != _ARRAY:
        raise InputError(f"key {name[:80]!r} of {cursor.path} has the unknown type {kind}")
    _skip_array(cursor, name)
    return name, None


def _skip_array(cursor: _Cursor, name: str) -> None:
    kind, count = cursor.number("<I"), cursor.number("<Q")
    if kind in _SCALARS:
        cursor.take(count * struct.calcsize(_SCALARS[kind]))
    elif kind == _STRING:
        for _ in range(min(count, len(cursor.content))):
            cursor.take(cursor.number("<Q"))
    else:
        raise InputError(f"array {name[:80]!r} of {cursor.path} holds the unknown type {kind}")


def _tensor(cursor: _Cursor) -> Tensor:
    name, dimensions = cursor.text(), cursor.number("<I")
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise InputError(
            f"tensor {name[:80]!r} of {cursor.path} must have 1 to {MOST_DIMENSIONS} dimensions, "
            f"not {dimensions}"
        )
    columns_first = [cursor.number("<Q") for _ in range(dimensions)]
    return Tensor(
        name=name,
        shape=tuple(columns_first[::-1]),
        type=cursor.number("<I"),
        offset=cursor.number("<Q"),
    )
