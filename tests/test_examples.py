"""The examples run as they are shown."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def output_of(name: str, *arguments: str, folder: Path | None = None) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=folder, env=environment
    ).stdout


def test_the_sensitivities_that_the_readme_states() -> None:
    lines = output_of("sat_sensitivity.py").splitlines()
    average = {line[:34].strip(): float(line[34:].strip(" x")) for line in lines}
    readme = (EXAMPLES.parent / "README.md").read_text()
    assert f"16 lanes\ngive {average['vector engine of 16 lanes']}x" in readme
    assert f"64 give {average['vector engine of 64 lanes']}x" in readme
    assert f"the products alone {average['vector work and memory free']}x" in readme
    assert average["no interleaving"] == 1.0


def test_a_sweep_prints_its_front_and_writes_its_page(tmp_path) -> None:
    page = tmp_path / "arrays.html"
    lines = output_of("sweep_arrays.py", "--small", str(page)).splitlines()
    assert lines[0].split() == ["method", "rows", "cols", "interleave", "seconds", "pes"]
    cells = [line.split() for line in lines[1:]]
    seconds, pes = ([float(row[place]) for row in cells] for place in (-2, -1))
    assert seconds == sorted(seconds)
    assert pes == sorted(pes, reverse=True)
    assert "Plotly.react" in page.read_text()


def test_codesign_prints_the_fastest_pair_for_each_number_of_pes() -> None:
    rows = [line.split() for line in output_of("sweep_codesign.py", "--small").splitlines()]
    assert rows[0][-1] == "speedup"
    assert {(row[0], row[1]) for row in rows[1:]} == {
        (network, pes)
        for network in ("resnet18", "vit-b16")
        for pes in ("256.0", "512.0", "1024.0")
    }
    assert all(float(row[-1]) > 1 for row in rows[1:])


def test_a_search_stays_in_its_area() -> None:
    rows = [line.split() for line in output_of("sweep_area_budget.py", "--small").splitlines()]
    areas = [float(row[-2]) + float(row[-1]) for row in rows[1:]]
    assert areas
    assert max(areas) <= 30


def test_a_cluster_run_is_kept_and_resumed(tmp_path) -> None:
    first = output_of("sweep_cluster.py", "--small", folder=tmp_path)
    assert first.startswith("32 points\n")
    assert (tmp_path / "cluster.sqlite").exists()
    assert output_of("sweep_cluster.py", "--small", folder=tmp_path) == first


def test_masks_of_every_epoch_are_simulated_beside_the_accuracy(tmp_path) -> None:
    """2:8 leaves a quarter of the multiplications of the inner layers, but for ReLU's zeros."""
    pytest.importorskip("torch")
    output_of("train_digits.py", "--epochs", "1", "--seeds", "1", "--out", str(tmp_path))
    table = pd.read_csv(tmp_path / "digits.csv")
    assert len(table) == 3
    recorded = pd.read_csv(EXAMPLES.parent / "sim_results" / "training" / "digits.csv")
    assert list(recorded.columns) == list(table.columns)
    assert set(recorded.groupby(["method", "seed"]).size()) == {30}
    for each in (table, recorded):
        mean = each.groupby("method")[["multiplies", "seconds_on_sat"]].mean()
        kept = mean.multiplies / mean.multiplies["dense"]
        assert kept["bdwp:2:8"] == pytest.approx(0.25, abs=0.05)
        assert kept["sr-ste:2:8"] == pytest.approx(0.25, abs=0.05)
        order = mean.seconds_on_sat.sort_values().index.tolist()
        assert order == ["bdwp:2:8", "sr-ste:2:8", "dense"]


def test_models_of_packages_are_compared() -> None:
    out = output_of("compare_models.py")
    assert "resnet50-onnx: convolutional" in out
    assert out.count("bdwp:2:8") >= 2


def test_the_page_on_which_accelerator_wins_shows_what_the_models_say() -> None:
    """If not: python examples/which_accelerator.py docs/which_accelerator.md."""
    page = (EXAMPLES.parent / "docs" / "which_accelerator.md").read_text("utf-8")
    tables = page.partition("<!-- tables: begin -->\n")[2].partition("<!-- tables: end -->")[0]
    assert output_of("which_accelerator.py").strip() == tables.strip()
