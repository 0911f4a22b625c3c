"""The other commands: compare, lists, explain, trace, capture, reproduce, help."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import simulator
from simulator import published
from simulator.accelerators import names
from simulator.agreement import BEGIN, END
from simulator.configuration import describe
from simulator.glossary import GLOSSARY
from workloads import gemm, methods, networks
from workloads.methods import presets
from workloads.methods.vocabulary import WORDS
from workloads.trace import read_trace, shipped, write_trace

SMALL = ("--network", "resnet9", "--batch", "2")


def test_compare_gives_a_row_per_accelerator_and_method(sparsight) -> None:
    rows = sparsight(
        "compare", "sat", "systolic", *SMALL, "--methods", "dense,bdwp:2:8", "--json"
    ).json
    assert [(row["accelerator"], row["method"]) for row in rows] == [
        ("sat", "dense"),
        ("sat", "bdwp:2:8"),
        ("systolic", "dense"),
        ("systolic", "bdwp:2:8"),
    ]
    assert [row["speedup"] for row in rows] == [rows[0]["seconds"] / row["seconds"] for row in rows]


def test_compare_is_the_python_function(sparsight, tmp_path: Path) -> None:
    out = tmp_path / "c.csv"
    sparsight("compare", "systolic", *SMALL, "--methods", "dense,sdgp:2:8", "--csv", out)
    step = networks.find("resnet9", batch=2).training_step()
    frame = simulator.compare(["systolic"], step, ["dense", "sdgp:2:8"])
    pd.testing.assert_frame_equal(pd.read_csv(out), frame)


def test_compare_sets_fields_of_all_or_of_one(sparsight) -> None:
    rows = sparsight(
        "compare", "sat", "systolic", "--gemm", "64,64,64", "--set", "rows=8",
        "--set", "systolic.tile_overlap=none", "--json",
    ).json  # fmt: skip
    expected = [
        simulator.run("sat", gemm(64, 64, 64), rows=8),
        simulator.run("systolic", gemm(64, 64, 64), rows=8, tile_overlap="none"),
    ]
    assert [row["cycles"] for row in rows] == [report.cycles for report in expected]


def test_the_list_of_accelerators_says_what_each_takes(sparsight) -> None:
    takes = {row["accelerator"]: row["takes"] for row in sparsight("accelerators", "--json").json}
    assert takes["sat"] == takes["tensorcore"] == "training steps"
    assert takes["gpu"] == "training steps, --requests"
    assert takes["neupims"] == "--requests"
    assert takes["smash"] == takes["gamma"] == "--matrix, --operation"


def test_help_wraps_its_paragraphs_as_one(sparsight, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = re.sub(r" *\n ", "\n", sparsight("sweep", "--help").out)
    assert "goes on where it\nstopped, and several of them share the work." in said


def test_lists_name_everything_there_is(sparsight) -> None:
    assert [row["accelerator"] for row in sparsight("accelerators", "--json").json] == names()
    assert [row["network"] for row in sparsight("networks", "--json").json] == networks.names()
    found = [row["method"].partition(":")[0] for row in sparsight("methods", "--json").json]
    assert found == [*methods.names(), *WORDS, *presets.names()]
    assert [row["trace"] for row in sparsight("trace", "list", "--json").json] == list(shipped())


@pytest.mark.parametrize("name", names())
def test_an_accelerator_shows_its_fields(sparsight, name: str) -> None:
    config = simulator.find(name).Config
    rows = sparsight("accelerators", name, "--json").json
    fields = {row["field"]: row["default"] for row in rows if "field" in row}
    assert fields == {field.name: field.default for field in describe(config)}


@pytest.mark.parametrize("name", sorted(shipped()))
def test_trace_show_lists_the_operations(sparsight, name: str) -> None:
    rows = sparsight("trace", "show", name, "--json").json
    assert [row["name"] for row in rows] == [op.name for op in read_trace(shipped()[name])]
    shown = sparsight("trace", "show", name)
    assert "command: " in shown.out


def test_trace_topology_writes_what_run_reads(sparsight, tmp_path: Path) -> None:
    out = tmp_path / "resnet.csv"
    assert sparsight("trace", "topology", "digits-resnet", "-o", out).code == 0
    written = sparsight("run", "systolic", "--topology", out, "--json").json
    traced = sparsight("run", "systolic", "--trace", "digits-resnet", "--json").json
    products = [op for op in traced["operations"] if op["k"]]
    assert [op["compute_cycles"] for op in written["operations"]] == [
        op["compute_cycles"] for op in products
    ]


def test_capture_writes_a_trace_that_run_reads(sparsight, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "model.py").write_text(
        "import torch\n"
        "def step():\n"
        "    return torch.nn.Linear(64, 10), torch.randn(8, 64), torch.randint(0, 10, (8,))\n"
    )
    out = tmp_path / "step.trace"
    result = sparsight("capture", f"{tmp_path / 'model.py'}:step", "-o", out)
    assert (result.code, result.out) == (0, "Linear: 7 operations, 10,240 MACs\n")
    assert sparsight("run", "sat", "--trace", out, "--json").json["workload"] == "Linear"


def test_every_key_of_every_output_is_explained(sparsight) -> None:
    outputs = [
        ("networks",),
        ("methods",),
        ("methods", "fsmoe", "--coverage"),
        ("accelerators",),
        ("accelerators", "systolic"),
        ("explain",),
        ("models",),
        ("trace", "list"),
        ("trace", "show", "digits-vit"),
        ("compare", "sat", "--gemm", "8,8,8"),
        ("reproduce", "peers", "--no-write"),
        ("run", "sat", "--gemm", "8,8,8", "--pattern", "2:8"),
    ]
    for arguments in outputs:
        value = sparsight(*arguments, "--json").json
        rows = value if isinstance(value, list) else [value, *value.get("rows", [])]
        keys = {key for row in rows for key in row}
        assert keys <= set(GLOSSARY), f"{arguments}: {sorted(keys - set(GLOSSARY))}"


def test_explain_gives_unit_and_meaning(sparsight) -> None:
    (row,) = sparsight("explain", "dram_bytes", "--json").json
    assert row == {"term": "dram_bytes", "unit": "bytes", "meaning": GLOSSARY["dram_bytes"].meaning}
    assert len(sparsight("explain", "--json").json) == len(GLOSSARY)


def test_the_table_of_terms_in_the_documentation_is_that_of_the_program(sparsight) -> None:
    page = Path(__file__).parents[2] / "docs" / "outputs.md"
    assert page.read_text("utf-8") == sparsight("explain", "--markdown").out


def test_a_name_of_a_key_and_of_a_config_field_is_explained_as_both(sparsight) -> None:
    meanings = [row["meaning"] for row in sparsight("explain", "rows", "--json").json]
    assert meanings[0] == GLOSSARY["rows"].meaning
    assert any(meaning.startswith("sat: PEs") for meaning in meanings)


@pytest.mark.parametrize("name", ["sat", "systolic", "tensorcore", "gpu", "bitweight"])
def test_every_bottleneck_and_part_of_the_energy_is_explained(sparsight, name) -> None:
    for settings in ((), ("--set", "dram_bytes_per_s=1e9")):
        command = ("run", name, "--network", "vit-32", "--method", "sdgp:1:16", "--json")
        report = sparsight(*command, *settings).json
        named = {row["bottleneck"] for row in report["operations"]} | set(report["energy_pj"])
        assert named <= set(GLOSSARY)


def test_explain_knows_config_fields(sparsight) -> None:
    assert "systolic" in sparsight("explain", "tile_overlap").out


def test_definitions_are_sentences_with_a_unit() -> None:
    for name, term in GLOSSARY.items():
        assert term.unit, name
        assert term.meaning[0].isupper() or term.meaning.split()[0] in GLOSSARY, name
        assert term.meaning.endswith("."), name


def test_reproduce_writes_rows_and_exits_with_0_without_a_miss(sparsight, tmp_path: Path) -> None:
    result = sparsight("reproduce", "peers/systolic", "--out", tmp_path, "--json")
    assert result.code == 0
    assert len(result.json["rows"]) == len(published.read("peers/systolic"))
    meta = json.loads((tmp_path / "peers" / "systolic.meta.json").read_text())
    assert meta["function"] == "simulator.experiments.peers.systolic"


def test_reproduce_writes_the_table_of_models_between_the_markers(
    sparsight, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    result = sparsight("reproduce", "sat/facts", "--out", tmp_path, "--summary", page)
    assert result.code == 0
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert any("5 of 6" in line for line in lines)
    assert "sat/facts" in (tmp_path / "agreement.md").read_text()


def test_reproduce_exits_with_1_on_a_miss(
    sparsight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulator.experiments import peers

    ours = peers.systolic() | {"scalesim 3.0.0 os gemm_256_256_256": 20_353.0}
    monkeypatch.setattr(peers, "systolic", lambda: ours)
    result = sparsight("reproduce", "peers", "--no-write")
    assert result.code == 1
    assert "1 miss" in result.out


def test_plots_and_report_are_written(sparsight, tmp_path: Path) -> None:
    folder, page = tmp_path / "plots", tmp_path / "one.svg"
    run = ("run", "sat", *SMALL, "--method", "bdwp:2:8", "--json")
    sparsight(*run, "--plot", folder)
    assert {path.name for path in folder.iterdir()} == {
        "layers.png",
        "roofline.png",
        "comparison.png",
        "energy.png",
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
    sparsight(*run, "--plot", page, "--report", tmp_path)
    assert page.read_text().startswith("<?xml")
    html = (tmp_path / "report.html").read_text()
    assert "times as fast as dense on sat" in html
    assert html.count("data:image/svg+xml;base64,") == 4


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from simulator.cli import main\n"
        "main(['--help'])\n"
        "heavy = {'numpy', 'pandas', 'numba', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "reproduce" in done.stdout


def test_a_run_needs_neither_pandas_nor_matplotlib_nor_torch() -> None:
    code = (
        "import sys\n"
        "from simulator.cli import main\n"
        "main(['run', 'sat', '--trace', 'digits-resnet', '--method', 'bdwp:2:8'])\n"
        "heavy = {'pandas', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_compare_reads_a_model_and_every_accelerator(sparsight, tmp_path: Path) -> None:
    """One table of methods and accelerators; a run of steps; one page."""
    trace = next(iter(shipped().values()))
    result = sparsight(
        "compare", "--model", trace, "--accelerators", "all", "--steps", "100",
        "--methods", "dense,bdwp:2:8,spdf", "--report", tmp_path, "--json",
    )  # fmt: skip
    assert {"bitweight", "gpu", "sat", "systolic"} <= {row["accelerator"] for row in result.json}
    rows = [row for row in result.json if row["accelerator"] == "sat"]
    assert [row["method"] for row in rows] == ["dense", "bdwp:2:8", "spdf"]
    assert rows[2]["published"] == "GPT-3 XL at 75 %: 2.5x fewer pre-training FLOPs"
    assert rows[2]["weight_bytes"] < rows[0]["weight_bytes"]
    assert rows[1]["run_seconds"] == pytest.approx(100 * rows[1]["seconds"])
    assert (rows[0]["break_even_step"], rows[1]["break_even_step"]) == (None, 1)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "GPT-3 XL at 75 %" in page


def test_all_says_which_accelerators_it_leaves_out_and_why(sparsight) -> None:
    err = sparsight("compare", "--accelerators", "all", *SMALL).err
    assert "smash" in err
    assert "step through every non-zero of a product" in err
    assert "all leaves out neupims: it has workloads of its own" in err


def test_all_takes_float_weights_with_a_quantiser_that_it_names(sparsight, tmp_path: Path) -> None:
    work, path = gemm(8, 16, 8, dtype="fp16"), tmp_path / "floats.trace"
    write_trace(work, path, {"gemm.W": np.linspace(-1, 1, 128, dtype=np.float32).reshape(16, 8)})
    command = ("compare", "--trace", path, "--accelerators", "all", "--json")
    assumed = sparsight(*command)
    stated = sparsight(*command, "--set", "bitweight.quantiser=channel")
    assert (
        "all takes bitweight with --set bitweight.quantiser=channel, an assumption" in assumed.err
    )
    assert "all takes bitweight" not in stated.err
    assert assumed.json == stated.json
    assert "bitweight" in {row["accelerator"] for row in assumed.json}


def test_notes_say_whose_they_are_and_methods_what_they_bring_where(sparsight) -> None:
    command = ("compare", "sat", "systolic", *SMALL, "--methods", "dense,spdf,bdwp:2:8")
    out = " ".join(sparsight(*command).out.split())
    assert "sat only skips N:M groups: unstructured:0.25" in out
    assert "note: systolic with bdwp:2:8: N:M shortens the reduction" in out
    rows = sparsight(*command, "--json").json
    own = [row["method_speedup"] for row in rows]
    assert own[0] == own[3] == 1.0
    assert own[5] == rows[3]["seconds"] / rows[5]["seconds"] != rows[5]["speedup"]


def test_a_method_without_its_pattern_is_two_of_eight(sparsight) -> None:
    result = sparsight("compare", "sat", *SMALL, "--methods", "dense,sr-ste,bdwp", "--json")
    assert [row["method"] for row in result.json] == ["dense", "sr-ste:2:8", "bdwp:2:8"]
    assert "sr-ste is taken as sr-ste:2:8" in result.err


def test_compare_shows_what_methods_report(sparsight) -> None:
    out = sparsight(
        "compare", "sat", *SMALL, "--methods", "dense,monarch-training", "--steps", "10"
    ).out
    assert "ViT and GPT-2 training 2x" in out
    assert "pays after" in out


def test_methods_explains_one_word(sparsight) -> None:
    (row,) = sparsight("methods", "low-rank", "--json").json
    assert row["method"] == "low-rank:RANK"
    (row,) = sparsight("methods", "spdf", "--json").json
    assert row["written"] == "unstructured:0.25"


def test_models_lists_packages(sparsight) -> None:
    rows = sparsight("models", "--json").json
    assert {"minilm", "smollm2-135m", "open-nsfw", "pose-sparse"} <= {row["model"] for row in rows}
    assert all("==" in row["package"] or row["package"] == "onnx" for row in rows)


def test_the_version_is_that_of_the_distribution(sparsight) -> None:
    result = sparsight("--version")
    assert (result.code, result.out) == (0, f"sparsight {metadata.version('sparsight')}\n")
