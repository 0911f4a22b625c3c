"""`sparsight run`: what it prints, and that it agrees with the Python functions."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import simulator
from workloads import NM, gemm, methods, networks
from workloads.trace import shipped, write_trace

GEMM = ("run", "systolic", "--gemm", "128,256,96")
STABLE_KEYS = {
    "accelerator",
    "config",
    "cycles",
    "compute_cycles",
    "seconds",
    "energy_j",
    "dram_bytes",
    "utilisation",
    "operations",
}
STABLE_COLUMNS = {
    "name",
    "pass",
    "m",
    "k",
    "n",
    "cycles",
    "compute_cycles",
    "memory_cycles",
    "bottleneck",
}


@pytest.mark.parametrize("name", ["sat", "systolic"])
def test_json_is_one_object_with_the_stable_keys(sparsight, name: str) -> None:
    values = sparsight("run", name, "--gemm", "64,64,64", "--json").json
    assert set(values) >= STABLE_KEYS
    assert set(values["operations"][0]) >= STABLE_COLUMNS


def test_the_command_gives_what_the_functions_give(sparsight) -> None:
    result = sparsight(*GEMM, "--pattern", "2:4", "--set", "dataflow=ws", "--json").json
    report = simulator.run("systolic", gemm(128, 256, 96, pattern=NM(2, 4)), dataflow="ws")
    assert result["operations"] == report.as_dict()["operations"]


def test_a_pattern_is_compared_with_dense(sparsight) -> None:
    sparse = sparsight(*GEMM, "--pattern", "2:4", "--json").json
    dense = sparsight(*GEMM, "--json").json
    assert sparse["dense_cycles"] == dense["cycles"]
    assert sparse["speedup_over_dense"] == dense["cycles"] / sparse["cycles"]
    assert "speedup_over_dense" not in dense


def test_a_method_is_applied_to_a_network(sparsight) -> None:
    values = sparsight(
        "run", "sat", "--network", "resnet9", "--batch", "2", "--method", "bdwp:2:8", "--json"
    ).json
    step = networks.find("resnet9", batch=2).training_step(methods.bdwp(2, 8))
    assert values["cycles"] == simulator.run("sat", step).cycles
    assert values["notes"][: len(step.notes)] == list(step.notes)


def test_inference_leaves_only_the_forward_pass(sparsight) -> None:
    arguments = ("run", "systolic", "--network", "resnet9", "--batch", "1", "--json")
    passes = {op["pass"] for op in sparsight(*arguments, "--inference").json["operations"]}
    assert passes == {"FF"}
    assert {op["pass"] for op in sparsight(*arguments).json["operations"]} > {"FF", "BP", "WU"}


def test_a_trace_gives_what_its_workload_gives(sparsight, tmp_path: Path) -> None:
    step = networks.find("resnet9", batch=2).training_step()
    write_trace(step, tmp_path / "step.trace")
    traced = sparsight("run", "sat", "--trace", tmp_path / "step.trace", "--json").json
    direct = sparsight("run", "sat", "--network", "resnet9", "--batch", "2", "--json").json
    assert traced == direct


def test_a_topology_file_is_run(sparsight, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Layer, M, N, K,\nfirst, 128, 96, 256,\n")
    values = sparsight("run", "systolic", "--topology", tmp_path / "t.csv", "--json").json
    assert values["cycles"] == sparsight(*GEMM, "--json").json["cycles"]


def test_a_scalesim_configuration_sets_the_array_and_its_conventions(sparsight, tmp_path) -> None:
    text = "[architecture_presets]\nArrayHeight: 16\nArrayWidth: 8\nIfmapSramSzkB: 64\n"
    text += "FilterSramSzkB: 32\nOfmapSramSzkB: 16\nDataflow: ws\nBandwidth: 7\n"
    (tmp_path / "s.cfg").write_text(text)
    result = sparsight(*GEMM, "--scalesim-config", tmp_path / "s.cfg", "--set", "cols=32", "--json")
    config = result.json["config"]
    assert (config["rows"], config["cols"], config["dataflow"]) == (16, 32, "ws")
    assert config["left_buffer_bytes"] == 64 * 1024
    tiles = (256 // 16) * (96 // 32)
    assert result.json["compute_cycles"] == tiles * (128 + 2 * 16 + 32 - 2)
    assert "Bandwidth have no counterpart in systolic" in result.err


def test_the_human_table_says_where_the_time_goes(sparsight) -> None:
    result = sparsight(
        "run",
        "sat",
        "--network",
        "resnet9",
        "--batch",
        "8",
        "--method",
        "bdwp:2:8",
        "--layers",
        "5",
    )
    assert result.code == 0
    for text in (
        "utilisation",
        "speedup",
        "Time by pass",
        "Time by layer",
        "Energy",
        "other layers",
    ):
        assert text in result.out
    assert "note: bdwp:2:8 leaves dense, as the classifier: fc" in result.out
    assert "[bold]" not in result.out


def test_tables_are_written_as_csv_and_parquet(sparsight, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "t.csv", tmp_path / "t.parquet"
    values = sparsight(*GEMM, "--csv", csv, "--parquet", parquet, "--json").json
    for frame in (pd.read_csv(csv), pd.read_parquet(parquet)):
        assert frame.to_dict("records") == values["operations"]


def test_settings_change_the_config(sparsight) -> None:
    config = sparsight(*GEMM, "--set", "rows=8", "--set", "nm_support=off", "--json").json["config"]
    assert (config["rows"], config["nm_support"]) == (8, False)


def test_names_from_a_file_are_no_markup(sparsight, tmp_path: Path) -> None:
    (tmp_path / "[bold]t.csv").write_text("Layer, M, N, K,\n[/red] [link=x], 8, 8, 8,\n")
    result = sparsight("run", "systolic", "--topology", tmp_path / "[bold]t.csv")
    assert result.code == 0
    assert "[/red] [link=x]" in result.out
    assert "[bold]t" in result.out


def test_a_model_runs_wherever_a_network_does(sparsight, refused, tmp_path: Path) -> None:
    """A name or a file; an accelerator with an option --model of its own reads that."""
    network = sparsight("run", "sat", "--network", "resnet9", "--batch", "2", "--json").json
    model = sparsight("run", "sat", "--model", "resnet9", "--batch", "2", "--json").json
    assert model == network
    path = shutil.copy(shipped()["digits-vit"], tmp_path / "mine.trace")
    by_file = sparsight("run", "sat", "--model", path, "--method", "bdwp:2:8", "--json").json
    assert by_file["speedup_over_dense"] > 1
    message = refused("run", "neupims", "--model", "gpt3-8b", "--requests", "alpaca:4")
    assert message.startswith("no decoder is called 'gpt3-8b'")
    assert refused("run", "sat", "--model", "resnet9", "--trace", "digits-vit").startswith(
        "name one workload"
    )


def test_a_timeline_is_written(sparsight, refused, tmp_path) -> None:
    place = tmp_path / "t.json"
    run = ("run", "sat", "--network", "resnet9", "--batch", 2, "--json")
    assert sparsight(*run, "--timeline", place).code == 0
    assert place.read_bytes().startswith(b'{"traceEvents": [')
    assert "there is no folder" in refused(*run, "--timeline", tmp_path / "no" / "t.json")
