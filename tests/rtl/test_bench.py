"""The cocotb bench that users take away: it passes on the design, and fails on another."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtl.cli import app
from tests.rtl.benches import make
from workloads import InputError


def export(directory: Path, *arguments: str) -> str:
    result = CliRunner().invoke(
        app, ["bench", *arguments, "-o", str(directory)], catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("design", ["pim_gate", "fp32-add", "sore"])
def test_a_bench_passes_on_its_design_and_fails_on_a_changed_one(
    design: str, tmp_path: Path
) -> None:
    tmp_path = tmp_path / "Prüfstand 数据 🚀"  # make parts names at blanks
    module = design.replace("-", "_")
    assert export(tmp_path, design, "--cycles", "60").startswith(f"{tmp_path}: {module}.v")
    passed = make(tmp_path)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "PASS=1 FAIL=0" in passed.stdout
    vectors = json.loads((tmp_path / "vectors.json").read_text())
    changed = [cycle for cycle in vectors["cycles"] if any(cycle[1])]
    changed[-1][1][[bool(v) for v in changed[-1][1]].index(True)] ^= 1
    (tmp_path / "vectors.json").write_text(json.dumps(vectors))
    failed = make(tmp_path)
    assert failed.returncode == 2
    assert "PASS=0 FAIL=1" in failed.stdout


def test_a_bench_without_cocotb_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "bench", "pim_gate", "--cycles", "2")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("make", "sh"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    done = subprocess.run(
        ["make", "-C", str(tmp_path / "bench")],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cocotb-config is not on the path; pip install cocotb" in done.stderr


def test_outputs_that_never_change_are_named(tmp_path: Path) -> None:
    arguments = ["bench", "hash_accumulate", "-o", str(tmp_path)]
    said = CliRunner().invoke(app, [*arguments, "--cycles", "20"], catch_exceptions=False).stderr
    assert said.startswith("never changed, so that no fault shows in it: ")
    assert said.endswith("entry__valid, full, drained\n")  # nothing is drained in twenty cycles
    assert said.count("\n") == 1
    assert not CliRunner().invoke(app, ["bench", "pim_gate", "-o", str(tmp_path)]).stderr


def test_the_vectors_depend_on_the_seed_only(tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        export(tmp_path / name, "pim_bank", "--seed", seed)
        texts.append((tmp_path / name / "vectors.json").read_text())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fp32-add", "--set", "latency=0"], "design fp32-add has no clock at these parameters"),
        (["fp32-add", "--cycles", "0"], "cycles must lie in 1 to 1000000, not 0"),
        (["opt4c", "--cycles", "99999999999"], "cycles must lie in 1 to 1000000, not 99999999999"),
        (["fp32-add", "--set", "latncy=0"], "did you mean latency"),
    ],
)
def test_what_makes_no_bench_is_one_sentence(arguments, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        export(tmp_path / "bench", *arguments)
    assert not (tmp_path / "bench").exists()
