"""Kernels are compiled where nothing can be written, too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.compiled_code import VARIABLE, find_place


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A folder in which a file stands where compiled code would go."""
    (tmp_path / "__pycache__").touch()
    (tmp_path / "home").touch()
    return tmp_path


def test_no_place_is_made_where_numba_has_one(tmp_path: Path, nowhere: Path) -> None:
    nothing = {"HOME": str(nowhere / "home")}
    assert find_place(tmp_path / "installed", nothing) is None
    assert find_place(nowhere, {"HOME": str(tmp_path / "user")}) is None
    assert find_place(nowhere, nothing | {"XDG_CACHE_HOME": str(tmp_path / "cache")}) is None
    assert find_place(nowhere, nothing | {VARIABLE: "chosen"}) is None


def test_a_place_is_made_where_there_is_none(nowhere: Path) -> None:
    place = find_place(nowhere, {"HOME": str(nowhere / "home")})
    assert place is not None
    os.rmdir(place)


KERNEL = """
import dataflow
from pathlib import Path
dataflow.compiled_code.__file__ = __file__  # an installation that cannot be written
dataflow.compiled_code.prepare()
from numba import njit

@njit(cache=True)
def twice(x):
    return 2 * x

print(twice(21))
"""


def test_a_kernel_runs_without_a_home_and_leaves_nothing(nowhere: Path) -> None:
    (nowhere / "kernel.py").write_text(KERNEL)
    (nowhere / "tmp").mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("XDG_CACHE_HOME", VARIABLE)}
    environment |= {"HOME": str(nowhere / "home"), "TMPDIR": str(nowhere / "tmp")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(nowhere / "kernel.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr
    assert list((nowhere / "tmp").iterdir()) == []
