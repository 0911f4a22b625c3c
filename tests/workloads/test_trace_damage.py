"""What a user can get wrong about a trace file, and damage of every kind: one sentence for each."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads import InputError, Workload
from workloads.trace import read_trace, write_trace
from workloads.trace_rows import COLUMNS

SLOW_DISK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def rewrite(path: Path, change: dict[str, object] | None = None, **metadata: str | None) -> None:
    """Replace columns (None: drop it) and metadata of a trace, as a foreign program could."""
    table = pq.read_table(path)
    for name, column in (change or {}).items():
        if column is None:
            table = table.drop_columns([name])
        elif name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    entries = dict(table.schema.metadata)
    for key, text in metadata.items():
        entries.pop(f"sparsight.{key}".encode(), None)
        if text is not None:
            entries[f"sparsight.{key}".encode()] = text.encode()
    pq.write_table(table.replace_schema_metadata(entries), path)


def cells(path: Path, column: str, row: int, value: object) -> dict[str, object]:
    """Return the column with one cell changed."""
    old = pq.read_table(path)[column]
    values = old.to_pylist()
    values[row] = value
    return {column: pa.array(values, type=old.type)}


def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no trace file .*gone.trace; 'sparsight capt"):
        read_trace(tmp_path / "gone.trace")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a file, but it is a directory"):
        read_trace(tmp_path)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.trace").write_text("m,k,n\n1,2,3\n")
    with pytest.raises(
        InputError, match=r"must be a Parquet file, but it does not start with PAR1"
    ):
        read_trace(tmp_path / "net.trace")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pkl", b"\x80\x04K\x01."),
        ("a.trace", b"\x80\x02}."),
        ("a.trace", b"PK\x03\x04zip"),
        ("model.pt", b"anything"),
        ("model.ckpt", b""),
    ],
)
def test_a_pickle_is_refused_with_the_safe_way_named(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"pickle.*can run any code.*'sparsight capture.*safetens"):
        read_trace(tmp_path / name)


def test_a_cut_file_is_refused(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"must be a whole Parquet file, but it is damaged or cut"):
        read_trace(path)


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"m": [1]}).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(InputError, match=r"no trace: it has no sparsight.schema_version"):
        read_trace(tmp_path / "table.parquet")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("2", "has the newer schema version 2; this program reads version 1: update it"),
        ("0", "has the schema version '0'; this program reads version 1: capture the model again"),
        ("one", "has the schema version 'one'; this program reads version 1"),
    ],
)
def test_another_schema_version_is_named_with_the_one_that_is_read(
    version: str, message: str, path: Path
) -> None:
    rewrite(path, schema_version=version)
    with pytest.raises(InputError, match=message):
        read_trace(path)


@pytest.mark.parametrize("notes", [None, "not json", '{"a": 1}', "[1, 2]", "[" * 100_000])
def test_damaged_metadata_is_refused(notes: str | None, path: Path) -> None:
    rewrite(path, notes=notes)
    with pytest.raises(InputError, match=r"notes"):
        read_trace(path)


def test_every_column_is_needed(path: Path) -> None:
    content = path.read_bytes()
    for column in COLUMNS:
        path.write_bytes(content)
        rewrite(path, {column.name: None})
        with pytest.raises(InputError, match=f"must have the column {column.name}, but lacks it"):
            read_trace(path)


def test_a_column_of_the_wrong_type_is_named(path: Path) -> None:
    rewrite(path, {"m": pq.read_table(path)["m"].cast(pa.float64())})
    with pytest.raises(InputError, match=r"column m of trace .* must have the type int64, not dou"):
        read_trace(path)


def test_an_unknown_column_is_refused(path: Path, step: Workload) -> None:
    rewrite(path, {"density": pa.array([0.5] * len(step))})
    with pytest.raises(InputError, match="has the unknown column 'density'"):
        read_trace(path)


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("m", 1, 0, r"row 1 \(fc.FF\) of trace .*: m of fc.FF must be a positive whole .*, not 0"),
        ("k", 1, -16, "k of fc.FF must be a positive whole number, not -16"),
        ("k_run", 1, 0, "k_run must be a positive whole number, not 0"),
        ("k_run", 1, 3, "k_run of fc.FF must divide k=16, not 3"),
        ("left_tensor", 1, "Q", "left_tensor must be one of X, W, Y, dX, dY, dW, not 'Q'"),
        ("left_elements", 1, 0, "elements of X must be a positive whole number, not 0"),
        ("left_dtype", 1, "fp12", "data type of X must be one of .*, not 'fp12'"),
        ("left_pattern", 1, "8:2", "N:M pattern must have 1 <= N <= M, not 8:2"),
        ("left_pattern", 1, "half", "pattern must be dense, N:M, .*not 'half'"),
        ("left_zero_fraction", 1, float("nan"), "zero fraction must lie between 0 and 1, not nan"),
        ("out_zero_fraction", 1, 1.5, "zero fraction must lie between 0 and 1, not 1.5"),
        ("pass", 1, "FP", "pass must be one of FF, BP, WU, UP, not 'FP'"),
        ("kind", 1, "fft", "kind must be one of conv, linear, attention, not 'fft'"),
        ("position", 1, "middle", "position must be one of first, inner, last, not 'middle'"),
        ("op", 1, "gemm", "op must be one of matmul, vector, selection, not 'gemm'"),
        ("m", 1, None, "m must be filled for op=matmul"),
        ("name", 2, "fc.FF", "must differ, but rows 1 and 2 of trace .* are both 'fc.FF'"),
        ("fused", 1, True, "fused must be empty for op=matmul, not True"),
        ("conv_stride_w", 0, None, "conv_stride_w must be filled where the other columns conv_"),
        ("conv_groups", 0, 3, "convolution groups must divide both channel counts"),
        ("conv_padding_h", 0, -1, "padding must not be negative"),
        ("elements", 3, -5, "elements of relu must be a positive whole number, not -5"),
        ("read_bytes", 3, -1, "bytes of relu must not be negative"),
        ("lane_operations", 3, 0, "lane_operations of relu must be a positive whole number"),
        ("dtype", 4, "fp12", "data type of W must be one of"),
        ("pattern", 4, "9:8", "N:M pattern must have 1 <= N <= M, not 9:8"),
    ],
)
def test_a_bad_cell_is_named_with_its_row(
    column: str, row: int, value: object, message: str, path: Path
) -> None:
    rewrite(path, cells(path, column, row, value))
    with pytest.raises(InputError, match=message):
        read_trace(path)


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("left_energy_2_8", 1, 0.5, "left_zero_fraction must be filled where the energy kept is"),
        ("left_energy_8_2", 1, 0.5, "left_zero_fraction must be filled"),
        ("left_energy_2_8", 3, 0.5, "left_energy_2_8 must be empty for op=vector"),
    ],
)
def test_energy_without_its_operand_is_refused(
    column: str, row: int, value: float, message: str, path: Path, step: Workload
) -> None:
    values = [value if index == row else None for index in range(len(step))]
    rewrite(path, {column: pa.array(values, type=pa.float64())})
    with pytest.raises(InputError, match=message):
        read_trace(path)


@pytest.mark.parametrize(
    ("n", "m", "share", "message"),
    [(8, 2, 0.5, "1 <= N <= M, not 8:2"), (2, 8, float("nan"), "energy kept by 2:8 .* not nan")],
)
def test_impossible_energy_is_refused(
    n: int, m: int, share: float, message: str, path: Path, step: Workload
) -> None:
    rewrite(path, cells(path, "left_zero_fraction", 1, 0.0))
    values = [share if index == 1 else None for index in range(len(step))]
    rewrite(path, {f"left_energy_{n}_{m}": pa.array(values, type=pa.float64())})
    with pytest.raises(InputError, match=message):
        read_trace(path)


def test_an_empty_table_is_refused(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(InputError, match="must have at least one operation, not an empty table"):
        read_trace(path)


def read_or_refuse(path: Path) -> None:
    try:
        workload = read_trace(path)
    except InputError:
        return
    assert len(workload) >= 1


@settings(SLOW_DISK, max_examples=150)
@given(change=st.data())
def test_damaged_bytes_give_an_input_error_or_a_valid_workload(
    change: st.DataObject, step: Workload, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.trace"
    write_trace(step, path)
    content = bytearray(path.read_bytes())
    places = st.integers(0, len(content) - 1)
    for place in change.draw(st.lists(places, max_size=8)):
        content[place] ^= change.draw(st.integers(1, 255))
    cut = change.draw(st.none() | places)
    path.write_bytes(content[:cut])
    read_or_refuse(path)


def test_every_single_byte_of_the_footer_may_be_damaged(path: Path) -> None:
    """The footer has no checksum of its own: flip one bit in each of its bytes, step by step."""
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    for place in range(len(content) - footer, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        read_or_refuse(path)


def test_a_flipped_bit_in_the_pages_is_found_by_their_checksums(path: Path) -> None:
    content = bytearray(path.read_bytes())
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(5)
    content[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged or cut short: .*CRC checksum"):
        read_trace(path)
