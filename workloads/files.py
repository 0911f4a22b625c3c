"""Read text as people save it, tell pickles, make tables and JSON, write files whole or not at all.

Also where files that may be made or fetched again are kept.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workloads.errors import InputError

MOST_TEXT_BYTES = 256 << 20
"""Largest text held in memory, so that /dev/zero and the like end in a sentence."""

_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".cpkt", ".pkl", ".pickle"})


def read_text(path: Path, what: str = "") -> str:
    """Return a UTF-8 text, without the mark that some programs put in front of it.

    `what` the file is goes into the `InputError` for one that cannot be read or is no such text.
    """
    named = f"{what} {path}".strip()
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_TEXT_BYTES + 1)
        if len(content) > MOST_TEXT_BYTES:
            raise InputError(f"{named} must be a text of at most {MOST_TEXT_BYTES >> 20} MiB")
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except OSError as error:
        raise InputError(f"cannot read {named}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{named} must be UTF-8 text: byte {error.start} is not") from error


def is_pickle(path: Path, head: bytes) -> bool:
    """Say whether a file that begins with `head` is, or is named like, a pickle or a zip of them.

    A pickle of protocol 2 to 5 begins with the byte 0x80 and its protocol. So may a safetensors
    file, with the 8 bytes of its header's size; but a brace follows them.
    """
    begins = head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    return (begins and head[8:9] != b"{") or path.suffix.lower() in _PICKLE_SUFFIXES


def file_named(path: Path) -> Path:
    """Return the file to write that `path` names, links followed; it need not exist.

    Raises `InputError` for a directory, and for a device or a pipe, whose place a file would take.
    """
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a directory; name a file")
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {path}: it is a device or a pipe; name a file")
    final = Path(os.path.realpath(path))
    if final.is_symlink():
        raise InputError(f"cannot write {path}: its links lead in a circle; name a file")
    return final


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write every file whole, or leave what was there before.

    Each content goes to a temporary name in the directory of its file and to the disk; only when
    all of them are there do they take their final names, in the order given. Whatever goes wrong,
    an interrupt included, the temporary files are removed. Raises `InputError` naming the path if
    the system refuses (no such directory, no permission, no space left).
    """
    temporary: dict[Path, Path] = {}
    path = Path()
    try:
        for path, content in contents.items():
            final = file_named(path)
            temporary[path] = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
            _write_to_disk(temporary[path], content)
        for path, written in temporary.items():
            os.replace(written, file_named(path))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write {path}: {reason}; name a place that exists, is writable and has "
            f"{len(contents[path])} bytes free"
        ) from error
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)


def cache_folder(name: str, variable: str) -> Path:
    """Return the folder that an environment variable names, or `name` in the user's cache."""
    chosen = os.environ.get(variable)
    if chosen:
        return Path(chosen)
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user) / "sparsight" / name


def csv_content(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    r"""Return the content of a CSV file with these columns of the rows, their names first.

    >>> csv_content([{"shape": "8x8", "cycles": 21, "note": ""}], ["shape", "cycles"])
    b'shape,cycles\n8x8,21\n'
    """
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[name] for name in columns] for row in rows)
    return sink.getvalue().encode()


def json_content(values: Mapping[str, Any]) -> bytes:
    """Return the content of a JSON file that people read."""
    return (json.dumps(values, indent=2) + "\n").encode()


def _write_to_disk(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
