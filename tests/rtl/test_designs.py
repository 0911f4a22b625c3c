"""What `sparsight rtl` offers: designs, their measured sizes, and errors that say what is right."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dataflow import nm
from rtl import cells
from rtl.cli import app, measure_design
from rtl.designs import DESIGNS, find, measured, with_settings
from rtl.export import verilog_text, write_verilog
from rtl.float import Float32Add
from rtl.sat import host
from rtl.sat.instructions import encode
from rtl.sat.parameters import Parameters
from workloads import NM, InputError

SMALL_DESIGNS = ["uspe", "sore", "fp16-multiply", "fp32-add", "fp32-multiply", "pim_bank"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def refused(*arguments: str) -> str:
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return str(caught.value)


def test_list_shows_every_design_with_its_size() -> None:
    rows = json.loads(run("list", "--json"))["designs"]
    assert [row["design"] for row in rows] == [design.name for design in DESIGNS]
    assert all(row["lines"] > 0 and row["cells"] > row["flip_flops"] for row in rows)


def test_one_design_is_listed_with_its_parameters() -> None:
    shown = run("list", "sat")
    assert "opt4c" not in shown
    parameters = dataclasses.asdict(find("sat").parameters)
    assert all(f"  {name} = {value}\n" in shown for name, value in parameters.items())


def test_the_table_of_designs_cuts_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("list")
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert {design.name for design in DESIGNS} <= set(shown.split())


@pytest.mark.parametrize("name", SMALL_DESIGNS)
def test_the_table_of_sizes_is_what_is_measured(name: str) -> None:
    row = {key: str(value) for key, value in measure_design(find(name), {}).items()}
    assert row == measured()[name]


def test_generate_writes_one_module_for_all_processing_elements(tmp_path: Path) -> None:
    path = tmp_path / "array.v"
    said = run("generate", "stce", "--rows", "2", "--cols", "3", "--n", "1", "--m", "4",
               "--set", "lanes=4", "-o", str(path))  # fmt: skip
    text = path.read_text()
    assert said == f"{path}: module stce\n"
    assert text.count("module stce_uspe(") == 1
    assert text.count("  stce_uspe pe_") == 6


def test_generated_text_depends_on_the_circuit_only() -> None:
    first, second = (verilog_text(Float32Add(latency=2), name="adder") for _ in range(2))
    assert first == second
    assert str(Path.cwd()) not in first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sat", "--rows", "0"], "rows must be a whole number of at least 1, not 0"),
        (["sat", "--n", "9", "--m", "8"], "n must be at most m, not n=9 and m=8"),
        (["sat", "--set", "data_type=fp8"], "data_type must be fp16 or int8, not 'fp8'"),
        (["sat", "--set", "rowz=8"], "design sat has no parameter 'rowz'; did you mean rows?"),
        (["sat", "--set", "zzz=8"], "design sat has no parameter 'zzz'; it has rows, cols"),
        (["sat", "--set", "rows=many"], "rows must be a whole number, not 'many'"),
        (["sat", "--set", "rows"], "--set must be field=value, not 'rows'"),
        (["sat", "--rows", "4", "--set", "rows=8"], "rows is given twice; give it once"),
        (["sat", "--rows", "1025"], "rows must be at most 1024, not 1025"),
        (["sat", "--set", "weight_words=1048577"], "weight_words must be at most 1048576, not"),
        (["sat", "--set", "lanes=1024"], "selected values of a word in all lanes must be at most"),
        (["pim_channel", "--set", "accesses=2048"], "a tile of all columns may take 32798 clocks"),
        (["sat", "--set", "lanes=12"], "lanes must be a multiple of m, not lanes=12 and m=8"),
        (["satt"], "no design is called 'satt'; did you mean sat?"),
        (["xyz"], "no design is called 'xyz'; sparsight rtl list shows them"),
        (["sore", "--set", "n=9"], "n must be at least 1 and at most m, not n=9 and m=8"),
        (["wuve", "--set", "lanes=0"], "lanes must be at least 1, not 0"),
        (["fp32-add", "--set", "latency=-1"], "latency must be a whole number of at least 0"),
        (["uspe", "--module", "8x"], "module name must be a Verilog identifier, not '8x'"),
        (["fp32-add", "--module", "addé"], "module name must be a Verilog identifier, not 'addé'"),
        (["fp32-add", "--module", "always"], "module name must not be a keyword of Verilog, as"),
        (["fp32-add", "--module", "logic"], "module name must not be a keyword of Verilog, as"),
    ],
)
def test_wrong_parameters_say_what_would_be_right(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    assert message in refused("generate", *arguments, "-o", str(tmp_path / "out.v"))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "adder.v"
    with pytest.raises(InputError, match=f"cannot write {path}: No such file or directory"):
        write_verilog(Float32Add(latency=1), name="adder", path=path)


def test_a_missing_yosys_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"^yosys is not installed; `apt-get install yosys`"):
        cells.count_cells("", top="x")


def test_settings_replace_defaults() -> None:
    changed = with_settings(find("sat"), {"data_type": "int8", "rows": "16"})
    assert changed == Parameters(data_type="int8", rows=16)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tiles": 1 << 16}, "field tiles must be below 65536, not 65536"),
        ({"tilez": 1}, "an instruction has no field 'tilez'"),
    ],
)
def test_instructions_that_do_not_fit_are_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(fields, Parameters())


@pytest.mark.parametrize(
    ("shape", "pattern", "message"),
    [
        (
            (8, 8),
            NM(1, 3),
            "a build for 2:8 cannot select 1:3: N must be at most 2, and M a divisor",
        ),
        (
            (8, 8),
            NM(4, 8),
            "a build for 2:8 cannot select 4:8: N must be at most 2, and M a divisor",
        ),
        ((264, 32), NM(2, 8), "weights need 264 words of a bank, and the build has 256; a larger"),
    ],
)
def test_updates_that_the_build_cannot_hold_are_refused(shape, pattern, message: str) -> None:
    with pytest.raises(InputError, match=message):
        host.Update(shape=shape, pattern=pattern, parameters=Parameters())


@pytest.mark.parametrize(
    ("held", "shape", "message"),
    [
        ("os", (4, 8 * 1025, 4), "windows need 1025 words of a bank, and the build has 1024; a"),
        ("os", (4, 8 * 513, 4), "kept values need 1026 words of a bank, and the build has 1024"),
        ("os", (1028, 8, 4), "results need 1028 words of a bank, and the build has 1024; a larger"),
        (
            "ws",
            (300, 32, 16),
            "results need 1200 words of a bank, and the build has 1024; a larger",
        ),
    ],
)
def test_products_that_the_build_cannot_hold_are_refused(held, shape, message: str) -> None:
    p, k, q = shape
    windows = nm.windows(np.zeros((p, k), np.float16), NM(2, 8))
    packed = nm.compress(np.zeros((k, q), np.float16), NM(2, 8))
    lay_out = {
        "os": host.output_stationary,
        "ws": partial(host.weight_stationary, block_rows=p),
    }[held]
    with pytest.raises(InputError, match=message):
        lay_out(windows, packed, Parameters())


def test_operands_of_another_type_than_the_build_s_are_refused() -> None:
    """Their bits would be cut into words of another size."""
    whole = nm.windows(np.zeros((4, 8), np.float32), NM(2, 8))
    half = nm.windows(np.zeros((4, 8), np.float16), NM(2, 8))
    packed = nm.compress(np.zeros((8, 4), np.float16), NM(2, 8))
    for windows, build, message in (
        (whole, "fp16", "windows of a build for fp16 must be float16, not float32"),
        (half, "int8", "windows of a build for int8 must be int8, not float16"),
    ):
        with pytest.raises(InputError, match=message):
            host.output_stationary(windows, packed, Parameters(data_type=build))
