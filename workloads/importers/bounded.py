"""Read files of unknown origin within bounds: size, expansion of archives, and names in them."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from workloads.errors import InputError, first_line
from workloads.files import MOST_TEXT_BYTES

MOST_FILE_BYTES = 8 << 30
"""Largest model file that is looked into: weights of 4 G numbers in fp16."""

MOST_UNPACKED_BYTES = 512 << 20
"""Largest file that is unpacked, from an archive or by itself."""

MOST_EXPANSION = 200
"""Largest ratio of unpacked to packed bytes; deflate reaches 1032 on zeros, weights about 1."""

MOST_MEMBERS = 10_000

MOST_LIBRARY_BYTES = 256 << 20
"""What a library may allocate to infer the shapes of a graph; the largest need some 10 MiB."""


def checked_size(path: Path, *, most: int = MOST_FILE_BYTES) -> int:
    """Return the bytes of a file; raise `InputError` if there is none or if it is too large."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if path.is_dir():
        raise InputError(f"{path} must be a file, but it is a directory")
    if status.st_size == 0:
        raise InputError(f"{path} must hold a model, but it is empty")
    if status.st_size > most:
        raise InputError(f"{path} has {status.st_size} bytes; at most {most} are read")
    return status.st_size


def read_bytes(path: Path, *, most: int = MOST_TEXT_BYTES) -> bytes:
    """Return the content of a file of at most `most` bytes, gunzipped if its name ends in .gz."""
    checked_size(path, most=most)
    try:
        if path.suffix.lower() == ".gz":
            return gunzip(path, most=most)
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def gunzip(path: Path, *, most: int = MOST_UNPACKED_BYTES) -> bytes:
    """Return the content of a gzip file; raise `InputError` if it has more than `most` bytes."""
    with gzip.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{path} must unpack to at most {most} bytes, but it unpacks to more")
    return content


def unpack_model(path: Path, suffixes: tuple[str, ...]) -> tuple[str, bytes]:
    """Return name and content of the one model file in a zip archive, without writing anything.

    `suffixes` are those of model files. Raises `InputError` for a name that leaves the archive's
    folder, for a member that unpacks to too much, and unless exactly one member is a model.
    """
    checked_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            models = [m for m in members if PurePosixPath(m.filename).suffix.lower() in suffixes]
            if len(models) != 1:
                found = ", ".join(m.filename for m in models[:4]) or "none"
                raise InputError(
                    f"archive {path} must hold one model ({', '.join(suffixes)}), not {found}"
                )
            return models[0].filename, _content(path, archive, models[0])
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError) as error:
        raise InputError(f"archive {path} must be a whole zip file: {first_line(error)}") from error
    except (NotImplementedError, ValueError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"archive {path} cannot be unpacked: {first_line(error)}") from error


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MOST_MEMBERS:
        raise InputError(f"archive {path} has {len(members)} members; at most {MOST_MEMBERS} fit")
    for member in members:
        name = member.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or ":" in name or "\0" in name:
            raise InputError(
                f"archive {path} names {name!r}, which leaves its folder; nothing was unpacked"
            )


def _content(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Unpack a member, trusting neither the size that it states nor its ratio."""
    most = min(MOST_UNPACKED_BYTES, MOST_EXPANSION * max(member.compress_size, 1))
    with archive.open(member) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(
            f"{member.filename} in {path} must unpack to at most {most} bytes, "
            f"{MOST_EXPANSION} times what is packed, but it unpacks to more"
        )
    return content


@contextmanager
def limited_memory(most: int = MOST_LIBRARY_BYTES) -> Iterator[None]:
    """Let what runs within allocate at most so many bytes more, or get a `MemoryError`.

    For a library that believes the sizes in a file. Without effect on systems other than Linux.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + most
    within = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(wanted, *within, wanted), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
