"""Read and write sparse matrices: MatrixMarket, SciPy npz, graph-tool; or a matrix by its name.

A name (`polblogs`) is looked up among the shipped matrices, then in the cache that
`python -m workloads.matrices.fetch` fills. Nothing here opens a pickle.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from workloads.errors import InputError
from workloads.files import cache_folder, write_whole
from workloads.importers.bounded import gunzip
from workloads.matrices.csr import Csr
from workloads.matrices.graph_tool import parse_graph_tool

SHIPPED = Path(__file__).parent / "data"
LARGEST_SIDE = 2**28
"""Rows and columns of a matrix file: its row pointers alone are then 2 GiB."""
NUMBER_BYTES = b"0123456789+-.eEinfatyINFATY \t\r\n"
"""Of numbers, infinity and not-a-number among them, and of what lies between them."""

SUFFIXES = (".mtx", ".mtx.gz", ".npz", ".gt", ".gt.gz")


def cache_directory() -> Path:
    """Return where fetched matrices are kept: $SPARSIGHT_MATRICES or the user's cache folder."""
    return cache_folder("matrices", "SPARSIGHT_MATRICES")


def read_matrix(source: str | Path) -> Csr:
    """Read a matrix from a file or by its name.

    Unsorted and repeated entries are sorted and summed, symmetric storage is expanded, complex
    values are refused. Raises `InputError` in one sentence for anything that cannot be read.
    """
    path = _find(source)
    name = path.name.split(".")[0]
    try:
        if path.name.endswith((".mtx", ".mtx.gz")):
            return _read_matrix_market(path, name)
        if path.name.endswith(".npz"):
            return _read_npz(path, name)
        return _read_graph_tool(path, name)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    except MemoryError:
        raise InputError(f"{path} declares a matrix that does not fit into memory") from None


def write_matrix(path: str | Path, matrix: Csr) -> Path:
    """Write a matrix as .npz (SciPy's layout, no pickle) or .mtx, whole or not at all.

    The folder is made where it is missing. Raises `InputError` for another ending, and if the
    system refuses to write.
    """
    target = Path(path)
    if target.suffix not in (".npz", ".mtx"):
        raise InputError(f"a matrix is written as .npz or .mtx, not {target.name!r}")
    buffer = io.BytesIO()
    if target.suffix == ".npz":
        _save_npz(buffer, matrix)
    else:
        from scipy.io import mmwrite

        mmwrite(buffer, matrix.to_scipy().tocoo(), symmetry="general")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {target.parent}: {error.strerror}") from error
    write_whole({target: buffer.getvalue()})
    return target


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.name.endswith(SUFFIXES):
        if not path.is_file():
            raise InputError(f"no matrix file is at {path}")
        return path
    for folder in (SHIPPED, cache_directory()):
        for suffix in SUFFIXES:
            candidate = folder / f"{source}{suffix}"
            if candidate.is_file():
                return candidate
    if path.is_dir():
        raise InputError(f"a matrix is a file, but {path} is a directory")
    if path.is_file():
        raise InputError(f"a matrix file must end in {', '.join(SUFFIXES)}, not {path.name!r}")
    shipped = sorted(p.name.split(".")[0] for p in SHIPPED.iterdir() if p.name.endswith(SUFFIXES))
    raise InputError(
        f"no matrix is called {str(source)!r}; shipped are {', '.join(shipped)}, and "
        f"'python -m workloads.matrices.fetch {source}' may fetch it"
    )


def _content(path: Path) -> bytes:
    """Return the bytes of a file; a compressed one is unpacked within bounds."""
    return gunzip(path) if path.name.endswith(".gz") else path.read_bytes()


def _read_matrix_market(path: Path, name: str) -> Csr:
    from scipy.io import mmread

    text = _content(path)
    try:
        _check_matrix_market(text)
        content = mmread(io.BytesIO(text + b"\n"), spmatrix=False)
    except (ValueError, OverflowError, TypeError) as error:
        raise InputError(f"{path} is not a valid MatrixMarket file: {error}") from None
    if isinstance(content, np.ndarray):
        return Csr.from_dense(_real(content, name), name=name)
    return _from_coordinates(content, name)


def _check_matrix_market(text: bytes) -> None:
    """Raise `ValueError` for what SciPy's reader must not be given.

    It reads past the end of a line that goes on after its number, and believes any number of
    entries: of an array it allocates all of them, of coordinates as many as the third number says.
    """
    body = text.lstrip()
    while body.startswith(b"%"):
        body = body.partition(b"\n")[2].lstrip()
    if strange := body.translate(None, NUMBER_BYTES):
        raise ValueError(f"after the comments there must be numbers only, not {strange[:20]!r}")
    sizes = [int(size) for size in body.partition(b"\n")[0].split()]
    if max(sizes[:2], default=0) > LARGEST_SIDE:
        shape = " x ".join(str(size) for size in sizes[:2])
        raise ValueError(f"{shape} is more than {LARGEST_SIDE} rows or columns")
    entries = sizes[2] if len(sizes) == 3 else math.prod(sizes)
    lines = body.count(b"\n")
    if entries > lines:
        raise ValueError(f"{entries} entries are declared, but there are {lines} lines")


def _from_coordinates(content: Any, name: str) -> Csr:
    values = _real(content.data, name)
    return Csr.from_coo(content.shape, content.coords[0], content.coords[1], values, name=name)


def _real(values: Any, name: str) -> Any:
    if np.iscomplexobj(values):
        raise InputError(f"values of {name} must be real, not complex")
    if values.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        return values.astype(np.float64)
    return values


def _read_npz(path: Path, name: str) -> Csr:
    from scipy.sparse import load_npz

    try:
        content: Any = load_npz(path)
        entries = content.tocoo()
    except (ValueError, KeyError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(f"{path} is not a SciPy sparse .npz file: {error}") from None
    return _from_coordinates(entries, name)


def _read_graph_tool(path: Path, name: str) -> Csr:
    return parse_graph_tool(_content(path), name=name)


def _save_npz(buffer: io.BytesIO, matrix: Csr) -> None:
    from scipy.sparse import save_npz

    save_npz(buffer, matrix.to_scipy())
