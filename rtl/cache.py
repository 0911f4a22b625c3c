"""Keeps what takes long to make, such as mapped netlists and compiled models, between runs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from workloads.errors import InputError
from workloads.files import cache_folder


def cache_directory() -> Path:
    """Return where results are kept: `SPARSIGHT_RTL_CACHE`, or a folder of the user's cache."""
    return cache_folder("rtl", "SPARSIGHT_RTL_CACHE")


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return the directory `name` of the cache; `make` fills it if it is not there yet.

    It is filled in a temporary place and moved: whoever sees it sees it whole. A second process
    that wants the same waits for the first. Raises `InputError` if the cache cannot be written.
    """
    final = cache_directory() / name
    if final.exists():
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(dir=final.parent, prefix=".making-")
    except OSError as error:
        raise InputError(
            f"cannot keep results in {final.parent}: {error.strerror}; "
            "SPARSIGHT_RTL_CACHE=FOLDER names another place"
        ) from None
    with work, _alone(final.with_name(f".{name}.lock")):
        if not final.exists():
            whole = Path(work.name) / "whole"
            whole.mkdir()
            make(whole)
            try:
                whole.rename(final)
            except OSError:
                if not final.exists():
                    raise
    return final


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock among the processes of this machine; a file system without locks has none."""
    import fcntl

    with lock.open("w") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
