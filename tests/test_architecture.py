"""Imports only point left: workloads <- dataflow <- simulator, dataflow <- rtl."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"workloads", "dataflow", "simulator", "rtl", "tests", "examples"}
ALLOWED = {
    "workloads": {"workloads"},
    "dataflow": {"dataflow", "workloads"},
    "simulator": {"simulator", "dataflow", "workloads"},
    "rtl": {"rtl", "dataflow", "workloads"},
}


def imported_packages(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names & PACKAGES


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_only_point_left(package: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / package).rglob("*.py")
        for name in imported_packages(path.read_text()) - ALLOWED[package]
    }
    # The command line starts RTL generation; nothing else in simulator/ knows of rtl/.
    assert wrong <= {"simulator/cli/rtl.py imports rtl"}


def test_a_wrong_import_is_seen() -> None:
    assert imported_packages("import rtl.float\nfrom simulator import report") == {
        "rtl",
        "simulator",
    }
