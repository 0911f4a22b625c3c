"""What an installed wheel needs is named in pyproject.toml."""

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("workloads", "dataflow", "simulator", "rtl")


def tracked_data(package: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", package], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    return [Path(name).relative_to(package) for name in listed if not name.endswith(".py")]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_is_package_data(package: str) -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"][package]
    left_out = [
        str(path)
        for path in tracked_data(package)
        if not any(
            path.match(pattern) and len(path.parts) == pattern.count("/") + 1
            for pattern in patterns
        )
    ]
    assert left_out == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_code_is_a_package(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [str(f) for f in folders if not (f / "__init__.py").exists()] == []


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = PROJECT["project"]["dependencies"] + [
        name for extra in PROJECT["project"]["optional-dependencies"].values() for name in extra
    ]
    names = {name.split("[")[0].split(">")[0].split("=")[0].strip().lower() for name in wanted}
    assert names <= pinned
