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
    readme = " ".join((EXAMPLES.parent / "README.md").read_text().split())
    assert f"16 lanes give {average['vector engine of 16 lanes']}x" in readme
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
    assert rows[0][-1] == "area_mm2"
    areas = [float(row[-1]) for row in rows[1:]]
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


@pytest.fixture(scope="module")
def which_accelerator() -> str:
    return output_of("which_accelerator.py").strip()


PAGE = (EXAMPLES.parent / "docs" / "which_accelerator.md").read_text("utf-8")


def test_the_page_on_which_accelerator_wins_shows_what_the_models_say(which_accelerator) -> None:
    """If not: python examples/which_accelerator.py docs/which_accelerator.md."""
    tables = PAGE.partition("<!-- tables: begin -->\n")[2].partition("<!-- tables: end -->")[0]
    assert which_accelerator == tables.strip()


Cells = dict[tuple[str, str], dict[str, tuple[float, float, bool, bool]]]


def cells_of(table: str) -> Cells:
    """Return time, energy, and whether each is in bold, by (trace, method) and system."""
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    systems = next(line[2:] for line in lines if line[:2] == ["trace", "method"])
    found: Cells = {}
    for trace, method, *cells in lines:
        if trace.startswith("digits-"):
            pairs = [cell.replace(" ms", "").replace(" mJ", "").split(", ") for cell in cells]
            found[trace, method] = {
                system: (float(s.strip("*")), float(j.strip("*")), "*" in s, "*" in j)
                for system, (s, j) in zip(systems, pairs, strict=True)
            }
    return found


def test_what_the_page_says_of_its_tables_is_in_them(which_accelerator) -> None:
    said = " ".join(PAGE.partition("## What it shows")[2].split())
    alike, sized, digits, owned = which_accelerator.split("### ")[1:]
    conv, vit, skips = "digits-resnet", "digits-vit", "array that skips"

    def faster(table: Cells, trace: str, system: str, method: str) -> float:
        return table[trace, "dense"][system][0] / table[trace, method][system][0]

    first = cells_of(alike)
    longer = {}
    for trace in (conv, vit):
        dense = first[trace, "dense"]
        arrays = [dense[system][0] for system in ("dense array", skips, "sat")]
        assert max(arrays) <= 1.02 * min(arrays)
        longer[trace] = f"{100 * (dense['tensor cores'][0] / min(arrays) - 1):.0f} %"
        for system in ("sat", skips):
            gain = faster(first, trace, system, "bdwp:2:8")
            assert f"{gain:.1f} times" == {conv: "1.7 times", vit: "1.5 times"}[trace]
            assert faster(first, trace, system, "bdwp:2:16") > gain
    assert f"take {longer[conv]} longer on the convolutions and {longer[vit]} on" in said
    assert "1.7 times as fast on the convolutions and 1.5 times on the transformer" in said
    gains = [
        f"{100 * (faster(first, t, 'tensor cores', 'bdwp:2:8') - 1):.0f} %" for t in (conv, vit)
    ]
    assert f"the tensor cores become {gains[0]} and {gains[1]} faster" in said

    second = cells_of(sized)
    for (trace, method), row in second.items():
        fastest = {system for system, cell in row.items() if cell[2]}
        frugal = {system for system, cell in row.items() if cell[3]}
        if trace == vit:
            assert fastest == {"tensor cores"}
        else:
            assert fastest <= ({"dense array"} if method[:2] in ("de", "sr") else {"sat", skips})
        sparsest = method == "bdwp:2:16" or (trace, method) == (vit, "bdwp:2:8")
        assert frugal == ({"sat"} if sparsest else {"tensor cores"})

    ratios = [float(line.strip("|x ").split(" | ")[-1]) for line in digits.splitlines()[4:] if line]
    assert f"{min(ratios):.1f} to {max(ratios):.1f} times as fast" in said

    last = cells_of(owned)
    ahead = [row["sat"][0] / row["gpu"][0] for row in last.values()]
    assert f"{min(ahead):.0f} to {max(ahead):.0f} times as fast as SAT's FPGA card" in said
    change = [faster(last, trace, "gpu", "bdwp:2:4") for trace in (conv, vit)]
    assert f"{100 * (change[0] - 1):.0f} % faster on the convolutions" in said
    assert f"and {100 * (1 / change[1] - 1):.0f} % slower on the transformer" in said
