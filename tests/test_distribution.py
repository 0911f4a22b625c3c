"""The wheel and the source distribution: what is in them, and what runs from them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.walks.test_walks import copy_of_the_checkout

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PACKAGES = ("workloads", "dataflow", "simulator", "rtl")
HEAVY = {"numba", "pandas", "matplotlib", "pyarrow", "torch", "amaranth", "scipy", "plotly"}
BUILD = """
import sys
from setuptools import build_meta
target = sys.argv[1]  # setuptools changes the arguments
print(build_meta.build_sdist(target), build_meta.build_wheel(target))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build the source distribution and the wheel from a copy of the checkout."""
    checkout = copy_of_the_checkout(tmp_path_factory.mktemp("checkout"))
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-c", BUILD, str(target)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    (sdist,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(folder)
    return folder


def tracked() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    return {name for name in listed if name and (ROOT / name).is_file()}


def test_the_wheel_holds_the_four_packages_whole_and_nothing_else(unpacked: Path) -> None:
    found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    packed = {name for name in found if not name.startswith("sparsight-")}
    assert packed == tracked()


def test_the_wheel_runs_anywhere_and_carries_its_licence(built, unpacked: Path) -> None:
    assert built[1].name.endswith("-py3-none-any.whl")
    (info,) = unpacked.glob("sparsight-*.dist-info")
    assert (info / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    for package in PACKAGES:
        assert (unpacked / package / "py.typed").exists()


def test_the_source_distribution_builds_what_the_checkout_does(built, tmp_path: Path) -> None:
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert tracked() <= names
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


def isolated(unpacked: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code with the unpacked wheel before everything else, away from the checkout."""
    start = f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
    command = [sys.executable, "-I", "-c", start + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=unpacked.parent)


def test_the_wheel_simulates_and_knows_its_data(unpacked: Path) -> None:
    code = (
        "import simulator; from pathlib import Path\n"
        f"assert Path(simulator.__file__).is_relative_to({str(unpacked)!r})\n"
        "from simulator.cli import main\n"
        "main(['run', 'sat', '--trace', 'digits-resnet', '--method', 'bdwp:2:8', '--json'])\n"
        "main(['reproduce', 'sat/facts', '--no-write', '--json'])\n"
    )
    done = isolated(unpacked, code)
    assert done.returncode == 0, done.stderr
    assert '"cycles"' in done.stdout


def test_importing_any_package_imports_nothing_heavy(unpacked: Path) -> None:
    code = (
        "import workloads, dataflow, simulator, rtl, simulator.cli\n"
        f"heavy = {HEAVY!r}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))))\n"
    )
    assert isolated(unpacked, code).stderr.strip() == ""


def test_the_version_has_one_place() -> None:
    """The citation file, which tools read as it is, repeats it."""
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    (cited,) = re.findall(r"^version: (.+)$", citation, re.MULTILINE)
    assert cited == PROJECT["version"]
    written = re.escape(f'"{PROJECT["version"]}"')
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert not re.search(rf"^\s*\w*version\w* *= *{written}", path.read_text("utf-8"), re.M)


def test_the_licence_is_the_one_that_is_named() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    assert "license: Apache-2.0" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_no_compiler_is_asked_for() -> None:
    """No extension modules, and build requirements that are pure Python."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]
    assert build["requires"] == ["setuptools>=77"]
    assert not [path for package in PACKAGES for path in (ROOT / package).rglob("*.[ch]")]
    assert shutil.which("setup.py", path=str(ROOT)) is None
