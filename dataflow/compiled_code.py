"""Where numba keeps compiled kernels if it finds no place of its own.

Numba looks beside the source, then in the user's cache folder, and refuses to import a kernel where
neither can be written: in a container with a read-only installation and no home. There kernels are
compiled into a temporary folder, for this process and those that it starts.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def find_place(installation: Path, environment: dict[str, str]) -> str | None:
    """Return a new temporary folder if one is needed, else None.

    `installation` is a folder with kernels; `environment` tells where the user's cache is.
    """
    if environment.get(VARIABLE) or _writable(installation / "__pycache__"):
        return None
    home = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/")) / ".cache"
    if _writable(Path(home) / "numba"):
        return None
    return tempfile.mkdtemp(prefix="sparsight-kernels-")


def _writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, which is made if it does not exist."""
    for existing in (folder, *folder.parents):
        if existing.exists():
            return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return False


def prepare() -> None:
    """Name a temporary folder to numba if there is no other place; remove it at the end."""
    place = find_place(Path(__file__).parent, dict(os.environ))
    if place is not None:
        os.environ[VARIABLE] = place
        atexit.register(shutil.rmtree, place, ignore_errors=True)
