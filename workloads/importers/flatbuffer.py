"""Read tables of a FlatBuffers file by field number, every offset checked against the file.

Source of the layout: the FlatBuffers internals document. A table starts with a signed offset back
to its vtable: its size, the table's size, then one 16-bit offset a field, 0 for a field that is not
stored. Vectors start with their length; strings and tables are reached by unsigned offsets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError


@dataclass(frozen=True, slots=True)
class Table:
    """A table at a place in `content`; `what` names the file in messages."""

    content: bytes
    at: int
    what: str

    def _unpack(self, form: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(form) > len(self.content):
            raise InputError(
                f"{self.what} must be a whole file, but an offset in it leads to byte {at} "
                f"of {len(self.content)}"
            )
        value: int = struct.unpack_from(form, self.content, at)[0]
        return value

    def _field(self, number: int) -> int | None:
        """Return the place of a field; None if it is not stored."""
        vtable = self.at - self._unpack("<i", self.at)
        if 4 + 2 * number >= self._unpack("<H", vtable):
            return None
        offset = self._unpack("<H", vtable + 4 + 2 * number)
        return self.at + offset if offset else None

    def number(self, number: int, form: str, default: int = 0) -> int:
        """Return a scalar field."""
        place = self._field(number)
        return default if place is None else self._unpack(form, place)

    def table(self, number: int) -> Table | None:
        """Return the table that a field points to."""
        place = self._field(number)
        if place is None:
            return None
        return Table(self.content, place + self._unpack("<I", place), self.what)

    def _vector(self, number: int, size: int) -> tuple[int, int]:
        """Return place and length of a vector of elements of `size` bytes."""
        place = self._field(number)
        if place is None:
            return 0, 0
        start = place + self._unpack("<I", place)
        count = self._unpack("<I", start)
        if start + 4 + count * size > len(self.content):
            raise InputError(
                f"{self.what} must be a whole file, but {count} entries at byte {start} do not fit"
            )
        return start + 4, count

    def array(self, number: int, dtype: str) -> NDArray[np.generic]:
        """Return a vector of scalars, empty if it is not stored."""
        kind = np.dtype(dtype)
        start, count = self._vector(number, kind.itemsize)
        return np.frombuffer(self.content, kind, count, start)

    def tables(self, number: int) -> list[Table]:
        """Return a vector of tables."""
        start, count = self._vector(number, 4)
        places = (start + 4 * i for i in range(count))
        return [Table(self.content, at + self._unpack("<I", at), self.what) for at in places]

    def text(self, number: int) -> str:
        """Return a string, empty if it is not stored."""
        return bytes(self.array(number, "u1").tobytes()).decode("utf-8", errors="replace")


def root(content: bytes, what: str, identifier: bytes) -> Table:
    """Return the root table of a file that carries `identifier`; raise `InputError` otherwise."""
    if content[4:8] != identifier:
        raise InputError(
            f"{what} must carry the identifier {identifier.decode()}, not {content[4:8]!r}"
        )
    start = Table(content, 0, what)
    return Table(content, start._unpack("<I", 0), what)
