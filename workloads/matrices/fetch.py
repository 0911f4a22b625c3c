"""Fetch a real graph that a Debian package carries and keep it as .npz in the cache.

`python -m workloads.matrices.fetch email-Enron` downloads Debian's python3-graph-tool (45 MB) with
`apt-get download`, unpacks it with `dpkg-deb`, converts the graph and removes the package. With
`--deb FILE` a package that is already there is used. The collection is in the public domain.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
import tempfile
from pathlib import Path

from workloads.errors import InputError
from workloads.matrices.files import cache_directory, write_matrix
from workloads.matrices.graph_tool import parse_graph_tool

PACKAGE = "python3-graph-tool"


def fetch(name: str, *, deb: Path | None = None, directory: Path | None = None) -> Path:
    """Convert the graph `name` of the collection and return the file; see the module."""
    with tempfile.TemporaryDirectory() as scratch:
        package = deb if deb is not None else _download(Path(scratch))
        if not package.is_file():
            raise InputError(f"no Debian package is at {package}")
        _run(["dpkg-deb", "-x", str(package.resolve()), scratch], Path(scratch))
        folder = Path(scratch) / "usr/lib/python3/dist-packages/graph_tool/collection"
        known = sorted(path.name.removesuffix(".gt.gz") for path in folder.glob("*.gt.gz"))
        if name not in known:
            raise InputError(f"{PACKAGE} has no graph {name!r}; it has {', '.join(known)}")
        content = gzip.decompress((folder / f"{name}.gt.gz").read_bytes())
    matrix = parse_graph_tool(content, name=name)
    return write_matrix((directory or cache_directory()) / f"{name}.npz", matrix)


def _download(folder: Path) -> Path:
    _run(["apt-get", "download", PACKAGE], folder)
    found = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if not found:
        raise InputError(f"apt-get downloaded no {PACKAGE}; is its package list up to date?")
    return found[0]


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError(f"{command[0]} is needed to fetch a graph, but is not here") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{' '.join(command[:2])} failed: {last}") from None


def main() -> int:
    """Run the command line; 2 when the input is wrong."""
    parser = argparse.ArgumentParser(prog="python -m workloads.matrices.fetch", description=__doc__)
    parser.add_argument("name", help="graph of the collection, for example email-Enron")
    parser.add_argument("--deb", type=Path, help="package file to use instead of downloading")
    parser.add_argument("--directory", type=Path, help="folder for the result")
    chosen = parser.parse_args()
    try:
        print(fetch(chosen.name, deb=chosen.deb, directory=chosen.directory))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
