"""The trace file: exact round trips, whole files or none."""

import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from tests import strategies
from workloads import InputError, MatMul, Statistics, Workload, gemm, trace
from workloads.trace import read_info, read_tensors, read_trace, write_trace
from workloads.trace_rows import COLUMNS

SLOW_DISK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SLOW_DISK
@given(workload=strategies.workloads)
def test_reading_gives_the_workload_that_was_written(workload: Workload, tmp_path: Path) -> None:
    write_trace(workload, tmp_path / "any.trace")
    assert read_trace(tmp_path / "any.trace") == workload


def test_pandas_opens_a_trace_with_one_row_an_operation(path: Path, step: Workload) -> None:
    table = pd.read_parquet(path)
    assert list(table["name"]) == [op.name for op in step]
    matmuls = table[table["op"] == "matmul"]
    macs = (matmuls["m"] * matmuls["k"] * matmuls["n"] * matmuls["batch"]).sum()
    assert macs == step.macs


def test_pandas_keeps_integers_whole_where_a_column_has_empty_cells(path: Path) -> None:
    types = pd.read_parquet(path).dtypes
    wanted = {"string": "str", "int64": "Int64", "double": "float64", "bool": "boolean"}
    for column in COLUMNS:
        assert str(types[column.name]) == wanted[column.type], column.name


def test_every_column_is_described_in_the_format_text() -> None:
    text = trace.__doc__ or ""
    described = {"conv_out_channels", "conv_in_w", "k", "n"}  # named beside another
    for column in COLUMNS:
        side, _, rest = column.name.partition("_")
        abbreviated = side in ("right", "out") or column.name.endswith(("_h", "_w"))
        assert column.name in text or column.name in described or abbreviated, column.name
        if side in ("right", "out"):
            assert f"left_{rest}" in text


def test_a_trace_says_what_made_it(path: Path, step: Workload) -> None:
    info = read_info(path)
    assert (info.command, info.name, info.notes) == ("made by hand", step.name, step.notes)
    assert info.tensors_sha256 == ""


def test_statistics_become_flat_columns(tmp_path: Path) -> None:
    (product,) = gemm(8, 8, 8)
    assert isinstance(product, MatMul)
    found = Statistics(zero_fraction=0.25, nm_energy=(("2:8", 0.5), ("2:4", 0.75)))
    operand = replace(product.left, statistics=found)
    workload = Workload(name="w", operations=(replace(product, left=operand),))
    write_trace(workload, tmp_path / "w.trace")
    row = pd.read_parquet(tmp_path / "w.trace").iloc[0]
    assert (row["left_energy_2_4"], row["left_energy_2_8"]) == (0.75, 0.5)
    assert row["left_zero_fraction"] == 0.25


def test_tensors_come_back_as_they_were(step: Workload, tmp_path: Path) -> None:
    tensors = {"fc.W": np.arange(6, dtype=np.float16).reshape(2, 3)}
    write_trace(step, tmp_path / "step.trace", tensors)
    assert (tmp_path / "step.trace.safetensors").is_file()
    read = read_tensors(tmp_path / "step.trace")
    assert read.keys() == tensors.keys()
    np.testing.assert_array_equal(read["fc.W"], tensors["fc.W"])


def test_tensors_of_another_trace_are_refused(step: Workload, tmp_path: Path) -> None:
    write_trace(step, tmp_path / "step.trace", {"a": np.zeros(3)})
    write_trace(step, tmp_path / "other.trace", {"a": np.ones(3)})
    (tmp_path / "other.trace.safetensors").replace(tmp_path / "step.trace.safetensors")
    with pytest.raises(InputError, match=r"must be the tensors written with .*content differs"):
        read_tensors(tmp_path / "step.trace")
    with pytest.raises(InputError, match=r"cannot read the tensors .*: No such file"):
        read_tensors(tmp_path / "other.trace")


def test_a_trace_without_tensors_says_so(path: Path) -> None:
    with pytest.raises(InputError, match="was written without tensors"):
        read_tensors(path)


def test_a_file_name_need_not_be_utf_8(path: Path, step: Workload) -> None:
    odd = path.with_name(os.fsdecode(b"\xff.trace"))
    path.rename(odd)
    assert read_trace(odd) == step


@pytest.mark.parametrize("count", [2**63, 2**80])
def test_a_number_that_no_column_holds_is_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds a value that a trace cannot"):
        write_trace(gemm(count, 1, 1), tmp_path / "big.trace")
    assert not list(tmp_path.iterdir())


def test_two_operations_of_one_name_are_not_written(step: Workload, tmp_path: Path) -> None:
    twice = replace(step, operations=step.operations * 2)
    with pytest.raises(InputError, match=f"rows 0 and {len(step)} of workload 'step' are both"):
        write_trace(twice, tmp_path / "twice.trace")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path: Path, step: Workload) -> None:
    """A limit on the size of files makes the system refuse in the middle of the write."""
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match=rf"cannot write {path}: File too large; name a place"):
            write_trace(step, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_directory_is_named(step: Workload, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"cannot write .*/no/step.trace: No such file or directory"
    ):
        write_trace(step, tmp_path / "no" / "step.trace")


def test_a_directory_in_the_place_of_the_file_is_named(step: Workload, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a directory; name a file"):
        write_trace(step, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_metadata_is_text_that_json_reads(path: Path, step: Workload) -> None:
    metadata = pq.read_schema(path).metadata
    assert json.loads(metadata[b"sparsight.notes"]) == list(step.notes)
    assert metadata[b"sparsight.schema_version"] == b"1"
